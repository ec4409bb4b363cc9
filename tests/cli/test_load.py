from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cli.conftest import Run
from tests.load.test_sending import answering, ok

ANSWER = b'{"click_id":"a","verdict":"valid"}'
LINE = '{"click_id": "c%d", "time": "2026-03-02T10:00:%02dZ", "user": "u"}\n'


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A file of five clicks, a second apart."""
    path = tmp_path / "log.ndjson"
    path.write_text("".join(LINE % (place, place) for place in range(5)))
    return path


def test_a_log_is_sent_and_its_answers_are_told(slidr: Run, log: Path, tmp_path: Path) -> None:
    """Machines get one object, people a table, and the distribution goes to a file."""
    with answering(lambda _: [ok(ANSWER)]) as (url, heads):
        told = slidr("load", log, "--url", url.removesuffix("/v1/decisions"), "--histogram", tmp_path / "h", "--json")
        read = slidr("load", log, "--url", url, "--rate", 1000)
    found = told.document
    assert (found["requests"], found["statuses"], found["verdicts"]) == (5, {"200": 5}, {"valid": 5})
    assert (found["unanswered"], found["problems"], found["rate"]) == (0, {}, None)
    assert found["latency_ms"] == found["service_ms"]
    assert set(found["latency_ms"]) == {"p50", "p75", "p90", "p99", "p99.9", "p99.99", "max", "mean"}
    assert all(head.startswith(b"POST /v1/decisions HTTP/1.1") for head in heads)
    assert (tmp_path / "h").read_text().splitlines()[0].split()[0] == "Value"
    assert read.code == 0
    for word in ("5 requests in", "from its time, ms", "sender late, ms", "p99.99", "status 200", "valid"):
        assert word in read.out


def test_the_key_is_read_from_the_environment(slidr: Run, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent with every request, and never printed."""
    monkeypatch.setenv("SLIDR_API_KEY", "slidr_secret")
    with answering(lambda _: [ok(ANSWER)]) as (url, heads):
        told = slidr("load", log, "--url", url)
    assert all(b"\r\nauthorization: Bearer slidr_secret\r\n" in head for head in heads)
    assert "slidr_secret" not in told.out + told.err
    monkeypatch.setenv("SLIDR_API_KEY", "two\nlines")
    told = slidr("load", log, "--url", url)
    assert told.code == 1
    assert "SLIDR_API_KEY holds a character that no key has" in told.err


def test_what_was_not_decided_is_a_fault(slidr: Run, log: Path) -> None:
    """Statuses, the service's first words on each, and an exit status of 1."""
    refusal = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 15\r\n\r\n" + b'{"title":"key"}'
    with answering(lambda _: [refusal]) as (url, _):
        told = slidr("load", log, "--url", url)
    assert told.code == 1
    assert "status 401" in told.out
    assert 'first of status 401: {"title":"key"}' in told.out
    assert "5 of 5 requests were not decided" in told.err


def test_a_log_with_fresh_ids_goes_on_until_it_is_told_to_stop(slidr: Run, log: Path) -> None:
    """More clicks than the log has, in batches; without a bound it is refused."""
    with answering(lambda _: [ok(b"[%b,%b]" % (ANSWER, ANSWER))]) as (url, _):
        told = slidr("load", log, "--url", url, "--fresh", "--now", "--count", 12, "--batch", 2, "--json")
    assert (told.document["requests"], told.document["clicks_decided"]) == (6, 12)
    told = slidr("load", log, "--fresh")
    assert told.code == 1
    assert "say when to stop: --seconds or --count" in told.err


def test_any_log_that_is_ingested_can_be_sent(slidr: Run, tmp_path: Path) -> None:
    """A Parquet file, whose columns the settings name, is sent in its own time."""
    path = tmp_path / "clicks.parquet"
    times = pa.array([1_772_445_600_000_000 + 2_000 * place for place in range(4)], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"id": ["a", "b", "c", "d"], "time": times, "cost": [1, None, 3, 4]}), path)
    settings = tmp_path / "slidr.toml"
    settings.write_text('[clicks.columns]\nclick_id = "id"\n')
    with answering(lambda body: [ok(ANSWER)] if b'"click_id"' in body else []) as (url, _):
        told = slidr("load", path, "--url", url, "--settings", settings, "--speed", 1, "--json")
    assert told.document["verdicts"] == {"valid": 4}
    assert told.document["seconds"] >= 0.006


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rate", 5, "--speed", 2), "both rate = 5 and speed = 2 are set; choose one"),
        (("--url", "ftp://127.0.0.1"), "is not an http address"),
        (("--ca", "none.pem"), "--ca none.pem: no certificates in PEM"),
    ],
)
def test_wrong_options_are_named(slidr: Run, log: Path, options: tuple[object, ...], message: str) -> None:
    """What contradicts itself or cannot be used ends in one line that says so."""
    told = slidr("load", log, *options)
    assert told.code == 1
    assert message in told.err
