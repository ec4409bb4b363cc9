"""Runs the command line in this process, as `slidr` would."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.learned import Learned, copy_of

from slidr.cli import main


class Said(NamedTuple):
    """What a command said: exit status, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON object on the standard output, which must be all that stands there."""
        assert self.code == 0, self.err
        assert self.out.count("\n") == 1
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


Run = Callable[..., Said]


@pytest.fixture(autouse=True)
def _logs_of_one_command() -> Iterator[None]:
    """What a command sets up of logging ends with its process, and here with its test."""
    root, own = logging.getLogger(), logging.getLogger("slidr")
    levels = root.level, own.level
    yield
    # Those of pytest are of kinds of its own.
    root.handlers[:] = [handler for handler in root.handlers if type(handler) is not logging.StreamHandler]
    root.setLevel(levels[0])
    own.setLevel(levels[1])


@pytest.fixture
def slidr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command and return what it said."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["slidr", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def project(learned: Learned, tmp_path: Path) -> Path:
    """A folder with settings, logs and everything that the flow has made."""
    copy_of(learned, tmp_path / "project")
    return tmp_path / "project"
