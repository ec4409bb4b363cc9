"""Extensions: a package whose every module is one source, network, list rule, robot family or calibration method."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from slidr.errors import SettingsError, nearest


def names(package: str) -> tuple[str, ...]:
    """Return the names of the modules in a package, sorted, without importing them."""
    folder = importlib.import_module(package).__path__
    return tuple(sorted(module.name for module in pkgutil.iter_modules(folder)))


def load(package: str, name: str) -> ModuleType:
    """Import one extension by its name.

    Raises:
        SettingsError: the package has no module of this name; the nearest is suggested.
    """
    known = names(package)
    if name not in known:
        raise SettingsError(f"{name!r} is not in {package}; {nearest(name, known)}")
    return importlib.import_module(f"{package}.{name}")
