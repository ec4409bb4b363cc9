"""The embedded store: the state of every block as flat arrays in this process, folded by one kernel."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from slidr.features.block import MOST_ENTITIES, BlockState, fold_into, placed
from slidr.features.clicks import ClickBatch
from slidr.features.distinct import LATE, LIVE
from slidr.features.fold import fold_click
from slidr.features.layout import HORIZON, Block, Layout
from slidr.features.recent import RecentClicks
from slidr.features.slow import SlowTables, fill_slow
from slidr.features.snapshot import VERSION, About, BlockAbout, Snapshot, read_snapshot, write_snapshot

_CHUNK = 16_384
"""Clicks folded at once: few enough that one block's batch stays in the cache."""
TERM = 1 << 40
"""Sequences of a term: a replica that takes over a shared store goes on with the first of the next one."""


class Soundness(IntEnum):
    """Whether a row says what it should, and if not, why; a row that is not sound must not decide."""

    SOUND = 0
    STATE_COLD = 1
    """The state was lost, or is younger than its horizon."""
    STATE_EVICTED = 2
    """The entity's state was dropped at the cap on entities, while it was still of use."""
    STORE_UNAVAILABLE = 3
    """The store did not answer in time; the click was not folded, or it is not known whether it was."""
    ORIGINAL_UNKNOWN = 4
    """A repeat, and the store cannot read again what its original read."""


class Folded(NamedTuple):
    """What the store returns for a batch of n clicks.

    Attributes:
        rows: float32[n, features]; zeros for a repeat that the store cannot read again.
        sequences: place of each click in the fold, int64[n]; -1 where it was not folded.
        repeats: click_id seen within the hour, bool[n]; a repeat carries its original's sequence.
        soundness: of each row, uint8[n], values of `Soundness`.
    """

    rows: NDArray[np.float32]
    sequences: NDArray[np.int64]
    repeats: NDArray[np.bool_]
    soundness: NDArray[np.uint8]


class Store(Protocol):
    """Holds the state of the features and folds clicks into it."""

    def fold(self, clicks: ClickBatch) -> Folded:
        """Fold clicks in the order given and return their rows."""
        ...


class EmbeddedStore:
    """The store of one process: every block of a layout, and the numbering of the clicks.

    Args:
        layout: the compiled catalogue.
        entities: live entities of one kind that memory is set aside for at the start; it grows as needed.
        most: live entities of one kind at most; beyond them the oldest are dropped.
        threads: threads that fold blocks beside each other; rows are the same for any number.
        slow: where the slow features are looked up; where None, they are not known.
        huge: whether the system may use huge pages: a long fold is a tenth faster, and who decides waits for each.

    Attributes:
        since: by block key, the event time from which the block has folded every click, microseconds; 0 from the
            beginning or seeded. A block younger than its horizon is cold.
        beside: the store of the next secret key while keys rotate; folds the same clicks, hashed with that key.
    """

    def __init__(
        self,
        layout: Layout,
        entities: int = 1024,
        *,
        most: int = MOST_ENTITIES,
        threads: int = 1,
        slow: SlowTables | None = None,
        huge: bool = True,
    ) -> None:
        self.layout = layout
        self.blocks = tuple(BlockState(block, entities, most, huge=huge) for block in layout.blocks)
        self._places = placed(self.blocks)
        self.recent = RecentClicks(entities, huge=huge)
        self.since = dict.fromkeys((block.key for block in layout.blocks), 0)
        self.beside: EmbeddedStore | None = None
        self.slow = slow
        self._sizes = (entities, most)
        self._huge = huge
        self._pool = ThreadPoolExecutor(threads, "slidr-fold") if threads > 1 else None

    @property
    def sequence(self) -> int:
        """The sequence that the next new click gets: how many clicks were folded."""
        return int(self.recent.used[1])

    @property
    def newest(self) -> int:
        """Time of the newest click folded, microseconds; 0 before the first."""
        return int(self.recent.used[2])

    @property
    def late(self) -> int:
        """How many clicks came too late for some window of some entity."""
        return sum(int(block.used[LATE]) for block in self.blocks)

    @property
    def live(self) -> int:
        """How many entities have state, all kinds together."""
        return sum(int(block.used[LIVE]) for block in self.blocks)

    @property
    def evicted(self) -> int:
        """How many entities were dropped at the cap."""
        return sum(block.evicted for block in self.blocks)

    def cold_blocks(self, layout: Layout, now: int) -> tuple[Block, ...]:
        """Return the blocks of a layout that are missing here, or younger than their horizon at a time."""
        return tuple(
            block
            for block in layout.blocks
            if block.key not in self.since or now < _warm_from(block, self.since[block.key])
        )

    def fold(self, clicks: ClickBatch) -> Folded:
        """Fold clicks in the order given; a repeat is numbered as its original and changes nothing."""
        rows, sequences, repeats, soundness = self.fold_by_block(clicks)
        return Folded(rows, sequences, repeats, np.maximum.reduce(soundness, axis=0, initial=0))

    def fold_by_block(self, clicks: ClickBatch) -> Folded:
        """Fold clicks, and tell the soundness of every block by itself: uint8[blocks, n]."""
        before = self.sequence
        sequences, repeats = self.recent.number(clicks.ids, clicks.times)
        rows = np.zeros((len(clicks), len(self.layout.names)), np.float32)
        soundness = np.zeros((len(self.blocks), len(clicks)), np.uint8)
        if self.sequence - before < len(clicks):
            fresh = ~repeats
            part, doubts = rows[fresh], np.ascontiguousarray(soundness[:, fresh])
            self._fold(clicks.take(fresh), part, doubts)
            rows[fresh], soundness[:, fresh], soundness[:, repeats] = part, doubts, Soundness.ORIGINAL_UNKNOWN
            if self.beside is not None and clicks.beside is not None:
                self.beside.follow(clicks.beside.take(fresh), sequences[fresh])
        else:
            self._fold(clicks, rows, soundness)
            if self.beside is not None and clicks.beside is not None:
                self.beside.follow(clicks.beside, sequences)
        return Folded(rows, sequences, repeats, soundness)

    def follow(self, clicks: ClickBatch, sequences: NDArray[np.int64]) -> None:
        """Fold clicks that another store has numbered, none of them a repeat."""
        self.recent.note(clicks.ids, clicks.times, sequences)
        self.fold_again(clicks, self.since)

    def fold_again(self, clicks: ClickBatch, keys: Collection[str]) -> None:
        """Fold clicks that are numbered already into the blocks of these keys alone."""
        rows = np.zeros((len(clicks), len(self.layout.names)), np.float32)
        for state in self.blocks:
            if state.block.key in keys:
                for start in range(0, len(clicks), _CHUNK):
                    state.fold(clicks.take(slice(start, start + _CHUNK)), rows[start : start + _CHUNK])

    def forget(self, keys: Collection[str], since: int) -> None:
        """Empty the blocks of these keys, which have missed clicks up to a time: they are cold from there on."""
        self.blocks = tuple(
            BlockState(state.block, *self._sizes, huge=self._huge) if state.block.key in keys else state
            for state in self.blocks
        )
        self._places = placed(self.blocks)
        self.since |= dict.fromkeys(keys, since)

    def grow_ahead(self) -> None:
        """Make room before it is needed, as far as that takes no time."""
        for block in self.blocks:
            block.grow_ahead()

    def touch_ahead(self) -> Iterator[None]:
        """Have the system find pages before they are needed, which takes it time; stops behind each piece.

        Between two pieces clicks may be folded.
        """
        yield from self.recent.touch_ahead()
        for block in self.blocks:
            yield from block.touch_ahead()

    def empty(self) -> EmbeddedStore:
        """Return a store of the same layout and sizes that has folded nothing, and knows no slow features."""
        entities, most = self._sizes
        return EmbeddedStore(self.layout, entities, most=most, huge=self._huge)

    def accompany(self, beside: EmbeddedStore | None) -> None:
        """Let the store of the next secret key fold what this one folds; where it has missed clicks it starts cold."""
        if beside is not None and beside.sequence != self.sequence:
            beside.forget(tuple(beside.since), self.newest)
            beside.recent.skip(self.sequence, self.newest)
        self.beside = beside

    def _fold(self, clicks: ClickBatch, rows: NDArray[np.float32], soundness: NDArray[np.uint8]) -> None:
        def fold(blocks: slice) -> None:
            states, places = self.blocks[blocks], self._places[blocks]
            if len(clicks) <= _CHUNK:
                fold_into(states, places, clicks, rows, soundness[blocks])
                return
            for start in range(0, len(clicks), _CHUNK):
                part = slice(start, start + _CHUNK)
                fold_into(states, places, clicks.take(part), rows[part], soundness[blocks], start)

        if self._pool is None:
            fold(slice(None))
        else:
            # A block writes its own columns alone, so the order in which blocks are done changes no bit.
            list(self._pool.map(lambda number: fold(slice(number, number + 1)), range(len(self.blocks))))
        for number, state in enumerate(self.blocks):
            if since := self.since[state.block.key]:
                cold = clicks.times < _warm_from(state.block, since)
                soundness[number, cold] = np.maximum(soundness[number, cold], Soundness.STATE_COLD)
        fold_click(self.layout.clock, self.layout.missing, clicks.times, clicks.logged_in, clicks.keys, rows)
        fill_slow(self.slow, self.layout, clicks, rows)

    def snapshot(self, path: Path, *, fingerprint: str) -> None:
        """Write the state to a file, whole or not at all.

        Args:
            path: the file.
            fingerprint: of the secret key that hashed the identifiers; another key's state is worthless.
        """
        write_snapshot(path, self.state(fingerprint))

    def state(self, fingerprint: str) -> Snapshot:
        """Return the state as a snapshot takes it; the arrays are those that the next fold changes."""
        self.recent.settle()
        arrays: dict[str, NDArray[Any]] = {"recent": self.recent.table, "numbers": self.recent.used}
        for state in self.blocks:
            arrays |= {f"{state.block.key}.{name}": array for name, array in state.arrays().items()}
        blocks = {state.block.key: BlockAbout(self.since[state.block.key]) for state in self.blocks}
        return Snapshot(About(VERSION, fingerprint, blocks), arrays)

    def restore(self, path: Path, *, fingerprint: str) -> frozenset[str]:
        """Take over the state of a file, and return the keys of the blocks that it lacks: these start cold.

        Raises:
            FeatureError: the file is not a snapshot, or was hashed with another key.
        """
        snapshot = read_snapshot(path, fingerprint=fingerprint)
        self.recent.take(snapshot.arrays["recent"], snapshot.arrays["numbers"])
        lacking = frozenset(self.since) - frozenset(snapshot.about.blocks)
        self._take(snapshot, frozenset(self.since) - lacking)
        self.forget(lacking, self.newest)
        return lacking

    def borrow(self, path: Path, keys: frozenset[str], *, fingerprint: str) -> frozenset[str]:
        """Take blocks from the snapshot of another store that has folded the same clicks; return those taken.

        None is taken where the other store stands elsewhere: its last click must be this one's, in the same place.

        Raises:
            FeatureError: the file is not a snapshot, or was hashed with another key.
        """
        snapshot = read_snapshot(path, fingerprint=fingerprint)
        other = RecentClicks()
        other.take(snapshot.arrays["recent"], snapshot.arrays["numbers"])
        if other.last() is None or other.last() != self.recent.last():
            return frozenset()
        found = keys & frozenset(snapshot.about.blocks)
        self._take(snapshot, found)
        return found

    def _take(self, snapshot: Snapshot, keys: Collection[str]) -> None:
        for state in self.blocks:
            key = state.block.key
            if key in keys:
                state.restore(snapshot.block(key))
                self.since[key] = snapshot.about.blocks[key].since


def _warm_from(block: Block, since: int) -> int:
    """Return the event time from which a block is warm: as old as its horizon."""
    return since + int(block.layout[HORIZON]) if since else 0
