"""Document: headings, sentences and tables that are written once, and shown as HTML, as Markdown or in a terminal."""

from __future__ import annotations

import re
import textwrap

import msgspec
from tabulate import tabulate

from slidr.report.environment import environment

_WIDTH = 100
_SPECIAL = re.compile(r"([\\`*\[\]<>|#]|(?<!\w)_|_(?!\w))")  # An underscore within a word stays as it is.


class Grid(msgspec.Struct, frozen=True):
    """A table, every cell as it is written.

    Attributes:
        headers: one a column.
        rows: the cells.
        texts: how many columns, from the left, hold words; the others hold numbers.
        warned: places of the rows that a reader must see.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int = 1
    warned: tuple[int, ...] = ()


class Section(msgspec.Struct, frozen=True):
    """A part of a document; what is empty is not shown.

    Attributes:
        name: the heading.
        words: paragraphs.
        facts: names with what is said of each.
        points: a list.
        grid: a table.
        note: what stands below it, smaller.
    """

    name: str
    words: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    points: tuple[str, ...] = ()
    grid: Grid | None = None
    note: str = ""

    @property
    def anchor(self) -> str:
        """What links name it by.

        >>> Section("By campaign, in EUR").anchor
        'by-campaign-in-eur'
        """
        return "-".join(re.findall(r"[a-z0-9]+", self.name.lower()))


class Tile(msgspec.Struct, frozen=True):
    """A number that stands out, its name, and what stands beside it."""

    name: str
    value: str
    beside: str = ""


class Document(msgspec.Struct, frozen=True):
    """A document.

    Attributes:
        over: what stands over the title: what kind of document it is.
        title: the title.
        lead: what it says, in a sentence or two.
        tiles: the numbers that matter most.
        notes: what a reader must know before trusting them.
        sections: the rest.
    """

    over: str
    title: str
    lead: str
    tiles: tuple[Tile, ...] = ()
    notes: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()


def as_html(document: Document) -> str:
    """Return a document as one HTML file that needs nothing else; the same document gives the same text."""
    return environment().get_template("document.html").render(document=document)


def as_markdown(document: Document) -> str:
    r"""Return a document as Markdown.

    >>> grid = Grid(("slice", "clicks"), (("a|b", "1"),))
    >>> print(as_markdown(Document("", "Title", "Lead.", sections=(Section("Part", ("Words.",), grid=grid),))))
    # Title
    <BLANKLINE>
    Lead.
    <BLANKLINE>
    ## Part
    <BLANKLINE>
    Words.
    <BLANKLINE>
    | slice | clicks |
    |---|--:|
    | a\|b | 1 |
    <BLANKLINE>
    """
    parts = [f"# {_escaped(document.title)}", _escaped(document.lead)]
    parts += ["\n".join(f"- {_escaped(f'{one.name}: {one.value} {one.beside}'.strip())}" for one in document.tiles)]
    parts += ["\n".join(f"> {_escaped(note)}" for note in document.notes)]
    for section in document.sections:
        parts += [f"## {_escaped(section.name)}", *map(_escaped, section.words)]
        parts += ["\n".join(f"- **{_escaped(name)}**: {_escaped(said)}" for name, said in section.facts)]
        parts += ["\n".join(f"- {_escaped(point)}" for point in section.points)]
        if section.grid is not None:
            parts.append(_markdown_table(section.grid))
        parts.append(_escaped(section.note))
    return "\n\n".join(part for part in parts if part) + "\n"


def as_text(document: Document) -> str:
    """Return a document for a terminal."""
    parts = [_wrapped(f"{document.title}: {document.lead}")]
    if document.tiles:
        rows = [(one.name, one.value, one.beside) for one in document.tiles]
        parts.append(tabulate(rows, tablefmt="plain", disable_numparse=True))
    parts += [_wrapped(f"note: {note}") for note in document.notes]
    for section in document.sections:
        parts.append(f"{section.name}\n{'=' * len(section.name)}")
        parts += map(_wrapped, section.words)
        parts += [_wrapped(f"{name}: {said}") for name, said in section.facts]
        parts += [_wrapped(f"- {point}") for point in section.points]
        if section.grid is not None:
            parts.append(text_table(section.grid))
        parts.append(_wrapped(section.note))
    return "\n\n".join(part for part in parts if part)


def text_table(grid: Grid) -> str:
    """Return a table for a terminal."""
    right = ["left"] * grid.texts + ["right"] * (len(grid.headers) - grid.texts)
    return tabulate(grid.rows, grid.headers, disable_numparse=True, colalign=right if grid.rows else None)


def _markdown_table(grid: Grid) -> str:
    rule = "|".join(["---"] * grid.texts + ["--:"] * (len(grid.headers) - grid.texts))
    rows = (f"| {' | '.join(map(_escaped, row))} |" for row in (grid.headers, *grid.rows))
    head, *body = rows
    return "\n".join([head, f"|{rule}|", *body])


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH)


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", text.replace("\n", " "))
