"""Doubts: why a click cannot be measured, of what its row and its identifiers tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slidr.features.clicks import ClickBatch
from slidr.features.kernel import kernel
from slidr.features.store import Soundness

NO_IDENTIFIERS = "no_identifiers"
DOUBTS = (*(one.name.lower() for one in Soundness), NO_IDENTIFIERS)
"""Why a click is unmeasurable, by the values of `doubts_of`; the first stands for no doubt."""
_NAMELESS = np.uint8(len(DOUBTS) - 1)


def doubts_of(batch: ClickBatch, soundness: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return why each click cannot be measured, uint8[n], places in `DOUBTS`; 0 where it can."""
    doubts = np.empty(len(batch), np.uint8)
    _doubt(batch.keys, soundness, doubts)
    return doubts


@kernel()
def _doubt(keys: NDArray[np.uint64], soundness: NDArray[np.uint8], doubts: NDArray[np.uint8]) -> None:
    for click in range(len(doubts)):
        # Rows 0 to 2 of the key matrix are user, session and ip.
        nameless = keys[0, click] | keys[1, click] | keys[2, click] == 0
        doubts[click] = _NAMELESS if nameless else soundness[click]
