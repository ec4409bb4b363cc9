"""List files: what is read, when it changed, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slidr.errors import SettingsError
from slidr.lists import Listed, ListFile, built_in, oldest, read_list, version_of


def whole(line: str) -> int:
    """Return a whole number; what is none is a fault."""
    return int(line)


def test_a_list_has_the_version_of_its_bytes_and_the_date_of_its_file(tmp_path: Path) -> None:
    """The same text is the same version wherever it lies; the date is the file's, and may be set by `touch`."""
    one, two = tmp_path / "one", tmp_path / "two"
    for place in (one, two):
        place.write_text("1\n2\n")
    os.utime(two, (1_700_000_000, 1_700_000_000))
    first, second = read_list("rules.x", str(one)), read_list("rules.x", str(two))
    assert first.version == second.version == version_of(b"1\n2\n")
    assert second.updated == 1_700_000_000_000_000
    assert first.parsed(whole) == [1, 2]


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    """Comments, empty lines, blanks around and a byte-order mark are no part of an entry, and still count as lines."""
    place = tmp_path / "list"
    place.write_bytes(b"\xef\xbb\xbf1\r\n\r\n  # two\r\n 3 \r\n")
    assert list(read_list("rules.x", str(place)).lines()) == [(1, "1"), (4, "3")]


def test_a_fault_names_key_file_line_value_and_reason(tmp_path: Path) -> None:
    """One line that is no entry refuses the list; the message shows it, and counts the others."""
    place = tmp_path / "list"
    place.write_text("1\n# two\nthree\n4\nfive\n" + "x" * 1000)
    with pytest.raises(SettingsError, match=r"rules.x: .*/list: line 3, 'three', invalid literal.*; 2 more lines"):
        read_list("rules.x", str(place)).parsed(whole)
    place.write_text("y" * 1000)
    with pytest.raises(SettingsError, match=r"line 1, 'y{80}', ") as refused:
        read_list("rules.x", str(place)).parsed(lambda line: line.index("no"))
    assert len(str(refused.value)) < 300 + len(str(place))


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "\ufeff"])
def test_an_empty_list_is_refused(tmp_path: Path, text: str) -> None:
    """A list without an entry is a download that failed, not a list."""
    place = tmp_path / "list"
    place.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="the list is empty; fill it, or take it out"):
        read_list("rules.x", str(place)).parsed(whole)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A missing file, a folder, a name that no file can have and an address are refused with what to do."""
    for path in (str(tmp_path / "nowhere"), str(tmp_path), "a\0b"):
        with pytest.raises(SettingsError, match=r"rules.x: .* cannot be read: .*; correct the path, or take it out"):
            read_list("rules.x", path)
    with pytest.raises(SettingsError, match=r"rules.x: https://example.org/list is an address; fetch the list"):
        read_list("rules.x", "https://example.org/list")


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path) -> None:
    """A list in another encoding is refused at the first line that shows it."""
    place = tmp_path / "list"
    place.write_bytes(b"1\n2\n\xe4\n")
    with pytest.raises(SettingsError, match=r"rules.x: .*/list: line 3 is not UTF-8 text: .*; save the list as UTF-8"):
        read_list("rules.x", str(place))


def test_the_oldest_list_dates_a_rule() -> None:
    """Of several lists the one that has waited longest counts; lists without a date do not."""
    lists = (Listed("a", "1", 30, 1), Listed("b", "2", None, 1), Listed("c", "3", 20, 1))
    assert oldest(lists) == 20
    assert oldest(lists[1:2]) is None
    assert oldest(()) is None


def test_versions_of_several_lists_do_not_run_together() -> None:
    """Moving a line from one list to the next is another version; a built-in list has one too."""
    assert version_of(b"ab", b"c") != version_of(b"a", b"bc") != version_of(b"abc")
    assert built_in("rules.x", "words", "bot") == ListFile("rules.x", "words", "bot", version_of(b"bot"), None)
