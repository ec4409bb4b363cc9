"""Commands to start with: init, features."""

from __future__ import annotations

import textwrap
from pathlib import Path

import click
from tabulate import tabulate

from slidr.cli.options import Outcome, printed
from slidr.errors import SettingsError
from slidr.features.catalogue import default_catalogue
from slidr.features.layout import INLINE, STRIDE, compile_catalogue
from slidr.features.listing import HEADER_BYTES, listed
from slidr.settings import Settings, read_settings
from slidr.settings.document import describe

_MEANING = 40
"""Letters of a line of the meaning, so that the table of the default catalogue is read in 120 columns."""


@click.command(short_help="Write a settings file to start from.")
@click.argument("path", type=click.Path(path_type=Path), default=Path("slidr.toml"))
@printed
def init(path: Path) -> Outcome:
    """Write a settings file with every key, its default and its meaning to PATH; an existing file is left alone."""
    if path.exists():
        raise SettingsError(f"{path} exists already; edit it, or name another file")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(describe(), encoding="utf-8")
    return Outcome(
        f"wrote {path}; set clicks.path and purchases.path, then run `slidr ingest`", {"settings": str(path)}
    )


@click.command(short_help="Show the catalogue of features.")
@click.option(
    "--settings",
    type=click.Path(path_type=Path),
    help="The settings file; without one, the default catalogue is shown.",
)
@printed
def features(settings: Path | None) -> Outcome:
    """Show the catalogue of features: name, meaning, unit, entity, window, and bytes of state."""
    found = read_settings(settings) if settings else Settings()
    catalogue = default_catalogue(found.features)
    layout = compile_catalogue(catalogue)
    rows = [feature._asdict() for feature in listed(catalogue)]
    records = [
        {"entity": " + ".join(block.entity), "bytes of a record": int(block.layout[STRIDE]) * 4}
        for block in layout.blocks
    ]
    note = textwrap.fill(
        f"{len(rows)} features. `bytes` is what a feature adds to the record of its entity; state that several read"
        f" counts with the first of them. A record has {HEADER_BYTES} bytes besides and takes whole cache lines; a"
        f" distinct count of more than {INLINE} values takes 512 bytes more, of more than 64 values 4,608. Peaks are"
        " looked up in a table that is built once a day.",
        width=118,
    )
    table = tabulate(rows, headers="keys", maxcolwidths=[None, _MEANING, None, None, None, None])
    return Outcome(f"{table}\n\n{tabulate(records, headers='keys')}\n\n{note}", {"features": rows, "records": records})
