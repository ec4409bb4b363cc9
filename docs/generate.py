"""Writes the reference pages of the docs from the code; with --check, tells whether they are current.

Run it with `make docs`. What is generated lies in docs/reference and is not edited by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click
import msgspec
from tabulate import tabulate

from slidr.cli import COMMANDS, slidr
from slidr.features.catalogue import default_catalogue
from slidr.features.layout import STRIDE, compile_catalogue
from slidr.features.listing import HEADER_BYTES, listed
from slidr.monitor.exposition import FAMILIES
from slidr.service.metrics import Metrics
from slidr.settings import FeaturesSettings, Settings
from slidr.settings.document import meaning_of
from slidr.settings.section import Section
from slidr.tables import TABLES

FOLDER = Path(__file__).parent / "reference"
_NOTE = "<!-- Written by `make docs` from the code; edits are lost. -->\n"


def main() -> int:
    """Write or check every page."""
    pages = {
        "commands.md": commands(),
        "settings.md": settings(),
        "tables.md": tables(),
        "features.md": features(),
        "metrics.md": metrics(),
    }
    stale = [name for name, text in pages.items() if not _same(FOLDER / name, text)]
    if "--check" in sys.argv[1:]:
        if stale:
            sys.stderr.write(f"docs/reference is not current: {', '.join(stale)}; run `make docs`\n")
        return int(bool(stale))
    for name in stale:
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / name).write_text(pages[name], encoding="utf-8")
    return 0


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def _page(title: str, *parts: str) -> str:
    return "\n".join([_NOTE, f"# {title}", "", *parts]).rstrip() + "\n"


def _table(rows: Iterable[Iterable[object]], *headers: str) -> str:
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return str(tabulate(cells, headers=headers, tablefmt="github", disable_numparse=True)) + "\n"


def commands() -> str:
    """Every command with its help, in the order of the flow."""
    parts = ["Every command takes `--help`; those that print take `--json`.", ""]
    for name in COMMANDS:
        context = click.Context(slidr, info_name="slidr", max_content_width=100)
        command = slidr.get_command(context, name)
        if command is None:
            raise LookupError(name)
        parts += _command(name, command, context)
    return _page("Commands", *parts)


def _command(name: str, command: click.Command, parent: click.Context) -> list[str]:
    """Return the section of a command, and those of the commands below it."""
    context = click.Context(command, info_name=name, parent=parent, max_content_width=100)
    parts = [f"## {context.command_path}", "", "```text", command.get_help(context), "```", ""]
    if isinstance(command, click.Group):
        for below, found in command.commands.items():
            parts += _command(below, found, context)
    return parts


def settings() -> str:
    """Every key of the settings file."""
    parts = ["`slidr init` writes a file with all of them. Durations are a whole number and one of s, m, h, d.", ""]
    sections: list[tuple[str, type[Section]]] = [("", Settings)]
    sections += [
        (field.name, type(field.default))
        for field in msgspec.structs.fields(Settings)
        if isinstance(field.default, Section)
    ]
    for name, section in sections:
        rows = [
            (f"`{field.name}`", f"`{_default(field)}`", meaning_of(section, field.name))
            for field in msgspec.structs.fields(section)
            if not isinstance(field.default, Section)
        ]
        about = (section.__doc__ or "").partition("\n")[0]
        parts += [f"## [{name}]" if name else "## At the top", "", about, "", _table(rows, "key", "default", "meaning")]
    return _page("Settings: slidr.toml", *parts)


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    if value is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    return msgspec.json.encode(value).decode()


def tables() -> str:
    """Every table with its columns."""
    parts = []
    for table in TABLES:
        rows = [
            (f"`{column.name}`", column.type, column.unit, column.meaning, "yes" if column.nullable else "")
            for column in table.columns
        ]
        further = " Further columns pass through." if table.open else ""
        parts += [
            f"## {table.name}",
            "",
            f"Version {table.version}.{further}",
            "",
            _table(rows, "column", "type", "unit", "meaning", "may be null"),
        ]
    return _page("Tables", *parts)


def features() -> str:
    """The default catalogue."""
    catalogue = default_catalogue(FeaturesSettings())
    layout = compile_catalogue(catalogue)
    rows = [(f"`{one.name}`", *one[1:]) for one in listed(catalogue)]
    state = [(" + ".join(block.entity), int(block.layout[STRIDE]) * 4, f"`{block.key}`") for block in layout.blocks]
    return _page(
        "Features: the default catalogue",
        f"{len(rows)} features. What they mean exactly is in [features](../features.md).",
        "",
        _table(rows, "name", "meaning", "unit", "entity", "window", "bytes"),
        "## State",
        "",
        "`bytes` is what a feature adds to the record of its entity; state that several read counts with the first of"
        f" them. A record has {HEADER_BYTES} bytes besides, and takes whole cache lines of 64.",
        "",
        _table(state, "entity", "bytes of a record", "block"),
    )


def metrics() -> str:
    """Every metric that the service and the monitor give Prometheus."""
    rows = [(f"`{one.name}`", one.kind, one.meaning) for one in Metrics().families]
    watched = [(f"`{one.name}`", one.kind, one.meaning) for one in FAMILIES]
    return _page(
        "Metrics of the service",
        "`GET /metrics`, in the text format of Prometheus.",
        "",
        _table(rows, "name", "type", "meaning"),
        "## Metrics of the monitor",
        "",
        "`slidr monitor` writes them to a file beside its state, for node_exporter's textfile collector.",
        "",
        _table(watched, "name", "type", "meaning"),
    )


if __name__ == "__main__":
    sys.exit(main())
