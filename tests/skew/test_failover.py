"""A replica that takes over loses what had not reached it, and the skew report says which rows lack it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import small
from tests.redis_servers import Server, follow
from tests.skew.served import KEY, LAYOUT, lake_of

from slidr.bundle import write_bundle
from slidr.decide import Decider
from slidr.features.clicks import Click, encode_clicks
from slidr.features.redis.seeding import seed
from slidr.features.redis.store import RedisStore
from slidr.features.store import TERM, EmbeddedStore
from slidr.journal import Entry, Journal
from slidr.service.answers import Recorder
from slidr.skew.comparison import compare
from slidr.skew.reference import JournalReference, LakeReference, Reference
from slidr.skew.tally import Skew

BATCH = 10
BEFORE, LOST, AFTER = slice(0, 60), slice(60, 90), slice(90, 150)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """A master and its replica."""
    servers: list[Server] = []
    try:
        servers += [Server(tmp_path / name) for name in ("master", "replica")]
        follow(servers[1], servers[0])
        yield servers[0], servers[1]
    finally:
        for server in servers:
            server.kill()


def click(place: int, who: int) -> Click:
    """Return a click whose every entity is that of one visitor."""
    return Click(
        click_id=f"click-{place}",
        time=small.START + timedelta(seconds=7 * place),
        user=f"user-{who}",
        session=f"session-{who}",
        ip=f"192.0.{who}.7",
        user_agent=f"{small.BROWSER} {who}",
        device="mobile",
        logged_in=True,
        campaign=f"campaign-{who}",
    )


def visits() -> list[Click]:
    """Return clicks of nine visitors of whom only the first three click in the part that may be lost."""
    generator = np.random.default_rng(8)
    return [
        click(place, int(generator.integers(0, 3 if LOST.start <= place < LOST.stop else 9)))
        for place in range(AFTER.stop)
    ]


class Service:
    """A process over servers: decides clicks and journals them, as `slidr serve` does."""

    def __init__(self, folder: Path, servers: Sequence[Server], partitions: int) -> None:
        bundle = write_bundle(folder / "bundles", small.parts(), created_at=0, version="0")
        urls = [server.url for server in servers]
        seed(urls[:1], EmbeddedStore(LAYOUT), partitions=partitions, secret=KEY.fingerprint)
        self.store = RedisStore(LAYOUT, urls, partitions=partitions, timeout=5.0, secret=KEY.fingerprint)
        self.decider = Decider(bundle, self.store, KEY)
        self.journal = Journal(folder / "journal.sqlite")
        self.journal.declare(self.decider.context)

    def decide(self, clicks: Sequence[Click]) -> None:
        """Decide clicks in batches; each is journalled before the next."""
        for start in range(0, len(clicks), BATCH):
            part = list(clicks[start : start + BATCH])
            decisions = self.decider.decide(part)
            self.journal.append(Recorder(self.journal.id).entries(decisions, part, 1))

    def entries(self) -> list[Entry]:
        """Return what was journalled."""
        return [entry for chunk in self.journal.entries() for entry in chunk]

    def skew(self, reference: Reference) -> Skew:
        """Compare what was journalled with a reference."""
        return compare([self.journal], reference, KEY, examples=len(visits()))

    def folded_again(self) -> Skew:
        """Compare what was journalled with itself."""
        return self.skew(JournalReference(LAYOUT, None, 0, fingerprint=KEY.fingerprint))

    def close(self) -> None:
        """Close files and connections."""
        self.journal.close()
        self.store.close()


def rows_of(*parts: Sequence[Click]) -> NDArray[np.float32]:
    """Return the rows of the last part behind those before it."""
    store = EmbeddedStore(LAYOUT)
    return [store.fold(encode_clicks(list(part), LAYOUT, KEY)).rows for part in parts][-1]


def differing(found: Skew) -> set[tuple[str, str]]:
    """Return the click_ids and features whose values differ."""
    pairs = {(example.click_id, feature.name) for feature in found.features for example in feature.worst}
    assert len(pairs) == sum(feature.different for feature in found.features)
    return pairs


def folded_features() -> list[str]:
    """Return the features that are folded; slow ones have no value here."""
    slow = {column.feature_name for column in LAYOUT.slow}
    return [name for name in LAYOUT.names if name not in slow]


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_failover_shows_as_the_rows_that_lack_what_was_lost(
    tmp_path: Path, servers: tuple[Server, Server], partitions: int
) -> None:
    """The clicks and features that differ are those that the lost clicks would have changed, by as much, alone."""
    master, replica = servers
    clicks, service = visits(), Service(tmp_path, servers, partitions)
    service.decide(clicks[BEFORE])
    assert master.ask("WAIT", 1, 5000) == 1
    # Nothing reaches the replica from here on, while the master goes on serving.
    replica.ask("REPLICAOF", "NO", "ONE")
    service.decide(clicks[LOST])
    master.kill()
    service.decide(clicks[AFTER])
    entries = service.entries()
    assert [entry.click_id for entry in entries] == [click.click_id for click in clicks], "the order of the fold"
    assert not any("state_cold" in entry.reasons or "store_unavailable" in entry.reasons for entry in entries)
    assert service.store.failovers == partitions
    # The master had given out sequences of which the replica never heard; none is given out again.
    assert [entry.sequence for entry in entries] == [*range(90), *range(TERM, TERM + 60)]

    with_all = rows_of(clicks[BEFORE], clicks[LOST], clicks[AFTER])
    without = rows_of(clicks[BEFORE], clicks[AFTER])
    names = folded_features()
    expected = {
        (clicks[AFTER][at].click_id, LAYOUT.names[column])
        for at, column in np.argwhere(with_all.view(np.uint32) != without.view(np.uint32)).tolist()
        if LAYOUT.names[column] in names
    }
    lake = LakeReference(lake_of(tmp_path, clicks))
    for found in (service.folded_again(), service.skew(lake)):
        assert differing(found) == expected
        assert (found.compared, found.different) == (150, len({click_id for click_id, _ in expected}))
        assert (found.only_journal, found.only_lake, found.missing, found.repeated) == (0, 0, 0, 0)
        assert found.unsound == {}
        # The three visitors of the lost clicks differ, the six others in nothing.
        users = {click.click_id: click.user for click in clicks}
        assert {users[click_id] for click_id, _ in differing(found)} == {"user-0", "user-1", "user-2"}
        for feature in found.features:
            column = LAYOUT.names.index(feature.name)
            for example in feature.worst:
                at = next(at for at, one in enumerate(clicks[AFTER]) if one.click_id == example.click_id)
                assert (example.journalled, example.expected) == (without[at, column], with_all[at, column])
    service.close()


def test_a_replica_that_had_everything_shows_no_skew(tmp_path: Path, servers: tuple[Server, Server]) -> None:
    """Without a lag nothing is lost: no row differs after the failover."""
    master, replica = servers
    clicks, service = visits(), Service(tmp_path, servers, 1)
    service.decide(clicks[: LOST.stop])
    assert master.ask("WAIT", 1, 5000) == 1
    master.kill()
    replica.ask("REPLICAOF", "NO", "ONE")
    service.decide(clicks[AFTER])
    for found in (service.folded_again(), service.skew(LakeReference(lake_of(tmp_path, clicks)))):
        assert (found.compared, found.different, found.share) == (150, 0, 0.0)
        assert (found.only_journal, found.only_lake, found.missing, found.repeated) == (0, 0, 0, 0)
    assert service.store.failovers == 1
    service.close()


def test_a_lost_click_sent_again_is_told(tmp_path: Path, servers: tuple[Server, Server]) -> None:
    """A click_id whose claim was lost is folded and journalled again; the report counts it, and folds it once."""
    _, replica = servers
    clicks, service = visits(), Service(tmp_path, servers, 1)
    service.decide(clicks[BEFORE])
    assert servers[0].ask("WAIT", 1, 5000) == 1
    replica.ask("REPLICAOF", "NO", "ONE")
    service.decide(clicks[LOST])
    servers[0].kill()
    service.decide([*clicks[LOST], *clicks[AFTER]])
    found = service.folded_again()
    assert (found.repeated, found.compared, found.missing) == (30, 150, 0)
    # Sent again in the same order they stand where they stood, and nothing is missing.
    assert found.different == 0
    service.close()
