from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if page.parent != ROOT or page.stem in {"README", "ARCHITECTURE", "CONTRIBUTING", "SECURITY"}
)
_CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(<?([^)>\s]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)|(?:href|src)=\"([^\"]+)\"", re.MULTILINE)


def links(text: str) -> list[str]:
    """Return the targets of a page's links and images that lie in this repository, without their anchors."""
    found = ("".join(groups) for groups in _LINK.findall(_CODE.sub("", text)))
    return [
        target.partition("#")[0] for target in found if "://" not in target and not target.startswith(("#", "mailto:"))
    ]


def test_links_are_found_in_every_form() -> None:
    """Inline links, images, references and tags count; code, anchors and addresses do not."""
    text = '[a](b.md#c) ![d](<e.svg> "f") [g](#h) [i](https://j.org) `[k](l)`\n[m]: n.md\n<img src="o.svg">\n'
    text += "```\n[p](q)\n```\n"
    assert links(text) == ["b.md", "e.svg", "n.md", "o.svg"]


def test_there_are_pages() -> None:
    """The pages that are checked are really found."""
    assert {"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "sources.md"} <= {p.name for p in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_point_to_files(page: Path) -> None:
    """A link within the repository leads to something that is there."""
    assert [link for link in links(page.read_text("utf-8")) if not (page.parent / link).exists()] == []
