"""Contest: champion and challenger, as a registry names them, read as bundles."""

from __future__ import annotations

from pathlib import Path

from slidr.bundle import Bundle, read_bundle
from slidr.errors import RegistryError
from slidr.registry import Named, Registry


def read_champion(registry: str, folder: Path) -> Bundle:
    """Return the champion of a registry, fetched into a folder.

    Raises:
        RegistryError: the registry cannot be read, or has no champion.
        BundleError: the bundle does not load exactly.
    """
    return read_contest(registry, folder)[0]


def read_contest(registry: str, folder: Path) -> tuple[Bundle, Bundle | None]:
    """Return the champion of a registry and its challenger, None where there is none, fetched into a folder.

    Raises:
        RegistryError: the registry cannot be read, or has no champion.
        BundleError: a bundle does not load exactly.
    """
    held = Registry(registry)
    named = held.named()
    if named is None:
        raise RegistryError(f"registry {registry} has no champion; run `slidr daily`, or `slidr promote` a bundle")
    return read_named(held, named, folder)


def read_named(registry: Registry, named: Named, folder: Path) -> tuple[Bundle, Bundle | None]:
    """Return champion and challenger of these names, fetched into a folder.

    Raises:
        RegistryError: the registry cannot be read, or lacks one.
        BundleError: a bundle does not load exactly.
    """
    champion = read_bundle(registry.fetch(named.champion, folder))
    rival = None if named.challenger is None else read_bundle(registry.fetch(named.challenger, folder))
    return champion, rival
