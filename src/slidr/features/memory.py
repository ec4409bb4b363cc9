"""Memory of records that grows where it stands: the system moves its pages, so that none is copied or made anew.

A state grows to hundreds of megabytes by doubling. The first touch of a page costs more than the fold of a click, and
a copy touches all of them again; so pages are touched ahead of their use, a piece at a time. Huge pages make a long
fold a tenth faster, and those who decide wait for each: on a virtual machine whose host has to find it first, one took
4.5 ms to touch, as often as not on the core that decides, and 64 KB in small pages take 0.02.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

_POPULATE_WRITE = 23  # of Linux 5.14 and later: what it refuses, or another system, touches pages when they are used
PIECE = 1 << 16
"""Bytes that are touched at once."""
_madvise = getattr(ctypes.CDLL(None), "madvise", None)


def zeros(words: int, *, huge: bool = True) -> NDArray[np.int64]:
    """Return zeros, int64[words], whose pages are found when they are touched.

    Args:
        words: how many.
        huge: whether the system may use huge pages for them.
    """
    return np.frombuffer(_zeros(8 * words, huge=huge), np.int64, words)


def touch_array(array: NDArray[Any]) -> Iterator[None]:
    """Have the system find pages for an array that nobody has written to yet, and stop behind each piece of it."""
    address, size = array.ctypes.data, array.nbytes
    for start in range(0, size, PIECE):
        _touch(address + start, min(PIECE, size - start))
        yield


def _touch(address: int, size: int) -> None:
    """Have the system find pages for memory; what it holds stays."""
    first = address // mmap.PAGESIZE * mmap.PAGESIZE
    if _madvise is not None:
        _madvise(ctypes.c_void_p(first), ctypes.c_size_t(address + size - first), _POPULATE_WRITE)


class Records:
    """32-bit words, zero at first, that can be made more.

    >>> records = Records(2)
    >>> records.words[1] = 7
    >>> records.grow(4)
    >>> records.words.tolist()
    [0, 7, 0, 0]

    Args:
        words: how many; an even number.
        huge: whether the system may use huge pages for them.

    Attributes:
        words: the words, uint32[n]; `grow` replaces it and the two views.
        floats: the same as float32[n].
        longs: the same as int64[n / 2].
    """

    words: NDArray[np.uint32]
    floats: NDArray[np.float32]
    longs: NDArray[np.int64]

    def __init__(self, words: int, *, huge: bool = True) -> None:
        self._huge = huge
        self._map = _zeros(4 * words, huge=huge)
        self._touched = 0
        self._show(words)

    def touch(self, words: int) -> Iterator[None]:
        """Have pages at hand for the words up to a place, as far as there are so many; stops behind each piece.

        Between two pieces the words may `grow`.
        """
        while (left := min(4 * words, self._size) - self._touched) > 0:
            _touch(self._address + self._touched, min(PIECE, left))
            self._touched += min(PIECE, left)
            yield

    def grow(self, words: int) -> None:
        """Append zeros up to a length."""
        del self.words, self.floats, self.longs
        try:
            self._map.resize(_bytes(4 * words))
        except (BufferError, SystemError):
            # Somebody holds the array, such as a snapshot on its way to the disk, or the system cannot move pages.
            held, self._map = self._map, _zeros(4 * words, huge=self._huge)
            self._map[: len(held)] = memoryview(held)
        self._show(words)

    def _show(self, words: int) -> None:
        self.words = np.frombuffer(self._map, np.uint32, words)
        self.floats, self.longs = self.words.view(np.float32), self.words.view(np.int64)
        self._address, self._size = self.words.ctypes.data, 4 * words


def _zeros(size: int, *, huge: bool) -> mmap.mmap:
    memory = mmap.mmap(-1, _bytes(size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(AttributeError, OSError):  # not every system has them
        memory.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
    return memory


def _bytes(size: int) -> int:
    return max(size, mmap.PAGESIZE)
