"""Documents read the same as HTML, as Markdown and in a terminal."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from slidr.report.document import Document, Grid, Section, Tile, as_html, as_markdown, as_text

GRID = Grid(("campaign", "share"), (("<b>|x", "0.5 %"), ("spring", "1 %")), warned=(1,))
DOCUMENT = Document(
    "kind of document",
    "Title & <more>",
    "Lead.",
    (Tile("clicks", "1,000", "of 2,000"),),
    ("Beware.",),
    (
        Section("First part", ("Words.",), (("name", "said"),), ("a point",), GRID, "A note."),
        Section("Second", grid=Grid(("none",), ())),
        Section("Third"),
    ),
)


@pytest.mark.parametrize("written", [as_html, as_markdown, as_text])
def test_nothing_is_lost(written: object) -> None:
    """Title, numbers, notes, names, points, cells: all stand in every form."""
    assert callable(written)
    text = written(DOCUMENT).replace("\u00a0", " ")
    for said in ("Lead.", "1,000", "Beware.", "First part", "Words.", "said", "a point", "spring", "0.5 %", "A note."):
        assert said in text


def test_html_is_whole_and_escaped() -> None:
    """It parses, nothing of a cell is markup, each section has its link, and what is warned of stands out."""
    page = as_html(DOCUMENT)
    body = page.partition("<main>")[2].partition("</main>")[0]
    found = ET.fromstring(f"<main>{body}</main>".replace("\u00a0", " "))  # noqa: S314 made here
    links = [one.attrib["href"] for one in found.findall("./nav/a")]
    assert links == ["#first-part", "#second", "#third"]
    assert [row.attrib.get("class") for row in found.findall(".//tbody/tr")] == [None, "warn"]
    assert found.find(".//tbody/tr/th").text == "<b>|x"  # type: ignore[union-attr]
    assert "<script" not in page
    assert "Title &amp; &lt;more&gt;" in page


def test_markdown_shows_text_as_it_is() -> None:
    """What Markdown would read as markup is escaped, and a table keeps its columns."""
    text = as_markdown(DOCUMENT)
    assert "# Title & \\<more\\>" in text
    assert "| \\<b\\>\\|x | 0.5 % |" in text
