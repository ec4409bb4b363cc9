"""The hand-over of parts from a block to a consumer on its own thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from slidr.lake.handover import Abandoned, handed_over


def test_parts_arrive_in_order() -> None:
    """The consumer gets every part once, in order, and has ended when the block has."""
    seen: list[int] = []
    with handed_over(seen.extend) as give:
        for part in range(50):
            give(part)
    assert seen == list(range(50))


def test_a_block_that_fails_is_heard() -> None:
    """The block's error goes on, and the consumer learns that its parts must not count."""
    ends: list[type[Exception]] = []

    def consume(parts: Iterator[int]) -> None:
        try:
            list(parts)
        except Abandoned as fault:
            ends.append(type(fault))
            raise

    def fail() -> None:
        with handed_over(consume) as give:
            give(1)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert ends == [Abandoned]


@pytest.mark.parametrize("parts", [0, 1, 100])
def test_a_consumer_that_fails_is_heard(parts: int) -> None:
    """The consumer's error is raised in the block or at its end, and no part waits for ever."""

    def consume(given: Iterator[int]) -> None:
        next(given, None)
        raise OSError("disk full")

    def give_all() -> None:
        with handed_over(consume) as give:
            for part in range(parts):
                give(part)

    with pytest.raises(OSError, match="disk full"):
        give_all()
