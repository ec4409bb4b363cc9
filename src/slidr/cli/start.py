"""Commands to start with: init, features."""

from __future__ import annotations

from pathlib import Path

import click
from tabulate import tabulate

from slidr.cli.options import Outcome, printed
from slidr.errors import SettingsError
from slidr.features.catalogue import default_catalogue
from slidr.features.layout import SKETCH_WORDS, STRIDE, compile_catalogue
from slidr.settings import Settings, describe, read_settings


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
    """Show the catalogue of features: name, meaning, unit, and the bytes of state an entity of its kind takes."""
    found = read_settings(settings) if settings else Settings()
    catalogue = default_catalogue(found.features)
    layout = compile_catalogue(catalogue)
    state = {block.entity: int(block.layout[STRIDE]) * 4 for block in layout.blocks}
    rows = [
        {
            "name": feature.name,
            "meaning": feature.meaning,
            "unit": feature.unit,
            "entity": "+".join(feature.entity),
            "bytes": state.get(feature.entity, 0),
        }
        for feature in catalogue
    ]
    note = (
        f"{len(rows)} features. `bytes` is the record that all features of the entity share; a distinct count of more"
        f" than {(SKETCH_WORDS - 2) // 2} values takes 512 bytes more, of more than 64 values 4,608."
    )
    return Outcome(f"{tabulate(rows, headers='keys')}\n\n{note}", {"features": rows})
