from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.registry.making import bundle

from slidr.errors import RegistryError
from slidr.registry import HistoryEntry, Named, Registry


def promote(registry: Registry, identity: str, at: int = 5) -> HistoryEntry:
    """Promote a bundle for no special reason."""
    return registry.promote(identity, at=at, who="tests", why="because")


def test_a_bundle_comes_back_as_it_was_published(tmp_path: Path) -> None:
    """Publishing and fetching give the same files; publishing again, and fetching again, change nothing."""
    registry = Registry(tmp_path / "registry")
    source = bundle(tmp_path / "made", "b1")
    assert registry.ids() == ()
    assert registry.publish(source) == registry.publish(source) == "b1"
    assert registry.ids() == ("b1",)
    place = registry.fetch("b1", tmp_path / "cache")
    assert place == tmp_path / "cache" / "b1" == registry.fetch("b1", tmp_path / "cache")
    assert {file.name: file.read_bytes() for file in place.iterdir()} == {
        file.name: file.read_bytes() for file in source.iterdir()
    }
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["b1"]


def test_another_bundle_of_the_same_id_is_refused(tmp_path: Path) -> None:
    """A bundle in the registry is never overwritten by one with other contents."""
    registry = Registry(tmp_path / "registry")
    registry.publish(bundle(tmp_path / "one", "b1"))
    with pytest.raises(RegistryError, match="holds another bundle b1"):
        registry.publish(bundle(tmp_path / "two", "b1", "other"))
    assert (registry.fetch("b1", tmp_path / "cache") / "network.onnx").read_text() == "graph"


def test_an_upload_that_was_cut_off_is_no_bundle(tmp_path: Path) -> None:
    """Files without a manifest are not a bundle: not listed, not fetched, not promoted, and uploaded over."""
    registry = Registry(tmp_path / "registry")
    stump = tmp_path / "registry" / "bundles" / "b1"
    stump.mkdir(parents=True)
    (stump / "network.onnx").write_text("hal")
    assert registry.ids() == ()
    with pytest.raises(RegistryError, match="has no bundle 'b1'; publish one first"):
        registry.fetch("b1", tmp_path / "cache")
    with pytest.raises(RegistryError, match="has no bundle 'b1'"):
        promote(registry, "b1")
    registry.publish(bundle(tmp_path / "made", "b1"))
    assert (registry.fetch("b1", tmp_path / "cache") / "network.onnx").read_text() == "graph"


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    """What is not a whole bundle is not published."""
    (tmp_path / "b1").mkdir()
    with pytest.raises(RegistryError, match=r"holds no manifest\.json"):
        Registry(tmp_path / "registry").publish(tmp_path / "b1")


def test_the_newest_entry_is_the_champion(tmp_path: Path) -> None:
    """Promotions are numbered from 1, the last one counts, and a bundle may be promoted again."""
    registry = Registry(str(tmp_path / "registry"))
    assert registry.champion() is None
    assert registry.history() == ()
    for identity in ("b1", "b2"):
        registry.publish(bundle(tmp_path / "made", identity))
    entries = tuple(promote(registry, identity, at) for at, identity in enumerate(["b1", "b2", "b1"]))
    assert [entry.number for entry in entries] == [1, 2, 3]
    assert registry.history() == entries
    assert registry.champion() == entries[-1]
    assert Registry(tmp_path / "registry").champion() == HistoryEntry(
        number=3, kind="promote", bundle="b1", at=2, who="tests", why="because"
    )


def test_a_missing_bundle_is_named_with_the_nearest(tmp_path: Path) -> None:
    """A misspelt id is answered with the nearest one that is there."""
    registry = Registry(tmp_path / "registry")
    registry.publish(bundle(tmp_path / "made", "champion-1"))
    with pytest.raises(RegistryError, match="did you mean 'champion-1'"):
        promote(registry, "champion-2")


def test_promotions_at_once_all_stand_in_the_history(tmp_path: Path) -> None:
    """Each of several simultaneous promotions gets a number of its own."""
    names = [f"b{place}" for place in range(4)]
    registry = Registry(tmp_path / "registry")
    for identity in names:
        registry.publish(bundle(tmp_path / "made", identity))
    barrier = threading.Barrier(len(names))

    def race(identity: str) -> None:
        mine = Registry(tmp_path / "registry")
        barrier.wait()
        promote(mine, identity)

    racers = [threading.Thread(target=race, args=(identity,)) for identity in names]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [entry.number for entry in registry.history()] == [1, 2, 3, 4]
    assert sorted(entry.bundle for entry in registry.history()) == names


@pytest.mark.parametrize("identity", ["../b1", "", "a/b", ".hidden", "x" * 129])
def test_an_id_cannot_name_a_path(tmp_path: Path, identity: str) -> None:
    """An id that would reach out of the registry is refused before anything is read."""
    with pytest.raises(RegistryError, match="is not the id of a bundle"):
        Registry(tmp_path / "registry").fetch(identity, tmp_path / "cache")


def test_a_history_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """An entry of another form is refused with its path, never skipped."""
    registry = Registry(tmp_path / "registry")
    registry.publish(bundle(tmp_path / "made", "b1"))
    promote(registry, "b1")
    (tmp_path / "registry" / "champions" / "00000002.json").write_text('{"kind": "coup"}')
    with pytest.raises(RegistryError, match=r"champions/00000002\.json is not an entry"):
        registry.champion()


@pytest.mark.parametrize("location", ["nope://bucket", "/dev/null/registry"])
def test_a_location_that_cannot_be_opened_is_named(location: str) -> None:
    """An unknown scheme and a path that cannot be a folder are refused with the setting to change."""
    with pytest.raises(RegistryError, match=rf"registry {location} cannot be opened: .*storage\.registry"):
        Registry(location)


def test_a_challenger_stands_beside_the_champion(tmp_path: Path) -> None:
    """The newest challenge counts, an empty one ends it, and who was promoted challenges nobody any more."""
    registry = Registry(tmp_path / "registry")
    for identity in ("b1", "b2", "b3"):
        registry.publish(bundle(tmp_path / "made", identity))

    def challenge(identity: str | None) -> None:
        registry.challenge(identity, at=6, who="tests", why="because")

    challenge("b2")
    assert registry.named() is None
    promote(registry, "b1")
    assert registry.named() == Named("b1", "b2", cold=False)
    challenge("b3")
    registry.promote("b1", at=7, who="tests", why="because", cold=True)
    assert registry.named() == Named("b1", "b3", cold=True)
    promote(registry, "b3")
    assert registry.named() == Named("b3", None, cold=False, fallback="b1")
    promote(registry, "b1")
    assert registry.named() == Named("b1", "b3", cold=False, fallback="b3")
    challenge(None)
    assert registry.named() == Named("b1", None, cold=False, fallback="b3")
    assert registry.champion() == registry.history()[-2]
    with pytest.raises(RegistryError, match="has no bundle 'b4'"):
        challenge("b4")
    assert [entry.kind for entry in registry.history()].count("challenge") == 3


def test_who_looks_again_sees_what_is_new(tmp_path: Path) -> None:
    """Entries are read once by who looks all the time, and those that others write later are seen."""
    registry, other = Registry(tmp_path / "registry"), Registry(tmp_path / "registry")
    for identity in ("b1", "b2"):
        registry.publish(bundle(tmp_path / "made", identity))
    promote(registry, "b1")
    assert other.named() == Named("b1", None, cold=False)
    (tmp_path / "registry" / "champions" / "00000001.json").write_text("nobody reads this again")
    assert other.named() == Named("b1", None, cold=False)
    promote(registry, "b2")
    assert other.named() == Named("b2", None, cold=False, fallback="b1")
