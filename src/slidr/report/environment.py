"""Environment: how templates become pages; all strings are escaped, and what a template names must be given."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment() -> Environment:
    """Return the environment of the templates beside this module."""
    made = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        loader=PackageLoader("slidr.report", "template"),
    )
    made.filters["unbroken"] = unbroken
    return made


def unbroken(text: str) -> str:
    """Keep each number and its percent sign on one line."""
    return text.replace(" %", "\u00a0%")
