from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.monitor.traffic import DAY, MINUTE, Traffic, append, registry_with

from slidr.clock import SystemClock


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """A folder with settings, a registry, and a journal of the last minutes of a bundle that marks everything."""
    now = SystemClock().now() // MINUTE * MINUTE
    (tmp_path / "slidr.toml").write_text("[monitor]\nrollback = false\n")
    _, ids = registry_with(tmp_path, [now - 3 * DAY, now - DAY // 2])
    append(tmp_path / "journal.sqlite", Traffic().minutes(now - 10 * MINUTE, 10, ids[1], ivr=0.5, people=1.0))
    return tmp_path


def test_one_look_says_what_is_wrong(slidr: Run, watched: Path) -> None:
    """With --once, exit status 4 and a sentence where an alarm is open; a second look counts nothing again."""
    said = slidr("monitor", "--settings", watched / "slidr.toml", "--once")
    assert said.code == 4, said.err
    assert "1,000 clicks new" in said.out
    assert "finds 100.00% of the clicks invalid, 20.00% are usual" in said.out
    assert "not rolled back: monitor.rollback is false" in said.out
    said = slidr("monitor", "--settings", watched / "slidr.toml", "--once", "--json")
    assert said.code == 4
    assert json.loads(said.out)["clicks"] == 0


def test_a_missing_journal_is_an_alarm(slidr: Run, watched: Path) -> None:
    """It is told of, and neither ends the command as an error would nor makes a file."""
    said = slidr("monitor", "--settings", watched / "slidr.toml", "--once", "--journal", watched / "none.sqlite")
    assert said.code == 4
    assert "none.sqlite" in said.out
    assert not (watched / "none.sqlite").exists()


def test_it_runs_until_it_is_told_to_end(watched: Path) -> None:
    """SIGTERM ends it with status 0, once what it saw is kept."""
    command = [sys.executable, "-m", "slidr", "monitor", "--settings", str(watched / "slidr.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 ours
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "slidr monitor watches\n"
        while "alarm open" not in process.stderr.readline():
            assert process.poll() is None
        os.kill(process.pid, signal.SIGTERM)
        process.communicate()
    assert process.returncode == 0
    assert (watched / "monitor.prom").exists()
