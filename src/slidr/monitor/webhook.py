"""The webhook: alarms are posted to an address as JSON, by a thread of its own, so that nothing waits for it."""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress

import msgspec

from slidr.monitor.alarms import Alarm
from slidr.posting import Receiver

_WAITING = 200
_log = logging.getLogger("slidr.monitor")


class Webhook:
    """Posts alarms, one after another; one that is not taken is sent again when the monitor starts anew.

    Args:
        receiver: takes them; None for none.

    Attributes:
        failed: alarms that were given up.
    """

    def __init__(self, receiver: Receiver | None) -> None:
        self._receiver = receiver
        self._queue: queue.Queue[tuple[Alarm, Callable[[], None]] | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self.failed = 0

    def send(self, alarm: Alarm, done: Callable[[], None]) -> None:
        """Have an alarm posted, and `done` called once that succeeded; where too many wait, it is given up."""
        if self._receiver is None:
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
        if self._receiver is not None:
            self._receiver.end()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            alarm, done = item
            if self._posted(alarm):
                done()
            else:
                self.failed += 1

    def _posted(self, alarm: Alarm) -> bool:
        body = msgspec.json.encode(alarm)
        fault = self._receiver.post(hashlib.sha256(body).hexdigest()[:32], body) if self._receiver else ""
        if fault:
            _log.warning("the webhook did not take alarm %s: %s", alarm.key, fault)
        return not fault
