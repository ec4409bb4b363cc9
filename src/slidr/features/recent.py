"""Recent clicks: a click_id seen again within an hour is not counted again and gets the same decision.

The table grows by moving a few entries with every batch: moved all at once, a million of them would hold up every
request for a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from slidr.clock import HOUR
from slidr.features.arithmetic import Whole
from slidr.features.kernel import kernel
from slidr.features.memory import touch_array, zeros
from slidr.features.prefetch import natural, prefetch

REPEAT_WINDOW = HOUR
MEMORY = 2 * REPEAT_WINDOW
"""How far behind the newest click, in event time, a click_id is remembered."""
_FIELDS = 3  # key, time, sequence
_AHEAD = 16
_MOVED = 256  # entries moved with every batch, and four more for every click of it
_MANY = 4096  # clicks of a batch that nobody waits for one by one: all entries are moved with it
_SAMPLE = 1 << 14


@kernel(inline=True)
def _place(table: NDArray[np.int64], key: Whole) -> Whole:
    """Return where the entry of a key stands, or, where it has none, the free place for it."""
    mask = len(table) // _FIELDS - 1
    at: Whole = natural(_FIELDS * (key & mask))
    while table[at] != 0 and table[at] != key:
        at = natural(at + _FIELDS if at + _FIELDS < len(table) else 0)
    return at


@kernel(inline=True)
def _expect(table: NDArray[np.int64], ids: NDArray[np.uint64], click: Whole) -> None:
    """Fetch what will be asked for a few clicks later."""
    later = click + _AHEAD
    if later < len(ids):
        prefetch(table, _FIELDS * (np.int64(ids[later]) & (len(table) // _FIELDS - 1)))


@kernel()
def _number(
    table: NDArray[np.int64],
    old: NDArray[np.int64],
    used: NDArray[np.int64],
    ids: NDArray[np.uint64],
    times: NDArray[np.int64],
    sequences: NDArray[np.int64],
    repeats: NDArray[np.bool_],
) -> None:
    moving = len(old) > 0
    for click in range(len(ids)):
        _expect(table, ids, click)
        wanted = np.int64(ids[click])
        at = _place(table, wanted)
        known = table[at] == wanted
        # What may have been forgotten is never known, or a row would depend on when room was made.
        if known:
            again = table[at + 1] >= used[2] - MEMORY and abs(times[click] - table[at + 1]) <= REPEAT_WINDOW
            sequence = table[at + 2]
        elif moving:
            before = _place(old, wanted)
            again = old[before] == wanted and old[before + 1] >= used[2] - MEMORY
            again = again and abs(times[click] - old[before + 1]) <= REPEAT_WINDOW
            sequence = old[before + 2]
        else:
            again, sequence = False, used[1]
        repeats[click] = again
        if again:
            sequences[click] = sequence
            continue
        if not known:
            used[0] += 1
        table[at], table[at + 1], table[at + 2] = wanted, times[click], used[1]
        sequences[click] = used[1]
        used[1] += 1
        used[2] = max(used[2], times[click])


@kernel()
def _note(
    table: NDArray[np.int64],
    used: NDArray[np.int64],
    ids: NDArray[np.uint64],
    times: NDArray[np.int64],
    sequences: NDArray[np.int64],
) -> None:
    for click in range(len(ids)):
        _expect(table, ids, click)
        wanted = np.int64(ids[click])
        at = _place(table, wanted)
        if table[at] == 0:
            used[0] += 1
        table[at], table[at + 1], table[at + 2] = wanted, times[click], sequences[click]
        used[1] = max(used[1], sequences[click] + 1)
        used[2] = max(used[2], times[click])


@kernel()
def _move(old: NDArray[np.int64], new: NDArray[np.int64], first: int, last: int, since: int) -> int:
    """Move the entries that stand from one place to another, unless they are older or there is a newer one."""
    moved = 0
    for at in range(first, last, _FIELDS):
        if old[at] != 0 and old[at + 1] >= since:
            place = _place(new, old[at])
            if new[place] == 0:
                for field in range(_FIELDS):
                    new[place + field] = old[at + field]
                moved += 1
    return moved


class RecentClicks:
    """Numbers clicks in the order of the fold and tells repeats, remembering at least an hour of click_ids.

    >>> recent = RecentClicks()
    >>> sequences, repeats = recent.number(np.array([7, 8, 7], np.uint64), np.array([1, 2, 3]))
    >>> sequences.tolist(), repeats.tolist()
    ([0, 1, 0], [False, False, True])

    Args:
        clicks: that there is room for from the beginning.
        huge: whether the system may use huge pages.
    """

    def __init__(self, clicks: int = 256, *, huge: bool = True) -> None:
        self._huge = huge
        self.table = zeros(_FIELDS * max(1024, 1 << (4 * clicks - 1).bit_length()), huge=huge)
        # Entries in the table, next sequence, newest time.
        self.used = np.zeros(3, np.int64)
        # The table before the last growth, how far its entries have been moved, and about how many counted.
        self._old = np.zeros(0, np.int64)
        self._moved = self._live = 0
        # The table of the next growth, made before it is needed.
        self._next: NDArray[np.int64] | None = None
        self._at_hand: NDArray[np.int64] | None = None

    def number(self, ids: NDArray[np.uint64], times: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the sequence of each click and whether it is a repeat; a repeat has its original's sequence."""
        self._make_room(len(ids))
        sequences, repeats = np.empty(len(ids), np.int64), np.empty(len(ids), np.bool_)
        _number(self.table, self._old, self.used, ids, times, sequences, repeats)
        return sequences, repeats

    def note(self, ids: NDArray[np.uint64], times: NDArray[np.int64], sequences: NDArray[np.int64]) -> None:
        """Remember clicks that are numbered already, none of them a repeat."""
        self._make_room(len(ids))
        _note(self.table, self.used, ids, times, sequences)

    def skip(self, sequence: int, newest: int) -> None:
        """Go on with a sequence, past clicks up to a time whose click_ids are not known."""
        self.used[1], self.used[2] = sequence, max(newest, int(self.used[2]))

    def take(self, table: NDArray[np.int64], used: NDArray[np.int64]) -> None:
        """Go on from what `table` and `used` of another one held once it was settled."""
        self.table, self.used, self._old = table, used, np.zeros(0, np.int64)

    def settle(self) -> None:
        """Have all entries in the table."""
        self._move(len(self._old))

    def last(self) -> tuple[int, int] | None:
        """Return keyed hash, its bits as int64, and sequence of the click numbered last, or None where not known."""
        self.settle()
        places = np.flatnonzero((self.table[::_FIELDS] != 0) & (self.table[2::_FIELDS] == self.used[1] - 1))
        return (int(self.table[_FIELDS * places[0]]), int(self.used[1]) - 1) if len(places) else None

    def entries(self) -> list[tuple[int, int, int]]:
        """Return keyed hash, time and sequence of the clicks that a repeat could still be of."""
        self.settle()
        held = self.table.reshape(-1, _FIELDS)
        live = held[(held[:, 0] != 0) & (held[:, 1] >= self.used[2] - MEMORY)]
        return list(zip(live[:, 0].view(np.uint64).tolist(), *live[:, 1:].T.tolist(), strict=True))

    def find(self, key: int) -> int | None:
        """Return the sequence that a click_id's keyed hash, its bits as int64, was last numbered with, or None."""
        for table in (self.table, self._old):
            mask = len(table) // _FIELDS - 1
            slot = key & mask
            while len(table) and (held := int(table[_FIELDS * slot])) != 0:
                if held == key:
                    return int(table[_FIELDS * slot + 2])
                slot = (slot + 1) & mask
        return None

    def _make_room(self, clicks: int) -> None:
        if len(self._old):
            self._move(_FIELDS * (_MOVED + 4 * clicks))
        slots = len(self.table) // _FIELDS
        left = self._live * (len(self._old) - self._moved) // max(len(self._old), 1)
        if 2 * (self.used[0] + left + clicks) <= slots:
            return
        self.settle()
        # Keys are hashes, so that the first places are a fair sample of how many entries still count.
        sample = self.table[: _FIELDS * _SAMPLE]
        counts = (sample[::_FIELDS] != 0) & (sample[1::_FIELDS] >= self.used[2] - MEMORY)
        live = int(np.count_nonzero(counts)) * slots // (len(sample) // _FIELDS)
        # A table that was made ahead is twice as long, which has to do.
        while slots < 3 * (live + clicks):
            slots *= 2
        self._old, self._moved, self._live = self.table, 0, live
        ready, self._next = self._next, None
        if ready is None or len(ready) != _FIELDS * slots:
            ready = zeros(_FIELDS * slots, huge=self._huge)
        self.table = ready
        self.used[0] = 0
        if clicks >= _MANY or len(self._old) <= _FIELDS * _SAMPLE:
            self.settle()

    def touch_ahead(self) -> Iterator[None]:
        """Have pages at hand for the table, and for the next one where it will soon be needed.

        Between two pieces clicks may be numbered.
        """
        table = self.table
        if table is not self._at_hand:
            yield from touch_array(table)
            self._at_hand = table
        elif self._next is None and 8 * int(self.used[0]) > 3 * (len(table) // _FIELDS):
            following = zeros(2 * len(table), huge=self._huge)
            yield from touch_array(following)
            self._next = following

    def _move(self, words: int) -> None:
        """Move the next entries of the table before the last growth."""
        if not len(self._old):
            return
        last = min(self._moved + words, len(self._old))
        self.used[0] += _move(self._old, self.table, self._moved, last, int(self.used[2]) - MEMORY)
        self._moved = last
        if last == len(self._old):
            self._old, self._moved = np.zeros(0, np.int64), 0
