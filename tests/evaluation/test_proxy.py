from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.daily.parts import numbers
from slidr.errors import LabelError
from slidr.evaluation.proxy import LEAST, check_proxy
from slidr.labels.rules import purchase
from slidr.metrics import Bools
from slidr.settings import LabelsSettings
from slidr.simulate import Plan, simulate

ONES = np.ones(4_000)


@given(st.integers(0, 1_000), st.integers(2, 20))
def test_alike_strata_leave_the_proxy_as_it_is(seed: int, one_in: int) -> None:
    """Where buyers are marked as others are, and every slice converts alike, weighing up changes little."""
    generator = np.random.default_rng(seed)
    purchased = np.arange(4_000) % 5 == 0
    marked = np.arange(4_000) // 5 % one_in == 0
    found = check_proxy(marked, purchased, generator.integers(0, 3, 4_000), ONES, ONES)
    assert found.reweighted == pytest.approx(found.proxy, rel=0.25)
    assert not found.warning


def test_marks_where_people_seldom_buy_are_seen() -> None:
    """A true rate that differs tenfold between slices is found to the noise of some forty marked buyers."""
    generator = np.random.default_rng(4)
    slices = np.repeat([0, 1], [20_000, 20_000])
    purchased = generator.random(40_000) < np.where(slices, 0.02, 0.2)
    marked = generator.random(40_000) < np.where(slices, 0.1, 0.01)
    found = check_proxy(marked, purchased, slices, np.ones(40_000), np.ones(40_000))
    assert found.proxy < 0.6 * marked.mean()
    assert found.reweighted == pytest.approx(marked.mean(), rel=0.3)
    assert found.warning
    assert "seldom buy" in found.summary()


@pytest.mark.parametrize("cause", ["activity", "ip_size"])
def test_heavy_clickers_and_crowded_ips_are_strata(cause: str) -> None:
    """The cause may be the activity or the size of the ip: what is marked among people who seldom buy is weighed up."""
    generator = np.random.default_rng(5)
    many = generator.integers(1, 9, 40_000)
    purchased = generator.random(40_000) < 0.3 / many
    marked = (many >= 8) & (generator.random(40_000) < 0.2)
    columns = {"activity": np.ones(40_000), "ip_size": np.ones(40_000)} | {cause: many}
    found = check_proxy(marked, purchased, np.zeros(40_000, np.int32), **columns)
    assert found.proxy < 0.6 * marked.mean()
    assert found.reweighted == pytest.approx(marked.mean(), rel=0.25)


def test_strata_with_few_buyers_are_joined() -> None:
    """A stratum needs buyers of its own; without them its clicks are judged with those around them."""
    purchased = np.arange(4_000) % 40 == 0
    marked = np.arange(4_000) % 80 == 0
    alone = check_proxy(marked, purchased, np.arange(4_000), ONES, ONES)
    assert (alone.strata, alone.ratio) == (1, 1.0)
    both = check_proxy(np.zeros(4_000, np.bool_), purchased, np.arange(4_000) // 2_000, ONES, ONES)
    assert purchased.sum() / 2 >= LEAST
    assert (both.strata, both.ratio, both.warning) == (2, None, False)
    assert "None of 100 purchasing clicks is marked" in both.summary()


def test_all_marked_is_all_marked() -> None:
    """Where nothing is left unmarked there is nobody to weigh up to, and the rate stays one."""
    everything = np.full(4_000, True)
    found = check_proxy(everything, np.arange(4_000) % 4 == 0, np.zeros(4_000, np.int32), ONES, np.full(4_000, np.nan))
    assert (found.proxy, found.reweighted, found.warning) == (1.0, 1.0, False)


def test_no_purchases_have_no_proxy() -> None:
    """The error counts the clicks."""
    with pytest.raises(LabelError, match="none of 4000 clicks led to a purchase"):
        check_proxy(ONES > 0, ONES < 0, np.zeros(4_000, np.int32), ONES, ONES)


def simulated(seed: int) -> tuple[Bools, Bools, list[np.ndarray], Bools]:
    """Return marks of visits with several clicks in a day, purchases, the strata, and the robots."""
    days = list(simulate(Plan(clicks=60_000, days=1, burn_in=0, settle=1), np.random.default_rng(seed)))
    clicks, bought = days[0].clicks, pa.concat_tables([day.purchases for day in days])
    purchased = purchase.human(clicks, bought, as_of=2**60, settings=LabelsSettings())
    device, users, sessions, ips = (numbers(clicks[name]) for name in ("device", "user", "session", "ip"))
    activity, visit, crowd = (np.bincount(key + 1)[key + 1] for key in (users, sessions, ips))
    logged_in = clicks["logged_in"].to_numpy()
    marked = (visit >= 3) & ~logged_in & (sessions >= 0)
    return marked, purchased, [2 * device + logged_in, activity, crowd], days[0].truth["robot"].to_numpy()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_comes_nearer_to_the_simulators_truth_than_the_proxy(seed: int) -> None:
    """Marks of logged-out visits look cheap by purchases; weighed up they come nearer to the share of people marked."""
    marked, purchased, strata, robots = simulated(seed)
    found, truth = check_proxy(marked, purchased, *strata), float(marked[~robots].mean())
    print(f"seed {seed}: proxy {found.proxy:.4f}, reweighted {found.reweighted:.4f}, true {truth:.4f}")  # noqa: T201
    assert abs(found.reweighted - truth) < abs(found.proxy - truth)
