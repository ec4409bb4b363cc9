"""What list rules cost: to read the lists at the start, and a click, in batches of 1 and of 64, on one core.

    python -m benchmarks.rules [--data ../shared/data]

The lists and the web log are the shared ones. `known` values were seen before and are remembered, `new` ones were not:
user agents are those of the log, new ones with a number behind; addresses are random. Beside the search of the
packaged crawler list stand its patterns as one plain alternation, and the package's own function. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import ipaddress
import json
import os
import random
import re
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from benchmarks.machine import pin
from tabulate import tabulate

from slidr.rules import Columns, ListRule, crawlers, prepare_rules
from slidr.settings import RulesSettings

CLICKS = 12_800
BATCHES = (1, 64)
ROUNDS = 5
HEADERS = {
    "accept": "text/html", "accept-language": "de", "referer": "https://shop.example/", "sec-ch-ua": "x",
    "sec-fetch-mode": "navigate", "sec-fetch-site": "none",
}  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SLIDR_DATA") or beside))
    data = parser.parse_args().data
    pin()
    with gzip.open(data / "weblog" / "apache_2015-05.log.gz", "rt", encoding="utf-8", errors="replace") as lines:
        agents = list(dict.fromkeys(line.rsplit('"', 2)[1] for line in lines if line.count('"') >= 6))  # noqa: PLR2004
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(data / "lists", Path(folder) / "deny.csv")
        figures: dict[str, float] = {"prepare_ms": 1e3 * best(lambda: prepare_rules(settings))}
        rules = prepare_rules(settings)
    generator = random.Random(1)  # noqa: S311 it draws addresses, not secrets
    rows = []
    for rule in rules:
        costs = [
            cost(rule, drawn(generator, agents, new=new), size, new=new) for new in (False, True) for size in BATCHES
        ]
        rows.append((rule.name, sum(listed.entries for listed in rule.lists), *costs))
        names = [f"{rule.name}_{kind}_{size}_us" for kind in ("known", "new") for size in BATCHES]
        figures |= dict(zip(names, costs, strict=True))
    heads = ("rule", "entries", *(f"{kind}, batch {size}" for kind in ("known", "new") for size in BATCHES))
    print(tabulate(rows, heads, floatfmt=".2f", intfmt=","), "\nmicroseconds a click\n")
    figures |= searches(agents)
    print(json.dumps({name: round(figure, 2) for name, figure in figures.items()}))


def best(work: Callable[[], object]) -> float:
    """Return the seconds of the best round."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def _settings(lists: Path, deny: Path) -> RulesSettings:
    """Return settings that switch every rule on, with 11,000 denied values."""
    entries = [f"user,u{number}" for number in range(10_000)]
    entries += [f"ip,10.{number % 256}.{number // 256}.0/24" for number in range(999)]
    deny.write_text("\n".join([*entries, "user_agent,*Probe*"]))
    networks = ("datacenter_ipv4.txt", "datacenter_ipv6.txt", "ipcat_datacenters.csv")
    return RulesSettings(
        data_centres=tuple(str(lists / name) for name in networks),
        repeats="24h",
        deny=(str(deny),),
        allow=(str(deny),),
    )


def drawn(generator: random.Random, agents: list[str], *, new: bool) -> dict[str, list[object]]:
    """Return columns of clicks, with values that repeat or with values of their own."""
    numbers = range(CLICKS)
    addresses = [generator.getrandbits(32) if new else 0xC0000200 + generator.randrange(256) for _ in numbers]
    return {
        "user_agent": [generator.choice(agents) + (f" {generator.random()}" if new else "") for _ in numbers],
        "ip": [str(ipaddress.ip_address(address)) for address in addresses],
        "user": [f"v{generator.randrange(10**6)}" for _ in numbers],
        "headers": [HEADERS] * CLICKS,
        "impression": [f"i{number}" for number in numbers],
        "clicks_impression_24h": [1.0] * CLICKS,
    }


def cost(rule: ListRule, columns: dict[str, list[object]], size: int, *, new: bool) -> float:
    """Return microseconds a click in batches of a size."""
    read = [name for name in columns if name in rule.columns or rule.features]
    batches: list[Columns] = [
        {name: columns[name][start : start + size] for name in read} for start in range(0, CLICKS, size)
    ]
    if new:
        began = time.perf_counter()
        for batch in batches:
            rule.hits(batch)
        return (time.perf_counter() - began) / CLICKS * 1e6
    rule.hits(columns)
    return best(lambda: [rule.hits(batch) for batch in batches]) / CLICKS * 1e6


def searches(agents: list[str]) -> dict[str, float]:
    """Return microseconds a user agent that was not seen before, by how the packaged list is searched."""
    text = (files("crawleruseragents") / "crawler-user-agents.json").read_text(encoding="utf-8")
    plain = re.compile("|".join(f"(?:{entry['pattern']})" for entry in json.loads(text)))
    prepared = crawlers.prepare(RulesSettings(crawlers=("crawler-user-agents",)))
    if prepared is None:
        raise SystemExit("the packaged list is off")
    theirs = importlib.import_module("crawleruseragents").is_crawler
    began = time.perf_counter()
    prepared.hits({"user_agent": agents})
    ours = time.perf_counter() - began
    figures = {
        "search_us": ours / len(agents) * 1e6,
        "search_alternation_us": best(lambda: [plain.search(agent) for agent in agents]) / len(agents) * 1e6,
        "search_package_us": best(lambda: list(map(theirs, agents))) / len(agents) * 1e6,
    }
    print(tabulate(figures.items(), ("a user agent not seen before", "us"), floatfmt=".1f"), "\n")
    return figures


if __name__ == "__main__":
    main()
