"""Every error that slidr raises on purpose; each message names the key, the value, the limit and the next act.

```
    SlidrError
    ├── SettingsError      the settings file, or a value in it
    ├── TableError         a table whose columns do not fit (`column`, `row`, `value` where known)
    ├── SourceError        a log that cannot be read
    ├── FeatureError       the catalogue of features, or the state behind it
    ├── StoreError         a server that keeps the features' state, and cannot be used
    ├── LabelError         labels that cannot be made: no purchases, or none mature
    ├── TrainingError      a network that cannot be fitted
    ├── CalibrationError   thresholds that cannot be set
    │   ├── CertificateError        too few purchasers for a certificate (`needed`)
    │   └── InfeasibleBudgetError   no thresholds keep the budget (`least_feasible`)
    ├── BundleError        a bundle that does not load exactly
    ├── RegistryError      a registry that cannot be read or written
    ├── JournalError       a journal that cannot be written or read
    ├── ReplayError        decisions that cannot be made again
    ├── RecordsError       records that cannot be backed up, restored or erased
    ├── BillingError       a bill, or figures for one, that cannot be made
    ├── ServiceError       a service that cannot start or answer
    ├── BusyError          work that another process is doing already
    └── MissingExtraError  a part of slidr whose dependencies are not installed
```
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SlidrError(Exception):
    """Base of all errors that slidr raises on purpose."""


class SettingsError(SlidrError):
    """The settings file, or a value in it, is not usable."""


class TableError(SlidrError):
    """A table does not fit its schema.

    Attributes:
        column: the column at fault, or None when the fault is the table's.
        row: zero-based row of the first fault, or None.
        value: the value found there, or None.
    """

    def __init__(
        self, message: str, *, column: str | None = None, row: int | None = None, value: object = None
    ) -> None:
        super().__init__(message)
        self.column = column
        self.row = row
        self.value = value


class SourceError(SlidrError):
    """A log cannot be read."""


class FeatureError(SlidrError):
    """The catalogue of features, or the state behind it, is not usable."""


class StoreError(SlidrError):
    """A server that keeps the state of the features cannot be used."""


class LabelError(SlidrError):
    """Labels cannot be made from these clicks and purchases."""


class TrainingError(SlidrError):
    """A network cannot be fitted to these rows."""


class CalibrationError(SlidrError):
    """Thresholds cannot be set from these scores."""


class CertificateError(CalibrationError):
    """Too few people bought for a certificate of the false-positive budget.

    Attributes:
        needed: how many purchasers it takes.
        purchasers: how many there are.
    """

    def __init__(self, message: str, *, needed: int, purchasers: int) -> None:
        super().__init__(message)
        self.needed = needed
        self.purchasers = purchasers


class InfeasibleBudgetError(CalibrationError):
    """No thresholds satisfy the minimum coverage within the false-positive budget.

    Attributes:
        budget: the budget asked for, as a share of purchasing clicks.
        least_feasible: the smallest budget that could be kept.
        slices: the slices whose minimum coverage costs the most, dearest first.
    """

    def __init__(self, message: str, *, budget: float, least_feasible: float, slices: tuple[str, ...]) -> None:
        super().__init__(message)
        self.budget = budget
        self.least_feasible = least_feasible
        self.slices = slices


class BundleError(SlidrError):
    """A bundle does not load exactly as it was written."""


class RegistryError(SlidrError):
    """A registry cannot be read or written."""


class JournalError(SlidrError):
    """A journal cannot be written or read."""


class ReplayError(SlidrError):
    """Decisions cannot be made again, corrected or adjusted."""


class RecordsError(SlidrError):
    """Records cannot be found, backed up, restored or erased."""


class BillingError(SlidrError):
    """A bill, or figures for one, cannot be made."""


class ServiceError(SlidrError):
    """The service cannot start or cannot answer."""


class BusyError(SlidrError):
    """Another process is doing this work already."""


class MissingExtraError(SlidrError):
    """A part of slidr was asked for whose dependencies are not installed."""

    def __init__(self, part: str, extra: str) -> None:
        super().__init__(f"{part} needs the extra {extra!r}; in a clone of slidr: pip install '.[{extra}]'")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a phrase that suggests the known name closest to a misspelt one, or lists what is known.

    >>> nearest("campain", ["campaign", "user"])
    "did you mean 'campaign'?"
    >>> nearest("zzz", ["campaign", "user"])
    'known: campaign, user'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
