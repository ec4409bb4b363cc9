"""The webhook: alarms are posted to an address as JSON, by a thread of its own, so that nothing waits for it."""

from __future__ import annotations

import logging
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

import msgspec

from slidr.errors import SettingsError
from slidr.monitor.alarms import Alarm

_WAITING = 200
_TIMEOUT = 5.0
_PAUSES = (1.0, 5.0, 25.0)
"""Seconds between two attempts; then the alarm is given up, and sent again when the monitor starts anew."""
_log = logging.getLogger("slidr.monitor")


class Webhook:
    """Posts alarms, one after another.

    Args:
        address: http:// or https://; empty for none.
        pauses: seconds between two attempts.

    Attributes:
        failed: alarms that were given up.

    Raises:
        SettingsError: the address is neither.
    """

    def __init__(self, address: str, pauses: tuple[float, ...] = _PAUSES) -> None:
        if address and (urlsplit(address).scheme not in {"http", "https"} or not urlsplit(address).netloc):
            raise SettingsError("monitor.webhook is no address; it begins with https:// or http://, then the server")
        self._address, self._pauses = address, pauses
        self._queue: queue.Queue[tuple[Alarm, Callable[[], None]] | None] = queue.Queue(_WAITING)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.failed = 0

    def send(self, alarm: Alarm, done: Callable[[], None]) -> None:
        """Have an alarm posted, and `done` called once that succeeded; where too many wait, it is given up."""
        if not self._address:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait((alarm, done))
        except queue.Full:
            self.failed += 1
            _log.warning("the webhook takes no alarms: %s is given up", alarm.key)

    def close(self, seconds: float) -> None:
        """Wait for what is on its way, at most for so long."""
        if self._thread is None:
            return
        with suppress(queue.Full):
            self._queue.put(None, timeout=seconds)
        self._thread.join(seconds)
        self._ended.set()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            alarm, done = item
            if self._posted(alarm):
                done()
            else:
                self.failed += 1

    def _posted(self, alarm: Alarm) -> bool:
        body = msgspec.json.encode(alarm)
        headers = {"content-type": "application/json", "user-agent": "slidr"}
        fault = ""
        for pause in (*self._pauses, None):
            request = urllib.request.Request(self._address, body, headers)  # noqa: S310 http or https, see above
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT):  # noqa: S310
                    return True
            except (OSError, ValueError) as error:
                # The address may hold a secret, and so may the message of an error: its kind must do.
                fault = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else type(error).__name__
            if pause is None or self._ended.wait(pause):
                break
        _log.warning("the webhook did not take alarm %s: %s", alarm.key, fault)
        return False
