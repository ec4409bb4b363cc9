"""A rollback needs no cold start: the state of what it goes to is folded beside that of who decides."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import pytest
from tests.service.making import NOW, SECRET, click, make_bundle, make_parts

from slidr.bundle import Bundle
from slidr.clock import HOUR, ManualClock
from slidr.decide import Decider
from slidr.features.catalogue import Clicks, check_catalogue
from slidr.features.clicks import Click
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.journal import Entry, Journal
from slidr.registry import Registry
from slidr.service.answers import Answer
from slidr.service.following import Follower, read_fallback
from slidr.service.lifecycle import Parts, Service

OLD = check_catalogue((Clicks("user", "1h"), Clicks("session", "1h")))
NEW = check_catalogue((Clicks("ip", "10m"), Clicks("user", "10m")))


class Shelf(NamedTuple):
    """A registry with bundles of two catalogues, none of which has a block of the other's."""

    registry: Registry
    old: Bundle
    same: Bundle
    new: Bundle

    def promote(self, bundle: Bundle, *, cold: bool = False) -> None:
        """Make a bundle the champion."""
        self.registry.promote(bundle.id, at=1, who="tests", why="because", cold=cold)

    def rollback(self, to: Bundle) -> None:
        """Roll back to a bundle."""
        self.registry.rollback(at=1, who="tests", why="because", to=to.id)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Three bundles, of which the first is champion."""
    made = tmp_path / "made"
    old, same = make_bundle(made, catalogue=OLD), make_bundle(made, catalogue=OLD, seed=7)
    shelf = Shelf(Registry(tmp_path / "registry"), old, same, make_bundle(made, catalogue=NEW, seed=8))
    for bundle in shelf[1:]:
        shelf.registry.publish(made / bundle.id)
    shelf.promote(shelf.old)
    return shelf


class Followed:
    """A service whose registry is looked at by hand."""

    def __init__(self, parts: Parts) -> None:
        self.service = Service(parts, clock=ManualClock(NOW))
        self.follower = Follower(self.service)

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.service.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Stop it."""
        await self.service.stop()

    async def look(self) -> str:
        """Look at the registry once, and return the bundle that decides then."""
        await self.follower._look()
        return self.service.parts.bundle.id

    async def ask(self, places: range) -> list[Answer]:
        """Have clicks decided."""
        return await self.service.accept(msgspec.json.encode([click(place) for place in places]))[1]

    @property
    def store(self) -> object:
        """The state of the features."""
        return self.service.batcher.live.store


def entries_of(parts: Parts) -> list[Entry]:
    """Return what a journal holds."""
    with Journal(parts.journal_path, write=False) as journal:
        return [entry for chunk in journal.entries() for entry in chunk]


def remove_journal(parts: Parts) -> None:
    """Remove a journal, so that its clicks are known to the snapshot alone."""
    for name in ("", "-wal", "-shm"):
        Path(f"{parts.journal_path}{name}").unlink(missing_ok=True)


def undisturbed(bundle: Bundle, count: int) -> list[bytes]:
    """Return the rows of the first clicks over a store that is the bundle's alone, from the beginning."""
    decider = Decider(bundle, EmbeddedStore(compile_catalogue(bundle.catalogue)), Pseudonymiser(SECRET))
    clicks = [msgspec.convert(click(place), Click) for place in range(count)]
    return [row.tobytes() for row in decider.decide(clicks).rows]


def test_over_a_change_of_catalogue_and_back(shelf: Shelf, tmp_path: Path) -> None:
    """Challenger, champion, rolled back: one store throughout, no click unmeasurable, every row as if undisturbed."""
    parts = make_parts(tmp_path, shelf.old)

    async def main() -> None:
        async with Followed(parts) as at:
            await at.ask(range(20))
            shelf.registry.challenge(shelf.new.id, at=1, who="tests", why="because")
            assert await at.look() == shelf.old.id
            store = at.store
            await at.ask(range(20, 40))
            shelf.promote(shelf.new)
            assert await at.look() == shelf.new.id
            assert at.service.parts.fallback == shelf.old
            await at.ask(range(40, 60))
            shelf.rollback(shelf.old)
            assert await at.look() == shelf.old.id
            await at.ask(range(60, 80))
            shelf.promote(shelf.same)
            assert await at.look() == shelf.same.id
            await at.ask(range(80, 100))
            assert at.store is store

    asyncio.run(main())
    entries = entries_of(parts)
    old, new, same = (undisturbed(bundle, 100) for bundle in (shelf.old, shelf.new, shelf.same))
    assert [entry.row for entry in entries] == [*old[:40], *new[40:60], *old[60:80], *same[80:]]
    assert "unmeasurable" not in {entry.verdict for entry in entries}


def test_a_forced_change_of_catalogue_is_rolled_back_warm(shelf: Shelf, tmp_path: Path) -> None:
    """Promoted cold, without a challenger's time, a bundle is left again for the state that was folded meanwhile."""
    parts = make_parts(tmp_path, shelf.old)

    async def main() -> None:
        async with Followed(parts) as at:
            await at.ask(range(30))
            shelf.promote(shelf.new, cold=True)
            assert await at.look() == shelf.new.id
            await at.ask(range(30, 60))
            store = at.store
            shelf.rollback(shelf.old)
            assert await at.look() == shelf.old.id
            assert at.store is store
            await at.ask(range(60, 90))

    asyncio.run(main())
    entries = entries_of(parts)
    assert [entry.row for entry in entries[60:]] == undisturbed(shelf.old, 90)[60:]
    assert "unmeasurable" not in {entry.verdict for entry in entries[60:]}


def test_a_rollback_after_a_restart_is_warm(shelf: Shelf, tmp_path: Path) -> None:
    """What a rollback goes to is in the snapshot too: the journal, which no longer reaches back, is not needed."""
    parts = make_parts(tmp_path, shelf.old)

    async def main() -> None:
        async with Followed(parts) as at:
            await at.ask(range(30))
            shelf.promote(shelf.new, cold=True)
            await at.look()
            await at.ask(range(30, 60))
        remove_journal(parts)
        named = shelf.registry.named()
        assert named is not None
        known = parts.pseudonymiser.known
        fallback = read_fallback(shelf.registry, named, tmp_path / "bundles", known)
        assert fallback is not None
        assert fallback.id == shelf.old.id
        async with Followed(parts._replace(bundle=shelf.new, fallback=fallback, cold=True)) as at:
            await at.ask(range(60, 70))
            shelf.rollback(shelf.old)
            assert await at.look() == shelf.old.id
            await at.ask(range(70, 80))

    asyncio.run(main())
    assert [entry.row for entry in entries_of(parts)[10:]] == undisturbed(shelf.old, 80)[70:]


@pytest.mark.parametrize("fault", ["gone", "corrupt"])
def test_a_fallback_that_cannot_be_used_stops_nobody(
    shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """The champion is taken over all the same, and the log says that a rollback would not be."""
    parts = make_parts(tmp_path, shelf.old)
    folder = tmp_path / "registry" / "bundles" / shelf.old.id
    if fault == "gone":
        (folder / "manifest.json").rename(tmp_path / "held")
    else:
        (folder / "network.onnx").write_bytes(b"")

    async def main() -> None:
        async with Followed(parts) as at:
            shelf.promote(shelf.new, cold=True)
            assert await at.look() == shelf.new.id
            assert at.service.parts.fallback is None
            assert (await at.ask(range(5)))[0].bundle == shelf.new.id

    with caplog.at_level(logging.WARNING, "slidr.service"):
        asyncio.run(main())
    assert f"a rollback to {shelf.old.id} would not be taken over" in caplog.text


def test_a_fallback_of_an_unknown_secret_key_is_not_kept(shelf: Shelf, tmp_path: Path) -> None:
    """Its clicks could not be hashed here, so that it is left out."""
    shelf.promote(shelf.new)
    named = shelf.registry.named()
    assert named is not None
    assert read_fallback(shelf.registry, named, tmp_path / "bundles", {"0123456789abcdef"}) is None
    assert read_fallback(shelf.registry, named._replace(fallback=None), tmp_path / "bundles", set()) is None


def names(bundles: Sequence[Bundle], shelf: Shelf) -> list[str]:
    """Return which bundles of the shelf these are."""
    known = {bundle.id: name for name, bundle in shelf._asdict().items() if name != "registry"}
    return [known[bundle.id] for bundle in bundles]


def test_bundles_keep_their_order_where_their_catalogues_do(shelf: Shelf, tmp_path: Path) -> None:
    """A catalogue that is kept stays at its place, a second bundle of it comes last, and a new one begins anew."""
    parts = make_parts(tmp_path, shelf.old)
    old, same, new = shelf[1:]
    assert names(parts.bundles, shelf) == ["old"]
    assert names(parts._replace(fallback=same).bundles, shelf) == ["old"]
    assert names(parts._replace(fallback=new).bundles, shelf) == ["old", "new"]
    assert names(parts._replace(order=(old,), fallback=new).bundles, shelf) == ["old", "new"]
    kept = parts._replace(order=(old, new))
    assert names(kept.bundles, shelf) == ["old", "new"]
    assert names(kept._replace(bundle=new).bundles, shelf) == ["old", "new"]
    assert names(kept._replace(bundle=new, fallback=same).bundles, shelf) == ["same", "new"]
    assert names(kept._replace(bundle=new, challenger=old, fallback=same).bundles, shelf) == ["old", "new"]
    assert names(kept._replace(bundle=same, challenger=old).bundles, shelf) == ["same", "new", "old"]


def test_looking_again_at_what_is_kept_changes_nothing(shelf: Shelf, tmp_path: Path) -> None:
    """Another fallback of a catalogue that is folded anyway is noted, without what decides being touched."""
    parts = make_parts(tmp_path, shelf.old)

    async def main() -> None:
        async with Followed(parts) as at:
            live = at.service.batcher.live
            shelf.registry.challenge(None, at=2 * HOUR, who="tests", why="because")
            await at.look()
            assert at.service.batcher.live is live
            shelf.promote(shelf.same)
            await at.look()
            live = at.service.batcher.live
            assert at.service.parts.fallback == shelf.old
            shelf.registry.alarm(shelf.old.id, at=3, who="tests", why="because")
            await at.look()
            assert at.service.batcher.live is live

    asyncio.run(main())
