"""Traffic of the benchmark: users, sessions and addresses as skewed as traffic is, each click once and now."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, cycle

import msgspec
import numpy as np

from slidr.clock import SECOND, SystemClock
from slidr.load.clicks import Logged, Plan, requests
from slidr.load.sending import Request

LOG = 200_000
"""Clicks after which the same users, sessions and addresses come again."""
_RANKS = 1_000_000
_runs = count()


class Traffic:
    """A log that goes round, with new click_ids each time.

    Attributes:
        entities: the users, sessions and addresses of the log.
    """

    def __init__(self, clicks: int = LOG) -> None:
        generator = np.random.default_rng(2)
        people, hosts = generator.zipf(1.2, (2, clicks)) % _RANKS
        devices = generator.integers(0, 3, clicks)
        users = [f"user-{person}" for person in people.tolist()]
        sessions = [f"session-{person}-{place % 3}" for place, person in enumerate(people.tolist())]
        ips = [f"10.{host >> 16 & 255}.{host >> 8 & 255}.{host & 255}" for host in hosts.tolist()]
        self.entities = {"user": set(users), "session": set(sessions), "ip": set(ips)}
        self._log = [
            Logged(
                "",
                0,
                msgspec.json.encode(
                    {
                        "user": users[place],
                        "session": sessions[place],
                        "ip": ips[place],
                        "user_agent": f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/1{place % 20}.0.0.0",
                        "device": ("desktop", "mobile", "app")[devices[place]],
                        "logged_in": bool(place % 2),
                        "campaign": f"campaign-{place % 50}",
                        "advertiser": f"advertiser-{place % 9}",
                        "cost": 250_000,
                        "currency": "EUR",
                    }
                )[1:-1],
            )
            for place in range(clicks)
        ]

    def requests(
        self, batch: int, clicks: int | None, rate: float | None = None, *, since: float = 0.0, speed: float = 1.0
    ) -> Iterator[Request]:
        """Return requests with ids that no other request has.

        Args:
            batch: clicks a request.
            clicks: in all; None never ends.
            rate: clicks a second at which they are due; None as soon as an answer came.
            since: how many seconds before now the first click was made.
            speed: seconds that pass between clicks for each that passes between their sending.
        """
        now = SystemClock().now()
        plan = Plan(batch=batch, rate=rate, now=speed == 1, prefix=f"run{next(_runs)}", most=clicks)
        first, step = now - int(since * SECOND), 0 if rate is None else speed * SECOND / rate
        return requests(
            lambda: self._timed(first, step) if step and speed != 1 else iter(self._log), plan, SystemClock()
        )

    def _timed(self, first: int, step: float) -> Iterator[Logged]:
        """Yield the log over and over, a click every `step` microseconds."""
        for number, click in enumerate(cycle(self._log)):
            yield click._replace(time=first + int(number * step))
