"""The command line, in the order of the flow; each command parses, calls and prints."""

from __future__ import annotations

import importlib
import sys
from typing import NamedTuple

import click

from slidr.errors import MissingExtraError, SlidrError

_EXTRAS = {
    "pyarrow": "lake",
    "deltalake": "lake",
    "narwhals": "lake",
    "torch": "train",
    "onnx": "train",
    "lightgbm": "train",
    "scipy": "train",
    "redis": "redis",
    "hiredis": "redis",
    "jinja2": "report",
    "matplotlib": "report",
}


class Entry(NamedTuple):
    """Where a command is and what it does."""

    module: str
    help: str


COMMANDS = {
    "demo": Entry("demo", "Run the whole loop, on simulated traffic or on a log of yours."),
    "init": Entry("start", "Write a settings file to start from."),
    "simulate": Entry("logs", "Write a click log and a purchase log whose truth is known."),
    "ingest": Entry("logs", "Read the logs through the door into the lake."),
    "collect": Entry("logs", "Put the purchases reported to the service into the lake."),
    "features": Entry("start", "Show the catalogue of features."),
    "label": Entry("flow", "Label clicks human from purchases."),
    "backfill": Entry("flow", "Fold the log into features and state."),
    "train": Entry("flow", "Fit the networks."),
    "calibrate": Entry("flow", "Set the thresholds that keep the false-positive budget."),
    "judge": Entry("flow", "Measure the thresholds on a later day and write the report."),
    "ablate": Entry("flow", "Learn again without each part of the method, and compare."),
    "publish": Entry("flow", "Publish a judged run that its guardrails let pass."),
    "daily": Entry("flow", "Run ingest to publish, the flow of one day."),
    "bundles": Entry("registry", "List the bundles and the champions' history."),
    "promote": Entry("registry", "Make a bundle the champion."),
    "rollback": Entry("registry", "Go back to the newest stable bundle."),
    "challenge": Entry("registry", "Let a bundle decide in the champion's shadow."),
    "diff": Entry("registry", "Say what one bundle has otherwise than another."),
    "audit": Entry("audit", "List and verify the audit log."),
    "decide": Entry("batch", "Decide the clicks of a day in batch."),
    "seed": Entry("seed", "Make the state of backfill and journals that of Redis."),
    "fold": Entry("seed", "Make a state of what journals hold that share Redis, so that they may be shortened."),
    "keys": Entry("keys", "Say who may ask the service."),
    "lists": Entry("lists", "Show the lists of the list rules, and what they find in a log."),
    "serve": Entry("serving", "Decide clicks over HTTP."),
    "monitor": Entry("monitor", "Watch what services decide; alarm, and roll back where that is allowed."),
    "ship": Entry("ship", "Put the journalled decisions into the lake."),
    "compact": Entry("ship", "Sort the lake's decisions for look-ups, and remove days that are too old."),
    "billing": Entry("billing", "Report what clicks are charged; close a month."),
    "backtest": Entry("backtest", "Say what other false-positive budgets would have refunded in the past."),
    "methodology": Entry("methodology", "Describe how a bundle filters clicks, for auditors or advertisers."),
    "history": Entry("records", "Show all that the lake holds of a click."),
    "backup": Entry("records", "Copy everything that cannot be made again."),
    "restore": Entry("records", "Put a backup in place and verify it."),
    "erase": Entry("records", "Remove a person's fields from lake and journals."),
    "replay": Entry("replay", "Decide clicks of the past again, and adjust what is billed."),
    "review": Entry("replay", "Decide a click as a person, for good."),
    "load": Entry("load", "Send a log to a service and measure its answers."),
    "rotate-key": Entry("serving", "Let a new secret key follow the one in use."),
    "skew": Entry("skew", "Compare the rows that served with those of backfill."),
    "drill": Entry("drill", "Play an incident against real processes on simulated traffic."),
}
"""Every command, in the order of the flow."""


def _missing(fault: ModuleNotFoundError, command: str) -> Exception:
    """Return the error that names the extra of a package; the fault itself where no extra holds it."""
    extra = _EXTRAS.get((fault.name or "").partition(".")[0])
    return fault if extra is None else MissingExtraError(f"slidr {command}", extra)


class _Flow(click.Group):
    """Loads a command's module when it is asked for, so that serving needs no training packages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        try:
            module = importlib.import_module(f"slidr.cli.{COMMANDS[cmd_name].module}")
        except ModuleNotFoundError as fault:
            raise _missing(fault, cmd_name) from None
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands, in the order of the flow"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=_Flow, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="slidr")
def slidr() -> None:
    """Decide whether ad clicks were made by humans or by robots.

    Start with `slidr demo`, or with `slidr init` and a click log and a purchase log of yours.
    """


def main() -> None:
    """Run the command line; an error on purpose is one line and exit status 1, never a traceback."""
    try:
        try:
            slidr()
        except ModuleNotFoundError as fault:
            # What a command loads by name, such as a network, is first imported when it runs.
            raise _missing(fault, *sys.argv[1:2]) from None
    except SlidrError as fault:
        sys.stderr.write(f"slidr: {fault}\n")
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as fault:
        # A folder that may not be written, a full disk: the system's words say it, a traceback would not.
        sys.stderr.write(f"slidr: {fault}\n")
        sys.exit(1)
