"""Servers that the tests of the Redis store share, empty at the beginning of each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.redis_servers import Proxy, Server, start_cluster

from slidr.features.redis import beginnings


@pytest.fixture(autouse=True)
def _every_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are remembered however short they are: those of tests are short."""
    monkeypatch.setattr(beginnings, "_LEAST", 0)


@pytest.fixture(scope="session")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    servers = start_cluster(tmp_path_factory.mktemp("cluster"))
    yield servers
    for server in servers:
        server.kill()


@pytest.fixture
def cluster(_cluster: list[Server]) -> list[Server]:
    """A cluster of three, empty."""
    for server in _cluster:
        server.flush()
    return _cluster


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """What stands between the stores of a test and the server."""
    proxy = Proxy(server)
    yield proxy
    proxy.close()
