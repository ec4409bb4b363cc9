"""The files that run slidr as a fleet: they parse, name what exists, and agree with each other."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from tests.service.scaling import balancer

from slidr.cli.serving import serve

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def mounted() -> list[tuple[str, str]]:
    """Return what is mounted, and where, of all services."""
    volumes = [volume for service in COMPOSE["services"].values() for volume in service.get("volumes", ())]
    return [re.match(r"(\$\{[^}]*\}[^:]*|[^:]+):([^:]+)", volume).groups() for volume in volumes]  # type: ignore[union-attr, misc]


def test_every_file_and_volume_is_there() -> None:
    """Files that are mounted or built from exist below deploy/, volumes are declared, and services that others need."""
    for source, _ in mounted():
        if source.startswith("./"):
            assert (DEPLOY / source).is_file()
        elif not source.startswith("${SLIDR_PROJECT:?"):
            assert source in COMPOSE["volumes"]
    for service in COMPOSE["services"].values():
        assert set(service.get("depends_on", ())) <= set(COMPOSE["services"])
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        else:
            assert re.fullmatch(r"docker\.io/[\w/-]+:[\w.-]+\d[\w.-]*", service["image"]), "the image is pinned"


def test_services_have_journals_of_their_own_and_no_rights() -> None:
    """Two services share Redis and no volume of a journal; none runs with more rights than it needs."""
    one, two = COMPOSE["services"]["slidr-1"], COMPOSE["services"]["slidr-2"]
    journals = [next(v for v in service["volumes"] if v.endswith(":/var/lib/slidr")) for service in (one, two)]
    assert len(set(journals)) == 2
    for service in (one, two):
        assert service["environment"]["SLIDR_REDIS"] == "redis://redis:6379"
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["command"][0] == "serve"
        known = {text for option in serve.params for text in option.opts}
        assert {word for word in service["command"] if word.startswith("--")} <= known
    assert "noeviction" in COMPOSE["services"]["redis"]["command"]


def test_services_are_as_healthy_as_their_image_says() -> None:
    """The health check of the services is that of the image, which not every format of images keeps."""
    (said,) = re.findall(r"^HEALTHCHECK (.*) CMD (\[.*\])$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
    options = {name.replace("-", "_"): value for name, value in re.findall(r"--([a-z-]+)=(\w+)", said[0])}
    for name in ("slidr-1", "slidr-2"):
        check = {key: str(value) for key, value in COMPOSE["services"][name]["healthcheck"].items() if key != "test"}
        assert check == options
        assert COMPOSE["services"][name]["healthcheck"]["test"] == ["CMD", *yaml.safe_load(said[1])]


def test_images_are_built_with_their_health_check() -> None:
    """Wherever the image is built by a command, it is in the format that has health checks."""
    for file in (DEPLOY / "Containerfile", DEPLOY.parent / "docs" / "security.md"):
        commands = [line for line in file.read_text().splitlines() if "podman build " in line]
        assert commands
        assert all("podman build --format docker " in line for line in commands)


def test_what_watches_knows_the_services() -> None:
    """Balancer and Prometheus name the services of the compose file; Prometheus loads the alerts."""
    names = {f"{name}:8710" for name in COMPOSE["services"] if name.startswith("slidr-")}
    scrape = yaml.safe_load((DEPLOY / "compose.prometheus.yml").read_text())
    assert set(scrape["scrape_configs"][0]["static_configs"][0]["targets"]) == names
    inside = {target for _, target in mounted()}
    assert {f"/etc/prometheus/{file}" for file in scrape["rule_files"]} <= inside
    assert set(re.findall(r"^ +server \w+ (\S+)", (DEPLOY / "haproxy.cfg").read_text(), re.MULTILINE)) == names
    dashboards = yaml.safe_load((DEPLOY / "compose.dashboards.yml").read_text())
    assert dashboards["providers"][0]["options"]["path"] in {str(Path(target).parent) for target in inside}


def test_the_balancer_takes_its_file(tmp_path: Path) -> None:
    """HAProxy itself finds no fault and gives no warning, once the names of the services can be resolved."""
    file = tmp_path / "haproxy.cfg"
    file.write_text(re.sub(r"slidr-\d:", "127.0.0.1:", (DEPLOY / "haproxy.cfg").read_text()))
    command = [balancer(), "-c", "-f", str(file)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 our own file
    assert (said.returncode, "WARNING" in said.stderr) == (0, False), said.stderr
