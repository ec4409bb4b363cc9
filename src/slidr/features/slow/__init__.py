"""Slow features: looked up in a table that is built once a day from the clicks of the days before, never folded."""

from slidr.features.slow.day import SlowDay, build_slow, built_days
from slidr.features.slow.lookup import NOT_KNOWN, SlowTables, fill_slow

__all__ = ["NOT_KNOWN", "SlowDay", "SlowTables", "build_slow", "built_days", "fill_slow"]
