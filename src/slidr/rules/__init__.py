"""List rules: one module a rule; each finds general invalid traffic without a model.

Each module has `prepare(settings) -> ListRule`. A rule reads columns of the clicks as they came, before the fold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from slidr import extensions
from slidr.settings import RulesSettings

Columns = Mapping[str, Sequence[object]]


class ListRule(NamedTuple):
    """A list rule, ready to run.

    Attributes:
        name: the stable code that a decision carries.
        version: which list it reads.
        columns: the columns of the clicks that it reads.
        hits: from these columns to the places of the clicks that the list names.
    """

    name: str
    version: str
    columns: tuple[str, ...]
    hits: Callable[[Columns], list[int]]


def prepare_rules(settings: RulesSettings) -> tuple[ListRule, ...]:
    """Return every list rule, ready to run.

    Raises:
        SettingsError: a list cannot be read.
    """
    return tuple(extensions.load("slidr.rules", name).prepare(settings) for name in extensions.names("slidr.rules"))
