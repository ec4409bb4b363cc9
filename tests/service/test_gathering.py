from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from prometheus_client.parser import text_string_to_metric_families
from tests.service.asking import answer, run

from slidr.service.app import App
from slidr.service.gathering import Gathering, merged
from slidr.service.lifecycle import Parts
from slidr.service.metrics import Metrics


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket's."""
    with tempfile.TemporaryDirectory(prefix="slidr-") as path:
        yield Path(path)


def counting(status: int) -> Metrics:
    """Return metrics that have counted one request."""
    metrics = Metrics()
    metrics.answered(status, 1e-3, 1)
    return metrics


def test_every_sample_is_there_once_for_each_worker() -> None:
    """Families stand together, as the format asks for, and no sample is lost, changed or shown twice."""
    workers = {str(number): counting(200 + number) for number in range(3)}
    families = list(text_string_to_metric_families(merged({n: m.exposition() for n, m in workers.items()}).decode()))
    assert len({family.name for family in families}) == len(families)
    samples = [sample for family in families for sample in family.samples]
    keys = [(sample.name, *sorted(sample.labels.items())) for sample in samples]
    assert len(set(keys)) == len(keys)
    for number, metrics in workers.items():
        alone = [s for f in text_string_to_metric_families(metrics.exposition().decode()) for s in f.samples]
        mine = [sample for sample in samples if sample.labels["worker"] == number]
        assert sorted((s.name, *sorted(s.labels.items())) for s in alone) == sorted(
            (s.name, *sorted((k, v) for k, v in s.labels.items() if k != "worker")) for s in mine
        )


def test_braces_and_blanks_in_labels_stay() -> None:
    """A label's value may hold whatever a slice may."""
    text = b'# HELP a b\n# TYPE a counter\na{slice="x={ y} 1"} 2.0\n'
    assert b'a{worker="0",slice="x={ y} 1"} 2.0\n' in merged({"0": text})


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_whichever_worker_is_asked_answers_for_all(folder: Path, loop: type[asyncio.AbstractEventLoop]) -> None:
    """The answer has the numbers of every worker as they are now, and leaves out the one that has gone."""

    async def work() -> None:
        counted = [counting(201), counting(202), counting(203)]
        gatherings = [Gathering(folder, n, 3, metrics.exposition) for n, metrics in enumerate(counted, 1)]
        for gathering in gatherings:
            await gathering.start()
        counted[2].answered(203, 1e-3, 1)
        first = (await gatherings[0].gather()).decode()
        for number, count in ((1, 1.0), (2, 1.0), (3, 2.0)):
            assert f'slidr_requests_total{{worker="{number}",status="{200 + number}"}} {count}\n' in first
        await gatherings[1].stop()
        text = (await gatherings[2].gather()).decode()
        assert 'worker="1"' in text
        assert 'worker="2"' not in text
        again = Gathering(folder, 2, 3, Metrics().exposition)
        await again.start()
        assert 'worker="2"' in (await gatherings[2].gather()).decode()
        for gathering in (gatherings[0], again, gatherings[2]):
            await gathering.stop()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work())


def test_a_scrape_of_one_service_shows_its_neighbour(folder: Path, parts: Parts) -> None:
    """`/metrics` of an application among several answers for all of them."""

    async def work(app: App) -> None:
        mine, other = (Gathering(folder, n, 2, m.exposition) for n, m in enumerate((Metrics(), counting(201)), 1))
        await other.start()
        beside = App(app._service, 1 << 20, gathering=mine)
        assert b'worker="2",status="201"} 1.0' in (await answer(beside, "GET", "/metrics")).body
        await other.stop()

    run(parts, work)


def test_a_worker_that_hangs_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes the connection and says nothing holds nobody up."""
    monkeypatch.setattr("slidr.service.gathering._PATIENCE", 0.01)

    async def work() -> None:
        gone = asyncio.Event()

        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            await writer.wait_closed()
            gone.set()

        server = await asyncio.start_unix_server(hang, folder / "2.metrics")
        text = (await Gathering(folder, 1, 2, Metrics().exposition).gather()).decode()
        assert 'worker="1"' in text
        assert 'worker="2"' not in text
        await gone.wait()
        server.close()
        await server.wait_closed()

    asyncio.run(work())
