"""Hand-over: a block gives parts one by one to a consumer on a thread of its own, a few at a time."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeVar

_Part = TypeVar("_Part")
_AHEAD = 2
"""Parts that may wait for the consumer."""
_PATIENCE = 0.1
"""Seconds after which a giver whose queue stays full looks whether the consumer still lives."""


class Abandoned(Exception):  # noqa: N818 - it ends the consumer's loop, and is no fault of its own
    """The block that gave the parts has failed; what was given so far must not count."""


@contextmanager
def handed_over(consume: Callable[[Iterator[_Part]], object]) -> Iterator[Callable[[_Part], None]]:
    """Run `consume` over the parts that the block gives, and wait for its end when the block ends.

    Where the block fails, the iterator of the consumer raises `Abandoned`, and the block's own error goes on. Where
    the consumer fails, its error is raised in the block, at the next part or at its end.
    """
    waiting: queue.Queue[Callable[[], _Part]] = queue.Queue(_AHEAD)

    def parts() -> Iterator[_Part]:
        with suppress(_End):
            while True:
                yield waiting.get()()

    def put(part: Callable[[], _Part], consumer: Future[object]) -> None:
        while not consumer.done():
            with suppress(queue.Full):
                waiting.put(part, timeout=_PATIENCE)
                return

    with ThreadPoolExecutor(1) as pool:
        consumer = pool.submit(consume, parts())

        def give(part: _Part) -> None:
            put(lambda: part, consumer)
            if consumer.done():
                consumer.result()

        try:
            yield give
        except BaseException:
            put(_abandon, consumer)
            raise
        put(_end, consumer)
        consumer.result()


class _End(Exception):  # noqa: N818 - not an error
    """The block has ended and gives no more parts."""


def _end() -> NoReturn:
    raise _End


def _abandon() -> NoReturn:
    raise Abandoned
