"""Command of the skew report: skew."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from tabulate import tabulate

from slidr.cli.options import Bars, Outcome, printed, settings_option
from slidr.clock import SECOND
from slidr.errors import JournalError
from slidr.features.catalogue import default_catalogue
from slidr.features.keys import Pseudonymiser, read_secret
from slidr.features.layout import compile_catalogue
from slidr.journal import Journal
from slidr.journals import journals_at
from slidr.lake.delta import Lake
from slidr.report.numerals import count, percent
from slidr.settings import Settings
from slidr.skew.comparison import compare
from slidr.skew.reference import JournalReference, LakeReference, Reference
from slidr.skew.tally import Skew

_MOMENT = click.DateTime(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])


@click.command(short_help="Compare the rows that served with those of backfill.")
@settings_option
@click.option(
    "--against",
    type=click.Choice(["lake", "journal"]),
    default="lake",
    show_default=True,
    help="What the rows should be: the features of the lake, or the journal folded again from the seed.",
)
@click.option(
    "--journal",
    "journals",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A service's journal, instead of the settings' one; repeat it for processes that share a store.",
)
@click.option(
    "--state", type=click.Path(path_type=Path), help="The seed to fold the journal from, with --against journal."
)
@click.option("--from", "start", type=_MOMENT, help="Compare clicks from this time on, UTC.")
@click.option("--until", "end", type=_MOMENT, help="Compare clicks before this time, UTC.")
@click.option(
    "--fail-above", type=click.FloatRange(0, 1), help="Exit with 1 where a larger share of the clicks differs."
)
@printed
def skew(
    settings: Settings,
    *,
    against: str,
    journals: tuple[Path, ...],
    state: Path | None,
    start: datetime | None,
    end: datetime | None,
    fail_above: float | None,
) -> Outcome:
    """Compare the rows that the service journalled with those of backfill, feature by feature.

    The journal may be in use. Differences are told, not judged: the exit status is 0, unless --fail-above is exceeded.
    """
    bars = Bars()
    span = _microseconds(start), _microseconds(end)
    pseudonymiser = Pseudonymiser(read_secret(Path(settings.storage.key_file)))
    with ExitStack() as stack:
        opened = [stack.enter_context(_opened(path)) for path in journals or _journals(settings)]
        reference: Reference
        if against == "lake":
            reference = LakeReference(Lake(settings.storage.lake), *span)
        else:
            reference = _folded_again(settings, opened, state, pseudonymiser.fingerprint)
        found = compare(opened, reference, pseudonymiser, span, progress=bars.counting(f"skew {against}"))
    bars.close()
    return Outcome(_text(found, against), _document(found, against), _fault(found, fail_above))


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp()) * SECOND


def _journals(settings: Settings) -> tuple[Path, ...]:
    path = Path(settings.storage.journal)
    return journals_at(path) or (path,)


def _opened(path: Path) -> Journal:
    if not path.exists():
        raise JournalError(f"there is no journal {path}; `slidr serve` writes it, or name another with --journal")
    journal = Journal(path, write=False)
    if journal.last_sequence < 0:
        journal.close()
        raise JournalError(f"the journal {path} is empty: the service has decided nothing yet")
    return journal


def _folded_again(settings: Settings, journals: list[Journal], state: Path | None, fingerprint: str) -> Reference:
    first = min(next(journal.entries())[0].sequence for journal in journals)
    seed = Path(settings.storage.seed)
    # A service without a seed begins with click 0, and one may have been written since.
    state = seed if state is None and first > 0 and seed.exists() else state
    layout = compile_catalogue(default_catalogue(settings.features))
    return JournalReference(layout, state, first, fingerprint=fingerprint)


def _fault(found: Skew, most: float | None) -> str | None:
    if most is None:
        return None
    if found.share is None:
        return f"no click could be compared, so nothing is known of --fail-above {most:g}"
    if found.share > most:
        return f"{percent(found.share, 4)} of the clicks differ, which is above --fail-above {most:g}"
    return None


def _document(found: Skew, against: str) -> dict[str, object]:
    return {"against": against, "share": found.share, **msgspec.to_builtins(found)}


def _text(found: Skew, against: str) -> str:
    other = "lake" if against == "lake" else "journal folded again"
    differ = f"{count(found.different)} differ ({percent(found.share, 4)})"
    facts = [
        f"{count(found.compared, 'click')} compared with the {other}: {differ}",
        *(f"{count(clicks, 'click')} not compared: {reason}" for reason, clicks in found.unsound.items()),
    ]
    for clicks, words in (
        (found.only_journal, "in the journal alone"),
        (found.only_lake, "in the lake alone"),
        (found.repeated, "journalled twice"),
        (found.another_key, "hashed with another secret key"),
    ):
        if clicks:
            facts.append(f"{count(clicks, 'click')} {words}")
    if found.missing:
        facts.append(f"{count(found.missing, 'sequence')} that no journal holds")
    for names, words in (
        (found.features_only_journal, "journalled alone"),
        (found.features_only_reference, f"in the {other} alone"),
    ):
        if names:
            facts.append(f"features {words}: {', '.join(names)}")
    return "\n\n".join(part for part in ("\n".join(facts), _differences(found), _worst(found)) if part)


def _differences(found: Skew) -> str:
    rows = [
        (
            feature.name,
            count(feature.different),
            percent(feature.different / feature.compared, 4),
            *(f"{value:.6g}" for value in (feature.mean_absolute, feature.max_absolute)),
            *(percent(value, 3) for value in (feature.mean_relative, feature.max_relative)),
        )
        for feature in sorted(found.features, key=lambda feature: -feature.different)
        if feature.different
    ]
    headers = ("feature", "differ", "share", "mean\ndifference", "largest", "mean\nrelative", "largest\nrelative")
    return tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * 6)) if rows else ""


def _worst(found: Skew) -> str:
    rows = [
        (
            feature.name,
            example.click_id,
            datetime.fromtimestamp(example.time / SECOND, UTC).isoformat(timespec="milliseconds"),
            f"{example.journalled:.9g}",
            f"{example.expected:.9g}",
        )
        for feature in sorted(found.features, key=lambda feature: -feature.different)
        for example in feature.worst
    ]
    headers = ("feature", "worst click", "time (UTC)", "journalled", "expected")
    return tabulate(rows, headers, disable_numparse=True) if rows else ""
