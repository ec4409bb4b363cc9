"""The truth about simulated clicks: a table of its own, which only evaluation may join."""

from __future__ import annotations

from slidr.tables import TIME, Column, Table

HUMAN = "human"
"""The family of people's clicks."""

TRUTH = Table(
    "truth",
    1,
    (
        Column("click_id", "string", "", "the click"),
        Column("time", TIME, "us", "when the click was made"),
        Column("robot", "bool", "", "whether a robot made it"),
        Column("family", "string", "", "robot family that made it, or human"),
    ),
)
"""Who made each click. No stage reads it: it is not among `slidr.tables.TABLES`."""
