"""What tests of several packages share: the real data, a Redis server, and one learned run of the whole flow."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

# Numba compiles a function again when its own file changes, and not when a file does whose kernels it has inlined: the
# tests must never run kernels of yesterday, so the sources name their cache.
KERNELS = sorted((Path(__file__).parents[1] / "src" / "slidr" / "features").rglob("*.py"))
_SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in KERNELS)).hexdigest()[:12]
os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).parents[1] / ".pytest_cache" / "numba" / _SOURCES)

# ruff: noqa: E402
import pytest
import torch
from hypothesis import settings
from tests.learned import Learned, learn
from tests.redis_servers import Server

# The first example may wait for a compiler; how long anything takes is no matter of tests.
settings.register_profile("slidr", deadline=None)
settings.load_profile("slidr")
# Tests run side by side: threads that wait for each other across processes would cost them most of their time.
torch.set_num_threads(1)
BESIDE = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def data() -> Path:
    """The folder of real logs; a test that needs it is skipped by name where it is absent."""
    folder = Path(os.environ.get("SLIDR_DATA") or BESIDE)
    if not folder.is_dir():
        pytest.skip(f"real data absent: {folder} is no folder; set SLIDR_DATA")
    return folder


@pytest.fixture(autouse=True)
def _no_key_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret key in the environment of who runs the tests must not reach them."""
    monkeypatch.delenv("SLIDR_KEY", raising=False)


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """A small simulated log through every stage; no test writes to it."""
    return learn(tmp_path_factory.mktemp("learned"))


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Makes a folder once, and gives it to the tests of all processes that run side by side; no test writes to it."""
    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, make: Callable[[Path], None]) -> Path:
        made = common / name
        with (common / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                part = common / f"{name}.part"
                make(part)
                part.rename(made)
        return made

    return folder


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def server(_server: Server) -> Server:
    """A server that is empty."""
    _server.flush()
    return _server
