from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.service.making import NOW, SECRET, click

from slidr.bundle import Bundle
from slidr.clock import HOUR
from slidr.decide import Decider, Decisions
from slidr.errors import FeatureError, ServiceError
from slidr.features.catalogue import Catalogue, check_catalogue
from slidr.features.catalogue import Clicks as ClicksFeature
from slidr.features.clicks import ClickBatch
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.journal import CHUNK, Journal
from slidr.service.answers import Recorder
from slidr.service.recovery import recover

FINGERPRINT = Pseudonymiser(SECRET).fingerprint
START_OVER = r"run `slidr backfill`, then move .* \(storage\.state\) and .*\.sqlite \(storage\.journal\) away together"


def fresh(bundle: Bundle) -> Decider:
    """Return a decider over an empty store."""
    return Decider(bundle, EmbeddedStore(compile_catalogue(bundle.catalogue)), Pseudonymiser(SECRET))


def store_of(decider: Decider) -> EmbeddedStore:
    """Return the store of a decider."""
    assert isinstance(decider.store, EmbeddedStore)
    return decider.store


def decide(decider: Decider, places: Sequence[int], journal: Journal | None = None) -> Decisions:
    """Decide clicks and journal them."""
    clicks = [msgspec.convert(click(place), decider.click) for place in places]
    decisions = decider.decide(clicks)
    if journal is not None:
        journal.declare(decider.context)
        journal.append(Recorder(journal.id).entries(decisions, clicks, NOW))
    return decisions


@pytest.mark.parametrize("snapshot_at", [0, 1, 57, 100])
def test_snapshot_and_tail_give_the_state_back(bundle: Bundle, tmp_path: Path, snapshot_at: int) -> None:
    """Wherever the snapshot was taken, rows and sequences after a recovery are those of an undisturbed run."""
    undisturbed, snapshot = fresh(bundle), tmp_path / "state.npz"
    with Journal(tmp_path / "j.sqlite") as journal:
        for place in range(100):
            if place == snapshot_at > 0:
                store_of(undisturbed).snapshot(snapshot, fingerprint=FINGERPRINT)
            decide(undisturbed, [place, place], journal)  # Repeats are not journalled and leave no trace.
        if snapshot_at == 100:
            store_of(undisturbed).snapshot(snapshot, fingerprint=FINGERPRINT)
        recovered = fresh(bundle)
        assert recover(store_of(recovered), journal, snapshot, fingerprint=FINGERPRINT) == 100 - snapshot_at
    after, expected = decide(recovered, range(90, 150)), decide(undisturbed, range(90, 150))
    assert after.rows.tobytes() == expected.rows.tobytes()
    assert after.sequences.tolist() == expected.sequences.tolist()
    assert after.repeats.tolist() == [True] * 10 + [False] * 50


def test_a_long_tail_is_folded_in_chunks(bundle: Bundle, tmp_path: Path) -> None:
    """A tail longer than a chunk of the journal is folded whole."""
    decider, clicks = fresh(bundle), CHUNK + 100
    with Journal(tmp_path / "j.sqlite") as journal:
        decide(decider, range(clicks), journal)
        recovered = fresh(bundle)
        assert recover(store_of(recovered), journal, tmp_path / "none", fingerprint=FINGERPRINT) == clicks
    expected = decide(decider, range(clicks, clicks + 9))
    assert decide(recovered, range(clicks, clicks + 9)).rows.tobytes() == expected.rows.tobytes()


def test_a_backfilled_state_precedes_an_empty_journal(bundle: Bundle, tmp_path: Path) -> None:
    """A snapshot that knows clicks which this journal never held is where the journal starts."""
    seeded, snapshot = fresh(bundle), tmp_path / "state.npz"
    decide(seeded, range(50))
    store_of(seeded).snapshot(snapshot, fingerprint=FINGERPRINT)
    with Journal(tmp_path / "j.sqlite") as journal:
        for clicks in (range(50, 60), range(60, 70)):
            recovered = fresh(bundle)
            recover(store_of(recovered), journal, snapshot, fingerprint=FINGERPRINT)
            assert store_of(recovered).sequence == clicks[0]
            decide(recovered, clicks, journal)


def test_a_missing_snapshot_is_noticed(bundle: Bundle, tmp_path: Path) -> None:
    """A journal that starts after the state's end cannot be folded, and the message names both places."""
    seeded = fresh(bundle)
    decide(seeded, range(50))
    with Journal(tmp_path / "j.sqlite") as journal:
        decide(seeded, range(50, 60), journal)
        with pytest.raises(ServiceError, match=rf"click 50, the state of .* ends before click 0.*{START_OVER}"):
            recover(store_of(fresh(bundle)), journal, tmp_path / "none", fingerprint=FINGERPRINT)


def test_a_strangers_snapshot_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """A snapshot of other clicks that ends within the journal is told by its last click."""
    stranger = fresh(bundle)
    decide(stranger, range(1000, 1030))
    store_of(stranger).snapshot(tmp_path / "state.npz", fingerprint=FINGERPRINT)
    with Journal(tmp_path / "j.sqlite") as journal:
        decide(fresh(bundle), range(60), journal)
        with pytest.raises(ServiceError, match=rf"ends with click 29, which is another click .*{START_OVER}"):
            recover(store_of(fresh(bundle)), journal, tmp_path / "state.npz", fingerprint=FINGERPRINT)


def test_a_tail_that_the_state_already_holds_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """When a click of the tail is known to the state, folding it again would count it twice."""
    decider = fresh(bundle)
    decide(decider, range(10))
    store_of(decider).snapshot(tmp_path / "state.npz", fingerprint=FINGERPRINT)
    with Journal(tmp_path / "j.sqlite") as journal:
        decide(decider, range(10, 20), journal)
        (entries,) = journal.entries()
        with Journal(tmp_path / "other.sqlite") as other:
            other.declare(decider.context)
            first = fresh(bundle)
            known = decide(first, range(10)).batch.ids.view(np.int64)
            other.append([entry._replace(click_key=int(known[at])) for at, entry in enumerate(entries)])
            with pytest.raises(ServiceError, match=rf"click 10 of the journal .* folds as click 0.*{START_OVER}"):
                recover(store_of(fresh(bundle)), other, tmp_path / "state.npz", fingerprint=FINGERPRINT)


@pytest.mark.parametrize("kept", [0, 1, 1000, -1])
def test_a_damaged_snapshot_is_refused(bundle: Bundle, tmp_path: Path, kept: int) -> None:
    """A snapshot that was cut off stops the start; it is not silently done without."""
    snapshot = tmp_path / "state.npz"
    store_of(fresh(bundle)).snapshot(snapshot, fingerprint=FINGERPRINT)
    snapshot.write_bytes(snapshot.read_bytes()[:kept])
    with Journal(tmp_path / "j.sqlite") as journal, pytest.raises(FeatureError, match="is not a snapshot"):
        recover(store_of(fresh(bundle)), journal, snapshot, fingerprint=FINGERPRINT)


def of(layout: Layout, batch: ClickBatch, decider: Decider) -> ClickBatch:
    """Return a decider's batch as another catalogue encodes it."""
    wanted = [decider.layout.keys.index(entity) for entity in layout.keys]
    return replace(batch, keys=np.ascontiguousarray(batch.keys[wanted]))


def other_catalogue(*features: ClicksFeature) -> Catalogue:
    """Return a catalogue of clicks."""
    return check_catalogue(features)


def test_another_bundles_entries_are_folded_by_name(bundle: Bundle, tmp_path: Path) -> None:
    """Keys are found by their names, so a bundle with fewer entities in another order folds the same journal."""
    layout = compile_catalogue(other_catalogue(ClicksFeature("ip", "1h"), ClicksFeature("user", "1h")))
    decider = fresh(bundle)
    with Journal(tmp_path / "j.sqlite") as journal:
        decisions = decide(decider, range(40), journal)
        store = EmbeddedStore(layout)
        assert recover(store, journal, tmp_path / "none", fingerprint=FINGERPRINT) == 40
    assert store.sequence == 40
    again = EmbeddedStore(layout)
    rows = again.fold(of(layout, decisions.batch, decider)).rows
    assert rows[-1].max() > 1
    for one, other in zip(store.blocks, again.blocks, strict=True):
        assert one.arrays()["words"].tobytes() == other.arrays()["words"].tobytes()


def test_a_key_that_was_never_journalled_makes_its_block_cold(bundle: Bundle, tmp_path: Path) -> None:
    """A block that counts by a column which the journal has no hash of starts behind it, cold; others do not."""
    layout = compile_catalogue(
        other_catalogue(ClicksFeature("user", "1h"), ClicksFeature(("campaign", "advertiser"), "1h"))
    )
    with Journal(tmp_path / "j.sqlite") as journal:
        decisions = decide(fresh(bundle), range(3), journal)
        store = EmbeddedStore(layout)
        assert recover(store, journal, tmp_path / "none", fingerprint=FINGERPRINT) == 3
    newest = int(decisions.batch.times.max())
    assert store.sequence == 3
    assert list(store.since.values()) == [0, newest]
    assert [block.entity for block in store.cold_blocks(layout, newest + HOUR - 1)] == [("campaign", "advertiser")]
    assert store.cold_blocks(layout, newest + HOUR) == ()


def test_a_block_that_the_snapshot_lacks_is_folded_from_the_beginning(bundle: Bundle, tmp_path: Path) -> None:
    """After a change of the catalogue the shared blocks come from the snapshot and the new ones from the journal."""
    features = (ClicksFeature("user", "24h"), ClicksFeature("ip", "7m"))
    snapshot, layout = tmp_path / "state.npz", compile_catalogue(other_catalogue(*features))
    before = compile_catalogue(other_catalogue(features[0]))
    decider, old, undisturbed = fresh(bundle), EmbeddedStore(before), EmbeddedStore(layout)
    with Journal(tmp_path / "j.sqlite") as journal:
        for places in (range(60), range(60, 100)):
            batch = decide(decider, places, journal).batch
            if places[0] == 0:
                old.fold(of(before, batch, decider))
                old.snapshot(snapshot, fingerprint=FINGERPRINT)
            undisturbed.fold(of(layout, batch, decider))
        store = EmbeddedStore(layout)
        assert recover(store, journal, snapshot, fingerprint=FINGERPRINT) == 40
    assert set(store.since.values()) == {0}
    more = of(layout, decide(decider, range(100, 150)).batch, decider)
    found, expected = store.fold(more), undisturbed.fold(more)
    assert found.rows.tobytes() == expected.rows.tobytes()
    assert found.sequences.tolist() == expected.sequences.tolist()
    assert not found.soundness.any()


@pytest.mark.parametrize("journalled", [0, 40])
def test_a_block_older_than_the_journal_starts_cold(bundle: Bundle, tmp_path: Path, journalled: int) -> None:
    """Where the journal begins behind a backfilled state, a block that it lacks is as old as either."""
    seeded, snapshot = fresh(bundle), tmp_path / "state.npz"
    newest = int(decide(seeded, range(50)).batch.times.max())
    old = EmbeddedStore(compile_catalogue(other_catalogue(ClicksFeature("user", "1h"))))
    old.recent = store_of(seeded).recent
    old.snapshot(snapshot, fingerprint=FINGERPRINT)
    layout = compile_catalogue(other_catalogue(ClicksFeature("user", "1h"), ClicksFeature("ip", "7m")))
    with Journal(tmp_path / "j.sqlite") as journal:
        if journalled:
            newest = int(decide(seeded, range(50, 50 + journalled), journal).batch.times.max())
            store_of(seeded).snapshot(tmp_path / "later.npz", fingerprint=FINGERPRINT)
            old.recent = store_of(seeded).recent
            old.snapshot(snapshot, fingerprint=FINGERPRINT)
        store = EmbeddedStore(layout)
        recover(store, journal, snapshot, fingerprint=FINGERPRINT)
    assert list(store.since.values()) == [0, newest]
    assert bool(store.blocks[1].used[0]) == bool(journalled)


def test_a_seed_at_the_same_click_warms_a_new_block(bundle: Bundle, tmp_path: Path) -> None:
    """A service that decided nothing since its seed takes the new blocks of a seed made of the same clicks."""
    decider, snapshot, seed = fresh(bundle), tmp_path / "state.npz", tmp_path / "seed.npz"
    batch = decide(decider, range(50)).batch
    layout = compile_catalogue(other_catalogue(ClicksFeature("user", "1h"), ClicksFeature("ip", "7m")))
    before = compile_catalogue(other_catalogue(ClicksFeature("user", "1h")))
    for made, path in ((before, snapshot), (layout, seed)):
        store = EmbeddedStore(made)
        store.fold(of(made, batch, decider))
        store.snapshot(path, fingerprint=FINGERPRINT)
    with Journal(tmp_path / "j.sqlite") as journal:
        store = EmbeddedStore(layout)
        assert recover(store, journal, snapshot, fingerprint=FINGERPRINT, seed=seed) == 0
    assert set(store.since.values()) == {0}
    assert store.blocks[1].used[0] > 0


def test_the_next_secret_key_starts_where_its_hashes_begin(bundle: Bundle, tmp_path: Path) -> None:
    """Entries before the overlap of two keys tell the next one nothing; those within it, and after it, are its own."""
    secrets = SECRET, SECRET[::-1]
    old, new = (Pseudonymiser(secret) for secret in secrets)
    known = (old.fingerprint, new.fingerprint)
    layout = compile_catalogue(bundle.catalogue)
    store, next_store = EmbeddedStore(layout), EmbeddedStore(layout)
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.declare_secrets((old.fingerprint,))
        newest = int(decide(Decider(bundle, store, old), range(30), journal).batch.times.max())
        store.accompany(next_store)
        both = Pseudonymiser(secrets[0], beside=new, known=known)
        journal.declare_secrets(known)
        decide(Decider(bundle, store, both), range(30, 70), journal)
        next_store.snapshot(tmp_path / "half.npz", fingerprint=new.fingerprint)
        decide(Decider(bundle, store, both), range(70, 80), journal)
        journal.declare_secrets((new.fingerprint,))
        decide(Decider(bundle, next_store, Pseudonymiser(secrets[1], known=known)), range(80, 100), journal)
        for snapshot, folded in ((tmp_path / "none", 100), (tmp_path / "half.npz", 30)):
            again = EmbeddedStore(layout)
            told = recover(again, journal, snapshot, fingerprint=new.fingerprint, rotated=True)
            assert told == folded
            assert again.since == next_store.since == dict.fromkeys(again.since, newest)
            assert again.sequence == 100
            for one, other in zip(again.blocks, next_store.blocks, strict=True):
                assert one.arrays()["words"].tobytes() == other.arrays()["words"].tobytes()
        first = EmbeddedStore(layout)
        assert recover(first, journal, tmp_path / "none", fingerprint=old.fingerprint) == 100
        assert min(first.since.values()) > newest


@pytest.mark.parametrize("rotating", [False, True])
def test_what_was_erased_keeps_its_place(bundle: Bundle, tmp_path: Path, *, rotating: bool) -> None:
    """Clicks of an erased account are folded again without whose they are, with the hashes of either key."""
    old, new = Pseudonymiser(SECRET), Pseudonymiser(SECRET[::-1])
    known = (old.fingerprint, new.fingerprint)
    serving = Pseudonymiser(SECRET, beside=new, known=known) if rotating else old
    layout = compile_catalogue(bundle.catalogue)
    store = EmbeddedStore(layout)
    if rotating:
        store.accompany(EmbeddedStore(layout))
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.declare_secrets(known if rotating else known[:1])
        decide(Decider(bundle, store, serving), range(60), journal)
        hashes = frozenset(int(one.texts(["user-3"])[0]) for one in (old, new))
        assert journal.erase(hashes) == (9, 0)
        entries = {entry.sequence: entry for entry in next(journal.entries())}
        assert {place for place, entry in entries.items() if not entry.row} == set(range(3, 60, 7))
        for fingerprint in known if rotating else known[:1]:
            again = EmbeddedStore(layout)
            assert recover(again, journal, tmp_path / "none", fingerprint=fingerprint) == 60
            assert again.sequence == 60
