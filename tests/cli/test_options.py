"""What the commands share: who runs them, and what they print before they fail."""

from __future__ import annotations

import getpass
import os

import pytest

from slidr.cli.options import account


def nameless(patch: pytest.MonkeyPatch) -> str:
    """Run as an account that has a number and no name, as in a container, and return what the history calls it."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        patch.delenv(name, raising=False)
    patch.setattr(os, "getuid", lambda: 2_000_054_321)
    return "uid 2000054321"


def test_an_account_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account's name is used where the system knows it."""
    monkeypatch.setenv("LOGNAME", "ada")
    assert account() == "ada"


def test_an_account_without_a_name_is_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without an entry in passwd is called by its number."""
    expected = nameless(monkeypatch)
    with pytest.raises((KeyError, OSError)):
        getpass.getuser()
    assert account() == expected
