from __future__ import annotations

import numpy as np

from slidr.simulate.rhythm import DEVICES
from slidr.simulate.user_agents import compose


def test_agents_are_many_and_distinct() -> None:
    """The list is composed, long, and holds no string twice."""
    text = compose().text.to_pylist()
    assert len(set(text)) == len(text) > 1_000


def test_agents_fit_the_device() -> None:
    """Phones draw phones' user agents, apps the app's, desktops neither."""
    agents, generator = compose(), np.random.default_rng(1)
    words = {"desktop": ("Windows NT", "Macintosh", "X11"), "mobile": ("Android", "iPhone"), "app": ("ShopApp",)}
    words["tablet"] = ("iPad", "SM-", "Lenovo")
    for code, name in enumerate(DEVICES):
        drawn = agents.text.take(agents.draw(np.full(2_000, code, dtype=np.int8), generator)).to_pylist()
        assert all(any(word in text for word in words[name]) for text in drawn)


def test_popular_agents_come_up_more_often() -> None:
    """A few user agents have most of the traffic, as in a real log."""
    agents, generator = compose(), np.random.default_rng(1)
    drawn = agents.draw(np.zeros(20_000, dtype=np.int8), generator)
    counts = np.sort(np.unique_counts(drawn).counts)[::-1]
    assert counts[:10].sum() > 0.5 * counts.sum()


def test_declared_crawlers_are_no_browsers() -> None:
    """The user agents of declared crawlers are drawn for no device."""
    agents, generator = compose(), np.random.default_rng(1)
    declared = set(agents.declared(200, generator).tolist())
    assert declared == set(range(int(agents.first[-1]), len(agents.text)))
    every = agents.draw(np.repeat(np.arange(4, dtype=np.int8), 5_000), generator)
    assert not declared & set(every.tolist())
