from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.asking import DECISIONS, JSON, answer, run
from tests.service.making import body

from slidr.errors import JournalError
from slidr.service import log
from slidr.service.app import App, Route
from slidr.service.lifecycle import Parts


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the log writes; logging is put back at the end."""
    root, own = logging.getLogger(), logging.getLogger("slidr")
    handlers, levels = root.handlers[:], (root.level, own.level)
    monkeypatch.setattr(log, "_fields", {})
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


def test_a_line_is_an_object_with_what_is_known(written: io.StringIO) -> None:
    """Time, level, logger and message are always there; request, worker and bundle where they are known."""
    log.set_up("json", "info", written)
    logger = logging.getLogger("slidr.service")
    logger.info("state restored up to click %d", 7)
    log.tell(worker="3", bundle="b1")
    logger.warning("slow", extra={"request_id": "r-1"})
    first, second = map(json.loads, written.getvalue().splitlines())
    assert {name: first[name] for name in ("level", "logger", "message")} == {
        "level": "info",
        "logger": "slidr.service",
        "message": "state restored up to click 7",
    }
    assert first["time"].endswith("Z")
    assert list(first) == ["time", "level", "logger", "message"]
    assert (second["worker"], second["bundle"], second["request_id"]) == ("3", "b1", "r-1")


@pytest.mark.parametrize("style", ["json", "text"])
def test_an_error_tells_where_and_not_what_was_sent(written: io.StringIO, style: Literal["json", "text"]) -> None:
    """A message that may quote a click is left out; slidr's own and the system's are told."""
    log.set_up(style, "info", written)
    faults = [KeyError("anna@example.org"), OSError(28, "No space left on device"), JournalError("cannot be written")]
    for fault in faults:
        try:
            raise fault
        except type(fault) as raised:
            logging.getLogger("slidr").warning("POST failed", exc_info=raised)
    text = written.getvalue()
    assert "anna" not in text
    for wanted in ("KeyError", "No space left on device", "cannot be written", "test_log.py"):
        assert wanted in text


def test_levels_are_kept_and_libraries_only_warn(written: io.StringIO) -> None:
    """Nothing below the level is written, and nothing of a library below a warning."""
    log.set_up("text", "warning", written)
    logging.getLogger("slidr.service").info("no")
    logging.getLogger("uvicorn.error").info("no")
    logging.getLogger("uvicorn.error").warning("yes")
    assert written.getvalue().endswith("warning uvicorn.error: yes\n")
    assert written.getvalue().count("\n") == 1


@given(st.text())
def test_a_message_cannot_end_its_line(message: str) -> None:
    """Whatever a message holds, JSON gives it back, and text keeps it on one line: nobody can write lines of theirs."""
    record = logging.LogRecord("slidr", logging.INFO, "", 0, "%s", (message,), None)
    assert json.loads(log._Json().format(record))["message"] == message.encode("utf-8", "backslashreplace").decode()
    assert len(log._Text().format(record).splitlines()) == 1


def test_a_request_keeps_the_identity_that_it_came_with() -> None:
    """Printable ASCII of at most 128 characters is taken over; anything else gets one of the service's own."""
    ids = log.RequestIds()
    assert ids.of([(b"host", b"x"), (b"x-request-id", b"a" * 128)]) == "a" * 128
    made = [ids.of([(b"x-request-id", value)]) for value in (b"", b"a" * 129, b"a\r\nb", "é".encode(), b"\x00")]
    made += [ids.of([]), log.RequestIds().of([])]
    assert len(set(made)) == len(made)
    assert all(one.isascii() and one.isprintable() for one in made)


def test_a_request_is_named_in_its_answer_its_problem_and_its_lines(parts: Parts, written: io.StringIO) -> None:
    """The answer has the request's identity, the problem is an instance of it, and the log's lines carry it."""
    log.set_up("json", "debug", written)

    async def work(app: App) -> None:
        fine = await answer(app, "POST", DECISIONS, body(1), headers={**JSON, "x-request-id": "order 7"})
        assert (fine.status, fine.headers["x-request-id"]) == (200, "order 7")
        wrong = await answer(app, "GET", f"{DECISIONS}/anna@example.org")
        assert wrong.document["instance"] == f"urn:slidr:request:{wrong.headers['x-request-id']}"
        app._paths["/health"]["GET"] = Route("GET", "/health", None, lambda _: 1 // 0)  # type: ignore[arg-type, return-value]
        failed = await answer(app, "GET", "/health", headers={"x-request-id": "<7>"})
        assert (failed.status, failed.document["instance"]) == (500, "urn:slidr:request:%3C7%3E")
        await answer(app, "GET", "/nobody@example.org")
        found = [json.loads(line) for line in written.getvalue().splitlines()]
        lines = [line for line in found if "request_id" in line]
        assert [(line["level"], line["request_id"]) for line in lines] == [
            ("debug", "order 7"),
            ("debug", wrong.headers["x-request-id"]),
            ("error", "<7>"),
            ("debug", "<7>"),
            ("debug", lines[-1]["request_id"]),
        ]
        assert lines[0]["message"].startswith(f"POST {DECISIONS} 200 in ")
        assert lines[0]["message"].endswith(" ms, 1 clicks")
        assert lines[1]["message"].startswith(f"GET {DECISIONS}/... 404 in ")
        assert "GET unknown path 404" in lines[4]["message"]
        assert lines[2]["error"] == "ZeroDivisionError"

    run(parts, work)
    for kept_out in ("example.org", "192.0.2.", "user-1", "click-1"):
        assert kept_out not in written.getvalue()
