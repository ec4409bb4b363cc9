from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.service.asking import DECISIONS, answer, run
from tests.service.making import NOW, body, click, make_parts

from slidr.bundle import Bundle
from slidr.clock import ManualClock
from slidr.errors import JournalError
from slidr.journal import Context, Entry, Journal
from slidr.service.app import App
from slidr.service.auth import Keys
from slidr.service.history import AdvertiserDecision, Archive, AuditorDecision
from slidr.service.key_file import add_key
from slidr.service.lifecycle import Parts

INSIDE = {"keys", "row", "click_key", "logged_in", "context", "user", "ip"}


def entry(sequence: int, verdict: str, *reasons: str, **changes: Any) -> Entry:
    """Return a decision of one click as a journal holds it."""
    found = Entry(
        sequence, f"d-{sequence}", "c", NOW, NOW + sequence, verdict, reasons, (), 0.7, 0.4, "all", "gone", "live",
        CONTEXT.id, 1, 5, -1, b"", b"",
    )  # fmt: skip
    return found._replace(**changes)


CONTEXT = Context("gone", (("user",),), ("f",), (("crawlers", "7"),), "1")


def test_the_history_of_a_click_is_shown(parts: Parts) -> None:
    """GET tells what was decided of a click, whatever its name, without hashes, rows, scores and thresholds."""

    async def work(app: App) -> None:
        name = "a/b%20c d?é\x00"
        decided = await answer(app, "POST", DECISIONS, msgspec.json.encode(click(0, click_id=name)))
        found = await answer(app, "GET", f"{DECISIONS}/a%2Fb%2520c%20d%3F%C3%A9%00")
        assert found.status == 200
        assert found.document["click_id"] == name
        (one,) = found.document["decisions"]
        for field in ("decision_id", "verdict", "invalid", "reasons", "slice", "bundle", "sequence", "enforced"):
            assert one[field] == decided.document[field]
        assert (one["campaign"], one["time"]) == ("c1", "2026-03-02T08:00:00Z")
        assert [why["code"] for why in one["explanations"]][:1] == one["reasons"]
        assert not (INSIDE | {"score", "threshold"}) & set(one)
        assert "0.4" not in str(one["explanations"])

    run(parts, work)


def test_an_advertiser_is_told_codes_alone(parts: Parts) -> None:
    """?view=advertiser shows verdict and codes as they were answered, and nothing else of the decision."""

    async def work(app: App) -> None:
        decided = (await answer(app, "POST", DECISIONS, body(1))).document
        found = (await answer(app, "GET", f"{DECISIONS}/click-1?view=advertiser")).document
        (one,) = found["decisions"]
        assert sorted(one) == ["decided_at", "decision_id", "invalid", "reasons", "verdict"]
        assert (one["verdict"], one["reasons"]) == (decided["verdict"], decided["reasons"])

    run(parts, work)


def test_scores_are_for_a_key_of_who_runs_the_service(parts: Parts) -> None:
    """?view=admin shows score and threshold to a key with the scope admin; without keys and to others it is refused."""
    clock = ManualClock(NOW)
    path = parts.root / "keys.json"
    read, admin = add_key(path, "auditor", ("read",), now=NOW), add_key(path, "operator", ("admin",), now=NOW)

    async def work(app: App) -> None:
        await answer(app, "POST", DECISIONS, body(1))
        where = f"{DECISIONS}/click-1?view=admin"
        assert (await answer(app, "GET", where)).status == 403
        app._keys = Keys(path, clock)
        assert (await answer(app, "GET", where)).status == 401
        assert (await answer(app, "GET", where, headers=_bearer(read))).status == 403
        found = await answer(app, "GET", where, headers=_bearer(admin))
        (one,) = found.document["decisions"]
        assert one["score"] > 0
        assert one["threshold"] == pytest.approx(0.45)

    run(parts, work)


def _bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.mark.parametrize("query", ["veiw=advertiser", "view=", "view=all", "view=admin&view=auditor", "x", "%00"])
def test_a_query_that_is_not_understood_is_refused(parts: Parts, query: str) -> None:
    """A misspelt view shows nothing, lest it show more than was meant."""

    async def work(app: App) -> None:
        await answer(app, "POST", DECISIONS, body(1))
        found = await answer(app, "GET", f"{DECISIONS}/click-1?{query}")
        assert (found.status, found.document["title"]) == (400, "unknown query")

    run(parts, work)


def test_a_click_nobody_decided_is_unknown(tmp_path: Path, bundle: Bundle) -> None:
    """404 for a click_id that is not in the journal, that no click can have, or that is no text."""

    async def work(app: App) -> None:
        for name in ("never", "x" * 300, "%FF", "%ED%A0%80", "a%00"):
            assert (await answer(app, "GET", f"{DECISIONS}/{name}")).status == 404

    run(make_parts(tmp_path, bundle), work)


def test_the_latest_decision_stands_last(tmp_path: Path) -> None:
    """All decisions of a click are told, oldest first, each as it was decided and as it was answered."""
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.declare(CONTEXT)
    archive = Archive(tmp_path / "journal.sqlite", tmp_path)
    entries = [
        entry(-1, "unmeasurable", "deadline"),
        entry(1, "invalid_general", "crawlers", lists=("crawlers",), enforced=0),
        entry(2, "invalid_sophisticated", "model", cause="replay:r1"),
    ]
    first, second, last = archive.history(entries, "auditor", {}).decisions
    assert isinstance(second, AuditorDecision)
    assert isinstance(last, AuditorDecision)
    assert (second.verdict, second.answered, second.invalid, second.enforced) == (
        "invalid_general",
        "valid",
        False,
        False,
    )
    assert "version 7" in second.explanations[0].words
    assert (last.cause, last.invalid) == ("replay:r1", True)
    assert [one.words for one in last.explanations] == ["the score is above the threshold of the slice all"]
    told = archive.history(entries, "advertiser", {}).decisions
    assert [(one.verdict, one.reasons) for one in told if isinstance(one, AdvertiserDecision)] == [
        ("unmeasurable", ("deadline",)),
        ("valid", ()),
        ("invalid_sophisticated", ("model",)),
    ]
    assert first.decided_at < second.decided_at


def test_what_another_process_decided_is_found(tmp_path: Path) -> None:
    """A click that this process has not decided is looked for in the journals beside it."""
    own, other = tmp_path / "own.sqlite", tmp_path / "other.sqlite"
    with Journal(own), Journal(other) as journal:
        journal.declare(CONTEXT)
        journal.append([entry(5, "invalid_general", "crawlers"), entry(6, "valid", click_id="d")])
    archive = Archive(own, tmp_path, [other, tmp_path / "absent.sqlite"])
    found = archive.elsewhere("c")
    assert [one.sequence for one in found] == [5]
    (told,) = archive.history(found, "auditor", {}).decisions
    assert isinstance(told, AuditorDecision)
    assert "version 7" in told.explanations[0].words
    assert archive.elsewhere("never") == []
    with pytest.raises(JournalError, match="no entries of context 'unknown'"):
        archive.history([entry(7, "valid", context="unknown")], "auditor", {})
