"""Examples of what is sent to the service and what it answers, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any, NamedTuple

from slidr.features.clicks import Click
from slidr.service.answers import Answer
from slidr.service.history import AdminDecision, AdvertiserDecision, AuditorDecision, History
from slidr.service.intake import Refused
from slidr.service.purchases import Receipt, ReportedPurchase

JSON, NDJSON, PROBLEM, TEXT = "application/json", "application/x-ndjson", "application/problem+json", "text/plain"
CLICK: dict[str, Any] = {
    "click_id": "click-0",
    "time": "2026-03-02T08:00:00Z",
    "user": "u1",
    "session": "s1",
    "ip": "192.0.2.1",
    "user_agent": "Mozilla/5.0",
    "device": "mobile",
    "logged_in": True,
    "campaign": "c1",
    "advertiser": "a1",
    "cost": 250_000,
    "currency": "EUR",
}
OTHER_CLICK: dict[str, Any] = {"click_id": "click-1", "time": "2026-03-02T08:00:01Z", "ip": "10.0.0.256"}
ANSWER: dict[str, Any] = {
    "click_id": "click-0",
    "decision_id": "288baac03a14-0",
    "verdict": "invalid_sophisticated",
    "invalid": True,
    "reasons": ["model"],
    "slice": "device=mobile",
    "bundle": "ad5e9683c119f140",
    "sequence": 0,
    "enforced": True,
}
PURCHASE: dict[str, Any] = {
    "purchase_id": "order-1",
    "time": "2026-03-02T08:20:00Z",
    "user": "u1",
    "click_id": "click-0",
    "value": 49_900_000,
    "currency": "EUR",
}
RECEIPT: dict[str, Any] = {"purchase_id": "order-1", "new": True}
FOR_ADVERTISER: dict[str, Any] = {
    "decision_id": "288baac03a14-0",
    "decided_at": "2026-03-02T08:00:00.071250Z",
    "verdict": "invalid_sophisticated",
    "invalid": True,
    "reasons": ["model"],
}
_MANY = {
    "code": "user_click_rate",
    "words": "214 clicks of this user in 10 minutes; a person's median is 1, and 99 of 100 clicks of people have at"
    " most 6",
}
_ABOVE = {"code": "model", "words": "the score is above the threshold of the slice device=mobile"}
_FIGURES = {"code": "model", "words": "the score 0.71 is above 0.40, the threshold of the slice device=mobile"}
FOR_AUDITOR: dict[str, Any] = {
    **FOR_ADVERTISER,
    "explanations": [_ABOVE, _MANY],
    "time": "2026-03-02T08:00:00Z",
    "answered": "invalid_sophisticated",
    "enforced": True,
    "lists": [],
    "slice": "device=mobile",
    "bundle": "ad5e9683c119f140",
    "cause": "live",
    "sequence": 0,
    "campaign": "c1",
    "advertiser": "a1",
    "cost": 250_000,
    "currency": "EUR",
}
FOR_ADMIN: dict[str, Any] = {
    **FOR_AUDITOR,
    "explanations": [{**_FIGURES, "log_odds": None}, {**_MANY, "log_odds": 2.31}],
    "score": 0.71,
    "threshold": 0.4,
}
REFUSED: dict[str, Any] = {
    "title": "malformed click",
    "status": 422,
    "detail": '[1].ip is "10.0.0.256"; expected: an IPv4 or IPv6 address, or null',
    "path": "[1].ip",
    "value": "10.0.0.256",
    "type": "urn:slidr:malformed-click",
}
OTHER_PURCHASE: dict[str, Any] = {"purchase_id": "order-2", "time": "2026-03-02T08:21:00Z", "value": -1}
REFUSED_PURCHASE: dict[str, Any] = {
    "title": "malformed purchase",
    "status": 422,
    "detail": "[1].value is -1; expected: int >= 0",
    "path": "[1].value",
    "value": -1,
    "type": "urn:slidr:malformed-purchase",
}
READY: dict[str, Any] = {
    "ready": True,
    "state": "ready",
    "bundle": "ad5e9683c119f140",
    "challenger": None,
    "sequence": 0,
}
PROBLEMS: dict[int, tuple[str, str, str]] = {
    400: ("The request is none.", "not JSON", "the body is not JSON in UTF-8: Input data was truncated"),
    401: ("No valid key.", "no valid key", "the request shows no API key; send `authorization: Bearer slidr_...`"),
    403: ("The key is good for other things.", "not allowed", "the API key 'shop' is good for decide"),
    404: ("Nothing is known of the click.", "unknown click", "the journal holds no decision of click 'click-9'"),
    413: ("Too many bytes or items.", "too many clicks", "20000 clicks in one request; at most 10000 are taken"),
    415: ("Neither JSON nor NDJSON.", "neither JSON nor NDJSON", "content-type is 'text/plain'"),
    422: ("The only item is malformed.", "malformed click", 'ip is "10.0.0.256"; expected: an IPv4 or IPv6 address'),
    429: (
        "The queue is full, or the client sends more than its rate.",
        "queue full",
        "10000 clicks wait, at most 10000 may; retry in a moment",
    ),
    503: ("Nothing was acknowledged.", "not deciding", "the service is restoring; retry in a moment"),
}
"""What it means, a title and a detail for each status that refuses."""


class Example(NamedTuple):
    """Something sent or answered.

    Attributes:
        media: its media type.
        kinds: the types that it may have in JSON; in an array and in NDJSON those of each item.
        value: the example; in NDJSON its lines.
        array: whether it is an array.
    """

    media: str
    kinds: tuple[Any, ...]
    value: Any
    array: bool = False

    @property
    def items(self) -> list[Any]:
        """What stands in it, one by one."""
        return self.value if self.array or self.media == NDJSON else [self.value]


class Operation(NamedTuple):
    """One route as the document tells of it.

    Attributes:
        summary: what it does, in a few words.
        description: what else there is to know.
        answered: examples of the answer with status 200, by name.
        sent: examples of the body, by name.
        problems: statuses that refuse.
        parameters: of path and query, as the document has them.
    """

    summary: str
    description: str
    answered: dict[str, Example]
    sent: dict[str, Example] | None = None
    problems: tuple[int, ...] = ()
    parameters: tuple[dict[str, Any], ...] = ()


def _history(decision: dict[str, Any]) -> dict[str, Any]:
    return {"click_id": "click-0", "decisions": [decision]}


def _posted(
    summary: str, description: str, sent: tuple[Any, Any, Any], answered: tuple[Any, Any], problem: dict[str, Any]
) -> Operation:
    """Return an operation that takes one item, an array or lines: type, item and bad one; type and answer; problem."""
    kind, good, bad = sent
    told, answer = answered
    error = {"error": problem}
    return Operation(
        summary,
        description,
        answered={
            "one": Example(JSON, (told,), answer),
            "several": Example(JSON, (told, Refused), [answer, error], array=True),
            "lines": Example(NDJSON, (told, Refused), [answer, error]),
        },
        sent={
            "one": Example(JSON, (kind,), good),
            "several": Example(JSON, (kind,), [good, bad], array=True),
            "lines": Example(NDJSON, (kind,), [good, bad]),
        },
        problems=(400, 413, 415, 422, 429, 503),
    )


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", "/v1/decisions"): _posted(
        "Decide clicks",
        "One click as an object, several as an array, or one a line. A malformed click among others is answered by an"
        " error in its place. A click_id that comes again within an hour gets its first decision again.",
        (Click, CLICK, OTHER_CLICK),
        (Answer, ANSWER),
        REFUSED,
    ),
    ("GET", "/v1/decisions/{click_id}"): Operation(
        "Look up the decisions of a click",
        "All decisions of a click that this process journalled, oldest first; the last one holds.",
        answered={
            "advertiser": Example(JSON, (History[AdvertiserDecision],), _history(FOR_ADVERTISER)),
            "auditor": Example(JSON, (History[AuditorDecision],), _history(FOR_AUDITOR)),
            "admin": Example(JSON, (History[AdminDecision],), _history(FOR_ADMIN)),
        },
        problems=(400, 404, 503),
        parameters=(
            {
                "name": "click_id",
                "in": "path",
                "required": True,
                "description": "the click, percent-encoded",
                "schema": {"type": "string", "minLength": 1, "maxLength": 256},
                "example": "click-0",
            },
            {
                "name": "view",
                "in": "query",
                "description": "who is told: an advertiser codes alone; an auditor all but score and threshold; who"
                " runs the service these too, with a key that has the scope admin",
                "schema": {"type": "string", "enum": ["advertiser", "auditor", "admin"], "default": "auditor"},
            },
        ),
    ),
    ("POST", "/v1/purchases"): _posted(
        "Report purchases",
        "One purchase as an object, several as an array, or one a line. A purchase_id that was reported before is"
        " answered with `new` false, and what was said first holds.",
        (ReportedPurchase, PURCHASE, OTHER_PURCHASE),
        (Receipt, RECEIPT),
        REFUSED_PURCHASE,
    ),
    ("GET", "/openapi.json"): Operation(
        "This document", "OpenAPI 3.1.", answered={"document": Example(JSON, (dict[str, Any],), {"openapi": "3.1.0"})}
    ),
    ("GET", "/health"): Operation(
        "Whether the process lives",
        "For whoever restarts processes.",
        answered={"alive": Example(JSON, (dict[str, bool],), {"alive": True})},
    ),
    ("GET", "/ready"): Operation(
        "Whether it decides",
        "For balancers: 503 with the same document while it starts, restores its state or drains.",
        answered={"ready": Example(JSON, (dict[str, Any],), READY)},
    ),
    ("GET", "/metrics"): Operation(
        "Metrics", "In the text format of Prometheus.", answered={"text": Example(TEXT, (), "slidr_ready 1\n")}
    ),
}
