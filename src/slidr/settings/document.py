"""The settings file as text: written with every key and its meaning, and written from a document."""

from __future__ import annotations

from typing import Any, get_type_hints

import msgspec
from msgspec import Meta

from slidr.settings import Settings
from slidr.settings.section import Section


def describe() -> str:
    """Return a settings file with every key commented out: its default, its limits and its meaning."""
    lines = ["# Settings of slidr. A key that is commented out has the default shown.", ""]
    lines += _described(Settings)
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            about = (field.type.__doc__ or "").partition("\n")[0]
            lines += ["", f"# {about}", f"[{field.name}]", *_described(field.type)]
    return "\n".join(lines) + "\n"


def _described(section: type[Section]) -> list[str]:
    """Return the lines of the plain keys of a section."""
    lines = []
    for field in msgspec.structs.fields(section):
        default = field.default
        if isinstance(default, Section):
            continue
        if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        lines += [f"# {meaning_of(section, field.name)}", f"# {field.name} = {_toml(default)}"]
    return lines


def meaning_of(section: type[Section], key: str) -> str:
    """Return what a key of a section means, as it is declared."""
    hint = get_type_hints(section, include_extras=True)[key]
    notes = [note for note in getattr(hint, "__metadata__", ()) if isinstance(note, Meta)]
    return "; ".join(note.description for note in notes if note.description)


def write_document(document: dict[str, dict[str, Any]]) -> str:
    """Return a settings document of sections as TOML; a table below a section is written in one line."""
    return "\n".join(
        "\n".join([f"[{section}]", *(f"{key} = {_toml(value)}" for key, value in keys.items()), ""])
        for section, keys in document.items()
    )


def _toml(value: object) -> str:
    """Return a value as TOML writes it in one line; strings, numbers and booleans are written as in JSON."""
    if isinstance(value, dict):
        pairs = (f"{_toml(str(key))} = {_toml(one)}" for key, one in value.items())
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_toml(one) for one in value)}]"
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
