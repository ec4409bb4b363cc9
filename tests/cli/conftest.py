"""Runs the command line in this process, as `slidr` would."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
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
