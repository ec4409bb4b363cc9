"""The embedded store: the state of every block as flat arrays in this process, folded by one kernel."""

from __future__ import annotations

import io
import json
import os
import zipfile
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from slidr.errors import FeatureError
from slidr.features.block import BlockState
from slidr.features.clicks import ClickBatch
from slidr.features.distinct import LATE
from slidr.features.fold import fold_click
from slidr.features.layout import Layout
from slidr.features.recent import RecentClicks

_CHUNK = 16_384
"""Clicks folded at once: few enough that one block's batch stays in the cache."""
_SNAPSHOT_VERSION = 1
_START_OVER = (
    "run `slidr backfill`, then move this file (storage.state) and the service's journal (storage.journal) away"
    " together, so that the service starts from the new seed"
)


class Soundness(IntEnum):
    """Whether a row says what it should, and if not, why; a row that is not sound must not decide."""

    SOUND = 0
    STATE_COLD = 1
    """The state was lost, or is younger than its horizon."""
    STATE_EVICTED = 2
    """The entity's state was dropped at the cap on entities, while it was still of use."""
    STORE_UNAVAILABLE = 3
    """The store did not answer in time; the click was not folded, or it is not known whether it was."""


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
    """

    def __init__(self, layout: Layout, entities: int = 1024) -> None:
        self.layout = layout
        self.blocks = tuple(BlockState(block, entities) for block in layout.blocks)
        self.recent = RecentClicks()

    @property
    def sequence(self) -> int:
        """The sequence that the next new click gets: how many clicks were folded."""
        return int(self.recent.used[1])

    @property
    def late(self) -> int:
        """How many clicks came too late for some window of some entity."""
        return sum(int(block.used[LATE]) for block in self.blocks)

    def fold(self, clicks: ClickBatch) -> Folded:
        """Fold clicks in the order given; a repeat is numbered as its original and changes nothing."""
        sequences, repeats = self.recent.number(clicks.ids, clicks.times)
        rows = np.zeros((len(clicks), len(self.layout.names)), np.float32)
        if repeats.any():
            fresh = ~repeats
            part = np.zeros((int(fresh.sum()), rows.shape[1]), np.float32)
            self._fold(clicks.take(fresh), part)
            rows[fresh] = part
        else:
            self._fold(clicks, rows)
        return Folded(rows, sequences, repeats, np.zeros(len(clicks), np.uint8))

    def _fold(self, clicks: ClickBatch, rows: NDArray[np.float32]) -> None:
        for start in range(0, len(clicks), _CHUNK):
            stop = start + _CHUNK
            chunk = clicks if len(clicks) <= _CHUNK else clicks.take(slice(start, stop))
            part = rows[start:stop]
            for block in self.blocks:
                block.fold(chunk, part)
            fold_click(self.layout.clock, self.layout.missing, chunk.times, chunk.logged_in, chunk.keys, part)

    def snapshot(self, path: Path, *, fingerprint: str) -> None:
        """Write the state to a file, whole or not at all.

        Args:
            path: the file.
            fingerprint: of the secret key that hashed the identifiers; another key's state is worthless.
        """
        arrays: dict[str, NDArray[np.generic]] = {"recent": self.recent.table, "numbers": self.recent.used}
        for state in self.blocks:
            arrays |= {f"{state.block.key}.{name}": array for name, array in state.arrays().items()}
        about = {
            "version": _SNAPSHOT_VERSION,
            "fingerprint": fingerprint,
            "latest": {state.block.key: state.latest for state in self.blocks},
        }
        buffer = io.BytesIO()
        np.savez(buffer, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)  # type: ignore[arg-type]
        part = path.with_suffix(path.suffix + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def restore(self, path: Path, *, fingerprint: str) -> None:
        """Take over the state of a file.

        Raises:
            FeatureError: the file is not a snapshot, lacks a block of this catalogue, or was hashed with another key.
        """
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(arrays.pop("about").tobytes())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
            raise FeatureError(f"{path} is not a snapshot of feature state: {fault}") from None
        if about["version"] != _SNAPSHOT_VERSION or about["fingerprint"] != fingerprint:
            raise FeatureError(
                f"{path} has version {about['version']} and key {about['fingerprint']}; this process reads version"
                f" {_SNAPSHOT_VERSION} and key {fingerprint}: use the secret key of the backfill, or {_START_OVER}"
            )
        for state in self.blocks:
            key = state.block.key
            if key not in about["latest"]:
                raise FeatureError(
                    f"{path} has no block {key} ({', '.join(state.block.entity)}): it was written by another catalogue;"
                    f" {_START_OVER}"
                )
            state.restore(
                {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(f"{key}.")},
                about["latest"][key],
            )
        self.recent.table, self.recent.used = arrays["recent"], arrays["numbers"]
