"""List rules: one module a rule; each finds general invalid traffic without a model.

Each module has `prepare(settings) -> ListRule | None`; None where the settings leave it nothing to do. A rule reads
columns of the clicks as they came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from slidr import extensions
from slidr.lists import Listed
from slidr.settings import RulesSettings

Columns = Mapping[str, Sequence[object]]


class ListRule(NamedTuple):
    """A list rule, ready to run.

    Attributes:
        name: the stable code that a decision carries.
        version: which list it reads.
        columns: the columns of the clicks that it reads.
        hits: from these columns to the places of the clicks that the list names.
        features: features that the rule reads, declared as in the settings; they come as further columns, by name.
        updated: when the list was last changed, microseconds UTC; None where there is no list.
        action: what a hit is: `invalid`, or `allow`, which is valid unless another rule finds it invalid.
        lists: the lists that it reads.
    """

    name: str
    version: str
    columns: tuple[str, ...]
    hits: Callable[[Columns], list[int]]
    features: tuple[dict[str, Any], ...] = ()
    updated: int | None = None
    action: Literal["invalid", "allow"] = "invalid"
    lists: tuple[Listed, ...] = ()


def prepare_rules(settings: RulesSettings) -> tuple[ListRule, ...]:
    """Return every list rule that the settings give something to do, ready to run.

    Raises:
        SettingsError: a list cannot be read, is empty, or has a line that is no entry.
    """
    found = (extensions.load("slidr.rules", name).prepare(settings) for name in extensions.names("slidr.rules"))
    return tuple(rule for rule in found if rule is not None)
