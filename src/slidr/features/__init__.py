"""Features: the catalogue, the fold over the clicks, and the store of its state."""
