"""`slidr seed` against a real server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Run
from tests.learned import Learned
from tests.redis_servers import Server

from slidr.features.backfill import encode_table, fold_table
from slidr.features.layout import compile_catalogue
from slidr.features.redis.store import RedisStore
from slidr.features.store import EmbeddedStore
from slidr.lake.delta import Lake
from slidr.tables import CLICKS


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """A server of this test's own."""
    return Server(tmp_path / "redis")


def test_the_state_of_backfill_goes_on_in_redis(
    slidr: Run, project: Path, learned: Learned, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `slidr seed` clicks read in Redis what they read behind the backfill, bit for bit."""
    try:
        monkeypatch.setenv("SLIDR_REDIS", server.url)
        said = slidr("seed", "--settings", project / "slidr.toml", "--json").document
        layout = compile_catalogue(learned.bundle.catalogue)
        log = Lake(str(project / "lake")).read(CLICKS)
        assert said["sequence"] == log.num_rows
        assert said["entities"] > 1000
        pseudonymiser = learned.run.pseudonymiser
        embedded = EmbeddedStore(layout)
        for _ in fold_table(log, layout, pseudonymiser, embedded):
            pass
        # The last clicks once more, as other clicks in the hour after.
        batch = encode_table(log.slice(log.num_rows - 500), layout, pseudonymiser)
        batch = type(batch)(batch.ids + np.uint64(1), batch.times + 3_000_000_000, batch.logged_in, batch.keys)
        shared = RedisStore(layout, [server.url], timeout=5)
        found, expected = shared.fold(batch), embedded.fold(batch)
        assert not found.soundness.any(), shared.fault
        assert found.rows.tobytes() == expected.rows.tobytes()
        assert found.sequences.tolist() == expected.sequences.tolist()
        shared.close()
    finally:
        server.kill()


def test_what_seed_cannot_do_is_said(slidr: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address, and with one where nobody answers, the reason and the way out are said in one line."""
    monkeypatch.delenv("SLIDR_REDIS", raising=False)
    said = slidr("seed", "--settings", project / "slidr.toml")
    assert said.code == 1
    assert said.err.startswith("slidr: store.redis names no server; set it")
    monkeypatch.setenv("SLIDR_REDIS", "redis://127.0.0.1:1")
    said = slidr("seed", "--settings", project / "slidr.toml")
    assert said.code == 1
    assert "redis at 127.0.0.1:1 cannot be reached" in said.err
    assert said.err.count("\n") == 1
