"""slidr skew over a project: what it prints, what it refuses, and its exit status."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.cli.conftest import Run
from tests.cli.test_errors import assert_refused
from tests.learned import Learned

from slidr.batch import decide_table
from slidr.decide import Decider
from slidr.features.clicks import Click
from slidr.features.layout import compile_catalogue
from slidr.features.slow import SlowTables
from slidr.features.store import EmbeddedStore
from slidr.journal import Journal
from slidr.service.answers import Recorder
from slidr.settings import duration
from slidr.tables import CLICKS


@pytest.fixture
def journal(learned: Learned, project: Path) -> Path:
    """A journal in which a service has decided the judging day, from the state before it."""
    run = learned.run
    clicks: pa.Table = run.lake.read(CLICKS, start=run.split.judge[0], end=run.split.judge[1])
    layout = compile_catalogue(learned.bundle.catalogue)
    settings, fingerprint = learned.settings, run.pseudonymiser.fingerprint
    slow = SlowTables(Path(settings.storage.slow), duration(settings.features.slow_age), fingerprint)
    store = EmbeddedStore(layout, slow=slow)
    store.restore(learned.before, fingerprint=fingerprint)
    decider = Decider(learned.bundle, store, run.pseudonymiser)
    with Journal(project / "journal.sqlite") as journal:
        journal.declare(decider.context)
        start = 0
        for decisions in decide_table(decider, clicks):
            names = [name for name in Click.__struct_fields__ if name in clicks.column_names]
            part = clicks.slice(start, len(decisions.click_ids)).select(names).to_pylist()
            journal.append(Recorder(journal.id).entries(decisions, [Click(**row) for row in part], 1))
            start += len(part)
    return project / "journal.sqlite"


def test_a_service_and_its_backfill_agree(slidr: Run, project: Path, journal: Path, learned: Learned) -> None:
    """A day served in the order of the log has no skew, from the lake and from the journal folded again."""
    at = ("--settings", project / "slidr.toml")
    with Journal(journal, write=False) as read:
        clicks = sum(len(chunk) for chunk in read.entries())
    for how in (("--against", "lake"), ("--against", "journal", "--state", learned.before)):
        found = slidr("skew", *at, *how, "--json", "--fail-above", 0).document
        assert (found["compared"], found["different"], found["share"]) == (clicks, 0, 0.0)
        assert (found["only_journal"], found["missing"], found["repeated"]) == (0, 0, 0)
        assert found["against"] == how[1]
    said = slidr("skew", *at, "--journal", journal)
    assert said.code == 0
    assert f"{clicks:,} clicks compared with the lake: 0 differ (0.0000 %)" in said.out


def test_differences_are_told(slidr: Run, project: Path, journal: Path, learned: Learned) -> None:
    """A changed row shows with its feature, its click and both values; only --fail-above makes it an error."""
    with sqlite3.connect(journal) as connection:
        sequence, click_id, row = connection.execute(
            "SELECT sequence, click_id, row FROM decisions LIMIT 1 OFFSET 9"
        ).fetchone()
        values = np.frombuffer(row, "<f4").copy()
        values[0] += 1
        connection.execute("UPDATE decisions SET row = ? WHERE sequence = ?", (values.tobytes(), sequence))
    connection.close()
    at = ("--settings", project / "slidr.toml")
    said = slidr("skew", *at)
    assert said.code == 0
    for words in ("1 differ", learned.bundle.catalogue[0].name, click_id, f"{values[0]:.9g}", "largest"):
        assert words in said.out
    failed = slidr("skew", *at, "--fail-above", "0")
    assert (failed.code, failed.out) == (1, said.out)
    assert "of the clicks differ, which is above --fail-above 0" in failed.err
    assert slidr("skew", *at, "--fail-above", "0.5").code == 0


def test_what_cannot_be_compared(slidr: Run, project: Path, journal: Path, tmp_path: Path) -> None:
    """No journal, an empty one, none of the span, another state or key, and no features are each told in one line."""
    at = ("--settings", project / "slidr.toml")
    assert_refused(slidr("skew", *at, "--journal", tmp_path / "none"), "there is no journal", "`slidr serve` writes it")
    Journal(tmp_path / "empty.sqlite").close()
    assert_refused(slidr("skew", *at, "--journal", tmp_path / "empty.sqlite"), "the service has decided nothing yet")
    assert_refused(slidr("skew", *at, "--journal", project / "slidr.toml"), "journal")
    assert_refused(slidr("skew", *at, "--from", "2030-01-01"), "no decision of the time asked for")
    assert_refused(slidr("skew", *at, "--against", "journal"), "begins at click", "--state")
    settings = (project / "slidr.toml").read_text()
    (project / "bare.toml").write_text(f"{settings}\n[storage]\nlake = 'other'\n")
    assert_refused(slidr("skew", "--settings", project / "bare.toml"), "run `slidr backfill` first")
    (project / "slidr.key").write_text("00" * 16)
    assert_refused(slidr("skew", *at), "another secret key")
    assert journal.exists()
