from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.service.killing import compare, kill_during_load
from tests.service.making import make_bundle


def test_kills_during_load_leave_no_trace(tmp_path: Path) -> None:
    """A service killed at random moments and started again has the rows of one that was never disturbed."""
    bundle = make_bundle(tmp_path / "bundles")
    killed = kill_during_load(tmp_path, np.random.default_rng(2), kills=3, clicks=4000, longest=0.3)
    assert (killed.kills, len(killed.recovery_seconds)) == (3, 3)
    compared = compare(tmp_path, bundle, killed)
    assert compared.rows == len(killed.acknowledged) >= 4000
    assert (compared.differences, compared.lost, compared.double) == (0, 0, 0)
    # The comparison can tell: an answer that was never given, and rows of a click more, do not pass.
    killed.acknowledged[0] = killed.acknowledged[0] | {"sequence": -1}
    killed.acknowledged[len(killed.acknowledged)] = killed.acknowledged[1]
    assert compare(tmp_path, bundle, killed).lost == 2
