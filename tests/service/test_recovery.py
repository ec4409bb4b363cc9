from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.service.making import NOW, SECRET, click

from slidr.bundle import Bundle
from slidr.decide import Decider, Decisions
from slidr.errors import FeatureError, ServiceError
from slidr.features.catalogue import Catalogue, check_catalogue
from slidr.features.catalogue import Clicks as ClicksFeature
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.journal import CHUNK, BundleNames, Journal
from slidr.service.batching import entries_of
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
        journal.declare(decider.bundle.id, BundleNames(decider.layout.keys, decider.layout.names))
        journal.append(entries_of(decisions, clicks, decided_at=NOW, journal=journal.id))
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
            other.declare(bundle.id, journal.bundle(bundle.id))
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
    wanted = [decider.layout.keys.index(entity) for entity in layout.keys]
    rows = again.fold(replace(decisions.batch, keys=np.ascontiguousarray(decisions.batch.keys[wanted]))).rows
    assert rows[-1].max() > 1
    for one, other in zip(store.blocks, again.blocks, strict=True):
        assert one.arrays()["words"].tobytes() == other.arrays()["words"].tobytes()


def test_a_key_that_was_never_journalled_is_named(bundle: Bundle, tmp_path: Path) -> None:
    """A bundle that counts by a column which the journal has no hash of needs a backfill, and is told so."""
    layout = compile_catalogue(other_catalogue(ClicksFeature(("campaign", "ip"), "1h")))
    with Journal(tmp_path / "j.sqlite") as journal:
        decide(fresh(bundle), range(3), journal)
        with pytest.raises(ServiceError, match=rf"have no key of campaign, campaign\+ip, .*{START_OVER}"):
            recover(EmbeddedStore(layout), journal, tmp_path / "none", fingerprint=FINGERPRINT)
