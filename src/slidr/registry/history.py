"""The champions' history: what its entries say of who decides, who is stable, and what a rollback goes to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from slidr.clock import HOUR
from slidr.errors import RegistryError

Kind: TypeAlias = Literal["promote", "challenge", "rollback", "alarm", "clear"]
CROWNING = frozenset({"promote", "rollback"})
"""Kinds of entries that name a champion."""


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the champions' history.

    Attributes:
        number: its place, from 1.
        kind: `promote` makes the bundle champion, `rollback` too, and the one before never again by a rollback;
            `challenge` makes it challenger; `alarm` keeps it from being stable, until `clear`.
        bundle: the bundle it is about; an empty challenger is none.
        at: when, microseconds UTC.
        who: who did it.
        why: the reason given.
        cold: whether the champion may decide while the state of its features is younger than their longest window.
        instead: the champion that a rollback ends; empty in other entries.
    """

    number: int
    kind: Kind
    bundle: str
    at: int
    who: str
    why: str
    cold: bool = False
    instead: str = ""


class Named(NamedTuple):
    """What the history names now.

    Attributes:
        champion: the bundle that decides.
        challenger: the bundle that decides in its shadow; None where there is none.
        cold: see `HistoryEntry`.
        fallback: the bundle whose state is kept warm for a rollback: the newest stable one, or the champion before
            where none is stable; None where there is neither.
    """

    champion: str
    challenger: str | None
    cold: bool
    fallback: str | None = None


def champion_of(history: Sequence[HistoryEntry]) -> HistoryEntry | None:
    """Return the entry that named the champion of now, or None where nothing was ever promoted."""
    return next((entry for entry in reversed(history) if entry.kind in CROWNING), None)


def named_by(history: Sequence[HistoryEntry], stable_after: int) -> Named | None:
    """Return what the history names, or None where nothing was ever promoted; a champion is no challenger."""
    champion = champion_of(history)
    if champion is None:
        return None
    rival = next((entry.bundle for entry in reversed(history) if entry.kind == "challenge"), "")
    return Named(
        champion.bundle,
        rival if rival not in {"", champion.bundle} else None,
        champion.cold,
        fallback_of(history, stable_after),
    )


def rolled_back(history: Iterable[HistoryEntry]) -> dict[str, HistoryEntry]:
    """Return the bundles that were rolled back, with the entry that did it last."""
    return {entry.instead: entry for entry in history if entry.instead}


def stable_of(history: Sequence[HistoryEntry], now: int, stable_after: int) -> tuple[str, ...]:
    """Return the stable bundles, the one that was champion last first.

    A bundle is stable once it has been champion for a time without an alarm. One with an alarm is not, until it is
    cleared and has been champion for that time again; one that was rolled back never is.

    Args:
        history: oldest first.
        now: microseconds UTC.
        stable_after: that time, microseconds.
    """
    stable: set[str] = set()
    alarmed: set[str] = set()
    last: dict[str, int] = {}  # number of the entry by which it became champion last
    champion, since = "", 0

    def settle(until: int) -> None:
        if champion and champion not in alarmed and until - since >= stable_after:
            stable.add(champion)

    for entry in history:
        if entry.kind in CROWNING:
            settle(entry.at)
            if entry.bundle != champion:
                champion, since = entry.bundle, entry.at
            last[entry.bundle] = entry.number
        elif entry.kind == "alarm":
            alarmed.add(entry.bundle)
            stable.discard(entry.bundle)
        elif entry.kind == "clear" and entry.bundle in alarmed:
            alarmed.discard(entry.bundle)
            if entry.bundle == champion:
                since = entry.at
    settle(now)
    stable -= rolled_back(history).keys()
    return tuple(sorted(stable, key=lambda bundle: -last[bundle]))


def target_of(history: Sequence[HistoryEntry], now: int, stable_after: int) -> str | None:
    """Return the newest stable bundle that is not champion, to which a rollback goes; None where there is none."""
    champion = champion_of(history)
    rest = (bundle for bundle in stable_of(history, now, stable_after) if champion and bundle != champion.bundle)
    return next(rest, None)


def fallback_of(history: Sequence[HistoryEntry], stable_after: int) -> str | None:
    """Return the bundle whose state is kept warm for a rollback; see `Named`."""
    champion = champion_of(history)
    if champion is None:
        return None
    # Who is not champion any more grows no more stable: the time of now changes nothing.
    stable = target_of(history, champion.at, stable_after)
    if stable is not None:
        return stable
    never = {champion.bundle, *rolled_back(history)}
    before = (entry.bundle for entry in reversed(history) if entry.kind in CROWNING and entry.bundle not in never)
    return next(before, None)


def roles_of(history: Sequence[HistoryEntry], now: int, stable_after: int) -> dict[str, str]:
    """Return the role of every bundle that the history knows: see `Registry.roles`."""
    named = named_by(history, stable_after)
    roles = {entry.bundle: "former" for entry in history if entry.kind in CROWNING}
    roles |= dict.fromkeys(stable_of(history, now, stable_after), "stable")
    roles |= dict.fromkeys(rolled_back(history), "rolled back")
    if named is not None:
        roles |= {named.challenger: "challenger"} if named.challenger is not None else {}
        roles |= {named.champion: "champion"}
    return roles


def check_promotion(history: Sequence[HistoryEntry], bundle: str) -> None:
    """Refuse to promote a bundle that was rolled back.

    Raises:
        RegistryError: it was.
    """
    if (by := rolled_back(history).get(bundle)) is not None:
        raise RegistryError(
            f"bundle {bundle} was rolled back in entry {by.number} of the history by {by.who}: {by.why}; if that was a"
            " mistake, promote it with --again"
        )


def rollback_of(history: Sequence[HistoryEntry], entry: HistoryEntry, stable_after: int) -> HistoryEntry:
    """Return the entry of a rollback with its target; the one that stands, where somebody has just rolled back.

    Args:
        history: oldest first; somebody is champion.
        entry: names in `instead` the bundle that is found bad, and in `bundle` the target, empty for the newest stable.
        stable_after: see `stable_of`.

    Raises:
        RegistryError: another bundle is champion, or there is no such target.
    """
    champion, bad = champion_of(history), entry.instead
    if champion is None or champion.bundle != bad:
        if champion is not None and champion.instead == bad:
            return champion
        raise RegistryError(
            f"bundle {bad} is not champion, {champion.bundle if champion else 'none'} is: look at `slidr bundles` and"
            " say again what is to be rolled back"
        )
    if not entry.bundle:
        return msgspec.structs.replace(entry, bundle=_stable_target(history, entry.at, stable_after))
    _check_target(history, entry.bundle, bad)
    return entry


def _stable_target(history: Sequence[HistoryEntry], now: int, stable_after: int) -> str:
    target = target_of(history, now, stable_after)
    if target is not None:
        return target
    before = fallback_of(history, stable_after)
    remedy = f"`slidr rollback --to {before}` goes to the one before" if before else "`slidr promote` another bundle"
    raise RegistryError(
        f"no bundle is stable, so that there is none to roll back to: none but the champion was champion for"
        f" {stable_after / HOUR:g} h without an alarm (registry.stable_after) and was not rolled back; {remedy}"
    )


def _check_target(history: Sequence[HistoryEntry], target: str, champion: str) -> None:
    if target == champion:
        raise RegistryError(f"bundle {target} is the champion, which a rollback ends; name another one with --to")
    if (by := rolled_back(history).get(target)) is not None:
        raise RegistryError(
            f"bundle {target} was itself rolled back in entry {by.number} of the history: {by.why}; name another one"
            " with --to"
        )
    if all(entry.bundle != target for entry in history if entry.kind in CROWNING):
        raise RegistryError(f"bundle {target} never was champion, so that nothing is rolled back to it: promote it")
