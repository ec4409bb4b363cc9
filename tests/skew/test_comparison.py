"""The skew report finds what was planted, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests import small
from tests.skew.served import (
    KEY,
    LAYOUT,
    Served,
    changed,
    clicks_once,
    journal_of,
    lake_of,
    serve,
    value_of,
)

from slidr.clock import MINUTE
from slidr.errors import FeatureError, JournalError
from slidr.features.catalogue import Clicks
from slidr.features.clicks import encode_clicks
from slidr.features.keys import Pseudonymiser
from slidr.features.store import EmbeddedStore
from slidr.journal import Context, Entry, Journal
from slidr.lake.delta import Lake
from slidr.skew import comparison
from slidr.skew.comparison import compare
from slidr.skew.reference import JournalReference, LakeReference
from slidr.skew.tally import FeatureSkew, Skew

CLICKS = clicks_once(600, seed=3)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """600 clicks, decided in the order in which backfill folds them."""
    return serve(tmp_path_factory.mktemp("served"), CLICKS)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Their features in a lake."""
    return lake_of(tmp_path_factory.mktemp("lake"), CLICKS)


def against_lake(lake: Lake, *paths: Path, span: tuple[int | None, int | None] = (None, None)) -> Skew:
    """Compare journals with a lake."""
    journals = [Journal(path, write=False) for path in paths]
    found = compare(journals, LakeReference(lake, *span), KEY, span)
    for journal in journals:
        journal.close()
    return found


def folded_again(*paths: Path, first: int = 0, state: Path | None = None) -> Skew:
    """Compare journals with themselves."""
    journals = [Journal(path, write=False) for path in paths]
    found = compare(journals, JournalReference(LAYOUT, state, first, fingerprint=KEY.fingerprint), KEY)
    for journal in journals:
        journal.close()
    return found


def differing(found: Skew) -> dict[str, FeatureSkew]:
    """Return the features that differ."""
    return {feature.name: feature for feature in found.features if feature.different}


def write(path: Path, served: Served, entries: Sequence[Entry] | None = None) -> Path:
    """Write entries of these clicks to a journal in a folder."""
    return journal_of(path / "journal.sqlite", served.entries if entries is None else entries, served.context)


def assert_clean(found: Skew, clicks: int = len(CLICKS)) -> None:
    """Assert that every click was compared and none differs, on either side."""
    assert (found.compared, found.different, found.share) == (clicks, 0, 0.0)
    assert (found.only_journal, found.only_lake, found.repeated, found.missing, found.another_key) == (0, 0, 0, 0, 0)
    assert found.unsound == {}
    assert differing(found) == {}
    slow = tuple(column.feature_name for column in LAYOUT.slow)
    assert found.features_only_journal in {(), slow}, "what is not folded cannot be folded again"
    names = tuple(feature.name for feature in found.features)
    assert names == tuple(name for name in LAYOUT.names if name not in found.features_only_journal)
    assert found.features_only_reference == ()


@pytest.mark.parametrize("chunk", [32_768, 64])
def test_equal_rows_show_no_skew(
    served: Served, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Where backfill folded what was served, in the order of serving, nothing differs, however it is cut."""
    monkeypatch.setattr(comparison, "_CHUNK", chunk)
    path = write(tmp_path, served)
    assert_clean(against_lake(lake, path))
    assert_clean(folded_again(path))


def test_planted_differences_are_found(served: Served, lake: Lake, tmp_path: Path) -> None:
    """Two changed values of one feature and one of another are found, with their size, worst first."""
    entries = list(served.entries)
    true = [value_of(entries[place], "clicks_ip_1h") for place in (40, 77)]
    entries[40] = changed(entries[40], "clicks_ip_1h", true[0] + 1)
    entries[77] = changed(entries[77], "clicks_ip_1h", true[1] + 3)
    entries[77] = changed(entries[77], "hour_sin", -0.5)
    for found in (against_lake(lake, write(tmp_path, served, entries)), folded_again(tmp_path / "journal.sqlite")):
        assert (found.compared, found.different) == (len(CLICKS), 2)
        assert set(differing(found)) == {"clicks_ip_1h", "hour_sin"}
        feature = differing(found)["clicks_ip_1h"]
        assert (feature.compared, feature.different) == (len(CLICKS), 2)
        assert (feature.mean_absolute, feature.max_absolute) == (2.0, 3.0)
        relative = [1 / (true[0] + 1), 3 / (true[1] + 3)]
        assert feature.mean_relative == pytest.approx(sum(relative) / 2)
        assert feature.max_relative == pytest.approx(max(relative))
        worst = [(example.click_id, example.time, example.sequence) for example in feature.worst]
        assert worst == [(entry.click_id, entry.time, entry.sequence) for entry in (entries[77], entries[40])]
        assert [(example.journalled, example.expected) for example in feature.worst] == [
            (true[1] + 3, true[1]),
            (true[0] + 1, true[0]),
        ]


def test_a_difference_of_one_bit_counts(served: Served, lake: Lake, tmp_path: Path) -> None:
    """A zero of the other sign is another value, though its difference is zero."""
    place = next(at for at, entry in enumerate(served.entries) if value_of(entry, "logged_in") == 0)
    entries = list(served.entries)
    entries[place] = changed(entries[place], "logged_in", -0.0)
    found = against_lake(lake, write(tmp_path, served, entries))
    assert (found.different, differing(found)["logged_in"].max_absolute) == (1, 0.0)


def test_a_lost_batch_is_found(served: Served, lake: Lake, tmp_path: Path) -> None:
    """Entries that are gone are missing sequences and clicks of the lake alone; those after them fold otherwise."""
    kept, lost = served.entries[:200] + served.entries[220:], served.entries[200:220]
    path = write(tmp_path, served, kept)
    found = against_lake(lake, path)
    assert (found.compared, found.different, found.missing) == (len(CLICKS) - 20, 0, 20)
    assert found.only_lake == 20 - _outside(kept, lost)
    found = folded_again(path)
    assert (found.only_lake, found.missing) == (0, 20)
    assert found.different > 0
    examples = [example for feature in differing(found).values() for example in feature.worst]
    assert min(example.sequence for example in examples) >= 220
    # The journalled rows had seen the lost clicks, so they count more.
    assert all(example.journalled > example.expected for example in differing(found)["clicks_user_24h"].worst)


def test_a_reordering_is_found(tmp_path: Path) -> None:
    """Two clicks of one user that came the other way round differ from the lake, and not from their own journal."""
    places = [at for at, click in enumerate(CLICKS) if click.user == "ada"][50:52]
    order = list(CLICKS)
    order[places[0]], order[places[1]] = order[places[1]], order[places[0]]
    reordered = serve(tmp_path, order)
    path = write(tmp_path, reordered)
    assert_clean(folded_again(path))
    found = against_lake(lake_of(tmp_path, CLICKS), path)
    assert (found.compared, found.only_journal, found.only_lake, found.missing) == (len(CLICKS), 0, 0, 0)
    worst = {example.click_id for example in differing(found)["gap_user_last"].worst}
    assert worst <= {click.click_id for click in order[places[0] : places[1] + 2]}
    # Nothing of the clicks before the first of the two differs.
    assert min(example.sequence for one in differing(found).values() for example in one.worst) >= places[0]


def test_processes_that_share_a_store_have_one_order(served: Served, lake: Lake, tmp_path: Path) -> None:
    """The entries of two journals interleave by their sequences; either alone lacks the other's."""
    mine = [entry for entry in served.entries if entry.sequence // 10 % 2]
    rest = [entry for entry in served.entries if not entry.sequence // 10 % 2]
    one = journal_of(tmp_path / "one.sqlite", mine, served.context)
    two = journal_of(tmp_path / "two.sqlite", rest, served.context)
    assert_clean(against_lake(lake, one, two))
    assert_clean(folded_again(two, one))
    assert against_lake(lake, two).only_lake == len(mine) - _outside(rest, mine)


def _outside(kept: Sequence[Entry], left: Sequence[Entry]) -> int:
    """Return how many entries left out lie outside the time of those kept."""
    start, end = kept[0].time, max(entry.time for entry in kept)
    return sum(not start <= entry.time <= end for entry in left)


def test_a_click_journalled_twice_is_found(served: Served, lake: Lake, tmp_path: Path) -> None:
    """A click that a failover folded again is counted, and its second row is not compared."""
    again = served.entries[-5]._replace(sequence=len(CLICKS), decision_id="again")
    path = write(tmp_path, served, [*served.entries, again])
    for found in (against_lake(lake, path), folded_again(path)):
        assert (found.repeated, found.compared, found.different, found.missing) == (1, len(CLICKS), 0, 0)


def test_unsound_rows_are_counted_apart(served: Served, lake: Lake, tmp_path: Path) -> None:
    """A click of a cold or evicted state, out of reach or erased is not compared; one without identifiers is."""
    entries = [
        changed(entry, "clicks_user_1h", 9e9) if entry.sequence in {5, 6, 7} else entry for entry in served.entries
    ]
    reasons = {5: ("state_cold",), 6: ("state_cold",), 7: ("store_unavailable",), 8: ("no_identifiers",)}
    entries = [entry._replace(reasons=reasons.get(entry.sequence, entry.reasons)) for entry in entries]
    entries[9] = entries[9]._replace(row=b"")
    found = against_lake(lake, write(tmp_path, served, entries))
    assert found.unsound == {"state_cold": 2, "store_unavailable": 1, "erased": 1}
    assert (found.compared, found.different, found.only_lake) == (len(CLICKS) - 4, 0, 0)


def test_a_span_of_time(served: Served, lake: Lake, tmp_path: Path) -> None:
    """Only clicks of the span are compared and counted, on both sides; all are folded again."""
    start, end = served.entries[100].time, served.entries[100].time + 20 * MINUTE
    inside = [entry for entry in served.entries if start <= entry.time < end]
    path = write(tmp_path, served, [entry for entry in served.entries if entry is not inside[3]])
    found = against_lake(lake, path, span=(start, end))
    assert (found.compared, found.only_lake, found.different) == (len(inside) - 1, 1, 0)
    with pytest.raises(JournalError, match="no decision of the time asked for"):
        against_lake(lake, path, span=(1, 2))


def test_clicks_that_the_lake_does_not_have(served: Served, tmp_path: Path) -> None:
    """Clicks of the journal alone are counted: those of another id, and those of the same id at another time."""
    others = [click for at, click in enumerate(CLICKS) if at not in {300, 301}]
    lake = lake_of(tmp_path, others)
    late = [entry._replace(time=entry.time + MINUTE) if entry.sequence == 599 else entry for entry in served.entries]
    found = against_lake(lake, write(tmp_path, served, late[:300] + late[301:]))
    assert found.only_journal == 1 + (len(late) == 600)
    assert found.compared == len(late) - 1 - found.only_journal


def test_catalogues_may_differ(served: Served, tmp_path: Path) -> None:
    """Features of both sides are compared, and the rest are named."""
    catalogue = (*small.CATALOGUE[2:], Clicks("campaign", "1h"))
    found = against_lake(lake_of(tmp_path, CLICKS, catalogue), write(tmp_path, served))
    assert found.features_only_journal == LAYOUT.names[:2]
    assert found.features_only_reference == ("clicks_campaign_1h",)
    assert tuple(feature.name for feature in found.features) == LAYOUT.names[2:]
    assert (found.compared, differing(found)) == (len(CLICKS), {})


def test_nothing_in_common_is_told(served: Served, lake: Lake, tmp_path: Path) -> None:
    """Two catalogues without a common feature are refused, and so is a journal without the keys that are counted by."""
    strange = Context("b", (("campaign",),), tuple(f"f{place}" for place in range(len(LAYOUT.names))))
    entries = [entry._replace(context=strange.id) for entry in served.entries]
    path = journal_of(tmp_path / "journal.sqlite", entries, strange)
    with pytest.raises(FeatureError, match="no feature in common"):
        against_lake(lake, path)
    with pytest.raises(FeatureError, match="have no key of user, session, ip"):
        folded_again(path)


def test_another_secret_key(served: Served, lake: Lake, tmp_path: Path) -> None:
    """A journal of another key is refused; where the key changed midway, its clicks are counted apart."""
    path = write(tmp_path, served)
    other = Pseudonymiser(bytes(16))
    with Journal(path, write=False) as journal, pytest.raises(JournalError, match="another secret key"):
        compare([journal], LakeReference(lake), other)
    keys = other.texts([entry.click_id for entry in served.entries[:9]]).view("int64").tolist()
    rotated = [entry._replace(click_key=key) for entry, key in zip(served.entries, keys, strict=False)]
    (tmp_path / "rotated").mkdir()
    found = against_lake(lake, write(tmp_path / "rotated", served, [*rotated, *served.entries[9:]]))
    assert (found.another_key, found.compared, found.different) == (9, len(CLICKS) - 9, 0)


def test_keys_that_rotate_are_folded_again(served: Served, tmp_path: Path) -> None:
    """Clicks hashed with the old key and the new one fold with the new one, and are compared once that decides."""
    new = Pseudonymiser(bytes(16))
    batch = encode_clicks(CLICKS, LAYOUT, new)
    rows = EmbeddedStore(LAYOUT).fold(batch).rows
    entries = []
    for place, entry in enumerate(served.entries):
        keys, number = batch.keys[:, place].astype("<u8").tobytes(), batch.ids[place : place + 1]
        if place < 200:
            entries.append(entry._replace(keys=entry.keys + keys + number.tobytes()))
        else:
            key = int(number.view(np.int64)[0])
            entries.append(entry._replace(keys=keys, click_key=key, row=rows[place].astype("<f4").tobytes()))
    with Journal(write(tmp_path, served, entries), write=False) as journal:
        found = compare([journal], JournalReference(LAYOUT, None, 0, fingerprint=new.fingerprint), new)
    assert (found.another_key, found.compared, found.different) == (200, len(CLICKS) - 200, 0)


def test_a_journal_in_use_is_compared(served: Served, lake: Lake, tmp_path: Path) -> None:
    """A journal that a service writes is read as it is at the start, and the service is not hindered."""
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.declare(served.context)
        journal.append(served.entries[:500])
        found = against_lake(lake, journal.path)
        journal.append(served.entries[500:])
        assert (found.compared, found.different, found.missing) == (500, 0, 0)
        assert_clean(against_lake(lake, journal.path))


def test_a_journal_is_folded_from_its_seed(served: Served, tmp_path: Path) -> None:
    """The journal's own clicks need the state that they began with, and say so where it is another."""
    path = write(tmp_path, served, served.entries[250:])
    store, seed = EmbeddedStore(LAYOUT), tmp_path / "seed.npz"
    with pytest.raises(
        FeatureError, match="begins at click 250, and an empty state ends before click 0; name the seed"
    ):
        folded_again(path, first=250)
    reference = JournalReference(LAYOUT, None, 0, fingerprint=KEY.fingerprint)
    ids = KEY.texts([entry.click_id for entry in served.entries[:250]])
    reference.rows(served.entries[:250], np.ones(250, np.bool_), ids, served.context)
    store = reference._store
    store.snapshot(seed, fingerprint=KEY.fingerprint)
    assert_clean(folded_again(path, first=250, state=seed), len(CLICKS) - 250)


def test_a_lake_without_features(tmp_path: Path) -> None:
    """A lake into which nothing was backfilled says what to run."""
    with pytest.raises(FeatureError, match="run `slidr backfill` first"):
        LakeReference(Lake(str(tmp_path / "lake")))
