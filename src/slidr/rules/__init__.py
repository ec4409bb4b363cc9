"""List rules: one module a rule; each finds general invalid traffic without a model."""
