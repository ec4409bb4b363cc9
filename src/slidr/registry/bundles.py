"""The bundles of a registry: copied into it whole, never changed, and fetched whole."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from slidr.errors import RegistryError, nearest
from slidr.objects import Objects

MANIFEST = "manifest.json"
_BUNDLES = "bundles"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Bundles:
    """The bundles of a registry.

    Args:
        objects: the registry's.

    Attributes:
        location: of the registry, as text.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.location = objects.location

    def publish(self, bundle_dir: Path) -> str:
        """Copy a bundle into the registry and return its id, the name of its folder.

        Publishing the same bundle again does nothing; an upload that was cut off is done again.

        Raises:
            RegistryError: the folder has no manifest.json, another bundle of this id is there, or it cannot be written.
        """
        identity = _checked(bundle_dir.name)
        if not (bundle_dir / MANIFEST).is_file():
            raise RegistryError(f"{bundle_dir} holds no {MANIFEST}, so it is not a whole bundle; write it again")
        manifest = (bundle_dir / MANIFEST).read_bytes()
        if not self._holds(identity, manifest):
            for file in sorted(bundle_dir.iterdir()):
                if file.name != MANIFEST:
                    self._objects.put(f"{_BUNDLES}/{identity}/{file.name}", file.read_bytes())
            if not self._objects.create(f"{_BUNDLES}/{identity}/{MANIFEST}", manifest):
                # Another upload finished first: it must have been of the same bundle.
                self._holds(identity, manifest)
        return identity

    def _holds(self, identity: str, manifest: bytes) -> bool:
        held = self._objects.find(f"{_BUNDLES}/{identity}/{MANIFEST}")
        if held is not None and held != manifest:
            raise RegistryError(
                f"registry {self.location} holds another bundle {identity}, and a bundle never changes; make yours anew"
            )
        return held is not None

    def fetch(self, identity: str, into: Path) -> Path:
        """Copy a bundle to `into/<id>` and return that folder, which appears whole or not at all.

        A folder that is there already is returned as it is; loading it checks it.

        Raises:
            RegistryError: the registry has no such bundle, or it cannot be copied.
        """
        place = into / _checked(identity)
        if (place / MANIFEST).is_file():
            return place
        self.require(identity)
        part = into / f".{identity}.{secrets.token_hex(4)}"
        paths = self._objects.paths(f"{_BUNDLES}/{identity}/")
        contents = self._objects.get_all(paths)
        with self._objects.reported("read"):
            part.mkdir(parents=True)
            for path, content in zip(paths, contents, strict=True):
                (part / path.rpartition("/")[2]).write_bytes(content)
            part.replace(place)
        return place

    def read(self, identity: str, name: str) -> bytes:
        """Return one file of a bundle, unchecked: to list what there is; who serves a bundle fetches and loads it.

        Raises:
            RegistryError: the registry has no such bundle or file, or it cannot be read.
        """
        return self._objects.get(f"{_BUNDLES}/{_checked(identity)}/{name}")

    def ids(self) -> tuple[str, ...]:
        """Return the ids of the whole bundles, sorted.

        Raises:
            RegistryError: the registry cannot be read.
        """
        found = self._objects.paths(f"{_BUNDLES}/")
        return tuple(sorted(path.split("/")[1] for path in found if path.endswith(f"/{MANIFEST}")))

    def require(self, identity: str) -> None:
        """Make sure that a bundle is there, whole.

        Raises:
            RegistryError: it is not; the nearest one is suggested.
        """
        if self._objects.find(f"{_BUNDLES}/{_checked(identity)}/{MANIFEST}") is None:
            known = self.ids()
            words = nearest(identity, known) if known else "publish one first"
            raise RegistryError(f"registry {self.location} has no bundle {identity!r}; {words}")


def _checked(identity: str) -> str:
    if not _NAME.fullmatch(identity):
        raise RegistryError(
            f"{identity!r} is not the id of a bundle: up to 128 letters, digits, '.', '_' and '-', beginning with a"
            " letter or digit"
        )
    return identity
