"""List rules over a table of clicks."""

from __future__ import annotations

import pyarrow as pa

from slidr.clock import HOUR
from slidr.daily.listed import listed
from slidr.lake.schema import conform
from slidr.rules import prepare_rules
from slidr.settings import RulesSettings
from slidr.tables import CLICKS


def clicks(impressions: list[str | None], **columns: list[str | None]) -> pa.Table:
    """Return clicks half an hour apart."""
    count = len(impressions)
    return conform(
        CLICKS,
        pa.table(
            {
                "click_id": [f"c{place}" for place in range(count)],
                "time": pa.array([HOUR + place * HOUR // 2 for place in range(count)]).cast(pa.timestamp("us", "UTC")),
                "impression": pa.array(impressions, pa.string()),
                **columns,
            }
        ),
    )


def test_each_rule_says_which_clicks_it_hits() -> None:
    """Columns are read as they are, a log's headers are nothing, and repeats are counted from the first click on."""
    rules = prepare_rules(RulesSettings(repeats="1h"))
    table = clicks(["a", "a", None, "a", "b", "a"], user_agent=["Googlebot", None, "curl/8", None, None, None])
    found = {name: hits.tolist() for name, hits in listed(rules, table).items()}
    assert found == {
        "crawlers": [True, False, True, False, False, False],
        "headers": [False] * 6,
        "repeats": [False, True, False, False, False, False],
    }


def test_clicks_without_impressions_repeat_none() -> None:
    """Nothing is counted where no click has an impression, and a table without the column has none."""
    rules = prepare_rules(RulesSettings(crawlers=(), repeats="24h"))
    table = clicks([None] * 3)
    assert not listed(rules, table)["repeats"].any()
    assert not listed(rules, table.drop_columns(["impression"]))["repeats"].any()


def test_a_long_table_is_read_in_parts() -> None:
    """Hits are found at their places, whatever chunk they lie in, and the progress adds up."""
    count = 150_000
    rules = prepare_rules(RulesSettings())
    agents: list[str | None] = [None] * count
    agents[0] = agents[70_000] = agents[-1] = "Googlebot"
    told: list[int] = []
    found = listed(rules, clicks([None] * count, user_agent=agents), told.append)
    assert found["crawlers"].nonzero()[0].tolist() == [0, 70_000, count - 1]
    assert sum(told) == count
    assert len(told) > 1
