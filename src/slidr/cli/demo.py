"""Command of the demo."""

from __future__ import annotations

from pathlib import Path

import click

from slidr.cli.options import Bars, Outcome, printed
from slidr.cli.words import judgement, judgement_document
from slidr.clock import SystemClock
from slidr.demo.loop import LOGS, Request, Shown, run_demo

_QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


@click.command(short_help="Run the whole loop, on simulated traffic or on a log of yours.")
@click.option("--source", type=click.Choice(list(LOGS)), default="simulation", show_default=True, help="Kind of log.")
@click.option("--clicks", type=click.Path(path_type=Path), help="The click log; without one, traffic is simulated.")
@click.option("--purchases", type=click.Path(path_type=Path), help="The purchase log, where clicks do not tell of it.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-output"),
    show_default=True,
    help="Where everything goes; an earlier demo there is replaced.",
)
@click.option("--size", default=1_000_000, show_default=True, help="Clicks to simulate.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same traffic.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Requests a second to the service; without it, as many as it answers.",
)
@printed
def demo(
    source: str, clicks: Path | None, purchases: Path | None, folder: Path, size: int, seed: int, rate: float | None
) -> Outcome:
    """Run the whole loop: a log goes in, a bundle comes out, a service decides with it.

    Nine days train, calibrate and judge (7 + 1 + 1); a shorter log is cut 60/20/20 by time. The judging part is sent
    to a running service click by click, and every decision is compared with the batch; exit status 1 where one differs.
    """
    bars = Bars()
    shown = run_demo(Request(folder, source, clicks, purchases, size, seed, rate), SystemClock(), bars)
    bars.close()
    return outcome_of(shown, folder)


def outcome_of(shown: Shown, folder: Path) -> Outcome:
    """Return what the demo prints; where a decision differs from the batch, it has failed."""
    differences = shown.comparison.differences
    fault = (
        f"{differences:,} of {shown.comparison.decisions:,} decisions over HTTP differ from the batch, which is a fault"
        f" of slidr: please report it, with what stands above and the settings in {folder / 'slidr.toml'}"
        if differences
        else None
    )
    return Outcome(_text(shown, folder), _document(shown), fault)


def _document(shown: Shown) -> dict[str, object]:
    return {
        **judgement_document(shown.evaluation),
        "decisions": shown.comparison.decisions,
        "differences": shown.comparison.differences,
        "verdicts": shown.comparison.verdicts,
        "p50_ms": shown.latencies.quantile(0.5),
        "p99_ms": shown.latencies.quantile(0.99),
        "p999_ms": shown.latencies.quantile(0.999),
        "decisions_per_second": shown.latencies.rate,
        "seconds": shown.seconds,
        "bundle": shown.bundle,
        "report": str(shown.report),
        "rejections": shown.rejections,
    }


def _text(shown: Shown, folder: Path) -> str:
    compared, sent = shown.comparison, shown.latencies
    latencies = ", ".join(f"{name} {sent.quantile(share):.2f} ms" for name, share in _QUANTILES.items())
    verdicts = ", ".join(f"{count:,} {verdict}" for verdict, count in compared.verdicts.items())
    equal = (
        "every one equals the batch" if compared.differences == 0 else f"{compared.differences:,} DIFFER from the batch"
    )
    facts = (
        "seconds: " + ", ".join(f"{stage} {taken:.1f}" for stage, taken in shown.seconds.items()),
        f"bundle {shown.bundle}, settings {folder / 'slidr.toml'}",
        f"over HTTP: {compared.decisions:,} decisions ({verdicts}); {equal}",
    )
    lines = [
        *(f"rejected: {line}" for line in shown.rejections),
        judgement(shown.evaluation, *facts),
        "",
        f"service: {sent.rate:,.0f} decisions/s, {latencies}",
        f"report: {shown.report}",
    ]
    return "\n".join(lines)
