"""Telling end to end: a receiver that fails, is told again, and has every correction once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from tests import small
from tests.receiving import Taken, receiving
from tests.replayed import NOW, bundles, clicks_of, decider_of, owed, plan_of, served

from slidr.clock import ManualClock
from slidr.errors import ReplayError
from slidr.lake.delta import Lake
from slidr.lake.upkeep import compact
from slidr.posting import Receiver
from slidr.replay.plan import Plan
from slidr.replay.rescore import rescore
from slidr.replay.running import publish
from slidr.replay.telling import Told, tell
from slidr.tables import DECISIONS


def replayed(folder: Path) -> tuple[Lake, Plan]:
    """Return a lake with a replay that has corrected much, and its plan."""
    good, bad = bundles(folder)
    lake = served(folder / "served", clicks_of(300), [bad])
    plan = plan_of(lake, good)
    publish(lake, plan, rescore(lake, plan, decider_of(good)), "UTC")
    return lake, plan


def told(taken: Sequence[Taken]) -> list[dict[str, Any]]:
    """Return the decisions of messages, each message once."""
    messages = {one.headers["webhook-id"]: json.loads(one.body) for one in taken}
    return [decision for message in messages.values() for decision in message["data"]["decisions"]]


def test_every_correction_is_told_once(tmp_path: Path) -> None:
    """A receiver that fails is told the rest when the replay is run again, in the same batches though files moved."""
    lake, plan = replayed(tmp_path)
    ours = lake.read(DECISIONS)
    ours = ours.filter(pc.equal(ours["cause"], plan.cause))
    with receiving([204, 204, 500]) as (address, taken):
        receiver = Receiver(address, ManualClock(NOW), setting="replay.webhook", pauses=())
        with pytest.raises(ReplayError, match="did not take batch 3: HTTP 500; run the same command again"):
            tell(lake, plan, receiver, 20)
        compact(lake, small.START.date() + timedelta(days=5))
        rest = tell(lake, plan, receiver, 20)
        assert rest.before == 2
        assert tell(lake, plan, receiver, 20) == Told(0, 0, rest.before + rest.batches)
    found = told(taken)
    assert sorted(one["decision_id"] for one in found) == sorted(ours["decision_id"].to_pylist())
    assert sum(one["credit"] for one in found) == owed(lake)
    assert "invalid_sophisticated" in {one["verdict_before"] for one in found}
    assert [json.loads(one.body)["data"]["batch"] for one in taken[:4]] == [1, 2, 3, 3]
    assert taken[2] == taken[3]
