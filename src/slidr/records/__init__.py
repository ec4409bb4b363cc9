"""Records: a click's whole history, backup and restore, and the erasure of a person's fields."""
