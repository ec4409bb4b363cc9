"""Side by side: several catalogues over one store, which folds every block of theirs once.

Champion, challenger and rollback target share most of their blocks. Their union is folded once for a batch; each
catalogue then reads its own columns, and hears of its own blocks alone whether they are sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from slidr.features.catalogue import AnyFeature
from slidr.features.clicks import ClickBatch
from slidr.features.layout import Block, Layout, compile_catalogue
from slidr.features.slow import SlowTables
from slidr.features.store import Folded, Store
from slidr.settings import duration

_SPANS = ("window", "half_life", "short", "long", "over")


def side_by_side(layouts: Sequence[Layout]) -> tuple[Layout, tuple[NDArray[np.int64], ...]]:
    """Return the union of layouts, blocks of equal key once, and for each layout the union's columns of its row."""
    features: dict[Any, AnyFeature] = {}
    groups: dict[str, dict[Any, AnyFeature]] = {}
    for layout in layouts:
        for feature in layout.catalogue:
            features.setdefault(_identity(feature), feature)
        for block in layout.blocks:
            for feature in layout.catalogue:
                if feature.entity == block.entity:
                    groups.setdefault(block.key, {}).setdefault(_identity(feature), features[_identity(feature)])
    union = compile_catalogue(tuple(features.values()), [tuple(group.values()) for group in groups.values()])
    places = {identity: column for column, identity in enumerate(features)}
    columns = tuple(np.array([places[_identity(feature)] for feature in one.catalogue], np.int64) for one in layouts)
    return union, columns


def _identity(feature: AnyFeature) -> tuple[object, ...]:
    """Return what tells a feature from others, however its spans are written: 1h and 60m are the same."""
    fields = msgspec.structs.asdict(feature) | {"by": feature.entity}
    spans = {name: duration(fields[name]) for name in _SPANS if name in fields}
    return (type(feature), *(fields | spans).items())


class BlockwiseStore(Store, Protocol):
    """A store that tells the soundness of every block by itself, as the embedded one and that in Redis do."""

    layout: Layout
    slow: SlowTables | None

    def cold_blocks(self, layout: Layout, now: int) -> tuple[Block, ...]:
        """Return the blocks of a layout that are missing, or younger than their horizon at a time."""
        ...

    def fold_by_block(self, clicks: ClickBatch) -> Folded:
        """Fold clicks in the order given; soundness is uint8[blocks, n]."""
        ...


class SideBySide:
    """Several catalogues over one store.

    A batch is folded when the first view is given it, and once: the views after it read what was folded. Its keys are
    those of the union's layout.

    >>> from slidr.features.catalogue import Clicks
    >>> from slidr.features.store import EmbeddedStore
    >>> layouts = [compile_catalogue((Clicks("user", window),)) for window in ("1h", "6h")]
    >>> [view.layout.names for view in SideBySide(layouts, EmbeddedStore(side_by_side(layouts)[0])).views]
    [('clicks_user_1h',), ('clicks_user_6h',)]

    Args:
        layouts: the catalogues, compiled.
        store: of their union; it may be warm.

    Attributes:
        views: a store for each catalogue, in the order given.
    """

    def __init__(self, layouts: Sequence[Layout], store: BlockwiseStore) -> None:
        _, columns = side_by_side(layouts)
        self.store = store
        self.views = tuple(View(self, layout, mine) for layout, mine in zip(layouts, columns, strict=True))
        self._folded: tuple[ClickBatch, Folded] | None = None
        self._read: list[View] = []

    def fold(self, clicks: ClickBatch, view: View) -> Folded:
        """Return the union's rows of a batch, and soundness by block, for a view; a view that comes again folds it."""
        if self._folded is None or self._folded[0] is not clicks or view in self._read:
            self._folded, self._read = (clicks, self.store.fold_by_block(clicks)), []
        self._read.append(view)
        return self._folded[1]


class View:
    """The store of one catalogue among several.

    Attributes:
        layout: the catalogue.
        encoding: the union's layout, by which clicks are encoded.
    """

    def __init__(self, together: SideBySide, layout: Layout, columns: NDArray[np.int64]) -> None:
        self.layout = layout
        self.encoding = together.store.layout
        self._together = together
        self._columns = columns
        keys = {block.key for block in layout.blocks}
        self._blocks = [number for number, block in enumerate(self.encoding.blocks) if block.key in keys]

    def fold(self, clicks: ClickBatch) -> Folded:
        """Fold clicks in the order given, unless another view just had the same batch folded, and return their rows."""
        return self.rows(self._together.fold(clicks, self))

    def rows(self, folded: Folded) -> Folded:
        """Return this catalogue's share of what the union's `fold_by_block` gave."""
        soundness = folded.soundness[self._blocks].max(axis=0, initial=0)
        return folded._replace(rows=np.ascontiguousarray(folded.rows[:, self._columns]), soundness=soundness)
