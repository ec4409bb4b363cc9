"""Memory of records that grows where it stands: the system moves its pages, so that none is copied or made anew.

A state grows to hundreds of megabytes by doubling. The first touch of a page costs more than the fold of a click, and
a copy touches all of them again.
"""

from __future__ import annotations

import mmap
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray


class Records:
    """32-bit words, zero at first, that can be made more.

    >>> records = Records(2)
    >>> records.words[1] = 7
    >>> records.grow(4)
    >>> records.words.tolist()
    [0, 7, 0, 0]

    Args:
        words: how many; an even number.

    Attributes:
        words: the words, uint32[n]; `grow` replaces it and the two views.
        floats: the same as float32[n].
        longs: the same as int64[n / 2].
    """

    words: NDArray[np.uint32]
    floats: NDArray[np.float32]
    longs: NDArray[np.int64]

    def __init__(self, words: int) -> None:
        self._map = _zeros(4 * words)
        self._show(words)

    def grow(self, words: int) -> None:
        """Append zeros up to a length."""
        del self.words, self.floats, self.longs
        try:
            self._map.resize(_bytes(4 * words))
        except (BufferError, SystemError):
            # Somebody holds the array, such as a snapshot on its way to the disk, or the system cannot move pages.
            held, self._map = self._map, _zeros(4 * words)
            self._map[: len(held)] = memoryview(held)
        self._show(words)

    def _show(self, words: int) -> None:
        self.words = np.frombuffer(self._map, np.uint32, words)
        self.floats, self.longs = self.words.view(np.float32), self.words.view(np.int64)


def _zeros(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, _bytes(size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(AttributeError, OSError):  # not every system has them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _bytes(size: int) -> int:
    return max(size, mmap.PAGESIZE)
