"""List files that change are taken over without a restart, and whatever cannot be used is not."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from tests.redis_servers import Server, wait_until
from tests.service.making import NOW, click, make_bundle
from tests.service.scaling import Running, get, seeded

from slidr.bundle import Bundle
from slidr.clock import ManualClock
from slidr.journal import Context, Entry, Journal
from slidr.rules import prepare_rules
from slidr.service.answers import Answer
from slidr.service.following import registry_of
from slidr.service.lifecycle import Parts, Service
from slidr.service.list_following import ListFollower
from slidr.settings import RulesSettings

WARMED = NOW + 1_000_000
"""A time of change for files, of which the clock's resolution cannot make two the same."""


class Followed(NamedTuple):
    """A service at work, and what looks at its list files."""

    service: Service
    follower: ListFollower

    async def look(self, times: int = 2) -> None:
        """Look at the files, twice where not told otherwise: what has changed must have settled."""
        for _ in range(times):
            await self.follower._look()

    async def ask(self, *places: int) -> list[Answer]:
        """Have clicks decided."""
        return await self.service.accept(msgspec.json.encode([click(place) for place in places]))[1]

    def shown(self, name: str) -> str:
        """Return the value of a metric."""
        lines = self.service.metrics.exposition().decode().splitlines()
        return next(line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} "))


@pytest.fixture
def deny(tmp_path: Path) -> Path:
    """A list file that denies somebody else."""
    path = tmp_path / "deny.csv"
    write(path, "user,somebody-else")
    return path


@pytest.fixture
def listed(parts: Parts, deny: Path) -> Parts:
    """What a service is made of that reads the file."""
    return with_list(parts, deny)


def with_list(parts: Parts, deny: Path) -> Parts:
    """Return parts whose rules read a file of clicks that are invalid."""
    settings = msgspec.structs.replace(parts.settings, rules=RulesSettings(deny=(str(deny),)))
    return parts._replace(settings=settings, rules=prepare_rules(settings.rules))


def write(path: Path, *lines: str) -> None:
    """Put a file in the place of another, as one should."""
    beside = path.with_suffix(".new")
    beside.write_text("\n".join(lines) + "\n", "utf-8")
    beside.replace(path)


def append(path: Path, line: str) -> None:
    """Write a line behind those of a file, as one should not."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


@asynccontextmanager
async def followed(parts: Parts) -> AsyncIterator[Followed]:
    """Start a service whose list files are looked at by hand."""
    service = Service(parts, clock=ManualClock(NOW))
    await service.start()
    try:
        yield Followed(service, ListFollower(service))
    finally:
        await service.stop()


def journalled(parts: Parts) -> tuple[list[Entry], list[Context]]:
    """Return what a journal holds, and what each entry was decided with."""
    with Journal(parts.journal_path, write=False) as journal:
        entries = [entry for chunk in journal.entries() for entry in chunk]
        return entries, [journal.context(entry.context) for entry in entries]


def verdicts(answers: Iterable[Answer]) -> set[str]:
    """Return the verdicts that there are, those of the model as one."""
    return {"model" if one.verdict in {"valid", "invalid_sophisticated"} else one.verdict for one in answers}


def test_a_changed_list_holds_from_the_next_click_on(listed: Parts, deny: Path) -> None:
    """What is denied is found, the journal names the new version, and what was decided before stays decided."""

    async def main() -> None:
        async with followed(listed) as at:
            store = at.service.batcher.live.store
            before = await at.ask(0, 7, 14)
            await at.look()
            write(deny, "user,user-0", "user,somebody-else")
            await at.look()
            after = await at.ask(21, 28)
            assert verdicts(before) == {"model"}
            assert verdicts(after) == {"invalid_general"}
            assert {answer.reasons for answer in after} == {("deny",)}
            assert await at.ask(7) == [before[1]]
            assert at.service.batcher.live.store is store
            assert at.shown("slidr_list_changes_total") == "1.0"
            assert at.shown("slidr_list_refused") == "0.0"
            version = next(rule.version for rule in at.service.parts.rules if rule.name == "deny")
            assert at.shown(f'slidr_list_info{{list="deny",version="{version}"}}') == "1.0"

    asyncio.run(main())
    entries, contexts = journalled(listed)
    assert [entry.sequence for entry in entries] == list(range(5))
    versions = [dict(context.lists)["deny"] for context in contexts]
    assert len({*versions[:3]}) == len({*versions[3:]}) == 1
    assert versions[0] != versions[3]
    assert versions[3] == next(rule.version for rule in prepare_rules(listed.settings.rules) if rule.name == "deny")


def test_a_list_that_cannot_be_used_changes_nothing(
    listed: Parts, deny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The list before stays, the log names the line once, and the metric says so until the file is mended."""

    async def main() -> None:
        async with followed(listed) as at:
            write(deny, "user,user-0")
            await at.look()
            write(deny, "user,user-0", "address,192.0.2.1")
            with caplog.at_level(logging.ERROR, "slidr.service"):
                await at.look(4)
            assert at.shown("slidr_list_refused") == "1.0"
            assert verdicts(await at.ask(0, 7)) == {"invalid_general"}
            await asyncio.to_thread(deny.unlink)
            await at.look()
            assert at.shown("slidr_list_refused") == "1.0"
            assert verdicts(await at.ask(14)) == {"invalid_general"}
            write(deny, "user,user-1")
            await at.look()
            assert at.shown("slidr_list_refused") == "0.0"
            assert verdicts(await at.ask(21)) == {"model"}
            assert verdicts(await at.ask(22)) == {"invalid_general"}
            assert at.shown("slidr_list_changes_total") == "2.0"

    asyncio.run(main())
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 2
    assert "line 2, 'address,192.0.2.1'" in told[0]
    assert "cannot be read" in told[1]


def test_a_list_change_is_in_the_audit_log_once(listed: Parts, deny: Path) -> None:
    """What two processes of one service take over is recorded by the first, with what the list was before."""
    listed = listed._replace(follow=True)

    async def main() -> None:
        async with followed(listed) as one, followed(listed._replace(worker=1)) as other:
            for lines in (("user,user-0",), ("user,user-0", "user,user-1")):
                await asyncio.gather(one.look(1), other.look(1))
                write(deny, *lines)
                await one.look()
                await other.look()

    asyncio.run(main())
    records = registry_of(listed).audit.records()
    assert [(one.kind, one.subject) for one in records] == [("lists", "service")] * 2
    changed = records[1].details["changed"][f"deny.lists.{deny}.entries"]
    assert changed == [1, 2]


def test_a_list_holds_where_the_audit_log_cannot_be_written(
    listed: Parts, deny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who may only read the registry takes lists over all the same, and the log says that they are not in it."""
    place = tmp_path / listed.settings.storage.registry
    place.mkdir(parents=True)
    (place / "audit").touch()  # A file where a folder must be.

    async def main() -> None:
        async with followed(listed._replace(follow=True)) as at:
            await at.look()
            write(deny, "user,user-0", "user,somebody-else")
            await at.look()
            assert at.shown("slidr_list_changes_total") == "1.0"
            assert at.shown("slidr_list_refused") == "0.0"

    asyncio.run(main())
    assert "not in the audit log" in caplog.text


def test_a_touched_list_is_only_younger(listed: Parts, deny: Path) -> None:
    """The same bytes at another time are the same list: nothing is taken over, and its age is the new one."""

    async def main() -> None:
        async with followed(listed) as at:
            live = at.service.batcher.live
            os.utime(deny, ns=(1000 * (NOW - 5_000_000),) * 2)
            await at.look()
            assert at.shown('slidr_list_age_seconds{list="deny"}') == "5.0"
            assert at.shown("slidr_list_changes_total") == "0.0"
            assert at.service.batcher.live is live

    asyncio.run(main())


def test_a_list_that_is_being_written_is_left_alone(listed: Parts, deny: Path) -> None:
    """A file that is another one at every look is not read before it is the same at two."""

    async def main() -> None:
        async with followed(listed) as at:
            for size in range(1, 5):
                await asyncio.to_thread(append, deny, f"user,user-{size}")
                await at.look(1)
                assert verdicts(await at.ask(size)) == {"model"}
            await at.look(1)
            assert verdicts(await at.ask(8, 9, 10, 11)) == {"invalid_general"}

    asyncio.run(main())


def test_a_list_changed_before_anybody_looks_is_read_again(listed: Parts, deny: Path) -> None:
    """What was written between the reading of the start and the first look is taken over."""
    write(deny, "user,user-0")
    os.utime(deny, ns=(1000 * WARMED,) * 2)

    async def main() -> None:
        async with followed(listed) as at:
            assert verdicts(await at.ask(0)) == {"model"}
            await at.look(1)
            assert verdicts(await at.ask(7)) == {"invalid_general"}

    asyncio.run(main())


def test_lists_outlive_a_swap_and_a_restored_state(listed: Parts, deny: Path, tmp_path: Path) -> None:
    """Another bundle decides with the lists that run, though its parts were made before them; so does what restores."""
    other: Bundle = make_bundle(tmp_path / "other", seed=7)

    async def main() -> None:
        async with followed(listed) as at:
            swapped = at.service.parts._replace(bundle=other)
            write(deny, "user,user-0")
            await at.look()
            await at.service.swap(swapped)
            (answer,) = await at.ask(0)
            assert (answer.bundle, answer.verdict) == (other.id, "invalid_general")
            at.service._failed(at.service.batcher)
            await asyncio.wait_for(at.service.ready.wait(), 10)
            assert verdicts(await at.ask(7)) == {"invalid_general"}

    asyncio.run(main())


def test_a_list_is_tried_again_when_the_service_was_not_ready(listed: Parts, deny: Path) -> None:
    """A change that comes while the state is restored is taken over once it is."""

    async def main() -> None:
        async with followed(listed) as at:
            write(deny, "user,user-0")
            await at.look(1)
            at.service._failed(at.service.batcher)
            await at.look(1)
            await asyncio.wait_for(at.service.ready.wait(), 10)
            await at.look(1)
            assert verdicts(await at.ask(0)) == {"invalid_general"}

    asyncio.run(main())


def test_every_worker_looks_by_itself(tmp_path: Path, deny: Path) -> None:
    """The workers of a service each take over a list that is put in place while they serve, and refuse a bad one."""
    make_bundle(tmp_path / "bundles")
    server = Server(tmp_path / "redis")
    service = None
    try:
        seeded(tmp_path, server)
        service = Running(tmp_path, server, rules={"deny": [str(deny)]}, workers=2, follow_seconds=0.02)
        service.wait()
        write(deny, "user,user-0")
        wait_until(lambda: _shown(service.url, "slidr_list_changes_total") == ["1.0", "1.0"], "both took it over")
        write(deny, "user")
        wait_until(lambda: _shown(service.url, "slidr_list_refused") == ["1.0", "1.0"], "both refused it")
        service.stop()
    finally:
        if service is not None:
            service.close()
        server.kill()


def _shown(url: str, name: str) -> list[str]:
    """Return the values of a metric, one a worker."""
    lines = get(f"{url}/metrics")[1].decode().splitlines()
    return [line.rpartition(" ")[2] for line in lines if line.startswith(f"{name}{{")]
