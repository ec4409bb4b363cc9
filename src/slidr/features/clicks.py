"""Clicks as the fold takes them: times, keyed hashes, nothing that names a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, TypeAlias, cast

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from slidr.addresses import network
from slidr.features.catalogue import Entity
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import Layout

Text: TypeAlias = Annotated[str, Meta(max_length=8192)]
"""What a request says of a click, which is no longer than a header of HTTP can be."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Click(msgspec.Struct, kw_only=True, gc=False):
    """One click as a request gives it: the columns of CLICKS, and the headers of the browser that made it.

    Attributes:
        headers: HTTP headers as the ad platform saw them, for the list rules; kept nowhere.
    """

    click_id: Annotated[str, Meta(min_length=1, max_length=256)]
    time: Annotated[datetime, Meta(tz=True)]
    user: Text | None = None
    session: Text | None = None
    ip: Text | None = None
    user_agent: Text | None = None
    device: Text | None = None
    logged_in: bool | None = None
    campaign: Text | None = None
    advertiser: Text | None = None
    cost: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    currency: Text | None = None
    impression: Text | None = None
    headers: dict[str, str] | None = None


def click_type(columns: Iterable[str]) -> type[Click]:
    """Return Click with a field for each further column, such as one that slices the traffic."""
    further = [name for name in columns if name not in Click.__struct_fields__]
    if not further:
        return Click
    fields = [(name, Text | int | float | bool | None, None) for name in further]
    return cast("type[Click]", msgspec.defstruct("Click", fields, bases=(Click,), kw_only=True, gc=False))


def microseconds(time: datetime) -> int:
    """Return a time with a zone as microseconds since 1970-01-01 UTC."""
    return (time - _EPOCH) // _MICROSECOND


@dataclass(frozen=True, slots=True)
class ClickBatch:
    """Clicks ready to be folded, in the order of the fold.

    Attributes:
        ids: keyed hash of each click_id, uint64[n].
        times: microseconds UTC, int64[n].
        logged_in: 1, 0, or -1 where not known, int8[n].
        keys: keyed hashes of the identifiers, uint64[rows of the layout's key matrix, n], 0 where null.
        beside: the same clicks hashed with the next secret key, while keys rotate.
    """

    ids: NDArray[np.uint64]
    times: NDArray[np.int64]
    logged_in: NDArray[np.int8]
    keys: NDArray[np.uint64]
    beside: ClickBatch | None = None

    def __len__(self) -> int:
        """The number of clicks."""
        return len(self.times)

    def take(self, clicks: NDArray[Any] | slice) -> ClickBatch:
        """Return some of the clicks, by mask, by places or by slice."""
        return ClickBatch(
            self.ids[clicks],
            self.times[clicks],
            self.logged_in[clicks],
            np.ascontiguousarray(self.keys[:, clicks]),
            None if self.beside is None else self.beside.take(clicks),
        )


def encode_clicks(clicks: Sequence[Click], layout: Layout, pseudonymiser: Pseudonymiser) -> ClickBatch:
    """Encode clicks of a request; raw identifiers end here."""
    single, joins = _columns(layout.keys, 1)
    try:
        # Without arguments, encode is twice as fast.
        values = _texts(clicks, single, str.encode)
    except UnicodeEncodeError:
        values = _texts(clicks, single, lambda text: text.encode("utf-8", "surrogatepass"))
    times = np.array([microseconds(click.time) for click in clicks], np.int64)
    logged_in = np.array([-1 if click.logged_in is None else click.logged_in for click in clicks], np.int8)

    def hashed(secret: Pseudonymiser, beside: ClickBatch | None) -> ClickBatch:
        # Above the rows of the key matrix stand the click_ids.
        hashes = secret.columns(values, 1 + len(single), joins)
        return ClickBatch(hashes[0], times, logged_in, hashes[1:], beside)

    return hashed(pseudonymiser, None if pseudonymiser.beside is None else hashed(pseudonymiser.beside, None))


def _texts(clicks: Sequence[Click], single: tuple[str, ...], encode: Callable[[str], bytes]) -> list[bytes | None]:
    """Return the bytes of the click_ids and, behind them, of every column."""
    values: list[bytes | None] = [encode(click.click_id) for click in clicks]
    for column in single:
        if column == "network":
            values += [network(click.ip) for click in clicks]
        else:
            values += [None if (text := getattr(click, column)) is None else encode(text) for click in clicks]
    return values


@lru_cache(maxsize=64)
def _columns(keys: tuple[Entity, ...], above: int) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the columns that are hashed by themselves, and the rows that each compound key is joined of.

    `above` are the rows above those of the key matrix.
    """
    single = tuple(entity[0] for entity in keys if len(entity) == 1)
    compound = keys[len(single) :]
    joins = np.full((len(compound), max(map(len, compound), default=1)), -1)
    for number, entity in enumerate(compound):
        joins[number, : len(entity)] = [above + keys.index((part,)) for part in entity]
    return single, joins


def join_keys(keys: NDArray[np.uint64], layout: Layout, pseudonymiser: Pseudonymiser) -> None:
    """Fill a key matrix below the rows of single columns with the keys joined for compound entities."""
    pseudonymiser.join(keys, _columns(layout.keys, 0)[1])
