from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slidr import extensions
from slidr.errors import SettingsError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with two extensions, one of which cannot be imported."""
    folder = tmp_path / "drawer_of_extensions"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "useful.py").write_text("ANSWER = 42\n")
    (folder / "broken.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, folder.name, raising=False)
    return folder.name


def test_a_file_is_an_extension_by_being_there(package: str) -> None:
    """Names are found, sorted, without importing what they name."""
    assert extensions.names(package) == ("broken", "useful")


def test_an_extension_is_loaded_by_its_name(package: str) -> None:
    """Loading imports the one module asked for."""
    assert extensions.load(package, "useful").ANSWER == 42


def test_an_unknown_extension_suggests_the_nearest(package: str) -> None:
    """A misspelt name is met with the nearest, another with all that there are."""
    with pytest.raises(SettingsError, match=r"'usefull' is not in .*; did you mean 'useful'\?"):
        extensions.load(package, "usefull")
    with pytest.raises(SettingsError, match="known: broken, useful"):
        extensions.load(package, "zzz")


def test_a_broken_extension_is_not_hidden(package: str) -> None:
    """A fault inside an extension is shown as it is, never as an unknown name."""
    with pytest.raises(RuntimeError, match="imported"):
        extensions.load(package, "broken")
