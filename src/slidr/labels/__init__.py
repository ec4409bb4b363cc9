"""Labels: one module a rule; each says which clicks are human, from purchases."""
