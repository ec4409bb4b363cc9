"""Every command: it is there, it helps, it is documented, and it ends without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from slidr.cli import COMMANDS
from slidr.cli import slidr as group

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"


def command(name: str) -> click.Command:
    """Return a command of the group."""
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


def commands() -> dict[str, click.Command]:
    """Return every command that does something, by its words behind `slidr`."""
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        one = command(name)
        below = one.commands if isinstance(one, click.Group) else {"": one}
        found |= {f"{name} {word}".strip(): leaf for word, leaf in below.items()}
    return found


EVERY = commands()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_what_the_list_says(name: str) -> None:
    """Name and short help are those of the list of commands."""
    found = command(name)
    assert found.name == name
    assert found.get_short_help_str(200) == COMMANDS[name].help
    assert found.help


@pytest.mark.parametrize("name", EVERY)
def test_a_command_speaks_to_machines(name: str) -> None:
    """Every command says what it and its options do, and takes --json where it ends by itself."""
    assert EVERY[name].help
    assert all(option.help for option in EVERY[name].params if isinstance(option, click.Option))
    names = {option.name for option in EVERY[name].params}
    assert ("as_json" in names) == (name != "serve")


@pytest.mark.parametrize("name", EVERY)
def test_a_command_is_documented(name: str) -> None:
    """The reference page has a section of the command with each of its options."""
    _, _, after = PAGE.read_text().partition(f"\n## slidr {name}\n")
    section, _, _ = after.partition("\n## ")
    assert section
    for option in EVERY[name].params:
        if isinstance(option, click.Option):
            assert option.opts[0] in section


def test_the_page_is_in_the_order_of_the_flow() -> None:
    """Page and help list the commands in the order of the flow, and no others."""
    titles = [line.split()[2:] for line in PAGE.read_text().splitlines() if line.startswith("## slidr ")]
    assert {" ".join(title) for title in titles} == {*COMMANDS, *EVERY}
    sections = [title[0] for title in titles if len(title) == 1]
    assert sections == list(COMMANDS) == group.list_commands(click.Context(group))


def test_help_lists_every_command() -> None:
    """`slidr --help`, in a process of its own, says what each command does, and loads none of them."""
    script = "import sys; from slidr.cli import main; sys.argv = ['slidr', '--help']; main()"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603 ours
    words = " ".join(said.stdout.split())
    assert all(f"{name} {entry.help}" in words for name, entry in COMMANDS.items())


def test_python_m_slidr_is_slidr() -> None:
    """The module runs as the command does and tells the version of the package."""
    for arguments in (["-m", "slidr"],):
        said = subprocess.run(  # noqa: S603 ours
            [sys.executable, *arguments, "--version"], capture_output=True, text=True, check=True
        )
        assert version("slidr") in said.stdout


def test_a_reader_that_hangs_up_is_no_error() -> None:
    """`slidr features | head -1` ends quietly."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        said = subprocess.run(
            [sys.executable, "-m", "slidr", "features"], stdout=closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert "Traceback" not in said.stderr
