"""The house rules that no linter checks."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import slidr
from slidr import extensions
from slidr.rules import ListRule, prepare_rules
from slidr.settings import RulesSettings

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "slidr"
MODULES = sorted(SOURCE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
VAGUE = {"utils", "util", "core", "common", "helpers", "helper", "manager", "managers", "misc", "base", "shared"}
EXTENSIONS = {
    "slidr.sources": ("FINAL_ATTRIBUTION", "read"),
    "slidr.simulate.robots": ("clicks",),
    "slidr.rules": ("prepare",),
    "slidr.labels.rules": ("human",),
    "slidr.model.networks": ("fit",),
    "slidr.calibration.methods": ("fit",),
    "slidr.guardrails.checks": ("KIND", "check"),
    "slidr.drills.stories": ("play",),
}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return every function of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_are_short() -> None:
    """No file of the package or of its tests has more than 400 lines."""
    long = {path.name: lines for path in (*MODULES, *TESTS) if (lines := path.read_text().count("\n")) > 400}
    assert long == {}


def test_functions_are_short() -> None:
    """No function has more than 60 lines, its docstring aside."""
    long = {}
    for path in (*MODULES, *TESTS):
        for function in functions(path):
            documented = ast.get_docstring(function) is not None
            first = function.body[1 if documented and len(function.body) > 1 else 0].lineno
            lines = (function.end_lineno or first) - first + 1
            if lines > 60:
                long[f"{path.name}:{function.name}"] = lines
    assert long == {}


def test_names_say_what_a_module_holds() -> None:
    """No module or package is called by a word that would fit anything."""
    assert not VAGUE & {part for path in MODULES for part in path.relative_to(SOURCE).with_suffix("").parts}


def test_every_module_and_every_test_is_documented() -> None:
    """Each module of the package says what it is; each test says what must be true, in one sentence."""
    bare = [str(path.relative_to(SOURCE)) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert bare == []
    silent = [
        f"{path.name}:{function.name}"
        for path in TESTS
        for function in functions(path)
        if function.name.startswith("test_") and not (ast.get_docstring(function) or "").strip().endswith(".")
    ]
    assert silent == []


def test_test_names_stand_once() -> None:
    """No test hides another of the same name in its file."""
    for path in TESTS:
        names = [function.name for function in functions(path) if function.name.startswith("test_")]
        assert len(names) == len(set(names)), path


def test_imports_stand_at_the_top() -> None:
    """No function imports, so that what a module needs is seen at once; the public names load through importlib."""
    hidden = [
        f"{path.relative_to(SOURCE)}:{function.name}"
        for path in MODULES
        for function in functions(path)
        if any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(function))
    ]
    assert hidden == []


def test_user_input_is_not_asserted() -> None:
    """The package has no assert, which would vanish under python -O."""
    asserting = [
        str(path.relative_to(SOURCE))
        for path in MODULES
        if any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(path.read_text())))
    ]
    assert asserting == []


def test_nothing_is_pickled() -> None:
    """No module of the package reads or writes pickles, which run code when they are read."""
    assert [path.name for path in MODULES if "import pickle" in path.read_text()] == []


def test_importing_does_nothing(tmp_path: Path) -> None:
    """All modules import in one process without a word, a warning, a file, or a thread left behind."""
    names = [module.name for module in pkgutil.walk_packages([str(SOURCE)], "slidr.") if "__main__" not in module.name]
    script = f"""
import importlib, os, threading
before = dict(os.environ)
for name in {names!r}:
    importlib.import_module(name)
# LightGBM imports scikit-learn where it is installed, which sets these two for OpenMP.
theirs = {{"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}}
print(len(threading.enumerate()), set(os.environ) - set(before) - theirs)
"""
    said = subprocess.run(  # noqa: S603 ours
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert (said.stdout, said.stderr) == ("1 set()\n", "")
    assert list(tmp_path.iterdir()) == []


def test_versions_agree() -> None:
    """The installed version is that of pyproject.toml."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert document["project"]["version"] == version("slidr")


@pytest.mark.parametrize("package", EXTENSIONS)
def test_extensions_are_found(package: str) -> None:
    """Every file of an extension's package is found by its name, and has what its kind must have."""
    folder = SOURCE.joinpath(*package.split(".")[1:])
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    found = extensions.names(package)
    assert set(found) == files
    for name in found:
        for needed in EXTENSIONS[package]:
            assert hasattr(extensions.load(package, name), needed), f"{package}.{name} has no {needed}"


def test_every_part_of_the_issue_has_its_extensions() -> None:
    """The sources, the networks with two baselines, and at least three robot families are there."""
    assert set(extensions.names("slidr.sources")) >= {"talkingdata", "weblog", "table"}
    assert set(extensions.names("slidr.model.networks")) >= {"three_layer", "logistic", "velocity"}
    assert len(extensions.names("slidr.simulate.robots")) >= 3
    assert all(isinstance(rule, ListRule) for rule in prepare_rules(RulesSettings()))
    assert slidr.__doc__
