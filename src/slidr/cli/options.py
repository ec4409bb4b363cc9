"""What the commands share: the settings file, output for people or machines, progress bars."""

from __future__ import annotations

import functools
import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
import msgspec
from tqdm import tqdm

from slidr.errors import ServiceError
from slidr.settings import Settings, read_settings

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Outcome(NamedTuple):
    """What a command has to say: text for people, a document for machines, and why it failed where it did.

    `status` is the exit status of a command that has not failed and has more to tell a scheduler than that.
    """

    text: str
    document: Any
    fault: str | None = None
    status: int = 0


def settings_option(command: _Command) -> _Command:
    """Add --settings, which gives the command `settings: Settings`."""

    def read(context: click.Context, parameter: click.Parameter, value: Path) -> Settings:
        del context, parameter
        return read_settings(value)

    return click.option(
        "--settings",
        type=click.Path(path_type=Path),
        default=Path("slidr.toml"),
        show_default=True,
        callback=read,
        help="The settings file.",
    )(command)


def journals_option(whose: str) -> Callable[[_Command], _Command]:
    """Return what adds --journal, which may be given several times and gives the command `journals: tuple[Path, ...]`.

    Args:
        whose: what stands for the settings' journal, and of which processes it is repeated, for the help.
    """
    return click.option(
        "--journal",
        "journals",
        type=click.Path(path_type=Path),
        multiple=True,
        help=f"A process's journal, instead of the settings' one{whose}.",
    )


def printed(command: Callable[..., Outcome]) -> Callable[..., None]:
    """Add --json, and print the command's outcome: as text, or as one JSON object on one line.

    The command that is returned raises a ServiceError where the outcome has a fault, once it has been printed.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object for machines.")
    @functools.wraps(command)
    def run(*arguments: Any, as_json: bool, **options: Any) -> None:
        outcome = command(*arguments, **options)
        click.echo(msgspec.json.encode(outcome.document).decode() if as_json else outcome.text)
        if outcome.fault is not None:
            raise ServiceError(outcome.fault)
        if outcome.status:
            click.get_current_context().exit(outcome.status)

    return run


def account() -> str:
    """Return who runs this, for the history: the account's name, or its number where the system knows no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's number without an entry in passwd: KeyError up to Python 3.12, OSError after it.
        return f"uid {os.getuid()}"


class Bars:
    """Progress bars on the standard error, one a stage; a stage shorter than two seconds shows none.

    An instance is the progress callback of the daily flow, and `counting` makes one that counts clicks.
    """

    def __init__(self) -> None:
        self._stage = ""
        self._bar: tqdm[Any] | None = None

    def __call__(self, stage: str, share: float) -> None:
        """Show how much of a stage is done."""
        if stage != self._stage:
            self.close()
            self._stage = stage
            self._bar = _bar(stage, 100, "%")
        if self._bar is not None:
            self._bar.update(100 * share - self._bar.n)
            if share >= 1:
                self.close()

    def counting(self, stage: str, total: int | None = None) -> Callable[[int], None]:
        """Return a callback that is told how many more clicks are done."""
        self.close()
        self._stage = stage
        bar = self._bar = _bar(stage, total, " clicks")

        def count(clicks: int) -> None:
            bar.update(clicks)

        return count

    def close(self) -> None:
        """End the bar on show."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._stage = None, ""


def _bar(stage: str, total: int | None, unit: str) -> tqdm[Any]:
    percent = unit == "%"
    form = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}" if percent else None
    return tqdm(
        total=total,
        desc=f"{stage:<16}",
        unit=unit,
        unit_scale=not percent,
        bar_format=form,
        delay=2,
        leave=False,
        file=sys.stderr,
        # Silent where nobody watches.
        disable=None,
    )
