"""Stamps: what each stage's output was made from, so that a later stage refuses what belongs to another run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from slidr.daily.plan import Run
from slidr.errors import SettingsError

STAGES = ("label", "backfill", "train", "calibrate", "judge")
_SECTIONS: dict[str, tuple[str, ...]] = {
    "label": ("labels",),
    "backfill": ("features",),
    "train": ("labels", "features", "rules", "model"),
    "calibrate": ("labels", "features", "rules", "model", "slices", "calibration"),
    "judge": ("labels", "features", "rules", "model", "slices", "calibration"),
}
"""The sections of the settings that decide what a stage makes."""


def stamp(run: Run, stage: str) -> None:
    """Note that a stage of this run is done; what later stages made before is no longer current.

    Args:
        run: the run.
        stage: one of `STAGES`.
    """
    _write(run, _standing(run, stage) | {stage: identity(run, stage)})


def withdraw(run: Run, stage: str) -> None:
    """Note that a stage begins anew: what it and later stages made before is no longer current."""
    stamps = _standing(run, stage)
    stamps.pop(stage, None)
    _write(run, stamps)


def _standing(run: Run, stage: str) -> dict[str, str]:
    # Labels and features do not depend on each other; every later stage depends on all before it.
    kept = STAGES[: max(STAGES.index(stage), STAGES.index("train"))]
    return {name: value for name, value in _read(_path(run)).items() if name in kept}


def _write(run: Run, stamps: dict[str, str]) -> None:
    replace_file(_path(run), msgspec.json.format(msgspec.json.encode(stamps), indent=1))


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a process that is killed meanwhile leaves what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def require(run: Run, *stages: str) -> None:
    """Refuse to go on from stages that were not done, or were done for other days or with other settings.

    Raises:
        SettingsError: names the stage to run again.
    """
    stamps = _read(_path(run))
    for stage in stages:
        if stamps.get(stage) != identity(run, stage):
            done = "was done for other days or with other settings" if stage in stamps else "has not been done"
            raise SettingsError(f"the stage {stage} {done}; run `slidr {stage}` first, for the same day")


def current(run: Run, stage: str) -> bool:
    """Return whether a stage of this run is done and nothing has been done since that it rests on."""
    return _read(_path(run)).get(stage) == identity(run, stage)


def identity(run: Run, stage: str) -> str:
    """Return a hash of the days and settings that a stage of this run is made of."""
    made_of = {
        "split": [run.split.train, run.split.calibrate, run.split.judge],
        "as_of": run.as_of,
        **({"kept": run.kept} if run.kept else {}),
        **{section: msgspec.to_builtins(getattr(run.settings, section)) for section in _SECTIONS[stage]},
    }
    return hashlib.sha256(msgspec.json.encode(made_of, order="sorted")).hexdigest()[:16]


def _path(run: Run) -> Path:
    return Path(run.settings.storage.networks) / "stages.json"


def _read(path: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
