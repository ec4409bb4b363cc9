"""List following: the service takes over list files whose bytes have changed, without a restart."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from slidr.errors import SettingsError, SlidrError
from slidr.registry import record_lists
from slidr.rules import ListRule, prepare_rules
from slidr.service.following import look_often, registry_of
from slidr.service.lifecycle import Service
from slidr.service.opening import Parts
from slidr.service.queue import UnavailableError
from slidr.service.turns import short_turns

_log = logging.getLogger("slidr.service")


class _Stamp(NamedTuple):
    """What changes whenever a file does."""

    changed: int
    status_changed: int
    size: int
    number: int


_Stamps = dict[Path, _Stamp | None]


class ListFollower:
    """Looks at the files of the list rules for as long as a service runs.

    A file is read once it was the same at two looks, so that one which is being written is left alone. Where it can be
    used it takes the place of the one before; where it cannot, that one stays, the log says why, and the metric
    `slidr_list_refused` is 1 until it can. What was taken over goes into the audit log of the registry that the service
    follows, once for all processes that read the same lists.

    Args:
        service: takes over what is found; its rules are those of the files as they were read at the start.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        lists = [listed for rule in service.parts.rules for listed in rule.lists]
        # The others come with slidr, and change with it.
        self._files = tuple(dict.fromkeys(Path(one.name) for one in lists if Path(one.name).is_file()))
        read = {Path(one.name): one.updated for one in lists}
        self._seen = _stamps(self._files)
        # A file that was changed between its reading and now is read again.
        same = all(stamp is not None and stamp.changed // 1000 == read[path] for path, stamp in self._seen.items())
        self._tried: _Stamps | None = self._seen if same else None

    async def run(self, stopping: asyncio.Event) -> None:
        """Look every `service.follow_seconds`, until the event is set; at once back where no list is a file."""
        if self._files:
            await look_often(self._service, stopping, self._look)

    async def _look(self) -> None:
        service, loop = self._service, asyncio.get_running_loop()
        # On another thread: the files may lie on a disk that is slow to answer.
        found = await loop.run_in_executor(None, _stamps, self._files)
        settled, self._seen = found == self._seen, found
        if found == self._tried or not settled:
            return
        self._tried = found
        try:
            with short_turns():
                rules = await loop.run_in_executor(None, prepare_rules, service.parts.settings.rules)
            if await loop.run_in_executor(None, _stamps, self._files) != found:
                # Written to meanwhile: what was read may be half of the old file and half of the new.
                self._tried = None
                return
            changed = await service.relist(rules)
        except UnavailableError:
            self._tried = None
        except Exception as fault:  # noqa: BLE001 whatever it was, the lists before stay, and the looking goes on
            service.metrics.list_refused.set(1)
            told = fault if isinstance(fault, SettingsError) else f"the lists cannot be used: {fault!r}"
            _log.error("the lists stay as they were: %s", told)
        else:
            service.metrics.list_refused.set(0)
            if changed:
                _log.info("lists taken over: %s", ", ".join(changed))
                if service.parts.follow:
                    await loop.run_in_executor(None, _record, service.parts, rules, service.clock.now())


def _record(parts: Parts, rules: Sequence[ListRule], now: int) -> None:
    """Write into the audit log what lists are read now; who may only read the registry goes on all the same."""
    try:
        record_lists(
            registry_of(parts).audit,
            rules,
            subject="service",
            at=now,
            who=f"service on {socket.gethostname()}",
            why="list files changed while the service ran",
        )
    except (SlidrError, OSError) as fault:
        _log.warning("the lists that were taken over are not in the audit log: %s", fault)


def _stamps(files: Iterable[Path]) -> _Stamps:
    return {path: _stamp(path) for path in files}


def _stamp(path: Path) -> _Stamp | None:
    """Return the stamp of a file; None where it cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return _Stamp(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
