"""What a service with several workers refuses before it starts any; tests/service/test_scaling.py has them at work."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.redis_servers import Server, free_port

from slidr.errors import ServiceError, SettingsError, StoreError
from slidr.service.lifecycle import Parts
from slidr.service.workers import serve_workers
from slidr.settings import ServiceSettings, StoreSettings

_WORKERS = ServiceSettings(port=0, workers=2)


def sharing(parts: Parts, *addresses: str) -> Parts:
    """Return the parts of a service with two workers that share these servers."""
    settings = msgspec.structs.replace(parts.settings, service=_WORKERS, store=StoreSettings(redis=addresses))
    return parts._replace(settings=settings)


def nothing() -> Parts:
    """Fail as what a worker needs may."""
    raise SettingsError("rules.deny: there is no file robots.csv; make it, or take it out")


def never() -> Parts:
    """Fail the test: no worker is to be started."""
    raise AssertionError


def test_workers_without_redis_are_refused(parts: Parts) -> None:
    """Several processes with a memory of their own would each count a part: it is refused, with what to set."""
    with pytest.raises(SettingsError, match=r"service\.workers = 2: .*store\.redis is empty; set it or --store"):
        serve_workers(sharing(parts), never)


def test_what_is_wrong_with_redis_is_told_once(parts: Parts, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No server and a wrong password are errors of the parent, and no worker is started that would tell them again."""
    with pytest.raises(StoreError, match=r"127\.0\.0\.1"):
        serve_workers(sharing(parts, f"redis://127.0.0.1:{free_port()}"), never)
    server = Server(tmp_path / "redis", password="right")  # noqa: S106 of this test alone
    try:
        with pytest.raises(StoreError, match="password"):
            serve_workers(sharing(parts, f"redis://:wrong@127.0.0.1:{server.port}"), never)
    finally:
        server.kill()
    assert capfd.readouterr().err == ""


def test_workers_that_cannot_start_end_the_service(
    parts: Parts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The parent ends with the worker's own words, and tells that Redis holds no state."""
    server, told = Server(tmp_path / "redis"), list[str]()
    try:
        with pytest.raises(ServiceError, match=r"rules\.deny: there is no file robots\.csv"):
            serve_workers(sharing(parts, server.url), nothing, announce=lambda state, _url: told.append(state))
    finally:
        server.kill()
    assert told == ["listening"]
    assert len([line for line in caplog.messages if "until `slidr seed` has run" in line]) == 1
