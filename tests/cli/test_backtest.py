"""The commands of the backtest and of the description of methodology."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.backtest.test_judging import past_of
from tests.cli.conftest import Run
from tests.learned import Learned

from slidr.errors import nearest
from slidr.registry import Registry


@pytest.fixture
def at(project: Path) -> tuple[str, Path]:
    """Name the settings of a folder in which a day was run."""
    return "--settings", project / "slidr.toml"


def test_a_backtest_needs_a_network_that_had_not_seen_the_days(slidr: Run, at: tuple[str, Path]) -> None:
    """The only champion was trained on the days that would set the thresholds: one line says so."""
    said = slidr("backtest", "2026-03-10", *at)
    assert said.code == 1
    assert "no day of 2026-03-10 could be judged" in said.err
    assert "no network was trained on days before those" in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("2026-3",), "write a month such as 2026-11"),
        (("2999-01",), "has not begun"),
        (("2026-03", "--budget", "5"), "no share between 0 and 1"),
        (("2026-03", "--bundle", "none"), "no bundle 'none'"),
    ],
)
def test_a_backtest_asked_wrongly_is_refused(
    slidr: Run, at: tuple[str, Path], words: tuple[str, ...], why: str
) -> None:
    """Each says in one line what is wrong."""
    said = slidr("backtest", *words, *at)
    assert (said.code, why in said.err) == (1, True)


def test_the_methodology_is_written(slidr: Run, at: tuple[str, Path], tmp_path: Path) -> None:
    """As Markdown, as one JSON object and as HTML; of the champion, or of a bundle that is named."""
    page = tmp_path / "methodology.html"
    text = slidr("methodology", *at, "--html", page).out
    assert text.startswith("# How clicks are filtered by bundle ")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    document = slidr("methodology", *at, "--for", "advertiser", "--json").document
    assert (document["role"], document["view"]) == ("champion", "advertiser")
    assert document["bundle"] in text
    wrong = slidr("methodology", document["bundle"][:-1] + "x", *at)
    assert (wrong.code, nearest(document["bundle"][:-1] + "x", [document["bundle"]]) in wrong.err) == (1, True)


def test_a_registry_without_a_champion_has_no_methodology(slidr: Run, tmp_path: Path) -> None:
    """The message says what to do."""
    (tmp_path / "slidr.toml").touch()
    said = slidr("methodology", "--settings", tmp_path / "slidr.toml")
    assert (said.code, "run `slidr daily` first" in said.err) == (1, True)


def test_a_backtest_is_printed_and_written(slidr: Run, learned: Learned, project: Path, tmp_path: Path) -> None:
    """As text, as one JSON object whose groups are those asked for, and as HTML; the network is named."""
    aged = past_of(learned.run, learned.bundle, tmp_path)
    named = aged.registry.champion()
    assert named is not None
    registry = Registry(project / "registry")
    registry.publish(tmp_path / "bundles" / named.bundle)
    at = ("--settings", project / "slidr.toml", "--bundle", named.bundle, "--budget", "0.05")
    page = tmp_path / "backtest.html"
    text = slidr("backtest", "2026-03-10", *at, "--html", page).out
    assert "With a budget of 5.00 % you would have refunded" in text
    assert f"judged by the network of bundle {named.bundle}" in text
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    document = slidr("backtest", "2026-03-10", *at, "--by", "day", "--json").document
    (one,) = document["tested"]
    assert {line["group"]["day"] for line in one["groups"]} == {"2026-03-10"}
    assert one["whole"]["clicks"] == sum(line["clicks"] for line in one["groups"])
