from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

import msgspec
import pytest
from tests.report import samples

from slidr.evaluation.change import Change
from slidr.evaluation.judging import DRAWN
from slidr.evaluation.results import Assurance, Evaluation, MissedFamily, ModelCard
from slidr.report.page import render
from slidr.report.tables import LISTED

HOSTILE = "device=</td><script>alert('1')</script>\"&$x$"
VOID = {"meta", "link", "wbr", "br"}


class Page(HTMLParser):
    """A parsed page: its elements, its ids, its text, and whether all that opened was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element that closes itself."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element, which must be of this name."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep text."""
        self.text += data

    def tags(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements of a name."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    """Return an evaluation to show."""
    return samples.evaluation(clicks=5000)


@pytest.fixture(scope="module")
def page(evaluation: Evaluation) -> Page:
    """Return its page."""
    return Page(render(evaluation))


def test_the_page_needs_nothing_else(evaluation: Evaluation, page: Page) -> None:
    """No script, no external address, and a policy that forbids both."""
    assert "://" not in render(evaluation)
    assert page.tags("script") == []
    addresses = [attributes.get(key) for _, attributes in page.elements for key in ("src", "href", "xlink:href")]
    assert all(address.startswith(("#", "data:")) for address in addresses if address)
    assert any("default-src 'none'" in (meta.get("content") or "") for meta in page.tags("meta"))


def test_the_page_is_the_same_every_time(evaluation: Evaluation) -> None:
    """The same evaluation gives the same page."""
    assert render(evaluation) == render(evaluation)


def test_the_page_can_be_read_without_seeing_it(page: Page) -> None:
    """Every plot has a label, every table header a scope, every id is unique, every link inside meets its target."""
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in page.tags("svg"))
    assert all(header.get("scope") in {"col", "row"} for header in page.tags("th"))
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert max(ids.values()) == 1
    named = [attributes.get("aria-labelledby") for _, attributes in page.elements]
    targets = [(link.get("href") or "").removeprefix("#") for link in page.tags("a")]
    assert {*filter(None, named), *targets} <= ids.keys()


def test_the_page_is_told_in_order(page: Page) -> None:
    """The verdict comes first, then checks, warnings, the change, the numbers, what they rest on, and words."""
    marks = [
        "On the judging part",
        "Certified. With 95",
        "Before you trust",
        "What changes against the champion",
        "How the networks compare",
        "All clicks, list rules included",
        "What more false positives would buy",
        "Slice by slice, drawn",
        "Slice by slice, in numbers",
        "Against the truth",
        "Families missed",
        "How far the labels can be trusted",
        "How human each hour",
        "Do buyers stand for all people?",
        "What is promised",
        "How the networks learnt",
        "What it is for",
        "Which part of the log",
        "The words used here",
    ]
    places = [page.text.index(mark) for mark in marks]
    assert places == sorted(places)


def test_all_clicks_have_rows_of_their_own(evaluation: Evaluation) -> None:
    """List hits, unmeasurable clicks, the network and all clicks each have a row, and the shares name their clicks."""
    text = re.sub(r"(<[^>]+>|\s)+", " ", render(evaluation))
    totals = evaluation.totals
    assert "Shares are of the clicks that reach the model" in text
    assert "list rules: invalid 300 2 100.0 %" in text
    assert "nobody: no user, session or ip 40 1 0.0 %" in text
    assert f"all clicks 5,340 {totals.purchases} {100 * totals.ivr:.1f} %" in text
    assert "of 5,000 clicks that reached the network" in text


def test_times_are_those_of_the_zone(page: Page) -> None:
    """The parts of the log are dated by the evaluation's clock, which is an hour ahead of UTC here."""
    assert "Mon 2026-03-02 01:00" in page.text
    assert "Europe/Berlin" in page.text


def test_strings_of_the_data_are_never_markup(evaluation: Evaluation) -> None:
    """Names of slices, networks, families, the title and notes are shown letter by letter."""
    first, *others = evaluation.networks
    assert first.caught is not None
    families = tuple(msgspec.structs.replace(family, family=HOSTILE) for family in first.caught.families)
    caught = msgspec.structs.replace(first.caught, families=families)
    hostile = msgspec.structs.replace(
        evaluation,
        title=HOSTILE,
        notes=(HOSTILE,),
        networks=(msgspec.structs.replace(first, network=HOSTILE, calibration=HOSTILE, caught=caught), *others),
        slices=(*evaluation.slices, msgspec.structs.replace(evaluation.slices[1], slice=HOSTILE)),
        curves=tuple(msgspec.structs.replace(curve, name=HOSTILE) for curve in evaluation.curves),
        slice_curves=(msgspec.structs.replace(evaluation.slice_curves[0], name=HOSTILE),),
        change=HOSTILE,
        missed=(MissedFamily(HOSTILE, 1, 0.1, HOSTILE),),
        learning=(msgspec.structs.replace(evaluation.learning[0], network=HOSTILE, constant=(HOSTILE,)),),
        card=ModelCard(((HOSTILE, HOSTILE),), (HOSTILE,), (HOSTILE,), (HOSTILE,)),
    )
    page = Page(render(hostile))
    assert page.tags("script") == []
    assert page.text.count(HOSTILE) >= 16


def test_without_purchases_every_gap_is_explained() -> None:
    """Where nothing can be measured the page has dashes and says why."""
    page = Page(render(samples.bare()))
    for reason in (
        "no click led to a purchase",
        "no session was busy",
        "The truth is not known for this log",
        "No curves: no click of the judging part led to a purchase",
        "No slice can be drawn",
        "No hour of the training part holds clicks",
        "Nothing was compared with the champion",
        "The labels of the training part were not looked at",
        "Not checked: that takes purchases",
        "How the thresholds were set is not known",
        "No learning curve was kept",
        "No model card was written",
    ):
        assert reason in page.text
    assert page.tags("svg") == []
    assert "nan" not in page.text.lower().split()
    assert not re.search(r"\bNone\b", page.text)


def test_the_evidence_is_told(evaluation: Evaluation, page: Page) -> None:
    """Champion, missed families with their signals, labels, proxy, promise, learning and card stand on the page."""
    text = re.sub(r"\s+", " ", page.text)
    assert "The champion is the bundle that decides now, 0a1b2c3d4e5f6071." in text
    assert evaluation.missed
    assert all(one.signal in text for one in evaluation.missed)
    for said in (
        "the 40000 clicks have no purchase label",
        "weighed up to all unmarked clicks",
        "of people's clicks (the truth)",
        "a share of 5 % promises too much",
        "Features that never varied in the training part, and so taught nothing: clicks_ip_1m.",
        "No curve: velocity",
        "three_layer (256 x 128 x 64)",
    ):
        assert said in text
    labels = [svg.get("aria-label") or "" for svg in page.tags("svg")]
    assert sum(label.startswith("Learning curve of") for label in labels) == 2


def test_an_uncertified_page_says_what_is_missing(evaluation: Evaluation) -> None:
    """Without a certificate the page says that nothing is promised, and how many purchasers one needs."""
    bare = Assurance("knee", None, 598, 120, 0.05)
    text = re.sub(r"\s+", " ", Page(render(msgspec.structs.replace(evaluation, assurance=bare))).text)
    assert "Uncertified." in text
    assert "needs 598 purchasers at least; the calibration part has 120" in text
    assert "Calibrate on more days" in text
    enough = msgspec.structs.replace(bare, purchasers=600)
    assert "There are enough here" in render(msgspec.structs.replace(evaluation, assurance=enough))


def test_a_change_that_cannot_be_told_says_why(evaluation: Evaluation) -> None:
    """Where there is no champion to compare with, its sentence stands in place of the table."""
    said = "There is no champion yet"
    assert said in Page(render(msgspec.structs.replace(evaluation, change=said))).text


def test_no_change_needs_no_table(evaluation: Evaluation) -> None:
    """Where every click is decided as before, a sentence says so, and no slice is listed."""
    assert isinstance(evaluation.change, Change)
    still = msgspec.structs.replace(evaluation.change.slices[0], newly_marked=0.0, newly_valid=0.0)
    text = Page(render(msgspec.structs.replace(evaluation, change=Change("a", (still,))))).text
    assert "Every click is decided as the champion decides it." in text
    assert "newly marked" not in text


def test_nothing_at_all_is_still_a_page() -> None:
    """An evaluation without networks, slices or notes renders."""
    page = Page(render(msgspec.structs.replace(samples.bare(), networks=(), slices=(), notes=())))
    assert "No network was judged." in page.text
    assert "No slice was judged." in page.text
    assert "Before you trust" not in page.text


def test_a_hundred_slices_draw_the_largest_and_list_all() -> None:
    """Of many slices the twelve largest are drawn, and every one stands in the table."""
    many = samples.evaluation(clicks=20_000, slices=100)
    page = Page(render(many))
    panels = [svg for svg in page.tags("svg") if "IVR-FPR curve of the slice" in (svg.get("aria-label") or "")]
    assert len(panels) == DRAWN
    assert "12 largest of 100 slices" in re.sub(r"\s+", " ", page.text)
    largest = max(many.slices[1:], key=lambda result: result.clicks)
    assert largest.slice in (panels[0].get("aria-label") or "")
    assert all(result.slice in page.text for result in many.slices)


def test_thousands_of_slices_list_the_largest(evaluation: Evaluation) -> None:
    """The table of thousands of slices holds the largest, and the page says how many it leaves out."""
    one = evaluation.slices[1]
    many = tuple(msgspec.structs.replace(one, slice=f"device={n:04}", clicks=n) for n in range(2000))
    text = Page(render(msgspec.structs.replace(evaluation, slices=(evaluation.slices[0], *many), slice_curves=()))).text
    assert f"The {2001 - LISTED} smallest slices are left out" in text
    assert "device=1999" in text
    assert "device=0000" not in text


def test_a_point_beyond_the_plot_is_named(evaluation: Evaluation) -> None:
    """A threshold whose FPR lies outside the plot near the budget is told in words."""
    first, *others = evaluation.networks
    far = msgspec.structs.replace(first, fpr=msgspec.structs.replace(first.fpr, value=0.7, high=0.8))
    page = Page(render(msgspec.structs.replace(evaluation, networks=(far, *others))))
    assert "three_layer (slices) at an FPR of 70.00" in page.text
