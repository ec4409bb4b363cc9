from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.test_journal import entry

from slidr.errors import JournalError
from slidr.journal import Journal
from slidr.journal.moving import Mover

_KILLED = """
import os, signal, sys
from pathlib import Path
from slidr.journal.moving import Mover
mover = Mover()
mover.move(Path(sys.argv[1]))
print(mover._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def mover() -> Iterator[Mover]:
    """Return a mover that is closed at the end."""
    mover = Mover()
    yield mover
    mover.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Return a journal with a thousand entries in its log."""
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.append([entry(place) for place in range(1000)])
        yield journal


def test_another_process_moves_the_log(journal: Journal, mover: Mover) -> None:
    """The entries are in the file afterwards, appends go on, and a second move takes the same process."""
    size = journal.path.stat().st_size
    journal.checkpoint(mover.move)
    assert journal.waiting == 0
    assert journal.log_bytes > 100_000
    assert journal.path.stat().st_size > size
    process = mover._process
    journal.append([entry(1000)])
    journal.checkpoint(mover.move)
    assert mover._process is process
    assert [one.sequence for one in next(journal.entries())] == list(range(1001))


def test_a_process_begins_until_it_is_there(journal: Journal, mover: Mover) -> None:
    """It begins from its start on, and does not any more once it has moved a log, or was ended."""
    steps = (mover.start, lambda: mover.move(journal.path), mover.close, mover.start, mover.close)
    begins = [mover.begins]
    for step in steps:
        step()
        begins.append(mover.begins)
    assert begins == [False, True, False, False, True, False]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no policy that yields to everybody")
def test_the_process_yields_to_everybody(mover: Mover) -> None:
    """From its first moment on it runs where nobody else wants the core."""
    mover.start()
    assert mover._process is not None
    assert os.sched_getscheduler(mover._process.pid) == os.SCHED_IDLE


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no policy that yields to everybody")
def test_a_system_that_refuses_the_policy_has_it_nice(
    journal: Journal, mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a sandbox forbids the policy, the process is as nice as can be, and moves the log all the same."""

    def forbidden(*_: object) -> None:
        raise PermissionError("sched_setscheduler")

    monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    assert mover.move(journal.path) > 100_000
    assert mover._process is not None
    assert os.getpriority(os.PRIO_PROCESS, mover._process.pid) == 19


def test_a_move_that_takes_too_long_gets_its_share(journal: Journal) -> None:
    """On a core that is never idle a process that shares it does the move; the next one yields again."""
    mover = Mover(patience=0.0)
    assert mover.move(journal.path) > 100_000
    assert mover._process is None


def test_a_process_that_was_killed_is_told_and_replaced(journal: Journal, mover: Mover) -> None:
    """The log stays as it was, the error names the journal, and the next move is done."""
    mover.move(journal.path)
    assert mover._process is not None
    mover._process.kill()
    mover._process.wait()
    with pytest.raises(JournalError, match=r"j\.sqlite"):
        mover.move(journal.path)
    journal.append([entry(1000)])
    assert mover.move(journal.path) > 0
    assert journal.last_sequence == 1000


def test_a_fault_of_the_disk_is_that_of_the_journal(tmp_path: Path, mover: Mover) -> None:
    """What the other process finds is raised here, with what to do."""
    with pytest.raises(JournalError, match="cannot be opened; check that its folder exists"):
        mover.move(tmp_path / "missing" / "j.sqlite")


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="a process of others cannot be waited for here")
def test_the_process_ends_with_the_service(journal: Journal) -> None:
    """After a kill -9 of the service nothing is left of it."""
    command = [sys.executable, "-c", _KILLED, str(journal.path)]
    killed = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 our own code
    try:
        left = os.pidfd_open(int(killed.stdout))
    except ProcessLookupError:
        return
    ended, _, _ = select.select([left], [], [], 60)
    os.close(left)
    assert ended
