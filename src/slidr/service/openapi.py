"""The OpenAPI document: made from the routes, the types of what is sent and answered, and an example for each."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import msgspec

from slidr.features.clicks import Click
from slidr.service.answers import Answer
from slidr.service.examples import JSON, NDJSON, OPERATIONS, PROBLEM, PROBLEMS, Example, Operation
from slidr.service.history import (
    AdminDecision,
    AdvertiserDecision,
    AuditorDecision,
    Explanation,
    History,
    WeighedExplanation,
)
from slidr.service.intake import Problem, Refused
from slidr.service.purchases import Receipt, ReportedPurchase
from slidr.tables import CLICKS, PURCHASES, Table

_REFERENCE = "#/components/schemas/{name}"
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.+?)(?=^ {4}\w|\Z)", re.MULTILINE | re.DOTALL)
_TABLES: dict[Any, Table] = {Click: CLICKS, ReportedPurchase: PURCHASES}
_KINDS: tuple[Any, ...] = (
    *(Click, Answer, Refused, Problem, ReportedPurchase, Receipt),
    *(Explanation, WeighedExplanation, AdvertiserDecision, AuditorDecision, AdminDecision),
    *(History[AdvertiserDecision], History[AuditorDecision], History[AdminDecision]),
)
_RETRY = {"retry-after": {"description": "seconds", "schema": {"type": "integer"}, "required": True}}
_CHALLENGE = {"www-authenticate": {"description": "RFC 6750", "schema": {"type": "string"}, "required": True}}
_REQUEST = {"x-request-id": {"description": "identifies the request", "schema": {"type": "string"}, "required": True}}
_HEADERS = {401: _CHALLENGE, 429: _RETRY, 503: _RETRY}
_DESCRIPTION = """\
Decides in real time whether ad clicks were made by humans or by robots.

Of a field that stands twice in an object the last one counts; unknown fields are ignored. Times carry a zone. Money is
in micros of its currency. A problem (RFC 9457) names the field and the value at fault.
"""


def openapi_document(routes: Iterable[tuple[str, str, str | None]], *, keyless: bool) -> dict[str, Any]:
    """Return the document of a service.

    Args:
        routes: method, path and the scope that a key must have; None where nobody needs a key.
        keyless: whether the service has no keys, and asks for none.

    Raises:
        KeyError: a route is not described.
    """
    paths: dict[str, dict[str, Any]] = {}
    shown: list[dict[str, Any]] = [{"key": []}, {}] if keyless else [{"key": []}]
    for method, path, scope in routes:
        described = _operation(OPERATIONS[method, path], method, path, scope)
        paths.setdefault(path, {})[method.lower()] = {**described, "security": shown if scope else []}
    return {
        "openapi": "3.1.0",
        "info": {"title": "slidr", "version": version("slidr"), "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "an API key"}},
        },
    }


def _operation(operation: Operation, method: str, path: str, scope: str | None) -> dict[str, Any]:
    answered = {"description": "Answered.", "headers": _REQUEST, "content": _content(operation.answered)}
    responses: dict[str, Any] = {"200": answered}
    if path == "/ready":
        responses["503"] = answered
    refusals = [*operation.problems, *((401, 403) if scope else ())]
    responses |= {str(status): _problem(status, path) for status in sorted(refusals)}
    found: dict[str, Any] = {
        "operationId": f"{method.lower()}{re.sub(r'[^a-z0-9]+', '_', path)}".rstrip("_"),
        "summary": operation.summary,
        "description": operation.description + (f" Takes a key with the scope {scope}." if scope else ""),
        "parameters": list(operation.parameters),
        "responses": responses,
    }
    if operation.sent is not None:
        found["requestBody"] = {"required": True, "content": _content(operation.sent)}
    return found


def _content(examples: dict[str, Example]) -> dict[str, Any]:
    """Return media types with the schemas and the examples that they have."""
    content: dict[str, Any] = {}
    for name, example in examples.items():
        found = content.setdefault(example.media, {"schema": {"anyOf": []}, "examples": {}})
        found["schema"]["anyOf"].append(_schema(example))
        value = "".join(f"{_text(line)}\n" for line in example.items) if example.media == NDJSON else example.value
        found["examples"][name] = {"value": value}
    for found in content.values():
        if len(found["schema"]["anyOf"]) == 1:
            (found["schema"],) = found["schema"]["anyOf"]
    return content


def _schema(example: Example) -> dict[str, Any]:
    if example.media != JSON:
        return {"type": "string"}
    schemas, _ = msgspec.json.schema_components(example.kinds, ref_template=_REFERENCE)
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}
    return {"type": "array", "items": schema} if example.array else schema


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _problem(status: int, path: str) -> dict[str, Any]:
    meaning, title, detail = PROBLEMS[status]
    if path.endswith("purchases"):
        title, detail = title.replace("click", "purchase"), detail.replace("click", "purchase")
    example = Problem(title, status, detail)
    found = {
        "description": meaning,
        "content": {
            PROBLEM: {"schema": {"$ref": _REFERENCE.format(name="Problem")}, "example": msgspec.to_builtins(example)}
        },
    }
    return found | {"headers": _REQUEST | _HEADERS.get(status, {})}


def _schemas() -> dict[str, Any]:
    """Return the schemas of all types, described by their docstrings and by the tables."""
    _, schemas = msgspec.json.schema_components(_KINDS, ref_template=_REFERENCE)
    for kind in _KINDS:
        origin = getattr(kind, "__origin__", kind)
        (schema,) = msgspec.json.schema_components([kind], ref_template=_REFERENCE)[0]
        found = schemas[schema["$ref"].rpartition("/")[2]]
        found["description"], meanings = _documented(origin)
        for base in origin.__mro__[1:-1]:
            meanings = _documented(base)[1] | meanings
        if table := _TABLES.get(kind):
            meanings |= {column.name: _meaning(column.meaning, column.unit) for column in table.columns}
        for name, field in found["properties"].items():
            if name in meanings:
                field["description"] = meanings[name]
    schemas["Problem"]["required"].append("type")
    del schemas["Problem"]["properties"]["type"]["default"]
    return schemas


def _documented(kind: type) -> tuple[str, dict[str, str]]:
    """Return what a type's docstring says of it, and of each of its attributes."""
    text, _, listed = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    meanings = {name: " ".join(meaning.split()) for name, meaning in _ATTRIBUTE.findall(listed)}
    return " ".join(text.split()), meanings


def _meaning(meaning: str, unit: str) -> str:
    return f"{meaning}; {unit}" if unit and unit != "us" else meaning
