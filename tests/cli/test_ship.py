"""The commands of the lake's records, and what `slidr decide` leaves alone."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from tests.cli.conftest import Run
from tests.test_ship import fill

from slidr.journal import Journal
from slidr.lake.delta import Lake
from slidr.settings import read_settings
from slidr.tables import DECISIONS


def test_decisions_are_shipped_compacted_and_kept(slidr: Run, tmp_path: Path) -> None:
    """Shipping twice is as once, in words and for machines, and compaction keeps every row."""
    (tmp_path / "slidr.toml").touch()
    at = ("--settings", tmp_path / "slidr.toml")
    with Journal(tmp_path / "journal.sqlite") as journal:
        fill(journal)
    document = slidr("ship", *at, "--json").document
    assert (document["entries"], document["journals"][0]["sequence"]) == (36, 29)
    assert slidr("ship", *at).out.startswith("0 decisions into ")
    assert slidr("compact", *at, "--json").document["removed"] == {}
    assert Lake(str(tmp_path / "lake")).read(DECISIONS).num_rows == 36
    missing = slidr("ship", *at, "--journal", tmp_path / "missing.sqlite")
    assert (missing.code, "it cannot be opened" in missing.err) == (1, True)


def test_a_journal_is_kept_for_the_hour_of_repeats(slidr: Run, tmp_path: Path) -> None:
    """A setting that would let entries go too soon is refused."""
    (tmp_path / "slidr.toml").write_text('[lake]\njournal_keep = "1h"\n')
    said = slidr("ship", "--settings", tmp_path / "slidr.toml")
    assert (said.code, "give at least '2h'" in said.err) == (1, True)


def test_batch_decisions_never_replace_answered_ones(slidr: Run, project: Path) -> None:
    """A day may be decided again as long as nobody else has decided any of it."""
    at = ("decide", "2026-03-10", "--settings", project / "slidr.toml", "--json")
    verdicts = slidr(*at).document
    assert slidr(*at).document == verdicts
    lake = Lake(read_settings(project / "slidr.toml").storage.lake)
    held = lake.read(DECISIONS)
    one = held.slice(0, 1)
    for name, value in (("journal", "j"), ("cause", "live"), ("decision_id", "j-0")):
        one = one.set_column(one.column_names.index(name), one.schema.field(name), pa.array([value]))
    lake.append(DECISIONS, one)
    said = slidr(*at)
    assert (said.code, "causes live, which were answered or corrected and stay" in said.err) == (1, True)
    assert lake.read(DECISIONS).num_rows == held.num_rows + 1
