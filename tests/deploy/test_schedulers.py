"""The examples for schedulers: they parse, and take the exit statuses of `slidr daily` for what they are."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path

import pytest
import yaml
from click import Context

from slidr.cli import slidr
from slidr.cli.flow import BUSY, REFUSED

DEPLOY = Path(__file__).parents[2] / "deploy"


def unit(name: str) -> dict[str, dict[str, str]]:
    """Return the sections of a unit file of systemd."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / name)
    return {section: dict(parser[section]) for section in parser.sections()}


def test_systemd_tries_faults_again_and_nothing_else() -> None:
    """A run beside another one is a success, and neither a refusal nor a bad command is tried again."""
    service = unit("slidr-daily.service")["Service"]
    assert service["ExecStart"].endswith("slidr daily --json")
    assert service["SuccessExitStatus"] == str(BUSY)
    assert service["RestartPreventExitStatus"].split() == ["2", str(REFUSED)]
    assert unit("slidr-daily.timer")["Timer"]["OnCalendar"].endswith("UTC")


def test_kubernetes_tries_faults_again_and_nothing_else() -> None:
    """The policy of failures names the same statuses, and no two jobs run at once."""
    spec = yaml.safe_load((DEPLOY / "slidr-daily.yaml").read_text("utf-8"))["spec"]
    assert (spec["concurrencyPolicy"], spec["timeZone"]) == ("Forbid", "Etc/UTC")
    rules = spec["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    codes = {rule["action"]: rule["onExitCodes"]["values"] for rule in rules}
    assert codes == {"FailJob": [2, REFUSED], "Ignore": [BUSY]}
    (container,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["args"][0] == "daily"


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("*.cron")), ids=lambda path: path.stem)
def test_cron_runs_by_utc(path: Path) -> None:
    """Lines, those left out too, have five fields, an account and a command that there is; no clock moves them."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("# ")]
    assert lines[0] == "CRON_TZ=UTC"
    jobs = [line.removeprefix("#").split(maxsplit=6) for line in lines if "=" not in line.split()[0]]
    assert jobs
    for *_, account, command in jobs:
        assert account == "slidr"
        before, _, asked = command.partition(" && slidr ")
        assert before == "cd /srv/slidr"
        # cron takes a bare per cent sign for the end of the line.
        assert "%" not in asked.replace("\\%", "")
        name, *words = shlex.split(asked.partition(" > ")[0])
        cli = slidr.get_command(Context(slidr), name)
        assert cli is not None
        cli.make_context(name, ["2026-01-01" if "$(" in word else word for word in words], resilient_parsing=True)
