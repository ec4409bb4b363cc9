"""Journals of several processes, read as one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.skew.served import Served, clicks_once, journal_of, serve

from slidr import journals as module
from slidr.errors import JournalError
from slidr.journal import Context, Journal
from slidr.journals import Journals


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """Sixty clicks, decided one after another."""
    return serve(tmp_path, clicks_once(60, seed=1))


@pytest.mark.parametrize("chunk", [10_000, 7])
def test_entries_come_in_the_order_of_the_fold(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """However the entries are spread and cut, they come in the order of their sequences, each with its journal."""
    monkeypatch.setattr(module, "CHUNK", chunk)
    parts = {
        name: [entry for entry in served.entries if entry.sequence // 5 % 3 == place]
        for place, name in enumerate(("one", "two", "three"))
    }
    paths = [journal_of(tmp_path / f"{name}.sqlite", part, served.context) for name, part in parts.items()]
    with Journal(paths[0]) as one, Journal(paths[1]) as two, Journal(paths[2]) as three:
        read = Journals([three, one, two])
        kept = [pair for part in read.kept(after=3) for pair in part]
        assert [entry for entry, _ in kept] == served.entries[4:]
        assert all(entry in parts[journal.path.stem] for entry, journal in kept)
        assert max(map(len, read.kept())) == min(chunk, len(served.entries))
        assert read.last_sequence == served.entries[-1].sequence
        assert read.find(7) == (served.entries[7], two)
        assert read.find(1000) is None
        assert read.paths == ", ".join(map(str, (paths[2], paths[0], paths[1])))


def test_a_context_is_known_where_any_journal_knows_it(served: Served, tmp_path: Path) -> None:
    """What entries have in common comes from the journal that has them; where none has, that is said."""
    others = Context("other", (("ip",),), ("clicks_ip_1h",))
    first = journal_of(tmp_path / "one.sqlite", [], others)
    second = journal_of(tmp_path / "two.sqlite", served.entries, served.context)
    with Journal(first) as one, Journal(second) as two:
        read = Journals([one, two])
        assert read.context(served.context.id) == served.context
        assert read.context(others.id) == others
        with pytest.raises(JournalError, match="no entries of context 'third'"):
            read.context("third")


def test_one_journal_named_twice_is_refused(tmp_path: Path) -> None:
    """The same file, or a copy of it, would give every click twice."""
    path = journal_of(tmp_path / "one.sqlite", [], Context("other", (), ()))
    with Journal(path, write=False) as one, Journal(path, write=False) as again:
        both = [one, again]
        with pytest.raises(JournalError, match="are the same journal; name it once"):
            Journals(both)
