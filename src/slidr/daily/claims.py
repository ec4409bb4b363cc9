"""Claims: which bundle a day's run published, so that a day is done once, whoever runs it and wherever.

    daily/<run>.json     the bundle of a run; written only where none is

A claim lies in the registry beside the bundles. Of several runs of one day, on one machine or on many, the first claim
stands, and all of them promote its bundle, which the history takes once.
"""

from __future__ import annotations

import hashlib

import msgspec

from slidr.clock import midnight
from slidr.daily.plan import Run
from slidr.daily.stamps import identity
from slidr.errors import RegistryError
from slidr.objects import Objects
from slidr.registry import Registry
from slidr.tables import CLICKS, PURCHASES

_PREFIX = "daily/"


class Claim(msgspec.Struct, frozen=True):
    """What a run published.

    Attributes:
        bundle: its id.
        at: when, microseconds UTC.
        who: who ran it.
        inputs: hash of the clicks and purchases that it read.
    """

    bundle: str
    at: int
    who: str
    inputs: str


class Claims:
    """The claims of a registry.

    Args:
        location: of the registry.

    Raises:
        RegistryError: it cannot be opened.
    """

    def __init__(self, location: str) -> None:
        self._objects = Objects(location)

    def find(self, key: str) -> Claim | None:
        """Return the claim of a run, or None.

        Raises:
            RegistryError: it cannot be read.
        """
        content = self._objects.find(f"{_PREFIX}{key}.json")
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=Claim)
        except msgspec.MsgspecError as fault:
            raise RegistryError(
                f"registry {self._objects.location}: {_PREFIX}{key}.json is no claim: {fault}"
            ) from None

    def make(self, key: str, claim: Claim) -> Claim:
        """Claim a run, and return the claim that stands: this one, or that of who was first.

        Raises:
            RegistryError: the registry cannot be written.
        """
        if self._objects.create(f"{_PREFIX}{key}.json", msgspec.json.encode(claim)):
            return claim
        return self.find(key) or claim


def is_done(registry: Registry, claim: Claim | None) -> bool:
    """Return whether a claimed bundle was promoted, be it champion still or not."""
    return claim is not None and any(
        (entry.kind, entry.bundle) == ("promote", claim.bundle) for entry in registry.history()
    )


def run_key(run: Run) -> str:
    """Return the name of a run: its days and the settings that shape its bundle, and no other thing."""
    last = identity(run, "judge")
    return hashlib.sha256(f"{last} {run.pseudonymiser.fingerprint}".encode()).hexdigest()[:16]


def inputs_of(run: Run) -> str:
    """Return a hash of the clicks and purchases that a run reads, as Delta's log names them."""
    held = [
        [(day.isoformat(), one.hash) for day, one in run.lake.contents(table).items() if midnight(day) < end]
        for table, end in ((CLICKS, run.split.judge[1]), (PURCHASES, run.as_of))
    ]
    return hashlib.sha256(msgspec.json.encode(held)).hexdigest()[:16]
