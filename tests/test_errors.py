from __future__ import annotations

import inspect
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr import errors
from slidr.errors import InfeasibleBudgetError, MissingExtraError, SlidrError, TableError, nearest

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_is_documented_and_drawn_in_the_tree(kind: type[Exception]) -> None:
    """Whoever catches SlidrError catches them all, and the tree at the top of the module shows each once."""
    assert issubclass(kind, SlidrError)
    assert kind.__doc__
    assert len(re.findall(rf"\b{kind.__name__}\b", errors.__doc__ or "")) == 1


def test_the_tree_draws_nothing_else() -> None:
    """A name in the tree is an error that exists, at the depth at which it inherits."""
    drawn = re.findall(r"^(.*?)(\w+Error)\b", errors.__doc__ or "", flags=re.MULTILINE)
    assert {name for _, name in drawn} == {kind.__name__ for kind in CLASSES}
    for before, name in drawn:
        assert len(getattr(errors, name).__mro__) - len(SlidrError.__mro__) == len(before) // 4 - 1


@given(st.text(min_size=1), st.lists(st.text(min_size=1), min_size=1))
def test_a_suggestion_names_something_known(name: str, known: list[str]) -> None:
    """Either the nearest is suggested or all are listed; a known name suggests itself."""
    phrase = nearest(name, known)
    assert any(phrase == f"did you mean {one!r}?" for one in known) or phrase == f"known: {', '.join(sorted(known))}"
    assert nearest(known[0], known) == f"did you mean {known[0]!r}?"


def test_errors_carry_what_a_program_needs() -> None:
    """Column, row and value; budget and slices: readable without parsing the message."""
    table = TableError("bad", column="ip", row=3, value="x")
    assert (table.column, table.row, table.value) == ("ip", 3, "x")
    budget = InfeasibleBudgetError("no", budget=0.005, least_feasible=0.01, slices=("device=app",))
    assert (budget.budget, budget.least_feasible, budget.slices) == (0.005, 0.01, ("device=app",))


def test_a_missing_extra_says_how_to_install_it() -> None:
    """The message holds the command."""
    assert str(MissingExtraError("training", "train")).endswith("pip install '.[train]'")
