"""The public names: one list, sorted, complete, and loaded only when asked for."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import slidr


def test_the_list_is_sorted_and_complete() -> None:
    """__all__ is sorted and holds exactly what has a home; no name has two."""
    homed = [name for names in slidr._HOMES.values() for name in names]
    assert list(slidr.__all__) == sorted(slidr.__all__) == sorted(homed)
    assert list(slidr._HOMES) == sorted(slidr._HOMES)
    assert all(list(names) == sorted(names) for names in slidr._HOMES.values())


def test_type_checkers_see_the_same_names() -> None:
    """What is imported for type checkers is what is loaded at run time, from the same modules."""
    tree = ast.parse(Path(slidr.__file__).read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        node.module: tuple(name.name for name in node.names)
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
    }
    assert seen == slidr._HOMES


@pytest.mark.parametrize("name", slidr.__all__)
def test_a_public_name_is_the_one_of_its_home(name: str) -> None:
    """Each name imports, is the object of its home, and is documented."""
    found = getattr(slidr, name)
    assert found is getattr(importlib.import_module(slidr._HOME[name]), name)
    if inspect.isclass(found) or inspect.isfunction(found):
        assert inspect.getdoc(found)


def test_other_names_are_no_attributes() -> None:
    """A name that is not public is an AttributeError, and dir() lists the public ones."""
    with pytest.raises(AttributeError, match="module 'slidr' has no attribute 'labell'"):
        slidr.labell  # noqa: B018 the access is the test
    assert dir(slidr) == slidr.__all__
