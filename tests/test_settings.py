from __future__ import annotations

import tomllib
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.clock import DAY, HOUR, MINUTE, SECOND
from slidr.errors import SettingsError
from slidr.settings import Settings, duration, located, parse_settings, read_settings
from slidr.settings.document import write_document
from slidr.settings.section import Section

SECTIONS = {
    name: kind
    for name, kind in typing.get_type_hints(Settings).items()
    if isinstance(kind, type) and issubclass(kind, Section)
}


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    """Every key has a default, and the defaults themselves pass the checks."""
    path = tmp_path / "slidr.toml"
    path.touch()
    assert read_settings(path) == located(Settings(), tmp_path)
    assert parse_settings({}) == Settings()


def test_relative_paths_start_at_the_settings_file(tmp_path: Path) -> None:
    """Relative paths move with the file; absolute ones, addresses and empty ones stay."""
    path = tmp_path / "slidr.toml"
    path.write_text("clicks.path = 'log.csv'\nstorage.lake = 's3://bucket/lake'\nstorage.registry = '/registry'\n")
    settings = read_settings(path)
    assert settings.clicks.path == str(tmp_path / "log.csv")
    assert (settings.storage.lake, settings.storage.registry) == ("s3://bucket/lake", "/registry")
    assert settings.purchases.path == ""


def test_relative_lists_start_at_the_settings_file(tmp_path: Path) -> None:
    """Lists of list rules move with the file; the names of those that come with slidr are no paths."""
    path = tmp_path / "slidr.toml"
    path.write_text("[rules]\ncrawlers = ['crawler-user-agents', 'words', 'ours.txt']\ndeny = ['/etc/deny.csv']\n")
    rules = read_settings(path).rules
    assert rules.crawlers == ("crawler-user-agents", "words", str(tmp_path / "ours.txt"))
    assert (rules.deny, rules.allow, rules.data_centres) == (("/etc/deny.csv",), (), ())


@pytest.mark.parametrize("key", ["repeats", "stale_after"])
def test_durations_of_list_rules_are_checked(key: str) -> None:
    """A window or an age that is no duration is refused where it is written."""
    with pytest.raises(SettingsError, match=rf"rules.{key}: '24 hours' is not a duration"):
        parse_settings({"rules": {key: "24 hours"}})


PLAIN = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@given(st.dictionaries(st.text(min_size=1, alphabet="abc_"), VALUES))
def test_a_document_that_is_written_reads_back(section: dict[str, Any]) -> None:
    """Whatever values a section has, tables in lists among them, TOML reads what was written."""
    document = {"section": section}
    assert tomllib.loads(write_document(document)) == document


def test_the_defaults_written_out_read_back() -> None:
    """A file that holds every key with its default means the same as an empty one."""
    assert parse_settings(msgspec.to_builtins(Settings())) == Settings()


@pytest.mark.parametrize("kind", SECTIONS.values(), ids=lambda kind: kind.__name__)
def test_every_key_is_described(kind: type[Section]) -> None:
    """A key without a description could not be on the reference page."""
    assert kind.__doc__
    for field in msgspec.inspect.type_info(kind).fields:  # type: ignore[attr-defined]
        extra = getattr(field.type, "extra_json_schema", None) or {}
        assert extra.get("description"), field.encode_name


def test_settings_are_frozen() -> None:
    """What was read cannot be changed afterwards."""
    with pytest.raises(AttributeError, match="immutable"):
        Settings().timezone = "Europe/Berlin"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"calibratoin": {}}, "unknown key 'calibratoin'; did you mean 'calibration'"),
        ({"calibration": {"fpr_bugdet": 0.1}}, r"\[calibration\]: unknown key 'fpr_bugdet'; did you mean 'fpr_budget'"),
        ({"calibration": {"fpr_budget": 2.0}}, "calibration.fpr_budget = 2.0: Expected `float` < 1"),
        ({"calibration": {"fpr_budget": "low"}}, "calibration.fpr_budget = 'low': Expected `float`"),
        ({"calibration": {"method": "magic"}}, "calibration.method = 'magic'"),
        ({"service": {"port": 70_000}}, "service.port = 70000: Expected `int` <= 65535"),
        ({"clicks": 3}, "clicks = 3: Expected `object`"),
        ({"features": {"windows": []}}, r"features.windows = \[\]"),
        ({"timezone": "Mars/Olympus"}, "timezone = 'Mars/Olympus' is not a time zone"),
        ({"clicks": {"timezone": "CET/"}}, "clicks.timezone = 'CET/' is not a time zone"),
        ({"labels": {"attribution_window": "1w"}}, "labels.attribution_window: '1w' is not a duration"),
        ({"features": {"windows": ["1m", "0h"]}}, "features.windows: '0h' is not a duration"),
        ({"features": {"slow_age": "23h"}}, "features.slow_age = '23h' is below 24h"),
        ({"labels": {"rfm_quantiles": 4}}, "labels.rfm_minimum = 13 is above 12"),
    ],
)
def test_what_is_not_usable_is_named(document: dict[str, Any], message: str) -> None:
    """The error names key, value and limit, and for a misspelt key the nearest."""
    with pytest.raises(SettingsError, match=message):
        parse_settings(document, "slidr.toml")


def test_a_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    """A newcomer without a settings file is told what makes one."""
    with pytest.raises(SettingsError, match=r"no settings file at .*; `slidr init` writes one"):
        read_settings(tmp_path / "slidr.toml")


@pytest.mark.parametrize("content", [b"clicks = [", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    """Broken TOML and broken text are told with the path."""
    path = tmp_path / "slidr.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"slidr\.toml is not TOML"):
        read_settings(path)


@given(st.integers(1, 3_650), st.sampled_from([("s", SECOND), ("m", MINUTE), ("h", HOUR), ("d", DAY)]))
def test_durations_are_numbers_of_units(number: int, unit: tuple[str, int]) -> None:
    """A number and a letter mean what they say."""
    assert duration(f"{number}{unit[0]}") == number * unit[1]


@pytest.mark.parametrize("text", ["", "h", "0h", "-1h", "1.5h", "1 h", "1w", "10", "٣h", "3651d", "1h30m"])
def test_other_texts_are_no_durations(text: str) -> None:
    """Zero, signs, fractions, blanks, other digits and more than ten years are refused."""
    with pytest.raises(SettingsError, match="duration"):
        duration(text)
