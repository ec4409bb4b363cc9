"""The door: from the bytes of a request to clicks, or to problems that name the field, its value and what is expected.

A single malformed click refuses its request; in an array only the malformed ones are refused. What passes is in the
same form as in a log that passed the lake's door: an empty text is null, an ip is canonical.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

import msgspec

from slidr.addresses import canonical
from slidr.clock import MINUTE, Clock
from slidr.errors import ServiceError
from slidr.features.clicks import Click

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
AHEAD = 5 * MINUTE
"""How far ahead of the clock a click may lie, in microseconds."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST_COST = 2**63 - 1
_NO_TEXTS = {"click_id", "time", "logged_in", "cost"}
_SHOWN = 200  # characters of a value at fault that are sent back
_MISSING = re.compile(r"Object missing required field `(.+)`")
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a request or a click is refused (RFC 9457).

    Attributes:
        title: the kind of problem.
        status: the HTTP status.
        detail: what is wrong, and what to do.
        path: the field at fault, such as `[3].time`.
        value: what was found there, shortened where long.
    """

    title: str
    status: int
    detail: str
    path: str | msgspec.UnsetType = msgspec.UNSET
    value: Any = msgspec.UNSET


class RefusedError(ServiceError):
    """A request is refused whole.

    Attributes:
        problem: why.
        headers: what the answer must say besides.
    """

    def __init__(self, problem: Problem, headers: Headers = ()) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.headers = headers


class Admitted(NamedTuple):
    """The clicks of a request.

    Attributes:
        clicks: those that may be decided, in order.
        faults: place in the request -> problem, of those that may not.
        single: whether the request was one click, not an array.
    """

    clicks: list[Click]
    faults: dict[int, Problem]
    single: bool


class Door:
    """Parses and checks the clicks of requests.

    Args:
        click: the type of a click, with the columns that the bundle needs.
        addresses: whether an ip must be an address.
        most: clicks that one request may hold.
        clock: tells how late it is.
    """

    def __init__(self, click: type[Click], *, addresses: bool, most: int, clock: Clock) -> None:
        self._one = msgspec.json.Decoder(click)
        self._many: msgspec.json.Decoder[list[Click]] = msgspec.json.Decoder(list[click])  # type: ignore[valid-type]
        self._parts = msgspec.json.Decoder(list[msgspec.Raw])
        self._texts = tuple(name for name in click.__struct_fields__ if name not in _NO_TEXTS)
        self._addresses = addresses
        self._most = most
        self._clock = clock

    def admit(self, body: bytes) -> Admitted:
        """Return the clicks of a request body: one click as a JSON object, or an array of them.

        Raises:
            RefusedError: the body is not JSON, is neither object nor array, holds too many clicks, or its only click is
                malformed.
        """
        latest = _EPOCH + timedelta(microseconds=self._clock.now() + AHEAD)
        if body[:1] == b"[" or body[:64].lstrip()[:1] == b"[":
            return self._array(body, latest)
        click = self._click(body, latest, "")
        if isinstance(click, Problem):
            raise RefusedError(click)
        return Admitted([click], {}, single=True)

    def _array(self, body: bytes, latest: datetime) -> Admitted:
        try:
            clicks = self._many.decode(body)
        except _UNREADABLE:
            return self._one_by_one(body, latest)
        self._refuse_too_many(len(clicks))
        faults = {}
        for place, click in enumerate(clicks):
            fault = self._fault(click, latest)
            if fault is not None:
                faults[place] = _problem(f"[{place}].", *fault)
        if faults:
            clicks = [click for place, click in enumerate(clicks) if place not in faults]
        return Admitted(clicks, faults, single=False)

    def _one_by_one(self, body: bytes, latest: datetime) -> Admitted:
        """Parse the clicks of an array each for itself, so that one at fault does not spoil the others."""
        try:
            body.decode()
            parts = self._parts.decode(body)
        except _UNREADABLE as fault:
            raise _not_json(fault) from None
        self._refuse_too_many(len(parts))
        parsed = [self._click(part, latest, f"[{place}]") for place, part in enumerate(parts)]
        return Admitted(
            [click for click in parsed if not isinstance(click, Problem)],
            {place: click for place, click in enumerate(parsed) if isinstance(click, Problem)},
            single=False,
        )

    def _refuse_too_many(self, clicks: int) -> None:
        if clicks > self._most:
            detail = f"{clicks} clicks in one request; at most {self._most} are taken: send several requests"
            raise RefusedError(Problem("too many clicks", 413, detail))

    def _click(self, body: bytes | msgspec.Raw, latest: datetime, where: str) -> Click | Problem:
        """Return one click, or what is wrong with it; `where` is its place in an array."""
        try:
            try:
                click = self._one.decode(body)
            except msgspec.ValidationError as fault:
                path, value, expected = _located(str(fault), bytes(body))
                return _problem(f"{where}.".lstrip(".") if path else where, path, value, expected)
        except _UNREADABLE as fault:
            if not where:
                raise _not_json(fault) from None
            return _problem(where, "", bytes(body)[:_SHOWN].decode(errors="replace"), f"a click in JSON ({fault})")
        fault_found = self._fault(click, latest)
        return click if fault_found is None else _problem(f"{where}.".lstrip("."), *fault_found)

    def _fault(self, click: Click, latest: datetime) -> tuple[str, object, str] | None:
        """Check what types cannot say, and bring the click into the form of the lake."""
        if not _EPOCH < click.time <= latest:
            expected = f"later than 1970 and at most {AHEAD // MINUTE} minutes ahead of the clock"
            return "time", click.time, expected
        for name in self._texts:
            if getattr(click, name) == "":
                setattr(click, name, None)
        if click.ip is not None and self._addresses:
            address = canonical(click.ip)
            if address is None:
                return "ip", click.ip, "an IPv4 or IPv6 address, or null"
            click.ip = address
        if click.cost is not None and click.cost > _LARGEST_COST:
            return "cost", click.cost, f"at most {_LARGEST_COST} micros"
        return None


def _not_json(fault: Exception) -> RefusedError:
    reason = "nested too deep" if isinstance(fault, RecursionError) else str(fault)
    detail = f"the body is not JSON in UTF-8: {reason}; send one click as an object, or an array of clicks"
    return RefusedError(Problem("not JSON", 400, detail))


def _problem(where: str, path: str, value: object, expected: str) -> Problem:
    place = f"{where}{path}"
    shown = _shortened(value)
    written = msgspec.json.encode(shown).decode()
    detail = f"{place or 'the click'} is {written}; expected: {expected}"
    return Problem("malformed click", 422, detail, place, shown)


def _located(message: str, body: bytes) -> tuple[str, object, str]:
    """Return path, value and expectation from a message of msgspec, which has the path and not the value."""
    value: object = msgspec.json.decode(body)
    if missing := _MISSING.match(message):
        return missing[1], None, "a value; the field is required"
    expected, _, path = message.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    if path and isinstance(value, dict):
        value = value.get(path)
    return path, value, expected.removeprefix("Expected ").replace("`", "")


def _shortened(value: object) -> object:
    encode: Callable[[object], bytes] = msgspec.json.encode
    if len(encode(value)) <= _SHOWN:
        return value
    text = value if isinstance(value, str) else encode(value).decode()
    return f"{text[:_SHOWN]}..."
