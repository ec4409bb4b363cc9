from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from slidr.clock import DAY, SECOND
from slidr.labels.rules import rfm
from slidr.lake.schema import conform
from slidr.settings import LabelsSettings
from slidr.tables import CLICKS, PURCHASES

UTC = pa.timestamp("us", tz="UTC")
NOW = 1_000 * DAY
Bought = tuple[str | None, int, int | None, str]


def purchases(*rows: Bought) -> pa.Table:
    """Return purchases (user, days before NOW, value, currency)."""
    return conform(
        PURCHASES,
        pa.table(
            {
                "purchase_id": [f"p{row}" for row in range(len(rows))],
                "time": pa.array([NOW - row[1] * DAY for row in rows]).cast(UTC),
                "user": pa.array([row[0] for row in rows], pa.string()),
                "value": pa.array([row[2] for row in rows], pa.int64()),
                "currency": [row[3] for row in rows],
            }
        ),
    )


def ranks(bought: pa.Table, **settings: object) -> dict[str, list[int]]:
    """Return the ranks of every account."""
    users, found = rfm.scores(bought, as_of=NOW, settings=LabelsSettings(**settings))  # type: ignore[arg-type]
    return dict(zip(users.to_pylist(), found.tolist(), strict=True))


def test_ranks_by_hand() -> None:
    """Four accounts in four parts: recency, frequency and value rank them as one would by hand."""
    bought = purchases(
        ("a", 1, 10, "EUR"), ("a", 5, 10, "EUR"), ("a", 9, 10, "EUR"),
        ("b", 2, 500, "EUR"), ("b", 8, 500, "EUR"),
        ("c", 3, 90, "EUR"),
        ("d", 40, 5, "EUR"),
    )  # fmt: skip
    assert ranks(bought, rfm_quantiles=4) == {"a": [4, 4, 2], "b": [3, 3, 4], "c": [2, 1, 3], "d": [1, 1, 1]}


def test_equal_accounts_rank_equal_and_low() -> None:
    """Where all accounts are alike, nobody stands out; and one account alone does not either."""
    assert ranks(purchases(*[(user, 1, 7, "EUR") for user in "abcde"])) == {user: [1, 1, 1] for user in "abcde"}
    assert ranks(purchases(("a", 1, 7, "EUR"))) == {"a": [1, 1, 1]}


def test_only_the_history_counts() -> None:
    """A purchase as old as the history is out; one a day younger is in."""
    bought = purchases(("old", 90, 7, "EUR"), ("new", 89, 7, "EUR"))
    assert set(ranks(bought, rfm_history="90d")) == {"new"}


def test_money_is_compared_within_a_currency() -> None:
    """A thousand yen are not more than ten euros; an account takes the best of its currencies."""
    bought = purchases(
        ("a", 1, 10, "EUR"), ("b", 1, 20, "EUR"), ("c", 1, 1_000, "JPY"), ("d", 1, 2_000, "JPY"), ("d", 1, 1, "EUR")
    )
    money = {user: found[2] for user, found in ranks(bought, rfm_quantiles=2).items()}
    assert money == {"a": 1, "b": 2, "c": 1, "d": 2}


def test_a_purchase_without_a_value_counts_as_zero() -> None:
    """A null value does not lift an account, nor does it fail."""
    found = ranks(purchases(("a", 1, None, "EUR"), ("b", 1, 1, "EUR")), rfm_quantiles=2)
    assert (found["a"][2], found["b"][2]) == (1, 2)


def test_the_rule_can_be_turned_off() -> None:
    """With `rfm = false` no click is human by this rule, whatever was bought."""
    clicks = conform(CLICKS, pa.table({"click_id": ["c"], "time": pa.array([NOW]).cast(UTC), "user": ["b"]}))
    bought = purchases(("a", 2, 1, "EUR"), ("b", 1, 9, "EUR"), ("b", 1, 9, "EUR"))
    settings = LabelsSettings(rfm_quantiles=2, rfm_minimum=6)
    assert rfm.human(clicks, bought, as_of=NOW, settings=settings).tolist() == [True]
    off = LabelsSettings(rfm=False, rfm_quantiles=2, rfm_minimum=6)
    assert rfm.human(clicks, bought, as_of=NOW, settings=off).tolist() == [False]


def cdnow(data: Path) -> pa.Table:
    """Read the CDNOW purchases: customer, day, discs, dollars."""
    with gzip.open(data / "cdnow" / "purchases.txt.gz", "rt") as lines:
        rows = [line.split() for line in lines][1:]
    days = [dt.datetime.strptime(row[1], "%Y%m%d").replace(tzinfo=dt.UTC) for row in rows]
    return conform(
        PURCHASES,
        pa.table(
            {
                "purchase_id": [str(place) for place in range(len(rows))],
                "time": days,
                "user": [row[0] for row in rows],
                "value": [round(float(row[3]) * 1_000_000) for row in rows],
                "currency": ["USD"] * len(rows),
            }
        ),
    )


END_OF_1997 = int(dt.datetime(1998, 1, 1, tzinfo=dt.UTC).timestamp()) * SECOND - 1
YEAR = LabelsSettings(rfm_history="365d")


def test_ranks_of_real_data_are_those_of_the_definition(data: Path) -> None:
    """On CDNOW the ranks agree with the definition said again in pandas, ties included."""
    bought = cdnow(data)
    users, found = rfm.scores(bought, as_of=END_OF_1997, settings=YEAR)
    frame = pd.DataFrame({name: bought[name].to_numpy() for name in ("user", "time", "value")})
    moments = bought["time"].cast(pa.int64()).to_numpy()
    accounts = (
        frame[moments <= END_OF_1997].groupby("user").agg(R=("time", "max"), F=("time", "size"), M=("value", "sum"))
    )
    expected = 1 + 5 * (accounts.rank(method="min").to_numpy().astype(np.int64) - 1) // len(accounts)
    place = {user: row for row, user in enumerate(users.to_pylist())}
    assert (found[[place[user] for user in accounts.index]] == expected).all()


def test_segments_of_real_data_are_those_of_the_page(data: Path) -> None:
    """Every CDNOW customer is in one segment, and docs/labels.md shows their counts as they are."""
    _, found = rfm.scores(cdnow(data), as_of=END_OF_1997, settings=YEAR)
    segments = rfm.segments(found, YEAR)
    assert sum(segment.accounts for segment in segments) == 23_570
    assert sum(segment.accounts for segment in segments if segment.human) == 5_167
    page = (Path(__file__).parents[3] / "docs" / "labels.md").read_text()
    for place, name in enumerate(("recency", "frequency", "monetary")):
        counts = np.bincount(found[:, place], minlength=6)[1:]
        assert f"| {name} | " + " | ".join(f"{count:,}" for count in counts) + " |" in page


def test_high_rfm_foretells_purchases_on_real_data(data: Path) -> None:
    """Of CDNOW's customers those called human at the end of 1997 bought again in 1998 far more often than others."""
    bought = cdnow(data)
    users, found = rfm.scores(bought, as_of=END_OF_1997, settings=YEAR)
    later = set(bought.filter(pa.array(bought["time"].cast(pa.int64()).to_numpy() > END_OF_1997))["user"].to_pylist())
    again = np.array([user in later for user in users.to_pylist()])
    high = found.sum(axis=1) >= YEAR.rfm_minimum
    assert again[high].mean() > 4 * again[~high].mean()
