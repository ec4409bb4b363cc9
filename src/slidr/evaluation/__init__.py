"""Evaluation: what thresholds set on one day do on a later day; it computes, and the report renders."""
