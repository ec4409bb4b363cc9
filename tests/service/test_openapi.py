from __future__ import annotations

from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.service.asking import answer, run
from tests.service.making import NOW

from slidr.clock import ManualClock
from slidr.features.clicks import Click
from slidr.service.app import App
from slidr.service.door import Door
from slidr.service.examples import NDJSON, OPERATIONS, Example
from slidr.service.intake import Intake, Problem, Refused
from slidr.service.lifecycle import Parts
from slidr.service.openapi import openapi_document
from slidr.service.purchases import PurchaseDoor

CLOCK = ManualClock(NOW)
DOORS: dict[str, Intake[Any]] = {
    "/v1/decisions": Door(Click, addresses=True, most=10, clock=CLOCK),
    "/v1/purchases": PurchaseDoor(10, CLOCK),
}
ANSWERED = [
    pytest.param(example, id=f"{method} {path} {name}")
    for (method, path), operation in OPERATIONS.items()
    for name, example in operation.answered.items()
    if example.kinds
]


def document() -> Any:
    """Return the document of all operations, as a client reads it."""
    return msgspec.json.decode(
        msgspec.json.encode(openapi_document(((*one, "read") for one in OPERATIONS), keyless=True))
    )


def test_the_document_is_served_and_valid(parts: Parts) -> None:
    """GET /openapi.json is OpenAPI 3.1 by its specification, and has every route with its scope."""

    async def work(app: App) -> None:
        found = (await answer(app, "GET", "/openapi.json")).document
        OpenAPIV31SpecValidator(found).validate()
        described = {(method.upper(), path) for path, methods in found["paths"].items() for method in methods}
        assert described == {(route.method, route.path) for route in app.routes}
        for route in app.routes:
            operation = found["paths"][route.path][route.method.lower()]
            assert operation["security"] == ([] if route.scope is None else [{"key": []}, {}])
            assert ("401" in operation["responses"]) == (route.scope is not None)

    run(parts, work)


def test_every_operation_has_examples_and_words() -> None:
    """Every operation, body and answer has an example; every operation and every field says what it is."""
    found = document()
    for methods in found["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert operation["description"]
            contents = [operation["requestBody"]["content"]] if "requestBody" in operation else []
            contents += [answered["content"] for answered in operation["responses"].values()]
            assert all("examples" in media or "example" in media for content in contents for media in content.values())
    for name, schema in found["components"]["schemas"].items():
        assert schema["description"], name
        assert all("description" in field for field in schema["properties"].values()), name
    assert found["components"]["schemas"]["Click"]["properties"]["cost"]["description"].endswith("; micros")


@pytest.mark.parametrize("path", DOORS)
def test_the_examples_of_bodies_are_taken_as_they_are_answered(path: str) -> None:
    """Each body is one that is taken, and what is refused of it is refused with the problem that the answer shows."""
    operation = OPERATIONS["POST", path]
    assert operation.sent is not None
    for name, example in operation.sent.items():
        lines = example.media == NDJSON
        items = [msgspec.json.encode(item) for item in example.items]
        body = b"\n".join(items) if lines else msgspec.json.encode(example.value)
        found = DOORS[path].admit(body, lines=lines)
        shown = [item.get("error") for item in operation.answered[name].items]
        refused = {place: msgspec.convert(error, Problem) for place, error in enumerate(shown) if error}
        assert found.faults == refused
        assert len(found.items) == len(example.items) - len(refused)


@pytest.mark.parametrize("example", ANSWERED)
def test_the_examples_of_answers_have_their_types(example: Example) -> None:
    """Each answer decodes as one of its types, and is encoded again as it stands in the document."""
    for item in example.items:
        kinds = [kind for kind in example.kinds if (kind is Refused) == ("error" in item)]
        again = msgspec.to_builtins(msgspec.convert(item, kinds[0]))
        assert msgspec.json.decode(msgspec.json.encode(again)) == item


def test_the_examples_of_problems_are_those_of_the_service() -> None:
    """A problem has the type that follows from its title, and the status that it stands under."""
    for methods in document()["paths"].values():
        for operation in methods.values():
            for status, answered in operation["responses"].items():
                for media in answered["content"].values():
                    if "example" in media:
                        found = msgspec.convert(media["example"], Problem)
                        assert str(found.status) == status
                        assert found.type == Problem(found.title, found.status, "").type
