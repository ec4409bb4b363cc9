"""What was decided of each click_id, kept in Redis for an hour: a repeat gets the same answer from any process."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from slidr.errors import StoreError
from slidr.features.redis.nodes import Command, Nodes, tag

_LIFE = 3_600_000  # milliseconds
_MOST = 100_000  # decisions that wait for a server to answer again; beyond them the oldest are given up


class Decided:
    """The memory of decisions that the processes of a store share.

    A decision is written with the next call that goes to its partition, or by `flush`, and again where that failed;
    what is lost on the way, as where a process is killed, is decided again by whoever is asked, from the same row.

    Args:
        nodes: connections to the servers.
        partitions: parts that the click_ids are spread over.

    Attributes:
        fault: why the last memory was not read or written; empty where it was.
    """

    def __init__(self, nodes: Nodes, partitions: int) -> None:
        self.fault = ""
        self._nodes = nodes
        self._partitions = partitions
        # Filled by the thread that journals, emptied by the one that speaks to Redis.
        self._waiting: deque[dict[int, bytes]] = deque()
        self._unwritten: deque[tuple[int, Command]] = deque(maxlen=_MOST)

    def remember(self, decided: dict[int, bytes]) -> None:
        """Keep what was decided, by the keyed hash of the click_id."""
        self._waiting.append(decided)

    def recall(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return what any process decided of clicks; what is not there, or cannot be read in time, is left out."""
        self.flush()
        homes: dict[int, list[int]] = {}
        for number in ids:
            homes.setdefault(number % self._partitions, []).append(number)
        commands: dict[int, Sequence[Command]] = {
            home: [("MGET", *(_key(home, number) for number in mine))] for home, mine in homes.items()
        }
        found: dict[int, bytes] = {}
        for home, answer in self._nodes.run(commands).items():
            if isinstance(answer, StoreError):
                self.fault = str(answer)
            else:
                found |= {number: held for number, held in zip(homes[home], answer[0], strict=True) if held}
        return found

    def flush(self) -> None:
        """Write what waits."""
        commands = self.commands()
        answers = self._nodes.run(commands)
        failed = {home: answer for home, answer in answers.items() if isinstance(answer, StoreError)}
        self.wait({home: commands[home] for home in failed})
        self.fault = str(next(iter(failed.values()))) if failed else ""

    def wait(self, commands: dict[int, list[Command]]) -> None:
        """Let commands that did not reach their partition wait for the next call."""
        self._unwritten += [(home, command) for home, failed in commands.items() for command in failed]

    def commands(self) -> dict[int, list[Command]]:
        """Return the commands that write what waits, by partition, and let it wait no longer."""
        commands: dict[int, list[Command]] = {}
        while self._unwritten:
            home, command = self._unwritten.popleft()
            commands.setdefault(home, []).append(command)
        while self._waiting:
            for number, decided in self._waiting.popleft().items():
                home = number % self._partitions
                commands.setdefault(home, []).append(("SET", _key(home, number), decided, "PX", _LIFE))
        return commands


def _key(partition: int, number: int) -> str:
    return f"{tag(partition)}:decided:{number:x}"
