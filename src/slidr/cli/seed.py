"""Commands of the shared store: seed, fold. They need no training or lake packages."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import click

from slidr.cli.options import Outcome, journals_option, printed, settings_option
from slidr.clock import HOUR, SystemClock
from slidr.contest import read_champion
from slidr.errors import JournalError, ServiceError, SettingsError
from slidr.features.keys import read_secrets
from slidr.features.layout import compile_catalogue
from slidr.features.redis.seeding import seed as seed_redis
from slidr.features.redis.seeding import sequence_of
from slidr.features.store import TERM, EmbeddedStore
from slidr.journal import Journal
from slidr.journal.told import tell_held, told_held
from slidr.journals import Journals, journals_at
from slidr.locking import only_run
from slidr.service.recovery import Recovered, recover_shared
from slidr.service.state_files import StateFiles
from slidr.settings import Settings


@click.command(short_help="Make the state of backfill and journals that of Redis.")
@settings_option
@journals_option(" and its workers'; repeat it for all that share Redis")
@click.option("--incomplete", is_flag=True, help="Seed although the journals lack clicks that were folded.")
@click.option("--empty", is_flag=True, help="Begin from nothing, as a first deployment without a log does.")
@printed
def seed(settings: Settings, *, journals: tuple[Path, ...], incomplete: bool, empty: bool) -> Outcome:
    """Make the state behind the last backfill, with the journals' clicks folded in, that of the Redis of `store.redis`.

    Run it before the first click, and after Redis has lost its data: until then every click that reads it is
    unmeasurable. What Redis held before is not read again. The journals are merged in the order of the fold. Where the
    merged whole lacks a click nothing is written, unless with --incomplete; with several partitions a repeat leaves a
    gap too, so gaps are told, and only one in front of the first click is refused.
    """
    if empty and journals:
        raise SettingsError("--empty begins from nothing, and --journal names clicks to begin with; leave one out")
    addresses, partitions = redis_addresses(settings), settings.store.partitions
    bundle = read_champion(settings.storage.registry, Path(settings.storage.bundles))
    layout = compile_catalogue(bundle.catalogue)
    secret = read_secrets(Path(settings.storage.key_file)).at(SystemClock().now(), layout.horizon).fingerprint
    store = EmbeddedStore(layout, most=settings.features.most_entities)
    # Asked before the journals are read: what was given out by now stands in them, or is missing.
    given = sequence_of(addresses, partitions=partitions)
    found = Recovered(0, 0, 0, 0, 0, ()) if empty else _restore(store, settings, secret, journals)
    sequence = store.sequence
    if not empty:
        found = _with_end(found, sequence, given)
    if not incomplete:
        _refuse_missing(found, partitions, "seed")
    last, shared = _last(settings, journals)
    if given is not None or found.folded or shared or last >= sequence:
        # A process may hold sequences of which neither Redis nor these journals know; none is given out again.
        store.recent.skip((max(sequence, given or 0, last) // TERM + 1) * TERM, store.newest)
    written = seed_redis(addresses, store, partitions=partitions, secret=secret)
    return Outcome(
        "\n".join([_sentence(written, sequence, found), *_notes(found, partitions)]),
        {"entities": written, **_document(found, sequence)},
    )


@click.command(short_help="Make a state of what journals hold that share Redis, so that they may be shortened.")
@settings_option
@journals_option(" and its workers'; repeat it for all that share Redis")
@click.option("--incomplete", is_flag=True, help="Fold although the journals lack clicks that were folded.")
@printed
def fold(settings: Settings, *, journals: tuple[Path, ...], incomplete: bool) -> Outcome:
    """Fold what all journals of a shared store hold into the state of `storage.state`, and tell them how far it goes.

    `slidr seed` begins there when Redis has lost its data, so that the entries before, once they are in the lake and
    older than lake.journal_keep, may leave the journals: the services see to that, and `slidr ship` for those that are
    stopped. Run it every day, after `slidr ship`; the services may run meanwhile. Decisions of the last hour are left
    for the next time, since some of them may still be on their way into a journal. What lies beside a journal that was
    copied from another machine, JOURNAL.held, has to be brought back to it.
    """
    redis_addresses(settings)
    state, partitions = Path(settings.storage.state), settings.store.partitions
    paths = _paths(settings, journals)
    if not paths:
        raise SettingsError(
            f"there is no journal at {settings.storage.journal}; name those that share Redis: --journal"
        )
    layout = compile_catalogue(read_champion(settings.storage.registry, Path(settings.storage.bundles)).catalogue)
    now = SystemClock().now()
    pseudonymiser = read_secrets(Path(settings.storage.key_file)).at(now, layout.horizon)
    store = EmbeddedStore(layout, most=settings.features.most_entities)
    with only_run(state.with_name(f"{state.name}.lock")):
        found = _restore(store, settings, pseudonymiser.fingerprint, paths, before=now - HOUR)
        if not incomplete:
            _refuse_missing(found, partitions, "fold")
        files = StateFiles(state, Path(settings.storage.seed), None, settings.service.state_days)
        files.prepare(store, pseudonymiser)
        files.adopt(os.getpid())
        files.keep(now)
        for path in paths:
            with _opened(path) as journal:
                tell_held(path, journal.id, store.sequence)
    return Outcome(
        "\n".join(
            [
                f"{state} holds the state as of click {store.sequence:,}, {found.folded:,} clicks more than before",
                *_notes(found, partitions),
            ]
        ),
        {"state": str(state), **_document(found, store.sequence)},
    )


def _last(settings: Settings, named: tuple[Path, ...]) -> tuple[int, bool]:
    """Return the greatest sequence that a journal holds, below zero where none does, and whether they were folded."""
    last, folded = -1, False
    for path in _paths(settings, named):
        with _opened(path) as journal:
            last = max(last, journal.last_sequence)
            folded |= told_held(path, journal.id) > 0
    return last, folded


def redis_addresses(settings: Settings) -> tuple[str, ...]:
    """Return the addresses of the Redis servers: of SLIDR_REDIS, separated by blanks, or of the settings.

    Raises:
        SettingsError: there are none.
    """
    addresses = tuple(os.environ.get("SLIDR_REDIS", "").split()) or settings.store.redis
    if not addresses:
        raise SettingsError("store.redis names no server; set it, such as ['redis://127.0.0.1:6379'], or SLIDR_REDIS")
    return addresses


def _restore(
    store: EmbeddedStore, settings: Settings, fingerprint: str, named: tuple[Path, ...], before: int | None = None
) -> Recovered:
    """Bring a store to where the journals end, from the service's own snapshot or the last backfill's."""
    storage = settings.storage
    own, seeded = Path(storage.state), Path(storage.seed)
    start = own if own.exists() else seeded
    journals = _paths(settings, named)
    if not start.exists() and not journals:
        raise SettingsError(
            f"neither {seeded} nor {storage.journal} exists; run `slidr backfill`, or begin with --empty"
        )
    if not journals:
        store.restore(start, fingerprint=fingerprint)
        return Recovered(store.sequence, 0, 0, 0, 0, ())
    with ExitStack() as stack:
        opened = Journals([stack.enter_context(_opened(path)) for path in journals])
        return recover_shared(store, opened, start, fingerprint=fingerprint, seed=seeded, before=before)


def _paths(settings: Settings, named: tuple[Path, ...]) -> tuple[Path, ...]:
    return named or journals_at(Path(settings.storage.journal))


def _opened(path: Path) -> Journal:
    if not path.exists():
        raise JournalError(f"there is no journal {path}; without its clicks the state would be wrong: bring it back")
    return Journal(path, write=False)


def _with_end(found: Recovered, sequence: int, given: int | None) -> Recovered:
    """Return what is missing, with what Redis gave out behind the last click of the journals."""
    if given is None or given <= sequence:
        return found
    begun = max(sequence, given // TERM * TERM)
    ranges = (*found.ranges, (begun, given - 1)) if given > begun else found.ranges
    return found._replace(
        missing=found.missing + given - begun, ranges=ranges, terms=found.terms + (given // TERM > sequence // TERM)
    )


def _refuse_missing(found: Recovered, partitions: int, verb: str) -> None:
    """Refuse to go on without clicks that were folded.

    Raises:
        ServiceError: sequences are missing that cannot be those of repeats.
    """
    if found.missing and (partitions == 1 or (found.ranges and found.ranges[0][0] == found.held)):
        raise ServiceError(
            f"no journal holds {_ranges(found)}, and rows would be wrong without them: name the journals of all"
            f" processes with --journal, bring back what was cut off, or {verb} without them with --incomplete"
        )


def _document(found: Recovered, sequence: int) -> dict[str, int]:
    numbers = {name: getattr(found, name) for name in ("folded", "missing", "twice", "terms")}
    return {"sequence": sequence, **numbers}


def _sentence(written: int, sequence: int, found: Recovered) -> str:
    return f"{written:,} entities as of click {sequence:,}, {found.folded:,} clicks of them from the journals"


def _notes(found: Recovered, partitions: int) -> list[str]:
    notes = []
    if found.missing:
        words = " (repeats take sequences too where there are several partitions)" if partitions > 1 else ""
        notes.append(f"warning: no journal holds {_ranges(found)}{words}")
    if found.terms:
        times = "once" if found.terms == 1 else f"{found.terms:,} times"
        notes.append(
            f"warning: the sequences began a new term {times}, as after a failover or a seeding; clicks"
            " of just before that no journal holds would not show as missing"
        )
    if found.twice:
        notes.append(f"{found.twice:,} clicks journalled twice, folded once")
    return notes


def _ranges(found: Recovered) -> str:
    named = ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in found.ranges)
    rest = found.missing - sum(last - first + 1 for first, last in found.ranges)
    return f"{found.missing:,} sequences: {named}" + (f", and {rest:,} more" if rest else "")
