"""The base install: serving needs no training and no lake, and other parts say which extra they need."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.learned import Learned

EXTRAS = ("pyarrow", "torch", "cvxpy", "deltalake", "matplotlib", "narwhals", "onnx", "scipy", "jinja2", "pandas",
          "polars")  # fmt: skip
_BLOCK = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def run(script: str, *, absent: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python that lacks some packages."""
    text = _BLOCK.format(absent=set(absent)) + script
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)  # noqa: S603 ours


def test_importing_slidr_loads_nothing() -> None:
    """The package alone imports no third-party package at all."""
    script = """
before = set(sys.modules)
import slidr
loaded = set(sys.modules) - before
print([m for m in loaded if "site-packages" in str(getattr(sys.modules[m], "__file__", ""))])
"""
    said = run(script)
    assert (said.returncode, said.stdout.strip()) == (0, "[]"), said.stderr


@pytest.mark.parametrize(
    "module",
    [
        "slidr",
        "slidr.service",
        "slidr.service.server",
        "slidr.cli.serving",
        "slidr.cli.lists",
        "slidr.load",
        "slidr.cli.load",
    ],
)
def test_serving_imports_no_extra(module: str) -> None:
    """The service and its commands import with the packages of the base install alone."""
    said = run(f"import {module}; print([m for m in {EXTRAS!r} if m in sys.modules])", absent=EXTRAS)
    assert (said.returncode, said.stdout.strip()) == (0, "[]"), said.stderr


def test_the_base_install_loads_a_champion(learned: Learned) -> None:
    """With the base packages alone a bundle is read and a click decided."""
    settings = learned.settings.storage
    script = f"""
from datetime import datetime, timezone
from pathlib import Path
import slidr
from slidr.contest import read_champion
from slidr.features.keys import Pseudonymiser, read_secret
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
bundle = read_champion({settings.registry!r}, Path({settings.bundles!r}))
store = EmbeddedStore(compile_catalogue(bundle.catalogue))
decider = slidr.Decider(bundle, store, Pseudonymiser(read_secret(Path({settings.key_file!r}))))
click = slidr.Click(click_id="a", time=datetime.now(timezone.utc), ip="192.0.2.1")
print(decider.decide([click]).at(0).verdict.value)
"""
    said = run(script, absent=EXTRAS)
    assert said.stdout.strip() in {"valid", "invalid_sophisticated"}, said.stderr


@pytest.mark.parametrize(
    ("command", "absent", "extra"),
    [
        ("ingest", "pyarrow", "lake"),
        ("ingest", "deltalake", "lake"),
        ("train", "torch", "train"),
        ("train", "onnx", "train"),
        ("judge", "jinja2", "report"),
        ("judge", "matplotlib", "report"),
        ("demo", "pyarrow", "lake"),
    ],
)
def test_a_command_names_its_extra(command: str, absent: str, extra: str, learned: Learned) -> None:
    """A command whose packages are missing says which extra to install, in one line."""
    options = [] if command == "demo" else ["--settings", str(learned.folder / "slidr.toml")]
    script = f"from slidr.cli import main; sys.argv = ['slidr', {command!r}, *{options!r}]; main()"
    said = run(script, absent=(absent,))
    expected = f"slidr: slidr {command} needs the extra '{extra}'; in a clone of slidr: pip install '.[{extra}]'\n"
    assert (said.returncode, said.stderr) == (1, expected)


def test_a_function_names_its_extra() -> None:
    """In a notebook the same is an error of slidr's own, and help still lists every command."""
    said = run("import slidr; slidr.read_log", absent=EXTRAS)
    assert "MissingExtraError: slidr.read_log needs the extra 'all'" in said.stderr
    said = run("from slidr.cli import main; sys.argv = ['slidr', '--help']; main()", absent=EXTRAS)
    assert said.returncode == 0
    assert "demo" in said.stdout
