"""Batch decisions over a table, and the table of decisions."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from tests import small
from tests.learned import Learned

from slidr.batch import decide_table, decisions_table
from slidr.bundle import write_bundle
from slidr.decide import Decider, Decisions
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.slow import SlowTables
from slidr.features.store import EmbeddedStore
from slidr.lake.schema import arrow_schema
from slidr.rules import prepare_rules
from slidr.settings import RulesSettings, duration
from slidr.tables import DECISIONS, SCORES, Verdict


def decided(folder: Path, clicks: pa.Table) -> Decisions:
    """Return the decisions of a small bundle on a table of fewer clicks than a chunk."""
    bundle = write_bundle(folder, small.parts(), created_at=0, version="0")
    store = EmbeddedStore(compile_catalogue(bundle.catalogue))
    decider = Decider(bundle, store, Pseudonymiser(small.SECRET), prepare_rules(RulesSettings()))
    (found,) = decide_table(decider, clicks)
    return found


def test_decisions_as_a_table(tmp_path: Path) -> None:
    """DECISIONS has a row for each click that is not a repeat, nulls where the model was not asked."""
    found = decided(tmp_path, small.table_of(small.random_clicks(400, seed=2)))
    table = decisions_table(found, decided_at=5, cause="live")
    assert table.schema.equals(arrow_schema(DECISIONS))
    assert table.num_rows == int((~found.repeats).sum()) < 400
    assert table["sequence"].to_pylist() == list(range(table.num_rows))
    assert len(set(table["decision_id"].to_pylist())) == table.num_rows
    assert set(table["verdict"].to_pylist()) == {verdict.value for verdict in Verdict}
    rows = table.to_pylist()
    for row in rows:
        unasked = row["verdict"] in {"invalid_general", "unmeasurable"}
        assert (row["score"] is None, row["threshold"] is None) == (unasked, unasked)
        assert bool(row["reasons"]) == (row["verdict"] != "valid")
        assert (row["lists"] == ["crawlers"]) == (row["verdict"] == "invalid_general")
        if not unasked:
            assert (row["score"] > row["threshold"]) == (row["verdict"] == "invalid_sophisticated")
    assert set(table["cause"].to_pylist()) == {"live"}


def test_no_decisions_make_an_empty_table(tmp_path: Path) -> None:
    """A chunk of repeats alone gives a table without rows."""
    clicks = small.table_of(small.random_clicks(50, seed=2)[:1] * 2)
    found = decided(tmp_path, clicks)
    table = decisions_table(found, decided_at=5, cause="live")
    assert table.num_rows == 1
    assert decisions_table(decided(tmp_path, clicks.slice(0, 1)), decided_at=5, cause="x").num_rows == 1


def test_the_judging_day_decided_in_batch(learned: Learned) -> None:
    """From the state before it, the judging day gets the scores that the stages gave it; progress tells of all."""
    run = learned.run
    storage, age = run.settings.storage, duration(run.settings.features.slow_age)
    slow = SlowTables(Path(storage.slow), age, run.pseudonymiser.fingerprint)
    store = EmbeddedStore(compile_catalogue(learned.bundle.catalogue), slow=slow)
    store.restore(learned.before, fingerprint=run.pseudonymiser.fingerprint)
    decider = Decider(learned.bundle, store, run.pseudonymiser, prepare_rules(run.settings.rules))
    start = run.split.judge[0]
    clicks = learned.log.clicks.filter(pc.greater_equal(learned.log.clicks["time"].cast(pa.int64()), start))
    told: list[int] = []
    parts = [decisions_table(part, decided_at=0, cause="x") for part in decide_table(decider, clicks, told.append)]
    table = pa.concat_tables(parts)
    assert sum(told) == clicks.num_rows
    asked = table.filter(pc.is_valid(table["score"]))
    scores = run.lake.read(SCORES, start=start)
    assert asked["click_id"].to_pylist() == scores["click_id"].to_pylist()
    assert asked["score"].to_numpy().tobytes() == scores["score"].to_numpy().tobytes()
