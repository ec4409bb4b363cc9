"""`slidr seed` against a real server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Run, Said
from tests.cli.test_errors import assert_refused
from tests.features.batches import assert_same_bits
from tests.learned import Learned
from tests.redis_servers import Server

from slidr.clock import SystemClock
from slidr.decide import Decider
from slidr.features.backfill import encode_table, fold_table
from slidr.features.clicks import Click, encode_clicks
from slidr.features.layout import compile_catalogue
from slidr.features.redis.seeding import sequence_of
from slidr.features.redis.store import RedisStore
from slidr.features.store import TERM, EmbeddedStore
from slidr.journal import Entry, Journal
from slidr.journal.told import beside, told_held
from slidr.lake.delta import Lake
from slidr.locking import only_run
from slidr.service.answers import Recorder
from slidr.settings import read_settings
from slidr.tables import CLICKS

BATCH = 20
SERVED = 400


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of this test's own, which the command is told of."""
    server = Server(tmp_path / "redis")
    monkeypatch.setenv("SLIDR_REDIS", server.url)
    yield server
    server.kill()


class Tail:
    """Clicks that were served behind the backfill, what was journalled of them, and clicks to come.

    Attributes:
        log: clicks that the backfill folded.
        entries: of the clicks served, in the order of the fold.
    """

    def __init__(self, learned: Learned, project: Path) -> None:
        self.bundle = learned.bundle
        self.layout = compile_catalogue(learned.bundle.catalogue)
        self._pseudonymiser = learned.run.pseudonymiser
        log = Lake(str(project / "lake")).read(CLICKS)
        self.log = log.num_rows
        # The last clicks once more, as other clicks in the hours after.
        names = [name for name in Click.__struct_fields__ if name in log.column_names]
        rows = log.slice(self.log - SERVED - 200).select(names).to_pylist()
        for row in rows:
            row |= {"click_id": f"{row['click_id']}-again", "time": row["time"] + timedelta(hours=2)}
        clicks = [Click(**row) for row in rows]
        self._served, self._rest = clicks[:SERVED], clicks[SERVED:]
        self._store = EmbeddedStore(self.layout)
        for _ in fold_table(log, self.layout, self._pseudonymiser, self._store):
            pass
        decider = Decider(self.bundle, self._store, self._pseudonymiser)
        self._context = decider.context
        self.entries: list[Entry] = []
        for start in range(0, SERVED, BATCH):
            part = self._served[start : start + BATCH]
            self.entries += Recorder("j").entries(decider.decide(part), part, 1)

    def write(self, path: Path, entries: Sequence[Entry]) -> Path:
        """Write entries to a journal."""
        with Journal(path) as journal:
            journal.declare(self._context)
            journal.append(entries)
        return path

    def shared(self, folder: Path) -> tuple[Path, Path]:
        """Write the entries to the journals of two processes that decided by turns."""
        mine, other = ([one for one in self.entries if one.sequence // BATCH % 2 == place] for place in (0, 1))
        return self.write(folder / "one.sqlite", mine), self.write(folder / "two.sqlite", other)

    def assert_goes_on(self, server: Server, partitions: int = 1) -> None:
        """Assert that Redis goes on, bit for bit, as the store that folded everything."""
        shared = RedisStore(self.layout, [server.url], partitions=partitions, timeout=5)
        batch = encode_clicks([*self._served[-30:], *self._rest], self.layout, self._pseudonymiser)
        found, expected = shared.fold(batch), self._store.fold(batch)
        assert not found.soundness[~found.repeats].any(), shared.fault
        assert found.repeats.tolist() == expected.repeats.tolist() == [True] * 30 + [False] * 200
        assert_same_bits(found.rows[30:], expected.rows[30:])
        # Repeats of what was journalled have its sequences; a new term begins behind it.
        assert found.sequences[:30].tolist() == expected.sequences[:30].tolist()
        assert found.sequences[30] >= TERM
        shared.close()


@pytest.fixture
def tail(learned: Learned, project: Path) -> Tail:
    """Clicks served behind the backfill."""
    return Tail(learned, project)


def at(project: Path, *journals: Path) -> list[object]:
    """Return the options that name settings and journals."""
    return ["--settings", project / "slidr.toml", *(word for path in journals for word in ("--journal", path))]


def assert_not_seeded(said: Said, server: Server, *words: str) -> None:
    """Assert that the command refused in one line with these words, and wrote nothing."""
    assert_refused(said, *words)
    assert not server.names()


def test_the_state_of_backfill_goes_on_in_redis(slidr: Run, project: Path, learned: Learned, server: Server) -> None:
    """After `slidr seed` clicks read in Redis what they read behind the backfill, bit for bit."""
    said = slidr("seed", *at(project), "--json").document
    layout, pseudonymiser = compile_catalogue(learned.bundle.catalogue), learned.run.pseudonymiser
    log = Lake(str(project / "lake")).read(CLICKS)
    assert said["sequence"] == log.num_rows
    assert said["entities"] > 1000
    embedded = EmbeddedStore(layout)
    for _ in fold_table(log, layout, pseudonymiser, embedded):
        pass
    # The last clicks once more, as other clicks in the hour after.
    batch = encode_table(log.slice(log.num_rows - 500), layout, pseudonymiser)
    batch = type(batch)(batch.ids + np.uint64(1), batch.times + 3_000_000_000, batch.logged_in, batch.keys)
    shared = RedisStore(layout, [server.url], timeout=5)
    found, expected = shared.fold(batch), embedded.fold(batch)
    assert not found.soundness[~found.repeats].any(), shared.fault
    assert_same_bits(found.rows, expected.rows)
    assert found.sequences.tolist() == expected.sequences.tolist()
    shared.close()


def test_the_tail_of_a_journal_is_folded_in(slidr: Run, project: Path, server: Server, tail: Tail) -> None:
    """The state of the backfill and the decisions journalled after it: clicks read what they read behind both."""
    tail.write(project / "journal.sqlite", tail.entries)
    said = slidr("seed", *at(project), "--json").document
    assert (said["sequence"], said["folded"]) == (tail.log + SERVED, SERVED)
    assert (said["missing"], said["twice"], said["terms"]) == (0, 0, 0)
    tail.assert_goes_on(server)


@pytest.mark.parametrize("partitions", [1, 3])
def test_journals_of_several_processes_are_one(
    slidr: Run, project: Path, server: Server, tail: Tail, partitions: int
) -> None:
    """Two journals that interleave, in any order, give what one journal of all clicks gives."""
    with (project / "slidr.toml").open("a") as settings:
        settings.write(f"\n[store]\npartitions = {partitions}\n")
    one, two = tail.shared(project)
    said = slidr("seed", *at(project, two, one))
    assert said.code == 0, said.err
    assert said.out.endswith(
        f" entities as of click {tail.log + SERVED:,}, {SERVED} clicks of them from the journals\n"
    )
    tail.assert_goes_on(server, partitions)


def test_beginning_from_nothing_gives_no_sequence_twice(slidr: Run, project: Path, server: Server, tail: Tail) -> None:
    """Where a journal lies there that goes on, --empty begins behind it, though Redis has lost what it had given."""
    tail.write(project / "journal.sqlite", tail.entries)
    assert slidr("seed", *at(project), "--empty").code == 0
    assert sequence_of([server.url]) == TERM


def test_a_journal_that_is_missing_or_cut_is_refused(slidr: Run, project: Path, server: Server, tail: Tail) -> None:
    """Left out, cut in front, within or before the others' end: what is missing is named and nothing is written."""
    one, two = tail.shared(project)
    first = tail.log
    alone = slidr("seed", *at(project, two))
    assert_not_seeded(alone, server, "no journal holds", "name the journals of all processes with --journal")
    assert_refused(slidr("seed", *at(project, one, project / "gone.sqlite")), "there is no journal", "gone.sqlite")
    assert_refused(slidr("seed", *at(project, one, two, one)), "are the same journal; name it once")
    assert_refused(slidr("seed", *at(project, one), "--empty"), "--empty begins from nothing")
    front = tail.write(project / "front.sqlite", tail.entries[50:])
    said = slidr("seed", *at(project, front))
    assert_not_seeded(said, server, f"no journal holds 50 sequences: {first} to {first + 49}, and rows would be wrong")
    mine = tail.write(project / "mine.sqlite", [*tail.entries[:100], *tail.entries[300:]])
    cut = tail.write(project / "cut.sqlite", tail.entries[100:260])
    said = slidr("seed", *at(project, mine, cut))
    assert_not_seeded(said, server, f"no journal holds 40 sequences: {first + 260} to {first + 299}, and")


def test_what_is_left_out_with_intent_is_told(slidr: Run, project: Path, server: Server, tail: Tail) -> None:
    """With --incomplete the state is made without what is missing, and a warning names it."""
    mine = tail.write(project / "mine.sqlite", [*tail.entries[:100], *tail.entries[140:]])
    said = slidr("seed", *at(project, mine), "--incomplete")
    assert said.code == 0, said.err
    first = tail.log + 100
    assert f"\nwarning: no journal holds 40 sequences: {first} to {first + 39}\n" in said.out
    assert server.names()
    # Again: the term that Redis goes on with is told.
    document = slidr("seed", *at(project, mine), "--incomplete", "--json").document
    assert (document["missing"], document["terms"], document["folded"]) == (40, 1, SERVED - 40)


def test_a_gap_within_is_a_repeat_where_there_are_several_partitions(
    slidr: Run, project: Path, server: Server, tail: Tail
) -> None:
    """With partitions a repeat takes a sequence that no journal has: a warning, and a refusal for those in front."""
    with (project / "slidr.toml").open("a") as settings:
        settings.write("\n[store]\npartitions = 3\n")
    mine = tail.write(project / "mine.sqlite", [*tail.entries[:100], *tail.entries[101:]])
    said = slidr("seed", *at(project, mine))
    assert said.code == 0, said.err
    words = "(repeats take sequences too where there are several partitions)"
    assert f"\nwarning: no journal holds 1 sequences: {tail.log + 100} {words}\n" in said.out
    server.flush()
    front = tail.write(project / "front.sqlite", tail.entries[50:])
    assert_not_seeded(slidr("seed", *at(project, front)), server, "no journal holds 50 sequences", "--incomplete")


def test_redis_itself_knows_how_far_the_journals_should_go(
    slidr: Run, project: Path, server: Server, tail: Tail
) -> None:
    """Where Redis still has its counter, a journal whose last clicks are gone is found by it."""
    journal = tail.write(project / "journal.sqlite", tail.entries)
    assert slidr("seed", *at(project)).code == 0
    tail.assert_goes_on(server)
    before = server.names()
    refused = slidr("seed", *at(project))
    assert_refused(refused, f"no journal holds 200 sequences: {TERM} to {TERM + 199}, and rows would be wrong")
    assert server.names() == before
    said = slidr("seed", *at(project, journal), "--incomplete")
    assert "warning: no journal holds 200 sequences" in said.out
    assert "warning: the sequences began a new term once" in said.out


def test_what_seed_cannot_do_is_said(slidr: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address, and with one where nobody answers, the reason and the way out are said in one line."""
    monkeypatch.delenv("SLIDR_REDIS", raising=False)
    said = slidr("seed", "--settings", project / "slidr.toml")
    assert said.code == 1
    assert said.err.startswith("slidr: store.redis names no server; set it")
    monkeypatch.setenv("SLIDR_REDIS", "redis://127.0.0.1:1")
    said = slidr("seed", "--settings", project / "slidr.toml")
    assert said.code == 1
    assert "redis at 127.0.0.1:1 cannot be reached" in said.err
    assert said.err.count("\n") == 1


def test_what_a_state_of_all_journals_holds_may_leave_them(
    slidr: Run, project: Path, server: Server, tail: Tail
) -> None:
    """After `slidr ship` and `slidr fold` journals are shortened, and seeding gives what they gave, bit for bit."""
    one, two = tail.shared(project)
    at_both = at(project, one, two)
    assert slidr("ship", *at_both).code == 0
    assert sum(_held(path) for path in (one, two)) == SERVED, "no state holds them yet"
    said = slidr("fold", *at_both, "--json").document
    assert (said["sequence"], said["folded"], said["missing"]) == (tail.log + SERVED, SERVED, 0)
    assert slidr("ship", *at_both).code == 0
    assert [_held(path) for path in (one, two)] == [1, 1], "the last one tells that state and journals belong together"
    held = beside(one, "held")
    held.write_text("{}")
    assert slidr("ship", *at_both).code == 0, "what is told wrong keeps nothing from the lake"
    again = slidr("fold", *at_both)
    assert again.out.endswith(f"holds the state as of click {tail.log + SERVED:,}, 0 clicks more than before\n")
    assert slidr("seed", *at_both).code == 0
    tail.assert_goes_on(server)


def test_a_folding_leaves_what_may_be_on_its_way(slidr: Run, project: Path, server: Server, tail: Tail) -> None:
    """What was decided within the last hour is left for the next folding, and what follows it in the fold too."""
    now = SystemClock().now()
    young = [entry._replace(decided_at=now) if entry.sequence >= tail.log + 300 else entry for entry in tail.entries]
    tail.write(project / "journal.sqlite", [*young[:350], young[350]._replace(decided_at=1), *young[351:]])
    said = slidr("fold", *at(project), "--json").document
    assert (said["sequence"], said["folded"]) == (tail.log + 300, 300)
    assert slidr("seed", *at(project)).code == 0
    tail.assert_goes_on(server)


def test_what_cannot_be_folded_is_said(slidr: Run, project: Path, server: Server, tail: Tail) -> None:
    """A journal that was left out, another folding, and none to fold: nothing is written, and nothing is told."""
    del server
    assert_refused(slidr("fold", *at(project)), "there is no journal", "--journal")
    one, two = tail.shared(project)
    said = slidr("fold", *at(project, two))
    assert_refused(said, "no journal holds", "or fold without them with --incomplete")
    state = Path(read_settings(project / "slidr.toml").storage.state)
    with only_run(state.with_name(f"{state.name}.lock")):
        said = slidr("fold", *at(project, one, two))
        assert_refused(said, f"another run is going on: process {os.getpid()} holds")
    assert not state.exists()
    assert [told_held(path, "") for path in (one, two)] == [0, 0]
    said = slidr("fold", *at(project, two), "--incomplete")
    assert "warning: no journal holds" in said.out


def _held(path: Path) -> int:
    with Journal(path, write=False) as journal:
        return sum(len(entries) for entries in journal.entries())
