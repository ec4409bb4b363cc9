"""The door: what types cannot say of a click is checked, and a click brought into the form of the lake.

What passes is in the same form as in a log that passed the lake's door: an empty text is null, an ip is canonical.
"""

from __future__ import annotations

from slidr.addresses import canonical
from slidr.clock import Clock
from slidr.features.clicks import Click
from slidr.service.intake import AHEAD, Admitted, Fault, Headers, Intake, Problem, RefusedError

__all__ = ["AHEAD", "Admitted", "Door", "Headers", "Problem", "RefusedError"]

_NO_TEXTS = {"click_id", "time", "logged_in", "cost", "headers"}


class Door(Intake[Click]):
    """Parses and checks the clicks of requests.

    Args:
        click: the type of a click, with the columns that the bundle needs.
        addresses: whether an ip must be an address.
        most: clicks that one request may hold.
        clock: tells how late it is.
    """

    def __init__(self, click: type[Click], *, addresses: bool, most: int, clock: Clock) -> None:
        texts = tuple(name for name in click.__struct_fields__ if name not in _NO_TEXTS)
        super().__init__(click, "click", texts, most, clock)
        self._addresses = addresses

    def _check(self, item: Click) -> Fault | None:
        if item.ip is not None and self._addresses:
            address = canonical(item.ip)
            if address is None:
                return "ip", item.ip, "an IPv4 or IPv6 address, or null"
            item.ip = address
        return None
