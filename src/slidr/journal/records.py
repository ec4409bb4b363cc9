"""What a journal keeps: decisions, what decided them, what a challenger would have decided, and purchases reported."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """One decision as it is journalled.

    Attributes:
        sequence: place of the click in the fold, the primary key; below zero, and each once, for clicks that were not
            folded, or of which that is not known.
        decision_id: identifies the decision.
        click_id: as the request gave it.
        time: when the click was made, microseconds UTC.
        decided_at: when it was decided, microseconds UTC.
        verdict: one of `slidr.tables.Verdict`.
        reasons: stable codes.
        lists: list rules that the click hit.
        score: the model's score, a float32; None where the model was not asked.
        threshold: the slice's threshold, a float32; None likewise.
        slice: slice whose threshold was used.
        bundle: bundle that decided.
        cause: `live`, `late` where it tells the place in the fold of a click that was answered before it was known,
            `replay:ID` or `review:ID`.
        context: identifies what decided and what the bytes of `keys` and `row` mean, see `Journal.context`.
        enforced: 1 where the answer said what was decided, 0 where it did not: the service only observes.
        click_key: keyed hash of the click_id, the uint64's bits as int64.
        logged_in: 1, 0, or -1 where not known.
        keys: the click's column of the key matrix, uint64, named by its context; while secret keys rotate, the column
            under the next one and its hash of the click_id follow.
        row: the features, float32 little-endian, named by its context.
        campaign: campaign that the click is charged to.
        advertiser: advertiser that pays.
        cost: price of the click in micros.
        currency: currency of the cost.
    """

    sequence: int
    decision_id: str
    click_id: str
    time: int
    decided_at: int
    verdict: str
    reasons: tuple[str, ...]
    lists: tuple[str, ...]
    score: float | None
    threshold: float | None
    slice: str
    bundle: str
    cause: str
    context: str
    enforced: int
    click_key: int
    logged_in: int
    keys: bytes
    row: bytes
    campaign: str | None = None
    advertiser: str | None = None
    cost: int | None = None
    currency: str | None = None


class Context(NamedTuple):
    """What many entries have in common: what decided them, and what their bytes mean.

    Attributes:
        bundle: the bundle that decided.
        keys: entities of the rows of the key matrix.
        features: features of the rows.
        lists: name and version of each list rule.
        slidr: version of the program.
    """

    bundle: str
    keys: tuple[tuple[str, ...], ...]
    features: tuple[str, ...]
    lists: tuple[tuple[str, str], ...] = ()
    slidr: str = ""

    def encoded(self) -> str:
        """Return the context as JSON."""
        return json.dumps(self._asdict(), sort_keys=True)

    @property
    def id(self) -> str:
        """What entries name it by: a hash of what it says, so that it is the same in every journal."""
        return hashlib.sha256(self.encoded().encode()).hexdigest()[:12]


def decode_context(text: str) -> Context:
    """Return a context from its JSON."""
    read: dict[str, Any] = json.loads(text)
    keys, lists = (tuple(tuple(pair) for pair in read[name]) for name in ("keys", "lists"))
    return Context(read["bundle"], keys, tuple(read["features"]), lists, read["slidr"])


class Shadow(NamedTuple):
    """What a challenger would have decided of a click.

    Attributes:
        sequence: of the click's entry.
        context: see `Entry`.
        bundle: the challenger.
        verdict: one of `slidr.tables.Verdict`.
        reasons: stable codes.
        score: the challenger's score; None where it was not asked.
        threshold: of the challenger's slice; None likewise.
        slice: slice whose threshold was used.
        row: the challenger's features; None where they are those of the entry.
    """

    sequence: int
    context: str
    bundle: str
    verdict: str
    reasons: tuple[str, ...]
    score: float | None
    threshold: float | None
    slice: str
    row: bytes | None


class Purchase(NamedTuple):
    """A purchase that was reported to the service.

    Attributes:
        purchase_id: identifies it.
        time: when it was made, microseconds UTC.
        user_key: keyed hash of the account, the uint64's bits as int64; None where not known.
        click_id: the click that it is attributed to; None where not known.
        value: in micros of the currency.
        currency: of the value.
        reported_at: when it was reported, microseconds UTC.
    """

    purchase_id: str
    time: int
    user_key: int | None
    click_id: str | None
    value: int | None
    currency: str | None
    reported_at: int


@lru_cache(maxsize=4096)
def words(codes: tuple[str, ...]) -> str:
    """Return codes as the journal stores them."""
    return json.dumps(codes)


@lru_cache(maxsize=4096)
def codes(stored: str) -> tuple[str, ...]:
    """Return codes from how the journal stores them."""
    return tuple(json.loads(stored))
