"""What reasons cost: contributions of a demo's invalid clicks, on look-up and as the hot path would have to pay them.

    python -m benchmarks.reasons [--folder demo-output] [--clicks 200]

The clicks are drawn from what the demo's service found invalid. The error is against 4,096 orders, as a share of the
click's largest contribution. The hot path is a batch of 64 clicks as the demo had them, codes alone: by a single order
and its reverse, and by the cheapest there is, which is to score each invalid click again without each group in turn.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slidr.bundle import Bundle, read_bundle
from slidr.journal import Entry, Journal
from slidr.model.scorer import Scorer
from slidr.reasons import Explainer, explain
from slidr.reasons.attribution import ORDERS, Attribution
from slidr.reasons.wording import grouped
from slidr.tables import Verdict

BATCH = 64
MANY = 4096
COMPARED = 40
TRIED = (2, 4, 8, 16, 32, 64, 128)
ROUNDS = 5


def main() -> None:
    """Read a demo, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("demo-output"), help="what `slidr demo` wrote")
    parser.add_argument("--clicks", type=int, default=200, help="how many invalid clicks are explained")
    chosen = parser.parse_args()
    (place,) = (chosen.folder / "bundles").iterdir()
    bundle = read_bundle(place)
    journal = Journal(chosen.folder / "journal.sqlite", write=False)
    entries = list(itertools.chain.from_iterable(journal.entries()))
    invalid = [entry for entry in entries if entry.verdict == Verdict.INVALID_SOPHISTICATED]
    drawn = np.random.default_rng(1).choice(len(invalid), chosen.clicks, replace=False)
    picked = [invalid[place] for place in drawn.tolist()]
    explainer = Explainer(bundle)
    context = journal.context(picked[0].context)
    for entry in picked[:5]:
        print(f"\n{entry.click_id}")
        for reason in explain(entry, context, explainer):
            share = "" if reason.log_odds is None else f"{reason.log_odds:+.2f}"
            print(f"  {share:>6} {reason.code}: {reason.words}")
    figures: dict[str, float] = {
        "features": len(bundle.catalogue),
        "groups": len(grouped(bundle.catalogue)),
        "orders": ORDERS,
    }
    figures |= by_orders(bundle, np.array([_row(entry) for entry in picked]))
    figures["look_up_us"] = round(_each(lambda entry: explain(entry, context, explainer), picked))
    figures["explainer_us"] = round(_each(lambda _: Explainer(bundle), picked[:5]))
    figures |= hot_path(bundle, entries)
    journal.close()
    print(json.dumps(figures))


def _row(entry: Entry) -> NDArray[np.float32]:
    return np.frombuffer(entry.row, "<f4")


def _each(work: Callable[[Entry], object], entries: list[Entry]) -> float:
    """Return microseconds an entry, the best of some rounds."""
    best = np.inf
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for entry in entries:
            work(entry)
        best = min(best, (time.perf_counter() - began) / len(entries))
    return float(best * 1e6)


def _attribution(bundle: Bundle, orders: int) -> Attribution:
    return Attribution(Scorer(bundle.graph), grouped(bundle.catalogue), _reference(bundle), orders)


def _reference(bundle: Bundle) -> NDArray[np.float32]:
    if bundle.reference is None:
        raise SystemExit("the bundle has no reference click; run `slidr demo` again")
    return bundle.reference.row(tuple(feature.name for feature in bundle.catalogue))


def by_orders(bundle: Bundle, rows: NDArray[np.float32]) -> dict[str, float]:
    """Return time and error by the number of orders."""
    most = _attribution(bundle, MANY)
    true = [most.shares(row) for row in rows[:COMPARED]]
    figures: dict[str, float] = {}
    print(f"\n{'orders':>6} {'us':>7} {'mean error':>11} {'worst':>7} {'same first':>11} {'same three':>11}")
    for orders in TRIED:
        attribution = _attribution(bundle, orders)
        errors, first, three = [], 0, 0
        for row, known in zip(rows, true, strict=False):
            shares = attribution.shares(row)
            errors.append(max(abs(shares[group] - known[group]) for group in known) / max(known.values()))
            found, ranked = _ranked(shares), _ranked(known)
            first += found[0] == ranked[0]
            three += set(found[:3]) == set(ranked[:3])
        best = np.inf
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for row in rows:
                attribution.contributions(row)
            best = min(best, (time.perf_counter() - began) / len(rows))
        mean, worst = float(np.mean(errors)), max(errors)
        same = f"{first / len(true):>10.0%} {three / len(true):>11.0%}"
        print(f"{orders:>6} {best * 1e6:>7.0f} {mean:>11.1%} {worst:>7.1%} {same}")
        figures[f"us_{orders}"], figures[f"error_{orders}"] = round(best * 1e6), round(mean, 4)
    return figures


def _ranked(shares: dict[str, float]) -> list[str]:
    return [group for _, group in sorted((-share, group) for group, share in shares.items())]


def hot_path(bundle: Bundle, entries: list[Entry]) -> dict[str, float]:
    """Return microseconds a click in batches of 64: scored alone, and with codes of the invalid ones."""
    attribution, scorer = _attribution(bundle, 2), Scorer(bundle.graph)
    asked = [entry for entry in entries if entry.score is not None][: 50 * BATCH]
    rows = np.array([_row(entry) for entry in asked])
    invalid = np.array([entry.verdict == Verdict.INVALID_SOPHISTICATED for entry in asked])
    groups = grouped(bundle.catalogue)
    kept = np.ones((len(groups), rows.shape[1]), np.bool_)
    for place, columns in enumerate(groups.values()):
        kept[place, columns] = False
    reference = _reference(bundle)

    def alone(start: int) -> None:
        scorer.score(rows[start : start + BATCH])

    def by_orders(start: int) -> None:
        alone(start)
        for at in np.flatnonzero(invalid[start : start + BATCH]).tolist():
            attribution.shares(rows[start + at])

    def without_each(start: int) -> None:
        alone(start)
        bad = rows[start : start + BATCH][invalid[start : start + BATCH]]
        if len(bad):
            left = np.where(kept, bad[:, np.newaxis], reference).reshape(-1, rows.shape[1])
            scorer.logit(left).reshape(len(bad), -1).argmin(axis=1)

    works = {"score": alone, "two_orders": by_orders, "without_each": without_each}
    best = dict.fromkeys(works, np.inf)
    for _, (name, work) in itertools.product(range(ROUNDS), works.items()):
        began = time.perf_counter()
        for start in range(0, len(rows), BATCH):
            work(start)
        best[name] = min(best[name], (time.perf_counter() - began) / len(rows))
    figures = {f"hot_{name}_us": round(float(one * 1e6), 1) for name, one in best.items()}
    return {"invalid_share": round(float(invalid.mean()), 3)} | figures


if __name__ == "__main__":
    main()
