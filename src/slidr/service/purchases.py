"""Purchases as they are reported to the service: checked, kept in the journal once each, and answered."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from slidr.clock import Clock
from slidr.features.clicks import Text, microseconds
from slidr.features.keys import Pseudonymiser
from slidr.journal import Purchase
from slidr.service.intake import Admitted, Intake
from slidr.service.lifecycle import Service

_AT_ONCE = 256
"""Purchases of one transaction, so that clicks never wait for a long one."""


class ReportedPurchase(msgspec.Struct, kw_only=True, gc=False):
    """One purchase as a request gives it: the columns of PURCHASES."""

    purchase_id: Annotated[str, Meta(min_length=1, max_length=256)]
    time: Annotated[datetime, Meta(tz=True)]
    user: Text | None = None
    click_id: Annotated[str, Meta(max_length=256)] | None = None
    value: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    currency: Text | None = None


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What a request is told of a purchase that is in the journal.

    Attributes:
        purchase_id: the purchase.
        new: false where it was reported before; what was said first holds.
    """

    purchase_id: str
    new: bool


class PurchaseDoor(Intake[ReportedPurchase]):
    """Parses and checks the purchases of requests.

    Args:
        most: purchases that one request may hold.
        clock: tells how late it is.
    """

    def __init__(self, most: int, clock: Clock) -> None:
        super().__init__(ReportedPurchase, "purchase", ("user", "click_id", "currency"), most, clock)


class PurchaseDesk:
    """Takes the purchases of requests into the journal of a service.

    Args:
        service: whose journal it is.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._door = PurchaseDoor(service.parts.settings.service.batch_limit, service.clock)

    async def report(self, body: bytes, *, lines: bool) -> tuple[Admitted[ReportedPurchase], list[Receipt]]:
        """Return the purchases of a request and a receipt for each of those admitted, in order.

        A purchase_id that is in the journal already is not written again, so that a client may retry whatever it got
        no answer to.

        Raises:
            RefusedError: the request is refused whole.
            UnavailableError: the service is not ready.
            JournalError: the journal cannot be written; a part of a long request may have been.
        """
        service = self._service
        _ = service.batcher
        admitted = self._door.admit(body, lines=lines)
        service.metrics.reported(0, 0, len(admitted.faults))
        receipts: list[Receipt] = []
        for start in range(0, len(admitted.items), _AT_ONCE):
            part = admitted.items[start : start + _AT_ONCE]
            # Asked for each time: between two parts the service may have begun to restore its state.
            batcher = service.batcher
            found = _purchases(part, batcher.live.champion.pseudonymiser, service.clock.now())
            new = batcher.journal.report(found)
            service.metrics.reported(sum(new), len(new) - sum(new), 0)
            receipts += [Receipt(item.purchase_id, fresh) for item, fresh in zip(part, new, strict=True)]
            await asyncio.sleep(0)
        return admitted, receipts


def _purchases(reported: list[ReportedPurchase], pseudonymiser: Pseudonymiser, now: int) -> list[Purchase]:
    """Return purchases as the journal keeps them: the account is a keyed hash, as that of a click is."""
    keys = pseudonymiser.texts([item.user for item in reported]).view("int64").tolist()
    return [
        Purchase(item.purchase_id, microseconds(item.time), key or None, item.click_id, item.value, item.currency, now)
        for item, key in zip(reported, keys, strict=True)
    ]
