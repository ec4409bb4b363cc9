"""Recovery from the journals of processes that share a store: merged, past gaps, and nothing missing unsaid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.service.making import SECRET
from tests.service.test_recovery import FINGERPRINT, decide, fresh, other_catalogue, store_of

from slidr.bundle import Bundle
from slidr.clock import HOUR
from slidr.decide import Decider
from slidr.errors import ServiceError
from slidr.features.catalogue import Clicks
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import TERM, EmbeddedStore
from slidr.journal import Entry, Journal
from slidr.journals import Journals
from slidr.service.recovery import Recovered, recover_shared


@pytest.fixture
def entries(bundle: Bundle, tmp_path: Path) -> list[Entry]:
    """What one process journalled of a hundred clicks."""
    with Journal(tmp_path / "whole.sqlite") as journal:
        decide(fresh(bundle), range(100), journal)
        return [entry for chunk in journal.entries() for entry in chunk]


@contextmanager
def spread(bundle: Bundle, folder: Path, *parts: Sequence[Entry]) -> Iterator[Journals]:
    """Write each part to a journal of its own, and open them all."""
    with ExitStack() as stack:
        opened = []
        for place, part in enumerate(parts):
            opened.append(stack.enter_context(Journal(folder / f"{place}-{len(list(folder.iterdir()))}.sqlite")))
            opened[-1].declare(fresh(bundle).context)
            opened[-1].append(part)
        yield Journals(opened)


def recovered(bundle: Bundle, folder: Path, *parts: Sequence[Entry]) -> tuple[Decider, Recovered]:
    """Recover from journals with these entries."""
    decider = fresh(bundle)
    with spread(bundle, folder, *parts) as journals:
        found = recover_shared(store_of(decider), journals, folder / "none", fingerprint=FINGERPRINT)
    return decider, found


def assert_goes_on(decider: Decider, bundle: Bundle, known: Sequence[int]) -> None:
    """Assert that rows go on as behind these clicks, bit for bit."""
    undisturbed = fresh(bundle)
    decide(undisturbed, known)
    after, expected = decide(decider, range(100, 150)), decide(undisturbed, range(100, 150))
    assert after.rows.tobytes() == expected.rows.tobytes()
    assert not after.repeats.any()


def test_journals_that_interleave_are_one(bundle: Bundle, tmp_path: Path, entries: list[Entry]) -> None:
    """Spread over three journals, the clicks give the state that one journal gives; nothing is missing."""
    parts = [[entry for entry in entries if entry.sequence // 4 % 3 == place] for place in range(3)]
    decider, found = recovered(bundle, tmp_path, *parts)
    assert found == Recovered(held=0, folded=100, twice=0, missing=0, terms=0, ranges=())
    assert_goes_on(decider, bundle, range(100))


@pytest.mark.parametrize(
    ("kept", "ranges"),
    [
        ([*range(20, 100)], ((0, 19),)),
        ([*range(40), *range(50, 100)], ((40, 49),)),
        ([0, *range(2, 70), 99], ((1, 1), (70, 98))),
    ],
)
def test_what_no_journal_holds_is_named(
    bundle: Bundle, tmp_path: Path, entries: list[Entry], kept: list[int], ranges: tuple[tuple[int, int], ...]
) -> None:
    """Gaps of the merged whole are told, in front and within; the others' clicks are folded."""
    parts = [[entries[at] for at in kept if at % 2 == place] for place in (0, 1)]
    decider, found = recovered(bundle, tmp_path, *parts)
    assert found == Recovered(0, len(kept), 0, 100 - len(kept), 0, ranges)
    assert store_of(decider).sequence == 100
    assert_goes_on(decider, bundle, kept)


def test_many_gaps_are_counted(bundle: Bundle, tmp_path: Path, entries: list[Entry]) -> None:
    """Ten ranges are named, and all that is missing is counted."""
    _, found = recovered(bundle, tmp_path, entries[1::2])
    assert (found.folded, found.missing) == (50, 50)
    assert found.ranges == tuple((at, at) for at in range(0, 20, 2))


def test_clicks_journalled_twice_are_folded_once(bundle: Bundle, tmp_path: Path, entries: list[Entry]) -> None:
    """Behind a failover clicks come again in a new term: they are counted, and the term is told instead of a gap."""
    again = [entry._replace(sequence=TERM + at) for at, entry in enumerate(entries[60:80])]
    later = [entry._replace(sequence=TERM + 20 + at) for at, entry in enumerate(entries[80:])]
    decider, found = recovered(bundle, tmp_path, entries[:80], [*again[::2], *later], again[1::2])
    assert found == Recovered(held=0, folded=100, twice=20, missing=0, terms=1, ranges=())
    assert store_of(decider).sequence == TERM + 40
    assert_goes_on(decider, bundle, range(100))


def test_what_is_missing_in_a_new_term_is_named(bundle: Bundle, tmp_path: Path, entries: list[Entry]) -> None:
    """Within a term a gap is one, at its beginning too."""
    later = [entry._replace(sequence=TERM + 5 + at) for at, entry in enumerate(entries[50:])]
    _, found = recovered(bundle, tmp_path, entries[:50], later)
    assert (found.missing, found.terms, found.ranges) == (5, 1, ((TERM, TERM + 4),))


def test_journals_of_different_stores_are_refused(bundle: Bundle, tmp_path: Path, entries: list[Entry]) -> None:
    """Two journals that hold the same sequence are not of one fold."""
    with pytest.raises(ServiceError, match="hold click 30 more than once: they are not of processes that share one"):
        recovered(bundle, tmp_path, entries[:50], entries[30:])


def test_clicks_that_the_state_holds_are_refused(bundle: Bundle, tmp_path: Path, entries: list[Entry]) -> None:
    """A journal whose clicks are in the state already would count them twice."""
    seeded = fresh(bundle)
    decide(seeded, range(100))
    store_of(seeded).snapshot(tmp_path / "state.npz", fingerprint=FINGERPRINT)
    again = [entry._replace(sequence=TERM + entry.sequence) for entry in entries[50:]]
    refusal = rf"click {TERM + 50} .* is click 50 of the state .* holds it already"
    with spread(bundle, tmp_path, again) as read, pytest.raises(ServiceError, match=refusal):
        recover_shared(store_of(fresh(bundle)), read, tmp_path / "state.npz", fingerprint=FINGERPRINT)


@pytest.mark.parametrize("hole", [None, 40])
def test_a_new_block_is_cold_behind_a_gap(
    bundle: Bundle, tmp_path: Path, entries: list[Entry], hole: int | None
) -> None:
    """A block that the state lacks is folded from the journals, and not warm before their gaps have passed."""
    before, layout = (
        compile_catalogue(other_catalogue(*features))
        for features in ((Clicks("user", "1h"),), (Clicks("user", "1h"), Clicks("ip", "7m")))
    )
    state = EmbeddedStore(before)
    with spread(bundle, tmp_path, entries[:60]) as read:
        recover_shared(state, read, tmp_path / "none", fingerprint=FINGERPRINT)
    state.snapshot(tmp_path / "state.npz", fingerprint=FINGERPRINT)
    store = EmbeddedStore(layout)
    with spread(bundle, tmp_path, [entry for entry in entries if entry.sequence != hole]) as read:
        found = recover_shared(store, read, tmp_path / "state.npz", fingerprint=FINGERPRINT)
    # What the state holds is not missing, whoever journalled it.
    assert (found.held, found.folded, found.missing) == (60, 40, 0)
    cold = store.cold_blocks(layout, max(entry.time for entry in entries))
    assert [block.entity for block in cold] == ([] if hole is None else [("ip",)])
    assert not store.cold_blocks(layout, max(entry.time for entry in entries) + HOUR)


def test_each_journal_has_its_own_secret_keys(bundle: Bundle, tmp_path: Path) -> None:
    """While keys rotate one process goes over before another; entries are read as their own journal says."""
    secrets = SECRET, SECRET[::-1]
    old, new = (Pseudonymiser(secret) for secret in secrets)
    known = (old.fingerprint, new.fingerprint)
    layout = compile_catalogue(bundle.catalogue)
    ahead = Decider(bundle, EmbeddedStore(layout), Pseudonymiser(secrets[1], known=known))
    behind = Decider(bundle, EmbeddedStore(layout), Pseudonymiser(secrets[0], beside=new, known=known))
    store, undisturbed = EmbeddedStore(layout), EmbeddedStore(layout)
    with Journal(tmp_path / "one.sqlite") as one, Journal(tmp_path / "two.sqlite") as two:
        one.declare_secrets((new.fingerprint,))
        two.declare_secrets(known)
        for place in range(0, 60, 10):
            decider, journal = (behind, two) if place % 20 else (ahead, one)
            with Journal(tmp_path / f"{place}.sqlite") as own:
                batch = decide(decider, range(place, place + 10), own).batch
                (entries,) = own.entries()
            journal.declare(decider.context)
            journal.append([entry._replace(sequence=place + at) for at, entry in enumerate(entries)])
            undisturbed.fold(batch.beside or batch)
        found = recover_shared(store, Journals([one, two]), tmp_path / "none", fingerprint=new.fingerprint)
    assert (found.folded, found.missing) == (60, 0)
    assert set(store.since.values()) == {0}
    for mine, other in zip(store.blocks, undisturbed.blocks, strict=True):
        np.testing.assert_array_equal(mine.arrays()["words"], other.arrays()["words"])


def test_a_click_that_two_processes_decided_is_one(bundle: Bundle, tmp_path: Path, entries: list[Entry]) -> None:
    """A click that came to two processes at once is in both journals under one sequence, and is folded once."""
    again = [entry._replace(decision_id=f"other-{entry.sequence:x}") for entry in entries[40:60]]
    decider, found = recovered(bundle, tmp_path, entries, again)
    assert found == Recovered(held=0, folded=100, twice=0, missing=0, terms=0, ranges=())
    assert_goes_on(decider, bundle, range(100))
