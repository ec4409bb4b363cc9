"""Roles, and what a rollback goes to: always a bundle that held, never one that was rolled back."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.registry.making import bundle, shelf

from slidr.clock import DAY, HOUR
from slidr.errors import RegistryError
from slidr.registry import HistoryEntry, Registry
from slidr.registry.history import champion_of, fallback_of, rollback_of, rolled_back, stable_of


def promote(registry: Registry, identity: str, at: int, *, again: bool = False) -> None:
    """Promote a bundle at an hour."""
    registry.promote(identity, at=at * HOUR, who="tests", why="because", again=again)


def rollback(registry: Registry, at: int, *, to: str | None = None, of: str | None = None) -> HistoryEntry:
    """Roll back at an hour."""
    return registry.rollback(at=at * HOUR, who="tests", why="it marks everything", to=to, of=of)


def test_a_bundle_goes_from_candidate_to_champion_to_stable(tmp_path: Path) -> None:
    """Published it is a candidate; after 24 hours as champion it is stable, whoever decides then."""
    registry = shelf(tmp_path, "a", "b", "c", "d")
    assert registry.roles(0) == dict.fromkeys("abcd", "candidate")
    promote(registry, "a", 0)
    registry.challenge("d", at=HOUR, who="tests", why="because")
    assert registry.stable(23 * HOUR) == ()
    assert registry.stable(24 * HOUR) == ("a",)
    promote(registry, "b", 30)
    promote(registry, "c", 40)
    assert registry.roles(41 * HOUR) == {"a": "stable", "b": "former", "c": "champion", "d": "challenger"}
    assert registry.target(41 * HOUR) == "a"
    assert registry.stable(70 * HOUR) == ("c", "a")
    assert registry.target(70 * HOUR) == "a"


def test_a_rollback_goes_to_the_newest_stable_bundle(tmp_path: Path) -> None:
    """It passes over those that were champion too short; the next one goes further back, never to one rolled back."""
    registry = shelf(tmp_path, "a", "b", "c", "d")
    promote(registry, "a", 0)
    promote(registry, "b", 30)
    promote(registry, "c", 60)
    promote(registry, "d", 61)
    entry = rollback(registry, 62)
    assert (entry.kind, entry.bundle, entry.instead, entry.number) == ("rollback", "b", "d", 5)
    assert registry.roles(62 * HOUR) == {"a": "stable", "b": "champion", "c": "former", "d": "rolled back"}
    named = registry.named()
    assert named is not None
    assert (named.champion, named.fallback) == ("b", "a")
    assert rollback(registry, 63).bundle == "a"
    with pytest.raises(RegistryError, match=r"no bundle is stable.*24 h without an alarm.*rollback --to c"):
        rollback(registry, 64)
    assert rollback(registry, 64, to="c").bundle == "c"
    assert registry.roles(64 * HOUR) == {"a": "rolled back", "b": "rolled back", "c": "champion", "d": "rolled back"}
    with pytest.raises(RegistryError, match=r"no bundle is stable.*promote` another"):
        rollback(registry, 65)


def test_an_alarm_keeps_a_bundle_from_being_stable(tmp_path: Path) -> None:
    """Neither one that would become stable nor one that is is a target with an alarm; cleared, its time counts anew."""
    registry = shelf(tmp_path, "a", "b", "c")
    promote(registry, "a", 0)
    registry.alarm("a", at=20 * HOUR, who="monitor", why="IVR doubled")
    assert registry.stable(30 * HOUR) == ()
    registry.clear("a", at=31 * HOUR, who="tests", why="a sale")
    assert registry.stable(54 * HOUR) == ()
    assert registry.stable(55 * HOUR) == ("a",)
    promote(registry, "b", 56)
    registry.alarm("b", at=90 * HOUR, who="monitor", why="IVR doubled")
    promote(registry, "c", 91)
    assert registry.stable(92 * HOUR) == ("a",)
    registry.alarm("a", at=93 * HOUR, who="tests", why="replay shows it")
    with pytest.raises(RegistryError, match="no bundle is stable"):
        rollback(registry, 94)


def test_what_was_rolled_back_is_promoted_only_on_purpose(tmp_path: Path) -> None:
    """A daily run that comes again does not bring it back; whoever says so does, and it stays no target."""
    registry = shelf(tmp_path, "a", "b", "c")
    promote(registry, "a", 0)
    promote(registry, "b", 30)
    rollback(registry, 31)
    with pytest.raises(RegistryError, match=r"b was rolled back in entry 3 .* by tests: it marks everything.*--again"):
        promote(registry, "b", 32)
    promote(registry, "b", 32, again=True)
    promote(registry, "c", 80)
    assert registry.target(81 * HOUR) == "a"
    with pytest.raises(RegistryError, match="b was itself rolled back in entry 3"):
        rollback(registry, 81, to="b")


@pytest.mark.parametrize(
    ("to", "of", "words"),
    [
        ("c", None, "c never was champion"),
        ("b", None, "b is the champion"),
        ("x", None, "has no bundle 'x'"),
        (None, "a", "bundle a is not champion, b is"),
    ],
)
def test_a_rollback_that_makes_no_sense_is_refused(tmp_path: Path, to: str | None, of: str | None, words: str) -> None:
    """The message says what is wrong, and nothing changes."""
    registry = shelf(tmp_path, "a", "b", "c")
    promote(registry, "a", 0)
    promote(registry, "b", 30)
    with pytest.raises(RegistryError, match=words):
        rollback(registry, 31, to=to, of=of)
    assert [entry.kind for entry in registry.history()] == ["promote", "promote"]


def test_nothing_to_roll_back(tmp_path: Path) -> None:
    """Where nothing was promoted, that is what is said."""
    with pytest.raises(RegistryError, match="has no champion, so that nothing can be rolled back"):
        rollback(shelf(tmp_path, "a"), 1)


def test_who_finds_the_same_bundle_bad_rolls_back_once(tmp_path: Path) -> None:
    """Of several who roll back at once one does, and all get its entry; a bundle further back is left alone."""
    for name in "abc":
        Registry(tmp_path / "registry").publish(bundle(tmp_path / "made", name))
    registry = Registry(tmp_path / "registry")
    for at, name in ((0, "a"), (30, "b"), (60, "c")):
        promote(registry, name, at)
    barrier = threading.Barrier(6)
    entries: list[HistoryEntry] = []

    def race() -> None:
        mine = Registry(tmp_path / "registry")
        barrier.wait()
        entries.append(rollback(mine, 61, of="c"))

    racers = [threading.Thread(target=race) for _ in range(6)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [entry.number for entry in entries] == [4] * 6
    assert [entry.bundle for entry in registry.history()] == ["a", "b", "c", "b"]
    assert [record.details["entry"] for record in registry.audit.records()] == [1, 2, 3, 4]


STEPS = st.tuples(st.sampled_from(["promote", "rollback", "alarm", "clear"]), st.sampled_from("abcd"))


@given(st.lists(st.tuples(STEPS, st.integers(0, 40)), max_size=25))
def test_a_rollback_never_goes_where_it_must_not(steps: list[tuple[tuple[str, str], int]]) -> None:
    """Whatever the history, its target is no champion, has no alarm, was not rolled back and was champion a day."""
    history: list[HistoryEntry] = []
    now = 0
    for number, ((kind, name), hours) in enumerate(steps, 1):
        now += hours * HOUR
        champion = champion_of(history)
        bad = champion.bundle if champion is not None and kind == "rollback" else ""
        draft = HistoryEntry(number=0, kind=kind, bundle="" if bad else name, at=now, who="", why="", instead=bad)  # type: ignore[arg-type]
        if kind == "rollback":
            try:
                draft = rollback_of(history, draft, DAY)
            except RegistryError:
                continue
            alarmed = [one.kind for one in history if one.bundle == draft.bundle and one.kind in {"alarm", "clear"}]
            assert draft.bundle != bad
            assert alarmed[-1:] != ["alarm"]
            assert draft.bundle not in rolled_back(history)
            assert draft.bundle in stable_of(history, now, DAY)
            assert draft.bundle == fallback_of(history, DAY)
        history.append(
            HistoryEntry(
                number=number, kind=draft.kind, bundle=draft.bundle, at=now, who="", why="", instead=draft.instead
            )
        )
