from __future__ import annotations

import msgspec
import pytest
from tests.report import samples

from slidr.evaluation.results import Interval
from slidr.report.verdict import budget_kept, verdict


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (Interval(0.003, 0.002, 0.004), "was kept"),
        (Interval(0.009, 0.007, 0.012), "was exceeded"),
        (Interval(0.004, 0.002, 0.007), "lies within the interval"),
        (Interval(None, None, None), "cannot be told"),
    ],
)
def test_the_budget_s_fate_follows_the_interval(interval: Interval, said: str) -> None:
    """Kept and exceeded are said only where the whole interval says so."""
    result = msgspec.structs.replace(samples.evaluation(clicks=2000).networks[0], fpr=interval)
    assert said in budget_kept(result, 0.005)


def test_the_verdict_names_every_network_once() -> None:
    """The verdict is two sentences, which name each network's IVR at equal FPR once."""
    evaluation = samples.evaluation(clicks=5000)
    deed, comparison = verdict(evaluation).split(". ")
    assert deed.startswith("On the judging part")
    assert [comparison.count(name) for name in samples.NETWORKS] == [1, 1, 1]


def test_no_network_no_verdict() -> None:
    """An evaluation without networks says so."""
    assert "No network" in verdict(msgspec.structs.replace(samples.bare(), networks=()))


def test_a_verdict_without_purchases_claims_no_fpr() -> None:
    """Without purchases the verdict gives IVR alone, and says why."""
    said = verdict(samples.bare())
    assert "no click there led to a purchase" in said
    assert "no other network" in said
