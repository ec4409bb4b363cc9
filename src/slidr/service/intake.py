"""Intake: from the bytes of a request to what it holds, or to problems that name the field and its value.

A request holds one item as a JSON object, an array of them, or a line for each (NDJSON). A malformed item refuses its
request where it stands alone; among others only itself.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

from slidr.clock import MINUTE, Clock
from slidr.errors import ServiceError

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
Fault: TypeAlias = tuple[str, object, str]
"""Field, value and what was expected."""
AHEAD = 5 * MINUTE
"""How far ahead of the clock a time may lie, in microseconds."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EMPTY = b'""'  # stands in a body wherever a text is empty
_SHOWN = 200  # characters of a value at fault that are sent back
_MISSING = re.compile(r"Object missing required field `(.+?)`")
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
# A text, which may lack its end, or a mark that structures. Nothing is read twice, so that no body takes long.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[][{},]', re.DOTALL)
_MOST_TOKENS, _MOST_OF_ONE = 500_000, 32_768
"""Tokens that an array, and one item of it, may have to be cut at its commas; no click has as many."""


class Problem(msgspec.Struct, omit_defaults=True):
    """Why a request, or one item of it, is refused (RFC 9457).

    Attributes:
        title: the kind of problem.
        status: the HTTP status.
        detail: what is wrong, and what to do.
        path: the field at fault, such as `[3].time`.
        value: what was found there, shortened where long.
        type: the kind of problem, for programs: `urn:slidr:` and the title's words.
        instance: the request that was refused, `urn:slidr:request:` and its identity; not with an item of many.
    """

    title: str
    status: int
    detail: str
    path: str | msgspec.UnsetType = msgspec.UNSET
    value: Any = msgspec.UNSET
    type: str = ""
    instance: str | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if not self.type:
            self.type = f"urn:slidr:{self.title.lower().replace(' ', '-')}"


class Refused(msgspec.Struct, frozen=True):
    """Stands among answers in the place of an item that was refused.

    Attributes:
        error: why.
    """

    error: Problem


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


class Timed(Protocol):
    """What a request can hold: it has happened at some time."""

    time: Any


Item = TypeVar("Item", bound=Timed)
_Answer = TypeVar("_Answer")


class Admitted(NamedTuple, Generic[Item]):
    """What a request holds.

    Attributes:
        items: those that passed, in order.
        faults: place in the request -> problem, of those that did not.
        single: whether the request was one item, not an array or lines.
    """

    items: list[Item]
    faults: dict[int, Problem]
    single: bool

    @property
    def size(self) -> int:
        """How many items came."""
        return len(self.items) + len(self.faults)

    def in_places(self, answers: list[_Answer]) -> list[_Answer | Refused]:
        """Return the answers to the items, with the problems of the others in their places."""
        if not self.faults:
            return list(answers)
        told = iter(answers)
        places = range(len(answers) + len(self.faults))
        return [Refused(self.faults[at]) if at in self.faults else next(told) for at in places]


class Intake(Generic[Item]):
    """Parses and checks the items of requests.

    Args:
        kind: the type of an item, a msgspec structure with a field `time`.
        noun: what an item is called.
        texts: fields whose empty text is null.
        most: items that one request may hold.
        clock: tells how late it is.
    """

    def __init__(self, kind: type[Item], noun: str, texts: tuple[str, ...], most: int, clock: Clock) -> None:
        self._one = msgspec.json.Decoder(kind)
        self._many: msgspec.json.Decoder[list[Item]] = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
        self._parts = msgspec.json.Decoder(list[msgspec.Raw])
        self._noun = noun
        self._texts = texts
        self._most = most
        self._clock = clock

    def admit(self, body: bytes, *, lines: bool = False) -> Admitted[Item]:
        """Return what a request body holds: one item as a JSON object, an array of them, or a line for each.

        Of a field that stands twice in an object the last one counts; unknown fields are ignored.

        Args:
            body: as it was sent.
            lines: whether each line is an item of its own; blank lines are none.

        Raises:
            RefusedError: the body is not JSON, is neither object nor array, holds too many items, or its only item is
                malformed.
        """
        latest = _EPOCH + timedelta(microseconds=self._clock.now() + AHEAD)
        if lines:
            return self._lines(body, latest)
        if body[:1] == b"[" or body[:64].lstrip()[:1] == b"[":
            return self._array(body, latest)
        item = self._item(body, latest, "")
        if isinstance(item, Problem):
            raise RefusedError(item)
        return Admitted([item], {}, single=True)

    def _check(self, item: Item) -> Fault | None:
        """Check what types cannot say, and bring the item into the form of the lake; here there is nothing."""
        del item
        return None

    def _lines(self, body: bytes, latest: datetime) -> Admitted[Item]:
        parts = [line for line in body.split(b"\n") if line and not line.isspace()]
        self._refuse_too_many(len(parts))
        return self._one_by_one(parts, latest)

    def _array(self, body: bytes, latest: datetime) -> Admitted[Item]:
        try:
            items = self._many.decode(body)
        except _UNREADABLE as fault:
            return self._one_by_one(self._elements(body, fault), latest)
        self._refuse_too_many(len(items))
        faults, empty = {}, _EMPTY in body
        for place, item in enumerate(items):
            fault_found = self._fault(item, latest, empty=empty)
            if fault_found is not None:
                faults[place] = self._problem(f"[{place}].", *fault_found)
        if faults:
            items = [item for place, item in enumerate(items) if place not in faults]
        return Admitted(items, faults, single=False)

    def _elements(self, body: bytes, fault: Exception) -> list[bytes]:
        """Cut an array that does not decode into its elements."""
        try:
            parts = [bytes(part) for part in self._parts.decode(body)]
        except _UNREADABLE:
            found = _split(body, self._most)
            if found is None:
                raise _not_json(fault, self._noun) from None
            parts = found
        self._refuse_too_many(len(parts))
        return parts

    def _one_by_one(self, parts: list[bytes], latest: datetime) -> Admitted[Item]:
        """Parse items each for itself, so that one at fault does not spoil the others."""
        parsed = [self._item(part, latest, f"[{place}]") for place, part in enumerate(parts)]
        return Admitted(
            [item for item in parsed if not isinstance(item, Problem)],
            {place: item for place, item in enumerate(parsed) if isinstance(item, Problem)},
            single=False,
        )

    def _refuse_too_many(self, items: int) -> None:
        if items > self._most:
            detail = f"{items} {self._noun}s in one request; at most {self._most} are taken: send several requests"
            raise RefusedError(Problem(f"too many {self._noun}s", 413, detail))

    def _item(self, body: bytes, latest: datetime, where: str) -> Item | Problem:
        """Return one item, or what is wrong with it; `where` is its place among others."""
        try:
            try:
                item = self._one.decode(body)
            except msgspec.ValidationError as fault:
                path, value, expected = _located(str(fault), body)
                return self._problem(f"{where}.".lstrip(".") if path else where, path, value, expected)
        except _UNREADABLE as fault:
            if not where:
                raise _not_json(fault, self._noun) from None
            shown = body[:_SHOWN].decode(errors="replace")
            return self._problem(where, "", shown, f"a {self._noun} in JSON ({_words(fault)})")
        fault_found = self._fault(item, latest, empty=_EMPTY in body)
        return item if fault_found is None else self._problem(f"{where}.".lstrip("."), *fault_found)

    def _fault(self, item: Item, latest: datetime, *, empty: bool) -> Fault | None:
        """Return what is wrong with an item; `empty` is whether any text may be."""
        if not _EPOCH < item.time <= latest:
            return "time", item.time, f"later than 1970 and at most {AHEAD // MINUTE} minutes ahead of the clock"
        if empty:
            for name in self._texts:
                if getattr(item, name) == "":
                    setattr(item, name, None)
        return self._check(item)

    def _problem(self, where: str, path: str, value: object, expected: str) -> Problem:
        place = f"{where}{path}"
        shown = _shortened(value)
        written = "unreadable" if value is msgspec.UNSET else msgspec.json.encode(shown).decode()
        detail = f"{place or f'the {self._noun}'} is {written}; expected: {expected}"
        return Problem(f"malformed {self._noun}", 422, detail, place, shown)


def _split(body: bytes, most: int) -> list[bytes] | None:
    """Cut the text of an array at its own commas, whatever stands between them; None where it is none.

    Parsers refuse a whole text for one number out of range, one half of a surrogate pair or one item nested too deep,
    and anyone who can have such a thing written into a click could have its neighbours refused.
    """
    depth, start, first, parts = 0, 0, 0, []
    for number, token in enumerate(islice(_TOKEN.finditer(body), _MOST_TOKENS)):
        mark = body[token.start() : token.start() + 1]
        if mark in b"[{":
            depth += 1
            start = token.end() if depth == 1 else start
        elif mark in b"]}":
            depth -= 1
        if depth == 0 or (depth == 1 and mark == b","):
            parts.append(body[start : token.start()])
            start, first = token.end(), number
        if depth == 0:
            return parts if not body[start:].strip() else None
        if len(parts) > most:
            return parts
        if number - first > _MOST_OF_ONE:
            return None
    return None


def _words(fault: Exception) -> str:
    return "nested too deep" if isinstance(fault, RecursionError) else str(fault)


def _not_json(fault: Exception, noun: str) -> RefusedError:
    detail = f"the body is not JSON in UTF-8: {_words(fault)}; send one {noun} as an object, or an array of {noun}s"
    return RefusedError(Problem("not JSON", 400, detail))


def _located(message: str, body: bytes) -> Fault:
    """Return path, value and expectation from a message of msgspec, which has the path and not the value."""
    try:
        value: object = msgspec.json.decode(body)
    except msgspec.ValidationError:
        value = msgspec.UNSET  # somewhere stands a number that nothing can hold
    if missing := _MISSING.match(message):
        return missing[1], None, "a value; the field is required"
    expected, _, path = message.partition(" - at ")
    path = path.rpartition("`$")[2].rstrip("`").lstrip(".")
    if path and isinstance(value, dict):
        value = value.get(path.partition("[")[0])
    if not expected.startswith("Expected "):
        expected = f"another value ({expected})"
    return path, value, expected.removeprefix("Expected ").replace("`", "")


def _shortened(value: object) -> object:
    if value is msgspec.UNSET:
        return value
    written = msgspec.json.encode(value)
    if len(written) <= _SHOWN:
        return value
    text = value if isinstance(value, str) else written.decode()
    return f"{text[:_SHOWN]}..."
