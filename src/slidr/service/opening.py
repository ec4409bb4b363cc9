"""Opening: a journal, and over the state that belongs to it what decides; and another one later, without a pause."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from slidr.bundle import Bundle
from slidr.clock import Clock, SystemClock
from slidr.decide import deciders, union_layout
from slidr.errors import ServiceError, StoreError
from slidr.features.keys import KeyRing, Pseudonymiser
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.side_by_side import BlockwiseStore
from slidr.features.slow import SlowTables
from slidr.features.store import EmbeddedStore
from slidr.journal import Journal
from slidr.journals import journals_at, worker_journal
from slidr.rules import ListRule
from slidr.service.batching import Batcher
from slidr.service.live import Live, SharedStore, live_of
from slidr.service.recovery import catch_up
from slidr.service.state_files import StateFiles
from slidr.settings import Settings, duration

_FEW = 100  # entries that are folded between two batches, in a few milliseconds
_LAPS = 20  # times that the tail is folded before it is short enough, or the service too busy for this way
_log = logging.getLogger("slidr.service")


class Parts(NamedTuple):
    """What a service is made of.

    Attributes:
        settings: `service`, `store`, `storage`, `features` and `clicks` are read.
        bundle: the champion, which decides.
        pseudonymiser: hashes identifiers with the key that the bundle was made with.
        rules: list rules.
        root: where the relative paths of the settings start.
        ring: the secret keys that the pseudonymiser's is one of; None where keys do not rotate.
        challenger: decides beside the champion without being listened to; None where there is none.
        cold: whether the champion may decide while its state is younger than its longest window.
        follow: whether the service takes over what the registry names next.
        worker: its number among the processes of one service, from 1 on; 0 where it is alone.
        fallback: what a rollback goes to; its state is kept warm, and it does not decide. None where there is none.
        order: the bundles for which the store was opened, in their order, where these parts go on with it.
    """

    settings: Settings
    bundle: Bundle
    pseudonymiser: Pseudonymiser
    rules: Sequence[ListRule] = ()
    root: Path = Path()
    ring: KeyRing | None = None
    challenger: Bundle | None = None
    cold: bool = False
    follow: bool = False
    worker: int = 0
    fallback: Bundle | None = None
    order: tuple[Bundle, ...] = ()

    @property
    def bundles(self) -> tuple[Bundle, ...]:
        """The bundles whose state is kept: champion, challenger, and what a rollback goes to.

        In the order of those for which the store was opened, wherever their catalogues are among those, so that the
        store stays: what was promoted or rolled back decides at once. A catalogue that nobody needs any more is kept
        until then.
        """
        needed = [self.bundle] if self.challenger is None else [self.bundle, self.challenger]
        if self.fallback is not None and all(self.fallback.catalogue != one.catalogue for one in needed):
            needed.append(self.fallback)
        kept = [bundle.catalogue for bundle in self.order]
        if any(bundle.catalogue not in kept for bundle in needed):
            return tuple(needed)
        placed: dict[int, Bundle] = {}
        rest = []
        for bundle in needed:
            place = kept.index(bundle.catalogue)
            if placed.setdefault(place, bundle) is not bundle:
                rest.append(bundle)
        return (*(placed.get(place, bundle) for place, bundle in enumerate(self.order)), *rest)

    @property
    def journal_path(self) -> Path:
        """The SQLite file of the journal; `journal.1.sqlite` is that of worker 1."""
        path = self.root / self.settings.storage.journal
        return worker_journal(path, self.worker) if self.worker else path

    @property
    def other_journals(self) -> tuple[Path, ...]:
        """The journals of the workers beside this one, and of those that were there before."""
        if not self.worker:
            return ()
        path = self.root / self.settings.storage.journal
        beside = [worker_journal(path, number) for number in range(1, self.settings.service.workers + 1)]
        found = dict.fromkeys((*beside, *journals_at(path)))
        return tuple(one for one in found if one != self.journal_path)

    @property
    def snapshot_path(self) -> Path:
        """The file of the state's snapshot."""
        return self.root / self.settings.storage.state


class Opened(NamedTuple):
    """What was opened.

    Attributes:
        live: what decides.
        journal: takes the decisions.
        folded: clicks of the journal that the snapshot did not hold.
        keys_change: when other secret keys begin to hash, microseconds; None where none will.
    """

    live: Live
    journal: Journal
    folded: int
    keys_change: int | None


def open_all(parts: Parts, files: StateFiles, clock: Clock) -> Opened:
    """Open the journal and bring a new store to where it ends; a shared store is where it is.

    Raises:
        SlidrError: journal, snapshot, bundle or the shared store cannot be used.
    """
    journal = Journal(parts.journal_path, durability=parts.settings.service.durability)
    live: Live | None = None
    try:
        horizon = max(compile_catalogue(bundle.catalogue).horizon for bundle in parts.bundles)
        now = clock.now()
        keys_change = parts.ring.changes(now, horizon) if parts.ring else None
        pseudonymiser, folded = parts.pseudonymiser, 0
        if parts.settings.store.redis:
            live = open_live(parts, pseudonymiser, lambda layout: _shared(parts, layout, pseudonymiser))
            _refuse_given_twice(parts, journal)
        else:
            files.adopt_seed(journal)
            files.keep(now)
            pseudonymiser = files.hashing(now, horizon) or pseudonymiser
            live = open_live(parts, pseudonymiser, lambda layout: _embedded(parts, layout, pseudonymiser))
        for context in live.contexts:
            journal.declare(context)
        if isinstance(live.store, EmbeddedStore):
            folded = files.recover(live.store, journal, pseudonymiser)
    except BaseException:
        if live is not None and live.shared is not None:
            live.shared.close()
        journal.close()
        raise
    return Opened(live, journal, folded, keys_change)


def check_shared(parts: Parts, clock: Clock | None = None) -> None:
    """Make sure of the store that processes share, where they do, before any of them begins; log where it has no state.

    Raises:
        StoreError: a server cannot be used, or its state is of other partitions or of another secret key.
    """
    if not parts.settings.store.redis:
        return
    shared = _shared(parts, union_layout(parts.bundles, parts.rules), parts.pseudonymiser)
    try:
        if not shared.settle((clock or SystemClock()).now()):
            _log.error(
                "redis holds no whole state: every click is unmeasurable (state_cold) until `slidr seed` has run"
            )
    finally:
        shared.close()


def open_live(parts: Parts, pseudonymiser: Pseudonymiser, open_store: Callable[[Layout], BlockwiseStore]) -> Live:
    """Return what decides with the bundles of the parts, over the store that is opened for them."""
    opened: list[BlockwiseStore] = []

    def opening(layout: Layout) -> BlockwiseStore:
        opened.append(open_store(layout))
        return opened[0]

    found = deciders(parts.bundles, opening, pseudonymiser, parts.rules, device=parts.settings.service.device)
    deciding = (parts.bundle,) if parts.challenger is None else (parts.bundle, parts.challenger)
    return live_of([next(one for one in found if one.bundle is bundle) for bundle in deciding], opened[0])


def fits(parts: Parts, live: Live) -> bool:
    """Return whether the store of what decides is that of the bundles of the parts too."""
    return union_layout(parts.bundles, parts.rules).catalogue == live.store.layout.catalogue


def reopen(parts: Parts, live: Live, files: StateFiles, clock: Clock) -> Live:
    """Return what decides with the bundles of the parts: over the same store, or over one of its own.

    A store of this process begins with the snapshot and what was journalled since; `close_in` then brings it to where
    the other one stands.

    Raises:
        SlidrError: the bundles cannot be used together, the state cannot be read, or the champion's is cold.
    """
    pseudonymiser, held = live.champion.pseudonymiser, live.store
    if fits(parts, live):
        reopened = open_live(parts, pseudonymiser, lambda _layout: held)
        _refuse_cold(parts, live, held, clock)
    elif live.shared is not None:
        # Before anything is agreed on: a block that this process leaves out is cold to all.
        _refuse_cold(parts, live, held, clock)
        layout, added = union_layout(parts.bundles, parts.rules), {block.key for block in held.layout.blocks}
        joining = [block.key for block in layout.blocks if block.key not in added]
        shared = _shared(parts, layout, pseudonymiser, joining)
        try:
            reopened = open_live(parts, pseudonymiser, lambda _layout: shared)
            shared.settle(clock.now())
        except BaseException:
            shared.close()
            raise
    else:
        if pseudonymiser.beside is not None:
            raise ServiceError("another catalogue is not taken up while secret keys rotate; it is, once they have")
        store = _embedded(parts, union_layout(parts.bundles, parts.rules), pseudonymiser)
        reopened = open_live(parts, pseudonymiser, lambda _layout: store)
        with Journal(parts.journal_path, write=False) as journal:
            files.recover(store, journal, pseudonymiser)
        _refuse_cold(parts, live, store, clock)
    return reopened


def _refuse_cold(parts: Parts, live: Live, store: BlockwiseStore, clock: Clock) -> None:
    """Refuse another champion whose state in a store is younger than its longest window, unless that is wanted.

    Raises:
        ServiceError: it is.
    """
    if parts.cold or parts.bundle.id == live.champion.bundle.id:
        return
    now = live.store.newest if isinstance(live.store, EmbeddedStore) else clock.now()
    cold = store.cold_blocks(compile_catalogue(parts.bundle.catalogue), now)
    if cold:
        names = ", ".join("+".join(block.entity) for block in cold)
        raise ServiceError(
            f"the state of {names} is younger than its longest window, so bundle {parts.bundle.id} could not measure"
            " clicks: make it the challenger until the state is as old, or promote it with --cold"
        )


def close_in(parts: Parts, store: EmbeddedStore, batcher: Batcher) -> None:
    """Fold what is journalled meanwhile into a store, until few entries are left.

    Raises:
        ServiceError: clicks come faster than they are folded.
    """
    secret = batcher.live.champion.pseudonymiser.fingerprint
    for _ in range(_LAPS):
        if batcher.journal.last_sequence - store.sequence <= _FEW:
            return
        with Journal(parts.journal_path, write=False) as journal:
            catch_up(store, journal, parts.snapshot_path, fingerprint=secret)
    raise ServiceError("clicks come faster than the state of another catalogue can follow; it is tried again later")


def _embedded(parts: Parts, layout: Layout, pseudonymiser: Pseudonymiser) -> EmbeddedStore:
    settings = parts.settings
    slow = _slow(parts, layout, pseudonymiser)
    most = settings.features.most_entities
    return EmbeddedStore(layout, settings.service.entities, most=most, slow=slow, huge=False)


def _shared(parts: Parts, layout: Layout, pseudonymiser: Pseudonymiser, joining: Collection[str] = ()) -> SharedStore:
    # By name, since who serves from memory needs no client of Redis.
    module = importlib.import_module("slidr.features.redis.store")
    store = parts.settings.store
    opened: SharedStore = module.RedisStore(
        layout,
        store.redis,
        partitions=store.partitions,
        timeout=store.timeout_ms / 1000,
        secret=pseudonymiser.fingerprint,
        slow=_slow(parts, layout, pseudonymiser),
        joining=joining,
    )
    opened.warm_up()
    return opened


def _refuse_given_twice(parts: Parts, journal: Journal) -> None:
    """Refuse a shared store that would give clicks sequences which the journal holds of others.

    Raises:
        StoreError: it would, or it cannot be asked.
    """
    store, last = parts.settings.store, journal.last_sequence
    module = importlib.import_module("slidr.features.redis.seeding")
    following: int | None = module.sequence_of(
        store.redis, partitions=store.partitions, timeout=store.timeout_ms / 1000
    )
    if following is not None and following <= last:
        raise StoreError(
            f"redis gives the next click sequence {following:,}, and journal {parts.journal_path} holds clicks up to"
            f" {last:,}: redis was seeded without this journal; run `slidr seed` with the journals of all processes, or"
            " move this one away"
        )


def _slow(parts: Parts, layout: Layout, pseudonymiser: Pseudonymiser) -> SlowTables | None:
    age = duration(parts.settings.features.slow_age)
    return SlowTables(parts.root / parts.settings.storage.slow, age, pseudonymiser.fingerprint) if layout.slow else None
