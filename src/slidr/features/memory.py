"""Memory of records that grows where it stands: the system moves its pages, so that none is copied or made anew.

A state grows to hundreds of megabytes by doubling. The first touch of a page costs more than the fold of a click, and
a copy touches all of them again. On a virtual machine whose host has to find the page first, that of a huge one was
measured at 4.5 ms; so pages are touched ahead of their use, on another thread.
"""

from __future__ import annotations

import ctypes
import mmap
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

_POPULATE_WRITE = 23  # of Linux 5.14 and later: what it refuses, or another system, touches pages when they are used
_madvise = getattr(ctypes.CDLL(None), "madvise", None)


def touch(address: int, size: int) -> None:
    """Have the system find pages for memory that nobody has written to yet; what it holds stays.

    It may be called from any thread, and lets others run meanwhile.

    Args:
        address: of the first byte.
        size: how many bytes.
    """
    first = address // mmap.PAGESIZE * mmap.PAGESIZE
    if _madvise is not None and size > 0:
        _madvise(ctypes.c_void_p(first), ctypes.c_size_t(address + size - first), _POPULATE_WRITE)


def touch_array(array: NDArray[np.generic]) -> None:
    """Have the system find pages for an array, see `touch`."""
    touch(array.ctypes.data, array.nbytes)


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
        self._touched = 0
        self._show(words)

    def touch(self, words: int) -> None:
        """Have pages at hand for the words up to a place, as far as there are so many; from any thread."""
        # Numbers alone: an array that another thread held would keep `grow` from moving the pages.
        address, size, touched = self._address, self._size, self._touched
        wanted = min(4 * words, size)
        if wanted > touched:
            touch(address + touched, wanted - touched)
            self._touched = wanted

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
        self._address, self._size = self.words.ctypes.data, 4 * words


def _zeros(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, _bytes(size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(AttributeError, OSError):  # not every system has them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _bytes(size: int) -> int:
    return max(size, mmap.PAGESIZE)
