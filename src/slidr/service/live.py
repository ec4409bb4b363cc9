"""What decides at a moment: the champion, the challenger beside it, and the store that both read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from slidr.decide import Decider, Decisions, attributes_of
from slidr.features.clicks import Click, click_type, encode_clicks
from slidr.features.side_by_side import BlockwiseStore
from slidr.journal import Context

_PAUSES = (0.002, 0.005, 0.01)  # seconds between attempts to recall what another process has just decided


class Memory(Protocol):
    """Remembers, for an hour, what any process decided of each click_id, by its keyed hash."""

    def remember(self, decided: dict[int, bytes]) -> None:
        """Keep what was decided; it is written with the next call, or by `flush`."""
        ...

    def recall(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return what was decided, as far as it is there."""
        ...

    def flush(self) -> None:
        """Write what is to be remembered."""
        ...


@runtime_checkable
class SharedStore(BlockwiseStore, Protocol):
    """A store that several processes share.

    Attributes:
        decided: what was decided of each click_id.
        fault: why the last clicks were not folded; empty once they are again.
    """

    decided: Memory
    fault: str

    def settle(self, now: int) -> bool:
        """Agree on the blocks with the processes that share the store; False where the state is lost."""
        ...

    def warm_up(self) -> None:
        """Compile what a call needs."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class Live(NamedTuple):
    """What decides; another one is put in its place whole.

    Attributes:
        champion: decides.
        challenger: decides too, and is not listened to; None where there is none.
        store: the state that both read.
        click: the type of a click, with the columns that both need.
        shared: the store where other processes share it, None where it is this one's own.
    """

    champion: Decider
    challenger: Decider | None
    store: BlockwiseStore
    click: type[Click]
    shared: SharedStore | None

    @property
    def contexts(self) -> tuple[Context, ...]:
        """What the journal has to know before it takes their decisions."""
        return tuple(one.context for one in (self.champion, self.challenger) if one is not None)

    def decide(self, clicks: Sequence[Click]) -> tuple[Decisions, Decisions | None]:
        """Return what the champion decides, and what the challenger would have decided."""
        champion, challenger = self.champion, self.challenger
        if challenger is None:
            return champion.decide(clicks), None
        batch = encode_clicks(clicks, champion.encoding, champion.pseudonymiser)
        attributes = attributes_of(clicks, {*champion.columns, *challenger.columns})
        first = champion.decide_batch(batch, [click.click_id for click in clicks], attributes)
        return first, challenger.second(first, attributes)


def live_of(found: Sequence[Decider], store: BlockwiseStore) -> Live:
    """Return what decides: the first decider, and beside it the second where there is one."""
    columns = dict.fromkeys(column for one in found for column in one.bundle.contract.slice_columns)
    # Asked once, for to find out whether something is of a protocol takes as long as to fold a click.
    shared = store if isinstance(store, SharedStore) else None
    return Live(found[0], found[1] if len(found) > 1 else None, store, click_type(columns), shared)


def recall(memory: Memory, decisions: Decisions) -> dict[int, bytes]:
    """Return what other processes decided of the repeats among clicks.

    A process remembers a decision a moment after it has answered, so that what is not there yet is asked for again
    before this process decides it a second time.
    """
    ids, repeats = decisions.batch.ids, decisions.repeats
    wanted = set(ids[repeats].tolist()) - set(ids[~repeats].tolist())
    found = memory.recall([*wanted]) if wanted else {}
    for pause in _PAUSES:
        if len(found) == len(wanted):
            break
        time.sleep(pause)
        found = memory.recall([*wanted])
    return found
