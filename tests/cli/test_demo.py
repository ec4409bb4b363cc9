"""The demo's own words: it fails, after it has said everything, where a decision differs from the batch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.learned import Learned

from slidr.cli.demo import outcome_of
from slidr.cli.options import printed
from slidr.demo.live import Comparison
from slidr.demo.loop import Shown
from slidr.errors import ServiceError
from slidr.load import Replay


def shown(learned: Learned, *, differences: int) -> Shown:
    """Return a demo of which some decisions differ."""
    sent = Replay(np.full(3, 200, np.int16), [b"{}"] * 3, np.full(3, 0.001), 0.003)
    compared = Comparison(3000, differences, {"valid": 3000})
    report = Path("report.html")
    return Shown(learned.evaluation, compared, sent, report, learned.bundle.id, {"serve": 0.003}, ("1 row",))


@pytest.mark.parametrize("as_json", [False, True])
def test_a_difference_fails_the_demo(learned: Learned, capsys: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    """Everything is printed as ever, and then the difference is an error, which the command line ends with 1."""
    outcome = outcome_of(shown(learned, differences=1234), Path("demo-output"))
    with pytest.raises(ServiceError, match=r"1,234 of 3,000 decisions .* differ from the batch"):
        printed(lambda: outcome)(as_json=as_json)
    out = capsys.readouterr().out
    if as_json:
        assert json.loads(out)["differences"] == 1234
    else:
        assert "1,234 DIFFER from the batch" in out
        assert out.endswith("report: report.html\n")


def test_no_difference_is_a_success(learned: Learned, capsys: pytest.CaptureFixture[str]) -> None:
    """Where every decision equals the batch, the demo says so and ends well."""
    outcome = outcome_of(shown(learned, differences=0), Path("demo-output"))
    printed(lambda: outcome)(as_json=False)
    assert outcome.fault is None
    assert "every one equals the batch" in capsys.readouterr().out
