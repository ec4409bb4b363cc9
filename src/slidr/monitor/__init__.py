"""The monitor: watches what services decide, beside them, and raises an alarm where it deviates sharply.

    journals -> reading -> counting -> state -> series -> deviations -> alarms, and where allowed a rollback

It only reads the journals. What it has counted, and up to where, is one SQLite file: both change in one transaction, so
that nothing is counted twice, whenever it ends and starts again. What it finds is worked out anew from the counts at
every look, and kept nowhere else.
"""

from __future__ import annotations

from slidr.monitor.running import Monitor, Seen

__all__ = ["Monitor", "Seen"]
