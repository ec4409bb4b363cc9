from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.service.asking import DECISIONS, JSON, LINES, answer, ask, run
from tests.service.making import NOW, body, click, make_parts

from slidr.clock import ManualClock
from slidr.service.app import App, Route
from slidr.service.lifecycle import Parts, Service


def test_one_click_and_many_are_decided(parts: Parts) -> None:
    """An object is answered with an object, an array with an array in its order, an empty one with an empty one."""

    async def work(app: App) -> None:
        one = await answer(app, "POST", DECISIONS, body(1))
        assert one.status == 200
        assert one.headers["content-type"] == "application/json"
        assert sorted(one.document) == sorted(
            ["click_id", "decision_id", "verdict", "invalid", "reasons", "slice", "bundle", "sequence", "enforced"]
        )
        many = await answer(app, "POST", DECISIONS, body(3, 2, 1))
        assert [found["click_id"] for found in many.document] == ["click-3", "click-2", "click-1"]
        assert [found["sequence"] for found in many.document] == [1, 2, 0]
        assert (await answer(app, "POST", DECISIONS, b"[]")).document == []
        pieces = await answer(
            app,
            "POST",
            DECISIONS,
            body(4)[:9],
            body(4)[9:],
            headers={"content-type": "Application/JSON; charset=utf-8"},
        )
        assert pieces.document["sequence"] == 3

    run(parts, work)


def test_lines_are_answered_with_lines(parts: Parts) -> None:
    """NDJSON is answered with NDJSON: one line a click in order, and an error line in the place of a bad one."""

    async def work(app: App) -> None:
        sent = b"\n".join([msgspec.json.encode(click(0)), b'{"click_id": 5}', b"", b"nonsense", b"5", body(1)])
        found = await answer(app, "POST", DECISIONS, sent, headers=LINES)
        assert (found.status, found.headers["content-type"]) == (200, "application/x-ndjson")
        told = [msgspec.json.decode(line) for line in found.body.splitlines()]
        assert [one.get("sequence") for one in told] == [0, None, None, None, 1]
        assert [one["error"]["path"] for one in told[1:4]] == ["[1].click_id", "[2]", "[3]"]
        one = await answer(app, "POST", DECISIONS, body(0), headers=LINES)
        assert msgspec.json.decode(one.body)["sequence"] == 0
        assert one.body.endswith(b"}\n")
        assert (await answer(app, "POST", DECISIONS, b"", headers=LINES)).body == b""

    run(parts, work)


def test_a_malformed_click_of_many_spoils_only_itself(parts: Parts) -> None:
    """In an array the malformed stand as errors between decisions; alone a malformed click is refused with 422."""

    async def work(app: App) -> None:
        clicks = [click(0), click(1, ip="nowhere"), 5, click(3)]
        many = await answer(app, "POST", DECISIONS, msgspec.json.encode(clicks))
        first, second, third, last = many.document
        assert (many.status, first["sequence"], last["sequence"]) == (200, 0, 1)
        assert second["error"]["path"] == "[1].ip"
        assert second["error"]["value"] == "nowhere"
        assert third["error"]["value"] == 5
        alone = await answer(app, "POST", DECISIONS, msgspec.json.encode(clicks[1]))
        assert (alone.status, alone.headers["content-type"]) == (422, "application/problem+json")
        assert alone.document["path"] == "ip"
        assert b"slidr_malformed_clicks_total 2.0" in (await answer(app, "GET", "/metrics")).body

    run(parts, work)


@pytest.mark.parametrize(
    ("request_line", "content", "headers", "status", "words"),
    [
        (f"POST {DECISIONS}", b"{", JSON, 400, "not JSON in UTF-8"),
        (f"POST {DECISIONS}", b"\xff", JSON, 400, "UTF-8"),
        (f"POST {DECISIONS}", b"{}", {}, 415, "send application/json"),
        (f"POST {DECISIONS}", b"{}", {"content-type": "text/plain"}, 415, "'text/plain'"),
        (f"POST {DECISIONS}", b"{}", {**JSON, "content-encoding": "gzip"}, 415, "send it plain"),
        (f"POST {DECISIONS}", b"{}", {**JSON, "content-length": "-1"}, 400, "content-length is '-1'"),
        (f"POST {DECISIONS}", b"{}", {**JSON, "content-length": "1e3"}, 400, "content-length is '1e3'"),
        (f"GET {DECISIONS}", b"", JSON, 405, "use POST"),
        (f"GET {DECISIONS}/", b"", JSON, 404, "is nothing here"),
        ("GET /", b"", JSON, 404, "/ is nothing here"),
        ("GET /health/", b"", JSON, 404, "is nothing here"),
        ("TRACE /health", b"", JSON, 405, "use GET"),
        (f"DELETE {DECISIONS}/click-1", b"", JSON, 405, "use GET"),
        ("POST /ready", b"", JSON, 405, "use GET"),
        ("GET /v2/decisions", b"", JSON, 404, "/v2/decisions is nothing here"),
        (f"GET {DECISIONS}/never", b"", JSON, 404, "no decision of click 'never'"),
        (f"POST {DECISIONS}", b" " * 2000, JSON, 413, "at most 1024 are taken"),
        (f"POST {DECISIONS}", b"", {**JSON, "content-length": "5000"}, 413, "5000 bytes or more"),
    ],
)
def test_a_request_that_is_none_is_told_why(
    parts: Parts, request_line: str, content: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    """Each kind of wrong request has its status, and says in words what would be right."""
    method, path = request_line.split()

    async def work(app: App) -> None:
        found = await answer(app, method, path, content, headers=headers)
        assert (found.status, found.document["status"]) == (status, status)
        assert words in found.document["detail"]
        assert ("OPTIONS" in found.headers.get("allow", "")) == (status == 405)
        assert found.document["type"].startswith("urn:slidr:")
        assert (found.headers.get("connection") == "close") == (status in {413, 415})
        assert f'status="{status}"' in (await answer(app, "GET", "/metrics")).body.decode()

    run(make_parts(parts.root, parts.bundle, body_limit=1024), work)


def test_a_body_that_is_too_large_is_not_read_to_its_end(parts: Parts) -> None:
    """A body without a stated length is refused as soon as it passes the limit."""
    piece = b" " * 1_000_000

    async def work(app: App) -> None:
        found = await answer(app, "POST", DECISIONS, *[piece] * 5, cut=True)
        assert found.status == 413
        assert "5000000 bytes or more" in found.document["detail"]

    run(parts, work)


def test_too_many_clicks_are_refused(tmp_path: Any, bundle: Any) -> None:
    """A request with more clicks than the limit is refused whole."""

    async def work(app: App) -> None:
        found = await answer(app, "POST", DECISIONS, body(1, 2, 3))
        assert found.status == 413
        assert "3 clicks in one request; at most 2" in found.document["detail"]

    run(make_parts(tmp_path, bundle, batch_limit=2), work)


@pytest.mark.parametrize("kind", [JSON, LINES], ids=["array", "lines"])
def test_a_hundred_thousand_clicks_are_refused_whole(parts: Parts, kind: dict[str, str]) -> None:
    """A request of a hundred thousand clicks is refused for its bytes, or for its clicks; nothing of it is decided."""

    async def work(app: App) -> None:
        for one, title in ((body(1), "body too large"), (b"{}", "too many clicks")):
            many = [one] * 100_000
            sent = b"\n".join(many) if kind is LINES else b"[" + b",".join(many) + b"]"
            found = await answer(app, "POST", DECISIONS, sent, headers=kind)
            assert (found.status, found.document["title"]) == (413, title)
        assert (await answer(app, "GET", "/ready")).document["sequence"] == 0

    run(parts, work)


def test_an_overload_is_answered_at_once(tmp_path: Any, bundle: Any) -> None:
    """What does not fit into the queue gets 429 with Retry-After; what does is decided."""

    async def work(app: App) -> None:
        found = await asyncio.gather(*(answer(app, "POST", DECISIONS, body(2 * at, 2 * at + 1)) for at in range(10)))
        assert [one.status for one in found] == [200] * 4 + [429] * 6
        assert {one.headers.get("retry-after") for one in found[4:]} == {"1"}
        assert (await answer(app, "POST", DECISIONS, body(18, 19))).status == 200

    run(make_parts(tmp_path, bundle, queue=8), work)


def test_who_hangs_up_gets_no_answer(parts: Parts) -> None:
    """A request that is cut off before its body is whole is dropped, and nothing of it is decided."""

    async def work(app: App) -> None:
        assert await ask(app, "POST", DECISIONS, body(1), cut=True) is None
        assert (await answer(app, "GET", "/ready")).document["sequence"] == 0

    run(parts, work)


def test_health_readiness_and_metrics(parts: Parts) -> None:
    """A process that lives is healthy, and ready only while it decides; what it does is counted."""

    async def main() -> None:
        service = Service(parts, clock=ManualClock(NOW))
        app = App(service, 1024)
        assert (await answer(app, "GET", "/health")).document == {"alive": True}
        unready = await answer(app, "GET", "/ready")
        assert (unready.status, unready.document["state"]) == (503, "starting")
        refused = await answer(app, "POST", DECISIONS, body(1))
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        await service.start()
        ready = await answer(app, "GET", "/ready")
        told = {"state": "ready", "bundle": parts.bundle.id, "challenger": None, "sequence": 0}
        assert ready.document == {"ready": True, **told}
        await answer(app, "POST", DECISIONS, body(1))
        await answer(app, "POST", DECISIONS, body(1))
        text = (await answer(app, "GET", "/metrics")).body.decode()
        for line in (
            'slidr_requests_total{status="200"} 4.0',
            'slidr_requests_total{status="503"} 2.0',
            "slidr_repeats_total 1.0",
            "slidr_ready 1.0",
            "slidr_queue_clicks 0.0",
            f'slidr_bundle_info{{bundle="{parts.bundle.id}"',
            'slidr_stage_seconds_count{stage="journal"} 2.0',
            "slidr_batch_clicks_sum 2.0",
            "slidr_event_time_lag_seconds 3598.999999",
        ):
            assert line in text
        await service.stop()
        assert (await answer(app, "GET", "/ready")).status == 503

    asyncio.run(main())


def test_what_a_path_takes_is_told(parts: Parts) -> None:
    """OPTIONS and 405 name the methods of a path, and HEAD is answered wherever GET is."""

    async def work(app: App) -> None:
        told = await answer(app, "OPTIONS", DECISIONS)
        assert (told.status, told.headers["allow"], told.body) == (204, "POST, OPTIONS", b"")
        refused = await answer(app, "PUT", f"{DECISIONS}/click-1")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert (await answer(app, "OPTIONS", "/nothing")).status == 404
        assert (await answer(app, "HEAD", "/health")).status == 200
        assert (await answer(app, "HEAD", DECISIONS)).status == 405

    run(parts, work)


def test_a_fault_of_ours_ends_one_request_only(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw is answered 500, logged, and the next request is decided."""

    async def work(app: App) -> None:
        app._paths["/health"]["GET"] = Route("GET", "/health", None, lambda _: 1 // 0)  # type: ignore[arg-type, return-value]
        assert (await answer(app, "GET", "/health")).status == 500
        assert "GET /health failed" in caplog.text
        assert (await answer(app, "POST", DECISIONS, body(1))).status == 200

    run(parts, work)
