"""User agents, composed from the parts that real ones have, with the popularity of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from slidr.simulate.rhythm import DEVICES

_NEWEST = 145
_RELEASES = 14
_BLINK = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0"
_APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
_DESKTOPS = (
    ("Windows NT 10.0; Win64; x64", 0.66),
    ("Macintosh; Intel Mac OS X 10_15_7", 0.26),
    ("X11; Linux x86_64", 0.08),
)
_PHONES = tuple(f"SM-{series}{number}6B" for series in "AGS" for number in range(12, 60, 3))
_DECLARED = (
    "Mozilla/5.0 (compatible; PriceCompareBot/2.1; +https://prices.example/bot)",
    "Mozilla/5.0 (compatible; ShelfCrawler/1.0; +https://shelf.example/crawler)",
    "python-requests/2.32.3",
    "curl/8.5.0",
)


@dataclass(frozen=True)
class UserAgents:
    """All user agents of the world.

    Attributes:
        text: the strings, device by device; those of declared crawlers come last.
        first: index of the first one of each device, and of the declared crawlers, int64[len(DEVICES) + 1].
        cumulative: running popularity within each device, one array a device.
    """

    text: pa.Array
    first: NDArray[np.int64]
    cumulative: tuple[NDArray[np.float64], ...]

    def draw(self, device: NDArray[np.int8], generator: np.random.Generator) -> NDArray[np.int32]:
        """Draw one user agent for each device, by popularity, as indices into `text`, int32[n]."""
        place = generator.random(len(device))
        drawn = np.empty(len(device), dtype=np.int32)
        for code, cumulative in enumerate(self.cumulative):
            chosen = device == code
            drawn[chosen] = self.first[code] + np.searchsorted(cumulative, place[chosen], side="right")
        return drawn

    def declared(self, size: int, generator: np.random.Generator) -> NDArray[np.int32]:
        """Draw user agents that say they are crawlers, as indices into `text`, int32[size]."""
        return generator.integers(self.first[-1], len(self.text), size, dtype=np.int32)


def compose() -> UserAgents:
    """Compose every user agent of the world."""
    makers = {"desktop": _desktop, "mobile": _mobile, "app": _app, "tablet": _tablet}
    text: list[str] = []
    first: list[int] = []
    cumulative: list[NDArray[np.float64]] = []
    for device in DEVICES:
        popularity = makers[device]()
        first.append(len(text))
        text.extend(popularity)
        running = np.cumsum(list(popularity.values()))
        cumulative.append(running / running[-1])
    first.append(len(text))
    return UserAgents(pa.array(text + list(_DECLARED)), np.array(first), tuple(cumulative))


def _releases() -> list[tuple[int, float]]:
    """Browser releases, newest first; people update slowly, so popularity falls by half a release."""
    return [(_NEWEST - age, 0.5**age + 0.004) for age in range(_RELEASES)]


def _desktop() -> dict[str, float]:
    popularity: dict[str, float] = {}
    for system, share in _DESKTOPS:
        for release, weight in _releases():
            blink = _BLINK.format(v=release)
            popularity[f"Mozilla/5.0 ({system}) {blink} Safari/537.36"] = 0.66 * share * weight
            if not system.startswith("X11"):
                edge = f"Mozilla/5.0 ({system}) {blink} Safari/537.36 Edg/{release}.0.0.0"
                popularity[edge] = 0.14 * share * weight
            firefox = f"Mozilla/5.0 ({system}; rv:{release}.0) Gecko/20100101 Firefox/{release}.0"
            popularity[firefox] = 0.08 * share * weight
    for minor, share in enumerate((0.05, 0.08, 0.09, 0.14)):
        system = _DESKTOPS[1][0]
        popularity[f"Mozilla/5.0 ({system}) {_APPLE} Version/18.{minor} Safari/605.1.15"] = share
    return popularity


def _mobile() -> dict[str, float]:
    popularity: dict[str, float] = {}
    for release, weight in _releases():
        blink = _BLINK.format(v=release)
        # Chrome on Android names no model any more; other browsers still do.
        popularity[f"Mozilla/5.0 (Linux; Android 10; K) {blink} Mobile Safari/537.36"] = 0.32 * weight
        for rank, phone in enumerate(_PHONES):
            for version in (13, 14, 15):
                system = f"Linux; Android {version}; {phone}"
                browser = f"SamsungBrowser/{release - 117}.0"
                text = f"Mozilla/5.0 ({system}) {_BLINK.format(v=release - 8)} {browser} Mobile Safari/537.36"
                popularity[text] = 0.2 * weight / (1 + rank)
    for major in (16, 17, 18):
        for minor in range(7):
            system = f"iPhone; CPU iPhone OS {major}_{minor} like Mac OS X"
            text = f"Mozilla/5.0 ({system}) {_APPLE} Version/{major}.{minor} Mobile/15E148 Safari/604.1"
            popularity[text] = 0.06 * 3.0 ** (major - 18) * (1 + minor)
    return popularity


def _tablet() -> dict[str, float]:
    popularity: dict[str, float] = {}
    for major in (16, 17, 18):
        for minor in range(7):
            system = f"iPad; CPU OS {major}_{minor} like Mac OS X"
            text = f"Mozilla/5.0 ({system}) {_APPLE} Version/{major}.{minor} Mobile/15E148 Safari/604.1"
            popularity[text] = 0.1 * 3.0 ** (major - 18) * (1 + minor)
    for release, weight in _releases():
        for rank, tablet in enumerate(("SM-X200", "SM-X510", "SM-T970", "Lenovo TB-J606F")):
            text = f"Mozilla/5.0 (Linux; Android 13; {tablet}) {_BLINK.format(v=release)} Safari/537.36"
            popularity[text] = 0.3 * weight / (1 + rank)
    return popularity


def _app() -> dict[str, float]:
    popularity: dict[str, float] = {}
    for age in range(10):
        version = f"ShopApp/9.{40 - age}.0"
        for major in (17, 18):
            for model in range(12, 18):
                popularity[f"{version} (iOS {major}.{model - 11}; iPhone{model},2)"] = 0.6**age
        for rank, phone in enumerate(_PHONES):
            popularity[f"{version} (Android {13 + rank % 3}; {phone})"] = 0.6**age * 4 / (2 + rank)
    return popularity
