from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.service.making import NOW, SECRET, click

from slidr.bundle import Bundle
from slidr.clock import ManualClock
from slidr.decide import Decider
from slidr.features.clicks import Click
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.journal import Entry, Journal
from slidr.rules import prepare_rules
from slidr.service.answers import ORIGINAL_UNKNOWN, Answer, Recorder
from slidr.service.batching import Batcher
from slidr.service.live import live_of
from slidr.service.metrics import Metrics
from slidr.service.queue import Limits, OverloadError, UnavailableError
from slidr.settings import RulesSettings


def make_decider(bundle: Bundle) -> Decider:
    """Return a decider over an empty store."""
    store = EmbeddedStore(compile_catalogue(bundle.catalogue))
    return Decider(bundle, store, Pseudonymiser(SECRET), prepare_rules(RulesSettings()))


def clicks(decider: Decider, *places: int, **changes: Any) -> list[Click]:
    """Return clicks as the door admits them."""
    return [msgspec.convert(click(place, **changes), decider.click) for place in places]


def make_batcher(decider: Decider, journal: Journal, limits: Limits, failed: Callable[[Batcher], None]) -> Batcher:
    """Return a batcher over the store of a decider."""
    live = live_of([decider], decider.store)  # type: ignore[arg-type]
    journal.declare(decider.context)
    recorder = Recorder(journal.id, next_unfolded=journal.next_unfolded)
    return Batcher(live, journal, recorder, Metrics(), ManualClock(NOW), limits, failed)


PATIENT = 1000.0
"""Seconds that no test waits."""
Work = Callable[[Batcher], Coroutine[Any, Any, list[Answer]]]


def run(decider: Decider, journal: Journal, work: Work, *, waiting: int = 1000, at_once: int = 16) -> list[Answer]:
    """Run work with a batcher over a decider and a journal."""

    async def main() -> list[Answer]:
        return await work(make_batcher(decider, journal, Limits(waiting, at_once, PATIENT), lambda _: None))

    return asyncio.run(main())


def journalled(journal: Journal) -> list[Entry]:
    """Return all entries."""
    return [entry for chunk in journal.entries() for entry in chunk]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 33))
def test_answers_are_those_of_one_batch(
    bundle: Bundle, tmp_path_factory: pytest.TempPathFactory, sizes: list[int], at_once: int
) -> None:
    """However clicks are grouped into requests and batches, each is answered, and journalled, as in one batch."""
    decider, alone = make_decider(bundle), make_decider(bundle)
    expected = alone.decide(clicks(alone, *range(sum(sizes))))

    async def work(batcher: Batcher) -> list[Answer]:
        starts = np.cumsum([0, *sizes]).tolist()
        futures = [
            batcher.submit(clicks(decider, *range(start, start + size)))
            for start, size in zip(starts, sizes, strict=False)
        ]
        return [answer for future in futures for answer in await future]

    with Journal(tmp_path_factory.mktemp("journal") / "j.sqlite") as journal:
        answers = run(decider, journal, work, at_once=at_once)
        entries = journalled(journal)
    assert [answer.click_id for answer in answers] == expected.click_ids
    assert [answer.sequence for answer in answers] == expected.sequences.tolist()
    assert [answer.verdict for answer in answers] == expected.verdicts
    assert np.array([entry.score for entry in entries], np.float32).tobytes() == expected.scores.tobytes()
    assert [entry.sequence for entry in entries] == list(range(sum(sizes)))
    assert b"".join(entry.row for entry in entries) == expected.rows.tobytes()
    assert b"".join(entry.keys for entry in entries) == np.ascontiguousarray(expected.batch.keys.T).tobytes()
    assert [entry.click_key for entry in entries] == expected.batch.ids.view(np.int64).tolist()


def test_what_is_answered_is_what_is_journalled(bundle: Bundle, tmp_path: Path) -> None:
    """An entry holds the whole decision, with money, versions and times; the answer leaves score and threshold out."""
    decider = make_decider(bundle)

    async def work(batcher: Batcher) -> list[Answer]:
        return await batcher.submit(clicks(decider, 0))

    with Journal(tmp_path / "j.sqlite") as journal:
        (answer,) = run(decider, journal, work)
        (entry,) = journalled(journal)
        assert entry.decision_id == answer.decision_id == f"{journal.id}-0"
    assert entry.threshold == np.float32(0.4)
    assert entry.score is not None
    assert entry.slice == answer.slice == "device=mobile"
    assert entry.verdict == answer.verdict
    assert answer.invalid == (answer.verdict == "invalid_sophisticated")
    assert (entry.bundle, entry.cause, entry.decided_at) == (bundle.id, "live", NOW)
    assert (entry.campaign, entry.advertiser, entry.cost, entry.currency) == ("c1", "a1", 250_000, "EUR")
    assert entry.logged_in == 1
    told = msgspec.json.encode(answer)
    assert b"threshold" not in told
    assert b"score" not in told


def test_a_repeat_gets_its_originals_decision(bundle: Bundle, tmp_path: Path) -> None:
    """A click seen again, in its own batch or a later one, is answered as the first time and not journalled again."""
    decider = make_decider(bundle)

    async def work(batcher: Batcher) -> list[Answer]:
        first = await batcher.submit(clicks(decider, 1, 2, 1, 3))
        # The same click_id with another body is still the same click.
        later = await batcher.submit(clicks(decider, 2, user=None, session=None, ip=None) + clicks(decider, 4))
        return [*first, *later]

    with Journal(tmp_path / "j.sqlite") as journal:
        answers = run(decider, journal, work)
        assert len(journalled(journal)) == 4
    assert answers[2] == answers[0]
    assert answers[4] == answers[1]
    assert [answer.sequence for answer in answers] == [0, 1, 0, 2, 1, 3]


def test_a_repeat_of_an_unknown_original_is_unmeasurable(bundle: Bundle, tmp_path: Path) -> None:
    """When the original was folded but never decided here, its repeat is not silently valid."""
    decider = make_decider(bundle)
    decider.decide(clicks(decider, 1))

    async def work(batcher: Batcher) -> list[Answer]:
        return await batcher.submit(clicks(decider, 1))

    with Journal(tmp_path / "j.sqlite") as journal:
        (answer,) = run(decider, journal, work)
        assert journalled(journal) == []
    assert (answer.verdict, answer.reasons, answer.decision_id) == ("unmeasurable", ORIGINAL_UNKNOWN, None)


def test_every_verdict_finds_its_way_into_the_answer(bundle: Bundle, tmp_path: Path) -> None:
    """A crawler is invalid in general, a click without identifiers is unmeasurable, and neither has a score."""
    decider = make_decider(bundle)

    async def work(batcher: Batcher) -> list[Answer]:
        crawler = clicks(decider, 1, user_agent="Googlebot/2.1")
        nobody = clicks(decider, 2, user=None, session=None, ip=None)
        return await batcher.submit(crawler + nobody + clicks(decider, *range(3, 30)))

    with Journal(tmp_path / "j.sqlite") as journal:
        crawler, nobody, *others = run(decider, journal, work)
        assert journal.find([0])[0].lists == ("crawlers",)
        assert journal.find([1])[1].threshold is None
        assert [journal.find([place])[place].score for place in (0, 1)] == [None, None]
    assert (crawler.verdict, crawler.invalid) == ("invalid_general", True)
    assert (nobody.verdict, nobody.invalid) == ("unmeasurable", False)
    assert {answer.verdict for answer in others} == {"valid", "invalid_sophisticated"}
    assert all(answer.invalid == (answer.verdict != "valid") for answer in others)


def test_a_full_queue_refuses_and_keeps_what_it_has(bundle: Bundle, tmp_path: Path) -> None:
    """What does not fit is refused at once; what was accepted is answered; an empty queue takes any one request."""
    decider = make_decider(bundle)

    async def work(batcher: Batcher) -> list[Answer]:
        accepted = batcher.submit(clicks(decider, *range(20)))
        with pytest.raises(OverloadError, match="20 clicks wait, at most 10 may"):
            batcher.submit(clicks(decider, 20))
        answers = await accepted
        assert batcher.waiting == 0
        return answers + await batcher.submit(clicks(decider, 20)) + await batcher.submit([])

    with Journal(tmp_path / "j.sqlite") as journal:
        answers = run(decider, journal, work, waiting=10, at_once=8)
    assert [answer.sequence for answer in answers] == list(range(21))


def test_draining_decides_all_that_waits(bundle: Bundle, tmp_path: Path) -> None:
    """After a drain every accepted request has its answers."""
    decider = make_decider(bundle)

    async def work(batcher: Batcher) -> list[Answer]:
        futures = [batcher.submit(clicks(decider, place, place + 100)) for place in range(5)]
        await batcher.drain()
        assert all(future.done() for future in futures)
        return [answer for future in futures for answer in future.result()]

    with Journal(tmp_path / "j.sqlite") as journal:
        assert len(run(decider, journal, work, at_once=3)) == 10


def test_nothing_is_acknowledged_when_the_journal_fails(bundle: Bundle, tmp_path: Path) -> None:
    """When a batch cannot be journalled, it and all that waits are refused, and so is whatever comes after."""
    decider = make_decider(bundle)
    failures: list[Batcher] = []

    async def main(journal: Journal) -> None:
        batcher = make_batcher(decider, journal, Limits(100, 4, PATIENT), failures.append)
        journal._connection.execute("PRAGMA query_only=ON")
        futures = [batcher.submit(clicks(decider, place, place + 10)) for place in range(5)]
        for found in await asyncio.gather(*futures, return_exceptions=True):
            assert isinstance(found, UnavailableError)
        assert failures == [batcher]
        assert batcher.waiting == 0
        with pytest.raises(UnavailableError, match="read-only"):
            batcher.submit(clicks(decider, 99))
        assert b"slidr_journal_errors_total 1.0" in batcher._metrics.exposition()

    with Journal(tmp_path / "j.sqlite") as journal:
        asyncio.run(main(journal))
        assert journal.last_sequence == -1


def test_what_cannot_be_decided_is_a_fault_too(bundle: Bundle, tmp_path: Path) -> None:
    """A batch that fails in the decider leaves the state ahead of the journal, so the batcher stops as well."""
    decider = make_decider(bundle)

    async def work(batcher: Batcher) -> list[Answer]:
        with pytest.raises(UnavailableError, match="not decided"):
            await batcher.submit([click(0)])  # type: ignore[list-item]
        assert isinstance(batcher.fault, AttributeError)
        return []

    with Journal(tmp_path / "j.sqlite") as journal:
        run(decider, journal, work)
