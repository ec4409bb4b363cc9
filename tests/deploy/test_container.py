from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.service.making import make_bundle, make_parts
from tests.service.test_security import running

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "Containerfile"


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the container file with their arguments, in order."""
    text = re.sub(r"\\\n\s*", "", "\n".join(line for line in FILE.read_text().splitlines() if not line.startswith("#")))
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in text.splitlines() if line.strip()]


def test_the_service_runs_as_nobody_in_particular() -> None:
    """The last stage ends as an account that is not root, by number, so that an orchestrator can tell."""
    last = [name for name, _ in instructions()]
    stage = instructions()[len(last) - 1 - last[::-1].index("FROM") :]
    users = [argument for name, argument in stage if name == "USER"]
    assert users == ["10001:10001"]
    assert [name for name, _ in stage].index("USER") > [name for name, _ in stage].index("COPY")


def test_the_base_is_pinned_and_nothing_is_fetched_by_address() -> None:
    """Every stage names the same base with a full tag; nothing is added from an address, no secret is baked in."""
    bases = {argument.partition(" AS ")[0] for name, argument in instructions() if name == "FROM"}
    assert len(bases) == 1
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-[a-z]+", bases.pop())
    assert not [argument for name, argument in instructions() if name == "ADD"]
    whole = FILE.read_text()
    assert not re.search(r"https?://|index-url|SLIDR_KEY|SLIDR_REDIS|ARG ", whole)


def test_what_is_copied_is_there_and_not_kept_out() -> None:
    """Each file that is copied exists, and the list of what is left out lets it in; no state of this folder goes in."""
    ignored = (ROOT / "deploy" / "Containerfile.dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    copied = [argument for name, argument in instructions() if name == "COPY" and "--from" not in argument]
    for argument in copied:
        for source in argument.split()[:-1]:
            assert (ROOT / source).exists()
            assert f"!{source.removeprefix('./')}" in ignored


def test_health_is_the_services_own_word(tmp_path: Path) -> None:
    """The check ends with 0 while the service lives, and with 1 and a reason once it does not."""
    parts = make_parts(tmp_path, make_bundle(tmp_path / "bundles"))
    command = [sys.executable, str(ROOT / "deploy" / "health.py")]
    with running(parts) as url:
        environment = {**os.environ, "SLIDR_HEALTH": url}
        assert subprocess.run(command, env=environment, check=False).returncode == 0  # noqa: S603 ours
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 ours
    assert (said.returncode, said.stderr.startswith(f"{url} does not answer")) == (1, True)
