"""Labels: which clicks are human, from purchases; the rules lie in `slidr.labels.rules`, a file each.

A click that no rule calls human is unlabelled, not robotic: the labels are positive and unlabelled (Real-Time
Detection of Robotic Traffic in Online Advertising, IAAI 2023).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr import extensions
from slidr.errors import LabelError
from slidr.labels.rules.purchase import purchasers
from slidr.labels.times import microseconds
from slidr.lake.schema import arrow_schema
from slidr.settings import LabelsSettings, duration
from slidr.tables import LABELS, LabelReason

_RULES = "slidr.labels.rules"
_UTC = pa.timestamp("us", tz="UTC")


def rules() -> tuple[str, ...]:
    """Return the names of the rules in the order in which they give a click its reason, purchase first."""
    return tuple(sorted(extensions.names(_RULES), key=lambda name: (name != LabelReason.PURCHASE, name)))


def label(
    clicks: pa.Table,
    purchases: pa.Table,
    *,
    as_of: int,
    settings: LabelsSettings,
    accounts_as_of: int | None = None,
    final: bool = False,
) -> pa.Table:
    """Label clicks human from what was bought, in the order of the clicks given.

    Args:
        clicks: rows of CLICKS.
        purchases: rows of PURCHASES; those later than `as_of` do not count.
        as_of: microseconds since 1970, UTC; purchases up to here are known.
        settings: the attribution window and the RFM rule.
        accounts_as_of: rules that judge an account by its purchases, such as RFM, see those up to here: the training
            date, so that what an account buys later cannot reach the training; `as_of` where None.
        final: the log tells the last word on purchases, so that every label is mature at once.

    Returns:
        A table that follows LABELS; `reason` is the first rule that calls the click human, `none` where no rule does;
        `purchaser` is who bought after the click, null where nobody did.

    Raises:
        LabelError: no purchase is known as of that time.
    """
    known = purchases.filter(pc.less_equal(microseconds(purchases), pa.scalar(as_of)))
    if not known.num_rows:
        raise LabelError(_no_purchases(purchases, as_of))
    bought = purchasers(clicks, known, as_of=as_of, settings=settings)
    reasons = np.full(clicks.num_rows, LabelReason.NONE.value, dtype=object)
    reasons[pc.is_valid(bought).to_numpy()] = LabelReason.PURCHASE.value
    for name, human in _account_hits(clicks, known, _accounts_at(as_of, accounts_as_of), settings).items():
        reasons[human & (reasons == LabelReason.NONE.value)] = name
    times = microseconds(clicks).to_numpy()
    matured = times if final else times + duration(settings.attribution_window)
    columns = [
        clicks["click_id"],
        clicks["time"],
        pa.array(reasons != LabelReason.NONE.value),
        pa.array(reasons, pa.string()),
        bought,
        pa.array(matured).cast(_UTC),
        pa.array(np.full(clicks.num_rows, as_of)).cast(_UTC),
    ]
    return pa.Table.from_arrays(columns, schema=arrow_schema(LABELS))


def rule_hits(
    clicks: pa.Table, purchases: pa.Table, *, as_of: int, settings: LabelsSettings, accounts_as_of: int | None = None
) -> dict[str, NDArray[np.bool_]]:
    """Return which clicks every rule calls human, bool[n] by rule: LABELS keeps the first rule alone; see `label`."""
    bought = purchasers(clicks, purchases, as_of=as_of, settings=settings)
    found = {LabelReason.PURCHASE.value: np.asarray(pc.is_valid(bought).to_numpy(), np.bool_)}
    return found | _account_hits(clicks, purchases, _accounts_at(as_of, accounts_as_of), settings)


def _accounts_at(as_of: int, accounts_as_of: int | None) -> int:
    return as_of if accounts_as_of is None else min(as_of, accounts_as_of)


def _account_hits(
    clicks: pa.Table, purchases: pa.Table, moment: int, settings: LabelsSettings
) -> dict[str, NDArray[np.bool_]]:
    """Return which clicks each rule but purchase calls human, by purchases up to a moment."""
    seen = purchases.filter(pc.less_equal(microseconds(purchases), pa.scalar(moment)))
    return {
        name: extensions.load(_RULES, name).human(clicks, seen, as_of=moment, settings=settings) for name in rules()[1:]
    }


def mature(labels: pa.Table) -> NDArray[np.bool_]:
    """Return which labels are mature, bool[n]: those whose attribution window had closed as of their making."""
    closed = pc.less_equal(microseconds(labels, "matured_at"), microseconds(labels, "as_of"))
    return np.asarray(closed.to_numpy(), dtype=np.bool_)


def _no_purchases(purchases: pa.Table, as_of: int) -> str:
    moment = pa.scalar(as_of, pa.int64()).cast(_UTC)
    if not purchases.num_rows:
        return (
            "there are no purchases, so no click can be labelled human; set purchases.path, and see what was rejected"
        )
    first = pc.call_function("min", [purchases["time"]])
    return (
        f"none of {purchases.num_rows} purchases is known as of {moment}: the first is at {first}; "
        "label as of a later time, or check the purchases' time zone"
    )
