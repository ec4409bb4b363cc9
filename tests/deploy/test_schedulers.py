"""The examples for schedulers: they parse, and take the exit statuses of `slidr daily` for what they are."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest
import yaml

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


@pytest.mark.parametrize("name", ["slidr-daily.cron"])
def test_cron_runs_by_utc(name: str) -> None:
    """Lines have five fields, an account and a command, and a change of the clocks moves none of them."""
    lines = [line for line in (DEPLOY / name).read_text("utf-8").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "CRON_TZ=UTC"
    jobs = [line.split(maxsplit=6) for line in lines if "=" not in line.split()[0]]
    assert all(job[5] == "slidr" and "slidr daily" in job[6] for job in jobs)
