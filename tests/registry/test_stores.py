"""The registry over a directory, memory and an object store: the same, killed or not, full or not, allowed or not."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from obstore.store import MemoryStore, S3Store
from tests.registry import s3
from tests.registry.making import bundle

from slidr.audit import Audit, Draft, Record
from slidr.errors import RegistryError
from slidr.registry import Named, Registry

ROOT = Path(__file__).parents[2]
Open = Callable[[], Registry]


@pytest.fixture(params=["directory", "memory", "s3"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Open one and the same registry anew with each call."""
    if request.param == "directory":
        yield lambda: Registry(tmp_path / "registry")
    elif request.param == "memory":
        store = MemoryStore()
        yield lambda: Registry(store)
    else:
        with s3.serving() as address:
            bucket = S3Store(
                s3.BUCKET, prefix="slidr", endpoint=address, region="x", skip_signature=True,
                client_options={"allow_http": True}, virtual_hosted_style_request=False,
            )  # fmt: skip
            yield lambda: Registry(bucket)


def test_every_store_holds_bundles_history_and_log(opened: Open, tmp_path: Path) -> None:
    """Published, promoted, rolled back and fetched: all of it is there for whoever opens it next."""
    for name in ("a", "b", "c"):
        opened().publish(bundle(tmp_path / "made", name))
    for at, name in enumerate("abcbca"):
        opened().promote(name, at=at, who="tests", why="because")
    assert opened().ids() == ("a", "b", "c")
    entry = opened().rollback(at=9, who="tests", why="bad", to="c")
    assert (entry.number, entry.bundle, entry.instead) == (7, "c", "a")
    assert opened().named() == Named("c", None, cold=True, fallback="b")
    place = opened().fetch("c", tmp_path / "cache")
    assert (place / "network.onnx").read_text() == "graph"
    with pytest.raises(RegistryError, match="holds another bundle a"):
        opened().publish(bundle(tmp_path / "other", "a", "other"))
    found = opened().verify()
    assert (found.records, found.faults) == (7, ())
    with pytest.raises(RegistryError, match="has no bundle 'd'"):
        opened().fetch("d", tmp_path / "cache")


def promote_often(location: str, who: str) -> None:
    """Promote a bundle ten times; runs in a process of its own."""
    registry = Registry(location)
    for at in range(10):
        registry.promote("a", at=at, who=who, why="because")


def test_processes_that_promote_at_once(tmp_path: Path) -> None:
    """Every promotion of every process stands once in the history and once in the log, in one order."""
    registry = Registry(tmp_path / "registry")
    registry.publish(bundle(tmp_path / "made", "a"))
    context = multiprocessing.get_context("spawn")
    racers = [context.Process(target=promote_often, args=(registry.location, f"p{n}")) for n in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
        assert racer.exitcode == 0
    history = registry.history()
    assert [entry.number for entry in history] == list(range(1, 31))
    assert [(one.details["entry"], one.who) for one in registry.audit.records()] == [
        (entry.number, entry.who) for entry in history
    ]
    assert registry.verify().faults == ()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("put", [1, 2, 3, 4])
def test_killed_at_any_step_nothing_is_half_done(tmp_path: Path, put: int, when: str) -> None:
    """Killed before or after any write, a bundle is whole or not there, and so is a promotion; done again, all is."""
    location, made = tmp_path / "registry", tmp_path / "made"
    Registry(location).publish(bundle(made, "old"))
    Registry(location).promote("old", at=1, who="tests", why="because")
    bundle(made, "new")
    killed = subprocess.run(  # noqa: S603 this program
        [sys.executable, "-m", "tests.registry.killed", location, made / "new", str(put), when],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    registry = Registry(location)
    whole, promoted = put + (when == "after") > 2, put + (when == "after") > 3
    assert registry.ids() == (("new", "old") if whole else ("old",))
    champion = registry.champion()
    assert champion is not None
    assert champion.bundle == ("new" if promoted else "old")
    assert registry.verify().faults == ()
    registry.publish(made / "new")
    registry.promote("new", at=3, who="tests", why="again")
    assert [entry.bundle for entry in registry.history()] == ["old", "new", "new"] if promoted else ["old", "new"]
    assert [one.details["entry"] for one in registry.audit.records()] == [one.number for one in registry.history()]
    assert registry.verify().faults == ()
    fetched = registry.fetch("new", tmp_path / "cache")
    assert {file.name for file in fetched.iterdir()} == {"network.onnx", "manifest.json"}


def test_what_a_killed_process_could_not_record_is_recorded_by_the_next(tmp_path: Path) -> None:
    """An entry without a record is told of in the log by whoever promotes next, or by whoever asks for it."""
    location, made = tmp_path / "registry", tmp_path / "made"
    Registry(location).publish(bundle(made, "a"))
    Registry(location).promote("a", at=1, who="tests", why="because")
    Registry(location).challenge("a", at=2, who="tests", why="to see")
    (location / "audit" / "00000002.json").unlink()
    assert [record.kind for record in Registry(location).record()] == ["challenge"]
    assert Registry(location).record() == ()


def test_a_history_that_was_changed_is_found(tmp_path: Path) -> None:
    """An entry that says otherwise than its record, or that is gone, is named with the record."""
    location = tmp_path / "registry"
    registry = Registry(location)
    registry.publish(bundle(tmp_path / "made", "a"))
    for at in range(3):
        registry.promote("a", at=at, who="tests", why="because")
    entry = location / "champions" / "00000002.json"
    entry.write_bytes(entry.read_bytes().replace(b"tests", b"saint"))
    (fault,) = Registry(location).verify().faults
    assert fault == (2, "champions/00000002.json, which it records, was changed")
    entry.unlink()
    (fault,) = Registry(location).verify().faults
    assert fault == (2, "champions/00000002.json, which it records, is missing")


SCRIPT = """
import os, resource, signal, sys
from obstore.store import LocalStore
from slidr.audit import Audit, Draft, Record
from slidr.errors import RegistryError
from slidr.objects import Objects
if sys.argv[2] == "full":
    # No file of more than 64 bytes, as on a disk that is full.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
elif os.getuid() == 0:
    # An account that owns nothing.
    os.setgid(65534)
    os.setuid(65534)
try:
    objects = Objects(sys.argv[1])
    print(objects.numbers("champions/"))
    objects.create("champions/00000002.json", b"x" * 100)
except RegistryError as fault:
    print(fault)
"""


@pytest.mark.parametrize("why", ["full", "not allowed"])
def test_a_registry_that_cannot_be_written(tmp_path: Path, why: str) -> None:
    """On a full disk, or without permission, the error says so and what to check; what is there stays as it is."""
    # Below a folder that every account may look into, as those of pytest are not.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        location = Path(folder) / "registry"
        registry = Registry(location)
        registry.publish(bundle(tmp_path / "made", "a"))
        registry.promote("a", at=1, who="tests", why="because")
        held = {path: path.read_bytes() for path in location.rglob("*") if path.is_file()}
        rights = [place for place in (location, *location.rglob("*")) if why == "not allowed" and place.is_dir()]
        for place in rights:
            place.chmod(0o555)
        said = subprocess.run(  # noqa: S603 this program
            [sys.executable, "-c", SCRIPT, location, why],
            cwd="/", env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for place in rights:
            place.chmod(0o755)
        first, second = said.stdout.splitlines()
        assert first == "[1]"
        assert f"registry {location} cannot be written" in second
        assert "check storage.registry and the rights to it" in second
        assert {path: path.read_bytes() for path in location.rglob("*") if path.is_file()} == held
        assert Registry(location).promote("a", at=2, who="tests", why="again").number == 2


class Unwritable(Audit):
    """An audit log that cannot be written."""

    def extend(self, missing: Callable[[Iterator[Record]], list[Draft]]) -> tuple[Record, ...]:
        """Refuse."""
        del missing
        raise RegistryError("the disk is full")


def test_a_rollback_stands_where_it_cannot_be_recorded(tmp_path: Path) -> None:
    """The error says that the entry stands; who comes next records it."""
    store = MemoryStore()
    registry = Registry(store)
    for name in ("a", "b"):
        registry.publish(bundle(tmp_path, name))
        registry.promote(name, at=1, who="tests", why="because")
    registry.audit = Unwritable(store)
    with pytest.raises(RegistryError, match=r"entry 3 of the history stands \(rollback a\).*the disk is full"):
        registry.rollback(at=2, who="tests", why="bad", to="a")
    other = Registry(store)
    assert other.champion() == other.history()[-1]
    assert other.rollback(at=3, who="tests", why="bad", of="b").number == 3
    assert [record.kind for record in other.audit.records()] == ["promote", "promote", "rollback"]
