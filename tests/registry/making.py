"""What looks like a bundle from outside, and a registry with some."""

from __future__ import annotations

from pathlib import Path

from obstore.store import MemoryStore

from slidr.registry import Registry


def bundle(folder: Path, identity: str, content: str = "graph") -> Path:
    """Write something that looks like a bundle from outside."""
    place = folder / identity
    place.mkdir(parents=True)
    (place / "network.onnx").write_text(content)
    (place / "manifest.json").write_text(f'{{"network.onnx": "{content}"}}')
    return place


def shelf(folder: Path, *names: str) -> Registry:
    """Return a registry in memory that holds bundles of these names."""
    registry = Registry(MemoryStore())
    for name in names:
        registry.publish(bundle(folder, name))
    return registry
