"""The audit log: whatever is changed in it is found, and named by its number."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from slidr.audit import Audit, Record, differences
from slidr.errors import RegistryError
from slidr.features.keys import KeyRing, Secret

KEY, OTHER = Secret(bytes(range(16)), 0), Secret(bytes(range(16, 32)), 5)
RING = KeyRing((KEY,))


def write(audit: Audit, count: int) -> None:
    """Append records about nothing special."""
    for place in range(count):
        audit.append("promote", f"b{place}", at=place, who="tests", why="because", details={"place": place, "x": 0.1})


def place(root: Path, number: int) -> Path:
    """Return the file of a record."""
    return root / "audit" / f"{number:08d}.json"


def rewrite(root: Path, number: int, **fields: object) -> None:
    """Change a record as who has no key would: its fields, and nothing else."""
    record = msgspec.json.decode(place(root, number).read_bytes(), type=Record)
    place(root, number).write_bytes(msgspec.json.encode(msgspec.structs.replace(record, **fields)))


def swap(root: Path, one: int, other: int) -> None:
    """Put two records each in the place of the other."""
    held = place(root, one).read_bytes()
    place(root, one).write_bytes(place(root, other).read_bytes())
    place(root, other).write_bytes(held)


def insert(root: Path, number: int) -> None:
    """Put a record of one's own at a number, and those from there on one further, as who has no key would."""
    count = len(list((root / "audit").iterdir()))
    for at in range(count, number - 1, -1):
        record = msgspec.json.decode(place(root, at).read_bytes(), type=Record)
        moved = msgspec.structs.replace(record, number=at + 1)
        place(root, at + 1).write_bytes(msgspec.json.encode(moved))
    record = msgspec.json.decode(place(root, number + 1).read_bytes(), type=Record)
    mine = msgspec.structs.replace(record, number=number, who="mallory")
    place(root, number).write_bytes(msgspec.json.encode(mine))


def faults(root: Path, head: str = "", ring: KeyRing | None = RING) -> dict[int, str]:
    """Return what is found, by number."""
    return {fault.number: fault.reason for fault in Audit(root, ring).verify(head).faults}


def test_records_are_kept_in_order_and_sealed(tmp_path: Path) -> None:
    """Each has its number, the hash of the one before and a seal; verified, the head is that of the newest."""
    audit = Audit(tmp_path, RING)
    write(audit, 3)
    records = audit.records()
    assert [record.number for record in records] == [1, 2, 3]
    assert records[1].details == {"place": 1, "x": 0.1}
    assert {record.key for record in records} == {RING.newest.fingerprint}
    assert len({record.seal for record in records}) == 3
    found = audit.verify()
    assert (found.records, found.sealed, found.faults) == (3, 3, ())
    assert re.fullmatch(r"3:[0-9a-f]{64}", found.head)
    write(audit, 1)
    assert Audit(tmp_path, RING).verify(found.head).faults == ()


def test_an_empty_log_is_whole(tmp_path: Path) -> None:
    """Where nothing was done there is nothing wrong, and no head."""
    assert Audit(tmp_path).verify() == (0, 0, "", ())


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize(
    ("tamper", "number", "words"),
    [
        (lambda root: rewrite(root, 2, why="nothing"), 2, "was changed"),
        (lambda root: place(root, 2).write_text("{}"), 2, "was changed: it is not as it is written"),
        (lambda root: place(root, 2).write_bytes(place(root, 2).read_bytes() + b" "), 2, "not as it is written"),
        (lambda root: place(root, 2).unlink(), 2, "is missing"),
        (lambda root: place(root, 1).unlink(), 1, "is missing"),
        (lambda root: swap(root, 2, 3), 2, "it says that it is record 3"),
        (lambda root: insert(root, 3), 3, ""),
        (lambda root: (root / "audit" / "2.json").write_text("{}"), 0, "2.json is no name of a record"),
        (
            lambda root: place(root, 9).write_bytes(place(root, 5).read_bytes()),
            6,
            "missing, and so are all up to record 8",
        ),
    ],
)
def test_what_is_changed_within_the_log_is_named(
    tmp_path: Path, tamper: Callable[[Path], object], number: int, words: str, *, sealed: bool
) -> None:
    """A record that was changed, removed, reordered or inserted is named by its number, with a key and without."""
    ring = RING if sealed else None
    write(Audit(tmp_path, ring), 5)
    tamper(tmp_path)
    found = faults(tmp_path, ring=ring)
    # Without a seal, what was inserted is only seen to be followed by what does not follow it.
    assert min(found) == number
    assert words in found[number]


@pytest.mark.parametrize("last", [True, False])
def test_only_the_key_can_write_history_anew(tmp_path: Path, *, last: bool) -> None:
    """A chain written anew from one record on fits in itself; the seals, or the head that was kept, show it."""
    audit = Audit(tmp_path, RING)
    write(audit, 4)
    head = audit.verify().head
    first = 4 if last else 2
    for number in range(first, 5):
        place(tmp_path, number).unlink()
    forger = Audit(tmp_path)
    write(forger, 5 - first)
    assert Audit(tmp_path).verify().faults == ()
    assert list(faults(tmp_path)) == list(range(first, 5))
    assert "bears no seal" in faults(tmp_path)[first]
    assert "written anew" in faults(tmp_path, head, ring=None)[4]
    other = KeyRing((OTHER,))
    for number in range(first, 5):
        place(tmp_path, number).unlink()
    write(Audit(tmp_path, other), 5 - first)
    assert "which is not in the key file" in faults(tmp_path)[first]


def test_what_is_cut_off_the_end_is_seen_by_the_head(tmp_path: Path) -> None:
    """Without the head that was kept a shorter log looks whole; with it the record that it names is missed."""
    audit = Audit(tmp_path, RING)
    write(audit, 4)
    head = audit.verify().head
    place(tmp_path, 4).unlink()
    assert faults(tmp_path) == {}
    assert "was removed: the head that was kept names it" in faults(tmp_path, head)[4]


def test_a_head_that_is_none_is_refused(tmp_path: Path) -> None:
    """What is no number and hash is told from a head that does not fit."""
    with pytest.raises(RegistryError, match="'abc' is no head of an audit log"):
        Audit(tmp_path).verify("abc")


def test_keys_rotate(tmp_path: Path) -> None:
    """Records before a rotation are checked with the key of then; a key that is taken away is missed by its name."""
    write(Audit(tmp_path, RING), 2)
    both = KeyRing((KEY, OTHER))
    write(Audit(tmp_path, both), 2)
    found = Audit(tmp_path, both).verify()
    assert (found.sealed, found.faults) == (4, ())
    assert len({record.key for record in Audit(tmp_path).records()}) == 2
    assert list(faults(tmp_path, ring=KeyRing((OTHER,)))) == [1, 2]
    # The key of a record cannot be exchanged for another one of the ring.
    rewrite(tmp_path, 1, key=KeyRing((OTHER,)).newest.fingerprint)
    assert "its seal does not fit" in faults(tmp_path, ring=both)[1]


def test_a_damaged_record_stops_nobody(tmp_path: Path) -> None:
    """What has to be recorded is, behind it; listing names it."""
    audit = Audit(tmp_path, RING)
    write(audit, 2)
    place(tmp_path, 2).write_text("no record")
    write(Audit(tmp_path, RING), 1)
    assert list(faults(tmp_path)) == [2]
    with pytest.raises(RegistryError, match=r"audit/00000002\.json is no record.*audit verify"):
        Audit(tmp_path).records()


def test_who_writes_at_once_makes_one_chain(tmp_path: Path) -> None:
    """Records of several writers stand one after the other, none lost, none twice."""
    barrier = threading.Barrier(4)

    def race(name: str) -> None:
        audit = Audit(tmp_path, RING)
        barrier.wait()
        for at in range(10):
            audit.append("review", f"{name}-{at}", at=at, who=name, why="because")

    racers = [threading.Thread(target=race, args=(name,)) for name in "abcd"]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    audit = Audit(tmp_path, RING)
    assert audit.verify().faults == ()
    subjects = [record.subject for record in audit.records()]
    assert sorted(subjects) == sorted(f"{name}-{at}" for name in "abcd" for at in range(10))
    for name in "abcd":
        assert [subject for subject in subjects if subject[0] == name] == [f"{name}-{at}" for at in range(10)]


def test_only_changes_are_recorded(tmp_path: Path) -> None:
    """The same document is recorded once, however often it is told; another one with what differs."""
    audit = Audit(tmp_path, RING)

    def told(document: dict[str, object], subject: str = "service") -> dict[str, list[object]] | None:
        record = Audit(tmp_path, RING).changed("settings", subject, document, at=1, who="tests", why="start")
        return None if record is None else record.details["changed"]

    assert told({"a": {"b": 1}, "c": (1, 2)}) == {"a": [None, {"b": 1}], "c": [None, [1, 2]]}
    assert told({"c": [1, 2], "a": {"b": 1}}) is None
    assert told({"a": {"b": 2}, "c": (1, 2)}) == {"a.b": [1, 2]}
    assert told({"a": {"b": 1}, "c": (1, 2)}, "daily") is not None
    write(audit, 300)
    assert told({"a": {"b": 2}, "c": (1, 2)}) is None
    assert told({"a": {"b": 1}, "c": (1, 2)}) == {"a.b": [2, 1]}


def test_a_log_in_memory_or_behind_an_address() -> None:
    """An open store serves as a directory does."""
    store = MemoryStore()
    write(Audit(store, RING), 2)
    assert Audit(store, RING).verify().records == 2


@settings(max_examples=60)
@given(st.integers(1, 6), st.data())
def test_no_byte_can_be_changed_unseen(count: int, data: st.DataObject) -> None:
    """Any byte of any record, changed, is found in that record."""
    store = MemoryStore()
    write(Audit(store, RING), count)
    number = data.draw(st.integers(1, count))
    path = f"audit/{number:08d}.json"
    content = bytearray(store.get(path).bytes().to_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    store.put(path, bytes(content))
    assert min(fault.number for fault in Audit(store, RING).verify().faults) == number


def test_a_difference_names_paths_and_values() -> None:
    """Values that are equal are left out, and those that are there once have null on the other side."""
    was, now = {"a": [1, 2], "b": {"c": None}}, {"a": [1, 3], "b": {"c": None, "d": "x"}}
    assert json.loads(json.dumps(differences(was, now))) == {"a": [[1, 2], [1, 3]], "b.d": [None, "x"]}
