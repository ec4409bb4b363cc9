"""Command of load: load. It needs no training packages, and no lake packages where the log is a file of JSON lines."""

from __future__ import annotations

import importlib
import os
import secrets
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypedDict, Unpack

import click
import msgspec
from tabulate import tabulate

from slidr.cli.options import Bars, Outcome, printed
from slidr.clock import SystemClock
from slidr.errors import ServiceError, SettingsError
from slidr.load.clicks import LINES, Logged, Plan, read_lines, requests
from slidr.load.sending import UNANSWERED, Answer, Limits, Sent, Target, send
from slidr.load.tally import Tally, lags, milliseconds
from slidr.settings import Settings, read_settings

KEY = "SLIDR_API_KEY"
"""The environment variable that holds the key of the service's API."""
_PATH = "/v1/decisions"


class _Options(TypedDict):
    url: str
    rate: float | None
    speed: float | None
    batch: int
    connections: int
    seconds: float | None
    count: int | None
    now: bool
    fresh: bool
    ca: Path | None
    histogram: Path | None
    settings: Path | None


@click.command(short_help="Send a log to a service and measure its answers.")
@click.argument("log")
@click.option("--url", default="http://127.0.0.1:8710", show_default=True, help="The service.")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Clicks a second, whether or not answers come."
)
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), help="Multiple of the log's own time, instead.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Clicks a request.")
@click.option("--connections", type=click.IntRange(1, 4096), default=32, show_default=True, help="Kept open.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Send nothing after this long.")
@click.option("--count", type=click.IntRange(min=1), help="Send this many clicks at most.")
@click.option("--now", is_flag=True, help="Give every click the time of its sending.")
@click.option("--fresh", is_flag=True, help="Give every click an id of its own, and start the log over when it ends.")
@click.option("--ca", type=click.Path(path_type=Path), help="Certificates that an https service is known by (PEM).")
@click.option("--histogram", type=click.Path(path_type=Path), help="Write the distribution of latencies here.")
@click.option("--settings", type=click.Path(path_type=Path), help="Settings that say how LOG is read: source, columns.")
@printed
def load(log: str, **options: Unpack[_Options]) -> Outcome:
    """Send the clicks of LOG to a service, and print how fast it answered and what it decided.

    LOG is a file of clicks as the service takes them, one JSON object a line (.ndjson, .jsonl, .gz too), or any log
    that `slidr ingest` reads. With --rate or --speed a click has a time at which it is due, and its latency counts from
    there; without, the next is sent when an answer comes. The API key is read from SLIDR_API_KEY.
    """
    if options["fresh"] and options["count"] is None and options["seconds"] is None:
        raise SettingsError("--fresh starts the log over when it ends, so say when to stop: --seconds or --count")
    clock = SystemClock()
    plan = Plan(
        batch=options["batch"],
        rate=options["rate"],
        speed=options["speed"],
        now=options["now"],
        prefix=f"load-{secrets.token_hex(4)}" if options["fresh"] else None,
        most=options["count"],
    )
    target = _target(options["url"], options["ca"])
    drawn = requests(_reader(log, options["settings"]), plan, clock)
    bars, tally = Bars(), Tally()
    counting = bars.counting("load", plan.most)

    def take(answer: Answer) -> None:
        tally(answer)
        counting(plan.batch)

    sent = send(target, drawn, take, Limits(options["connections"], options["seconds"]))
    bars.close()
    tally.settle()
    if options["histogram"] is not None:
        options["histogram"].write_text(tally.latencies.distribution(), encoding="utf-8")
    document = _document(tally, sent, plan, options["connections"])
    return Outcome(_text(document, paced=plan.rate is not None or plan.speed is not None), document, _fault(tally))


def _target(url: str, authorities: Path | None) -> Target:
    key = os.environ.get(KEY, "")
    if not key.isascii() or not key.isprintable():
        raise ServiceError(f"{KEY} holds a character that no key has, such as a line break; set it anew")
    try:
        tls = None if authorities is None else ssl.create_default_context(cafile=authorities)
    except OSError as fault:
        raise ServiceError(f"--ca {authorities}: no certificates in PEM ({fault})") from None
    scheme, _, rest = url.partition("://")
    whole = url if "/" in rest.rstrip("/") else f"{scheme}://{rest.rstrip('/')}{_PATH}"
    return Target(whole, {"authorization": f"Bearer {key}"} if key else {}, tls)


def _reader(log: str, file: Path | None) -> Callable[[], Iterator[Logged]]:
    if log.endswith(LINES):
        return partial(read_lines, Path(log))
    settings = Settings() if file is None else read_settings(file)
    settings = msgspec.structs.replace(settings, clicks=msgspec.structs.replace(settings.clicks, path=log))
    # Only here, because it needs the lake extra, which a file of JSON lines does not.
    read_log = importlib.import_module("slidr.load.logs").read_log
    return partial(read_log, settings, SystemClock())


def _document(tally: Tally, sent: Sent, plan: Plan, connections: int) -> dict[str, Any]:
    clicks = sum(tally.verdicts.values())
    return {
        "seconds": round(sent.seconds, 3),
        "requests": sum(tally.statuses.values()),
        "clicks_decided": clicks,
        "clicks_refused": tally.refused,
        "requests_per_second": round(tally.answered / sent.seconds, 1) if sent.seconds else 0.0,
        "clicks_per_second": round(clicks / sent.seconds, 1) if sent.seconds else 0.0,
        "batch": plan.batch,
        "connections": connections,
        "rate": plan.rate,
        "speed": plan.speed,
        "latency_ms": milliseconds(tally.latencies),
        "service_ms": milliseconds(tally.services),
        "sender_lag_ms": milliseconds(lags(sent)),
        "statuses": {str(status): count for status, count in sorted(tally.statuses.items()) if status != UNANSWERED},
        "unanswered": tally.statuses[UNANSWERED],
        "verdicts": dict(tally.verdicts.most_common()),
        "problems": {str(status): problem for status, problem in sorted(tally.problems.items())},
    }


def _text(document: dict[str, Any], *, paced: bool) -> str:
    columns = {"ms": document["service_ms"]}
    if paced:
        columns = {
            "from its time, ms": document["latency_ms"],
            "from its sending, ms": document["service_ms"],
            "sender late, ms": document["sender_lag_ms"],
        }
    rows = [(name, *(column[name] for column in columns.values())) for name in document["latency_ms"]]
    table = tabulate(rows, headers=("", *columns), floatfmt=".3f", missingval="")
    counts = [(f"status {status}", count) for status, count in document["statuses"].items()]
    counts += [("unanswered", document["unanswered"])] if document["unanswered"] else []
    counts += list(document["verdicts"].items())
    counts += [("clicks refused", document["clicks_refused"])] if document["clicks_refused"] else []
    head = (
        f"{document['requests']:,} requests in {document['seconds']:.1f} s:"
        f" {document['requests_per_second']:,.0f} answers and {document['clicks_per_second']:,.0f} decisions a second"
    )
    lines = [
        head,
        table,
        tabulate(counts, headers=("", "count"), intfmt=","),
        *(f"first of status {status}: {problem}" for status, problem in document["problems"].items()),
    ]
    return "\n\n".join(lines)


def _fault(tally: Tally) -> str | None:
    failed = sum(tally.statuses.values()) - tally.statuses[HTTPStatus.OK]
    if not failed:
        return None
    return f"{failed:,} of {sum(tally.statuses.values()):,} requests were not decided; the statuses above say why"
