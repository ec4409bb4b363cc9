"""The commands of billing: what they print, write and refuse."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pytest
from tests.cli.conftest import Run
from tests.decided import Decided, at, lake_of

from slidr.lake.delta import Lake
from slidr.lake.schema import arrow_schema
from slidr.tables import LABELS

NOON = at("2026-03-02T12:00")


@pytest.fixture
def billed(tmp_path: Path) -> tuple[str, Path]:
    """A folder with a month of decisions; returns what names its settings."""
    (tmp_path / "slidr.toml").touch()
    rows = (
        Decided("a", NOON),
        Decided("b", NOON, "invalid_general", cost=1_234_567),
        Decided("c", NOON, "invalid_sophisticated", advertiser="zenith", campaign="autumn"),
        Decided("d", NOON, "unmeasurable", currency="USD", campaign=None),
    )
    lake_of(tmp_path / "lake", *rows)
    return "--settings", tmp_path / "slidr.toml"


def test_a_report_is_printed_and_written(slidr: Run, billed: tuple[str, Path], tmp_path: Path) -> None:
    """For people with the currency beside every cost, for machines in micros, as CSV with a line a group."""
    text = slidr("billing", "report", "2026-03", *billed, "--csv", tmp_path / "lines.csv").out
    assert "2.234567" in text
    assert "provisional" in text
    document = slidr("billing", "report", "2026-03", *billed, "--by", "slice", "--json").document
    assert document["totals"]["EUR"]["gross_cost"] == 3_234_567
    assert document["totals"]["USD"]["billable_clicks"] == 1
    with (tmp_path / "lines.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["campaign"], row["currency"], row["gross_cost"]) for row in rows] == [
        ("autumn", "EUR", "1000000"),
        ("spring", "EUR", "2234567"),
        ("", "USD", "1000000"),
    ]


def test_an_advertiser_sees_outcomes_alone(slidr: Run, billed: tuple[str, Path]) -> None:
    """No threshold, score, reason or slice; who is not known is suggested."""
    said = slidr("billing", "advertiser", "2026-03", "acme", *billed, "--json")
    assert said.document["totals"]["EUR"]["net_of_all_clicks"] == 1
    assert not [word for word in ("threshold", "score", "reason", "slice") if word in said.out]
    unknown = slidr("billing", "advertiser", "2026-03", "acne", *billed)
    assert (unknown.code, "did you mean 'acme'?" in unknown.err) == (1, True)


def test_false_positives_raise_an_alarm(slidr: Run, billed: tuple[str, Path], tmp_path: Path) -> None:
    """Purchasing clicks that were found invalid, by count and by cost; exit status 4 where they are material."""
    lacking = slidr("billing", "false-positives", "2026-03", *billed)
    assert (lacking.code, "run `slidr label`" in lacking.err) == (1, True)
    row = {"time": NOON, "human": True, "matured_at": NOON, "as_of": NOON}
    labels = [
        row | {"click_id": "a", "reason": "purchase", "purchaser": "ann"},
        row | {"click_id": "b", "reason": "purchase", "purchaser": "bob"},
        row | {"click_id": "c", "reason": "none", "purchaser": None, "human": False},
    ]
    Lake(str(tmp_path / "lake")).append(LABELS, pa.Table.from_pylist(labels, schema=arrow_schema(LABELS)))
    said = slidr("billing", "false-positives", "2026-03", *billed, "--json")
    (one,) = json.loads(said.out)["slices"]
    assert (said.code, one["purchasing"], one["invalid"], one["rate"]) == (4, 2, 1, 0.5)
    assert one["cost"]["EUR"][:2] == [2_234_567, 1_234_567]
    assert one["cost"]["EUR"][2] < 1_234_567 / 2_234_567 < one["cost"]["EUR"][3]
    assert one["low"] < 0.05 < one["high"]
    assert "alarm, by few clicks" in slidr("billing", "false-positives", "2026-03", *billed).out


def test_a_month_is_provisional_and_then_closed(slidr: Run, billed: tuple[str, Path], tmp_path: Path) -> None:
    """The invoice says which it is; closing it again gives the same document."""
    assert slidr("billing", "invoice", "2026-03", *billed, "--json").document["provisional"]
    first = slidr("billing", "close", "2026-03", "--why", "month end", *billed, "--json").document
    assert slidr("billing", "close", "2026-03", "--why", "again", *billed, "--json").document == first
    assert first["due"] == {"EUR": 1_000_000, "USD": 1_000_000}
    text = slidr("billing", "invoice", "2026-03", *billed, "--csv", tmp_path / "invoice.csv").out
    assert f"closed; SHA-256 {first['sha256']}" in text
    for words in (("report", "2026-03"), ("report", "2026-03-02"), ("advertiser", "2026-03", "acme")):
        after = slidr("billing", *words, *billed, "--json").document
        assert (after["provisional"], after["closed_at"][:3]) == (False, "202")
    assert "closed: the invoice is frozen" in slidr("billing", "report", "2026-03", *billed).out
    records = slidr("audit", "list", "--kind", "close", *billed, "--json").document["records"]
    assert [record["subject"] for record in records] == ["2026-03"]


def test_reports_are_written_as_html(slidr: Run, billed: tuple[str, Path], tmp_path: Path) -> None:
    """One self-contained page each, with the figures of the text; an advertiser's has no word of thresholds."""
    row = {"time": NOON, "human": True, "matured_at": NOON, "as_of": NOON, "reason": "purchase"}
    labels = [row | {"click_id": name, "purchaser": name} for name in ("a", "b")]
    Lake(str(tmp_path / "lake")).append(LABELS, pa.Table.from_pylist(labels, schema=arrow_schema(LABELS)))
    for place, words in enumerate((
        ("report", "2026-03"),
        ("advertiser", "2026-03", "acme"),
        ("false-positives", "2026-03"),
        ("invoice", "2026-03"),
    )):  # fmt: skip
        file = tmp_path / f"{place}.html"
        text = slidr("billing", *words, *billed, "--html", file).out
        page = file.read_text(encoding="utf-8").replace("\u00a0", " ")
        assert page.startswith("<!doctype html>")
        assert "rovisional" in page
        assert "<script" not in page
        amount = "55.25 %" if words[0] == "false-positives" else "2.234567" if place < 2 else "1.00"
        assert amount in page
        assert amount in text
        assert place != 1 or not [word for word in ("threshold", "score", "reason", "slice") if word in page]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("report", "2026-3"), "write a month such as 2026-11"),
        (("report", "2999-01"), "has not begun"),
        (("report", "2026-02"), "there are no decisions of 2026-02"),
        (("close", "2999-01", "--why", "x"), "is not over"),
        (("invoice", "2026-03-02"), "is no month"),
    ],
)
def test_bad_periods_are_refused(slidr: Run, billed: tuple[str, Path], words: tuple[str, ...], why: str) -> None:
    """Each says in one line what is wrong."""
    said = slidr("billing", *words, *billed)
    assert (said.code, why in said.err) == (1, True)
