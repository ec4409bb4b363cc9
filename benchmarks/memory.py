"""Memory of Redis: bytes that an entity, a click_id and a remembered decision take; `python -m benchmarks.memory`.

Clicks of the simulator's shape are folded through a real server in batches of 64: each of its own user, session and
address (every entity has one click), then so many more of the same entities. Prints one JSON object on its last line.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.machine import pin
from tests.redis_servers import Server

from slidr.features.catalogue import default_catalogue
from slidr.features.clicks import Click, encode_clicks
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.redis.seeding import seed
from slidr.features.redis.store import RedisStore
from slidr.features.store import EmbeddedStore
from slidr.settings import FeaturesSettings

_PEOPLE = 30_000
_AGAIN = (1, 5, 20)
_BATCH = 64
_DECISION = 170
"""Bytes of a remembered decision of a click whose click_id is a UUID; with one of 7 characters it has 140."""
_START = datetime(2026, 3, 2, tzinfo=UTC)


def main() -> None:
    """Measure, and print."""
    pin()
    layout, pseudonymiser = compile_catalogue(default_catalogue(FeaturesSettings())), Pseudonymiser(bytes(16))
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            seed([server.url], EmbeddedStore(layout))
            store = RedisStore(layout, [server.url], timeout=5.0)
            before, found, number = _used(server), dict[str, float](), 0
            for turn in range(max(_AGAIN)):
                for first in range(0, _PEOPLE, _BATCH):
                    clicks = [
                        Click(
                            click_id=f"c{number + place}",
                            time=_START + timedelta(minutes=30 * turn, milliseconds=place),
                            user=f"u{first + place}",
                            session=f"s{first + place}",
                            ip=f"10.{(first + place) >> 16 & 255}.{(first + place) >> 8 & 255}.{first + place & 255}",
                            campaign="c",
                        )
                        for place in range(_BATCH)
                    ]
                    number += _BATCH
                    store.fold(encode_clicks(clicks, layout, pseudonymiser))
                if turn + 1 in _AGAIN:
                    names = server.names()
                    claims = [name for name in names if b":click:" in name]
                    entities = len(names) - len(claims)
                    _measure(server, names, claims, found, turn + 1)
                    sys.stdout.write(
                        f"{turn + 1} clicks an entity: {entities:,} entities, {_used(server) - before:,} B\n"
                    )
            used = _used(server)
            for first in range(0, _PEOPLE, _BATCH):
                store.decided.remember({first + place: bytes(_DECISION) for place in range(_BATCH)})
                store.decided.flush()
            found["decision_bytes"] = round((_used(server) - used) / (-(-_PEOPLE // _BATCH) * _BATCH), 1)
            store.close()
        finally:
            server.kill()
    sys.stdout.write(json.dumps(found) + "\n")


def _used(server: Server) -> int:
    return int(server.ask("INFO", "memory")["used_memory"])


def _measure(server: Server, names: list[bytes], claims: list[bytes], found: dict[str, float], clicks: int) -> None:
    """Note what one entity and one claim take, by the server's own word on a sample."""
    for what, keys in (("claim", claims), (f"entity_{clicks}_clicks", sorted(set(names) - set(claims)))):
        sample = keys[:: max(1, len(keys) // 2000)]
        found[f"{what}_bytes"] = round(sum(server.ask("MEMORY", "USAGE", key) for key in sample) / len(sample), 1)


if __name__ == "__main__":
    main()
