"""What slidr rests on: every package is pinned, fits the others, and has a licence that its users can live with.

What is known of holes in these packages is in a database that changes by the day: SLIDR_ADVISORIES names a file of it,
and `make audit` asks for it over a network.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from tests.advisories import holes, is_affected, read_advisories

ROOT = Path(__file__).parents[1]
ALLOWED = {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU",
           "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib"}  # fmt: skip
"""Licences (SPDX) that ask for no more than their notice, or for the changes that one makes to the package itself."""
CLASSIFIED = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
WRITTEN = {
    "Apache 2.0": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "MIT license": "MIT",
    "BSD": "BSD-3-Clause",
}
READ = {"crawler-user-agents": "MIT"}
"""Licences that stand in a file of the package alone, read by a person."""
SERVING = 25
"""Most packages of an install that serves, by the design's budget."""

ELDER = {"async-timeout"}
"""Packages that redis asks for with Python before 3.11.3 alone."""


def needed(*extras: str) -> dict[str, Distribution]:
    """Return every package that slidr needs with these extras, by name: those of this Python and system alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()

    def walk(lines: Iterable[str], asked: frozenset[str]) -> None:
        for requirement in map(Requirement, lines):
            marker = requirement.marker
            if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in asked or {""}):
                continue
            name, further = canonicalize_name(requirement.name), frozenset(requirement.extras)
            if name == "slidr":
                for extra in further:
                    walk(project["optional-dependencies"][extra], frozenset())
            elif (name, further) not in seen:
                seen.add((name, further))
                found[name] = distribution(name)
                walk(found[name].requires or (), further)

    walk(project["dependencies"], frozenset())
    for extra in extras:
        walk(project["optional-dependencies"][extra], frozenset())
    return found


def pinned() -> dict[str, str]:
    """Return the versions of constraints.txt by name."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!-]+", line) for line in lines), "each line pins one version"
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def licences(package: Distribution) -> Iterator[str]:
    """Return the licences that a package states: an SPDX expression, or what it says in older ways."""
    told = package.metadata
    if "License-Expression" in told:
        yield told["License-Expression"]
        return
    # Approval by Debian's guidelines is a classifier of its own, and no licence.
    classified = [
        line.rpartition(" :: ")[2]
        for line in told.get_all("Classifier") or ()
        if line.startswith("License") and line != "License :: DFSG approved"
    ]
    for one in classified:
        yield CLASSIFIED.get(one, one)
    if not classified:
        words = told["License"] or ""
        yield READ.get(canonicalize_name(told["Name"]), WRITTEN.get(words, words))


def allowed(expression: str) -> bool:
    """Return whether one of the alternatives of an expression is made of allowed licences alone."""
    alternatives = re.sub(r"[()]", " ", expression).split(" OR ")
    return any(
        all(part.partition(" WITH ")[0].strip() in ALLOWED for part in one.split(" AND ")) for one in alternatives
    )


def test_licences_are_read() -> None:
    """Of alternatives one is enough, of licences that hold together all must be allowed."""
    assert allowed("Apache-2.0 OR LGPL-2.1-or-later")
    assert allowed("BSD-2-Clause AND Apache-2.0 WITH LLVM-exception")
    assert not allowed("MIT AND GPL-3.0-only")
    assert not allowed("")


def test_every_package_is_pinned() -> None:
    """What slidr and its extras need, down to the last package, stands in constraints.txt, and is installed so."""
    versions = pinned()
    packages = needed("all", "dev")
    assert len(packages) > len(needed())
    assert sorted(set(packages) - set(versions)) == []
    other = {
        name: (package.version, versions[name])
        for name, package in packages.items()
        if Version(package.version).public != versions[name]
    }
    assert other == {}


def test_nothing_is_pinned_that_nobody_needs() -> None:
    """A package that is no longer needed leaves constraints.txt with the line that asked for it."""
    assert sorted(set(pinned()) - set(needed("all", "dev")) - ELDER) == []


def test_serving_needs_few_packages() -> None:
    """The base install, and with Redis, keeps the design's budget."""
    assert len(needed("redis")) <= SERVING


def test_every_licence_is_allowed() -> None:
    """No package takes away from its users what the Apache licence of slidr gives them."""
    packages = needed("all", "dev")
    wrong = {name: found for name, one in packages.items() if not all(map(allowed, found := list(licences(one))))}
    assert wrong == {}


def test_packages_fit_each_other() -> None:
    """No installed package lacks what it needs, or has it in a version that it does not take."""
    said = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize(
    ("events", "inside", "outside"),
    [
        ([{"introduced": "0"}, {"fixed": "1.10"}], ("0.1", "1.9.9"), ("1.10", "2.0")),
        ([{"introduced": "2.0"}, {"last_affected": "2.3"}], ("2.0", "2.3"), ("1.9", "2.3.1")),
        (
            [{"introduced": "3"}, {"fixed": "3.1"}, {"introduced": "0"}, {"fixed": "2.0"}],
            ("1.0", "3.0"),
            ("2.5", "3.1"),
        ),
        ([{"introduced": "0"}], ("0", "99"), ()),
        ([{"introduced": "0"}, {"fixed": "no version"}], ("1.0",), ()),
    ],
)
def test_ranges_of_advisories_are_read(
    events: list[dict[str, str]], inside: tuple[str, ...], outside: tuple[str, ...]
) -> None:
    """A version is affected from what introduced a hole to what closed it, by their order as versions."""
    affected: dict[str, Any] = {"ranges": [{"type": "ECOSYSTEM", "events": events}]}
    assert [version for version in (*inside, *outside) if is_affected(affected, version)] == [*inside]
    assert is_affected({"versions": ["1.0"]}, "1.0")
    assert not is_affected({"ranges": [{"type": "GIT", "events": events}]}, "1.0")


def test_holes_are_found_in_a_file(tmp_path: Path) -> None:
    """Advisories count for the packages that they name, in any spelling, where they were not withdrawn."""
    span = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2"}]}]

    def advisory(name: str, **further: str) -> str:
        about = {"package": {"ecosystem": "PyPI", "name": name}, "ranges": span}
        return json.dumps({"id": f"OSV-{name}", "affected": [about], **further})

    with ZipFile(tmp_path / "all.zip", "w") as file:
        file.writestr("1.json", advisory("Jinja_2"))
        file.writestr("2.json", advisory("other"))
        file.writestr("3.json", advisory("numpy"))
        file.writestr("4.json", advisory("mpmath", withdrawn="2026-01-01T00:00:00Z"))
    found = holes(read_advisories(tmp_path / "all.zip"), {"jinja-2": "1.9", "numpy": "2.4", "mpmath": "1"})
    assert found == ["jinja-2 1.9: OSV-Jinja_2"]


def test_no_package_has_a_known_hole() -> None:
    """No pinned version is in an advisory of the file that SLIDR_ADVISORIES names; without one nobody has asked."""
    named = os.environ.get("SLIDR_ADVISORIES")
    if not named:
        pytest.skip("SLIDR_ADVISORIES names no file of advisories (PyPI/all.zip of OSV): holes were not asked for")
    assert holes(read_advisories(Path(named)), pinned()) == []
