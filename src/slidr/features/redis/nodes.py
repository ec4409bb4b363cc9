"""Nodes: the Redis servers that hold the partitions, one of them or a cluster, and calls that are pipelined to each.

redis-py connects, authenticates and reads answers, hiredis writes commands. Which node holds a partition, and what is
sent to it, is decided here, for a batch must be on its way to every node before the first answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool
from redis.crc import key_slot
from redis.retry import Retry

from redis import exceptions as faults
from slidr.errors import StoreError

LIBRARY = "slidr_2"
"""The library's name; its number changes whenever what it stores or answers does."""
_OLDEST = 7
# An answer that makes no sense leaves the connection as unusable as none.
_LOST = (faults.ConnectionError, faults.TimeoutError, faults.InvalidResponse, OSError)

_REMEDIES = {
    faults.AuthenticationError: "refuses the password ({fault}); write redis://user:password@host:port",
    faults.NoPermissionError: "refuses: {fault}; allow the user INFO, ROLE, FUNCTION, FCALL and the keys slidr*",
    faults.OutOfMemoryError: "is out of memory (maxmemory) and takes no click; give it more",
    faults.ReadOnlyError: "is a read-only replica; name its master too",
    faults.ConnectionError: "cannot be reached: {fault}",
    faults.RedisError: "answers: {fault}",
    OSError: "cannot be reached: {fault}",
}

Command = tuple[str | bytes | int, ...]
Address = tuple[str, int]


class Identity(NamedTuple):
    """Which server holds a partition: where it is, and the id that a server takes when it starts."""

    address: Address
    run: str


class _Node:
    """One server: a connection that was checked, and what the server said of itself."""

    def __init__(self, connection: Connection, information: dict[str, str]) -> None:
        self.connection = connection
        self.information = information

    @property
    def identity(self) -> Identity:
        return Identity((self.connection.host, self.connection.port), self.information.get("run_id", ""))


class Nodes:
    """Connections to the servers that hold the partitions.

    Args:
        urls: `redis://[user:password@]host:port`, or `rediss://` for TLS: one server and perhaps its replicas, of which
            the one that is master serves, or some servers of a cluster, which name the others.
        partitions: how many partitions there are; each has a hash tag, and so a slot, of its own.
        timeout: seconds that a connection or an answer may take.

    Attributes:
        generation: changes whenever another server may hold a partition.
    """

    def __init__(self, urls: Sequence[str], partitions: int, timeout: float) -> None:
        self._urls = tuple(urls)
        self._timeout = timeout
        self._slots = [key_slot(tag(partition).encode()) for partition in range(partitions)]
        self._nodes: dict[Address, _Node] = {}
        self._holders: list[Address] = []
        self.generation = 0

    def connect(self) -> None:
        """Find the servers of all partitions, check them and load the library; does nothing where that is done.

        Raises:
            StoreError: a server cannot be reached, refuses the password, is too old, may drop keys or be written to
                by no one, or the cluster leaves a partition without a server.
        """
        if self._holders:
            return
        holders = self._find_holders()
        for address in set(holders):
            self._node(address)
        self._holders = holders
        self.generation += 1

    def identity(self, partition: int) -> Identity:
        """Return which server holds a partition; `connect` must have been called."""
        return self._nodes[self._holders[partition]].identity

    def run(self, commands: Mapping[int, Sequence[Command]]) -> dict[int, list[Any] | StoreError]:
        """Send every partition's commands, to all nodes before any answer is read; return the answers by partition.

        Where an answer is an error, or does not come, the partition has the error in place of its answers: some of its
        commands may have been carried out, and `connect` has to be called before the next.
        """
        results: dict[int, list[Any] | StoreError] = {}
        sent: dict[Address, list[int]] = {}
        if not self._holders:
            return dict.fromkeys(commands, StoreError("no redis server is connected"))
        for partition in commands:
            sent.setdefault(self._holders[partition], []).append(partition)
        for address, partitions in sent.items():
            connection = self._nodes[address].connection
            try:
                # hiredis' types know commands of one word alone.
                packed = b"".join(pack_command(command) for one in partitions for command in commands[one])  # type: ignore[arg-type]
                connection.send_packed_command([packed], check_health=False)  # type: ignore[no-untyped-call]
            except _LOST as fault:
                self._forget(address)
                results |= dict.fromkeys(partitions, self._explained(fault, address))
        for address, partitions in sent.items():
            for partition in partitions:
                if partition not in results:
                    results[partition] = self._answers(address, len(commands[partition]))
        return results

    def close(self) -> None:
        """Close every connection."""
        for node in self._nodes.values():
            node.connection.disconnect()  # type: ignore[no-untyped-call]
        self._nodes, self._holders = {}, []

    def _answers(self, address: Address, count: int) -> list[Any] | StoreError:
        node = self._nodes.get(address)
        if node is None:
            return StoreError(f"redis at {_text(address)} stopped answering")
        answers: list[Any] = []
        refused: StoreError | None = None
        for _ in range(count):
            try:
                answers.append(node.connection.read_response())
            except _LOST as fault:
                self._forget(address)
                return self._explained(fault, address)
            except faults.RedisError as fault:
                # The answers behind it are still on their way and are read; who holds what is asked again.
                refused = refused or self._explained(fault, address)
                self._holders = []
        return refused or answers

    def _forget(self, address: Address) -> None:
        """Close a connection that failed; `connect` makes it anew and asks who holds what."""
        node = self._nodes.pop(address, None)
        if node is not None:
            node.connection.disconnect()  # type: ignore[no-untyped-call]
        self._holders = []

    def _find_holders(self) -> list[Address]:
        """Ask the servers known, until one answers, which of them holds which partition."""
        failed: list[str] = []
        for address in dict.fromkeys([*self._nodes, *map(self._address, self._urls)]):
            try:
                node = self._node(address)
                # Valkey has the second name, and since its version 8 not the first.
                if "cluster" in (node.information.get("redis_mode"), node.information.get("server_mode")):
                    return self._cluster_holders(node)
                if _said(node.connection, "ROLE")[0] == b"master":
                    return [address] * len(self._slots)
                failed.append(f"redis at {_text(address)} is a read-only replica; name its master too")
            except (*_LOST, faults.RedisError) as fault:
                self._forget(address)
                failed.append(str(self._explained(fault, address)))
            except StoreError as fault:
                failed.append(str(fault))
        raise StoreError("; ".join(failed))

    def _cluster_holders(self, node: _Node) -> list[Address]:
        slots: dict[int, Address] = {}
        for first, last, master, *_ in _said(node.connection, "CLUSTER", "SLOTS"):
            host = master[0].decode() if master[0] else node.connection.host
            for slot in self._slots:
                if first <= slot <= last:
                    slots[slot] = (host, int(master[1]))
        missing = sorted(set(self._slots) - set(slots))
        if missing:
            raise StoreError(
                f"the redis cluster of {_text(node.identity.address)} serves no slot {missing[0]}; mend it first"
            )
        return [slots[slot] for slot in self._slots]

    def _address(self, url: str) -> Address:
        options = self._pool(url).connection_kwargs
        return options.get("host", "localhost"), int(options.get("port", 6379))

    def _pool(self, url: str) -> ConnectionPool:
        try:
            return ConnectionPool.from_url(url)
        except ValueError as fault:
            raise StoreError(f"not the address of a redis server: {fault}; write redis://host:port") from None

    def _node(self, address: Address) -> _Node:
        """Return a server's checked connection, which is made where there is none.

        Raises:
            StoreError: the server cannot be used.
        """
        node = self._nodes.get(address)
        if node is not None:
            return node
        # A server of a cluster that no URL names is spoken to like the one that named it.
        url = next((url for url in self._urls if self._address(url) == address), self._urls[0])
        pool = self._pool(url)
        options = pool.connection_kwargs | {
            "host": address[0],
            "port": address[1],
            "protocol": 2,
            "socket_timeout": self._timeout,
            "socket_connect_timeout": self._timeout,
            "retry": Retry(NoBackoff(), 0),
        }
        connection = pool.connection_class(**options)
        try:
            connection.connect()
            node = _Node(connection, _information(_said(connection, "INFO")))
            _check(node)
            _load_library(connection)
        except (*_LOST, faults.RedisError) as fault:
            connection.disconnect()
            raise self._explained(fault, address) from None
        except StoreError:
            connection.disconnect()
            raise
        self._nodes[address] = node
        return node

    def _explained(self, fault: Exception, address: Address) -> StoreError:
        """Say what to do of a fault; the password of the address is never part of it."""
        if isinstance(fault, StoreError):
            return fault
        if isinstance(fault, faults.TimeoutError | TimeoutError):
            remedy = f"did not answer within {self._timeout:g} s"
        else:
            remedy = next((words for kind, words in _REMEDIES.items() if isinstance(fault, kind)), "{fault}")
        return StoreError(f"redis at {_text(address)} {remedy.format(fault=fault)}")


def tag(partition: int) -> str:
    """Return the beginning of a partition's keys; keys of one tag lie on one server, and may be named in one call."""
    return f"slidr{{{partition}}}"


def _text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def _said(connection: Connection, *command: str | bytes) -> Any:
    connection.send_command(*command, check_health=False)  # type: ignore[no-untyped-call]
    return connection.read_response()


def _information(answer: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in answer.decode().splitlines() if ":" in line)
    return {name: value for name, _, value in pairs}


def _check(node: _Node) -> None:
    """Refuse a server that cannot serve.

    Raises:
        StoreError: it is too old, or may drop keys when its memory is full.
    """
    where, said = f"redis at {_text(node.identity.address)}", node.information
    version = said.get("redis_version", "0")
    if int(version.partition(".")[0]) < _OLDEST:
        raise StoreError(f"{where} has version {version} and no functions; use Redis {_OLDEST} or newer, or Valkey")
    policy = said.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise StoreError(
            f"{where} has maxmemory-policy {policy}: it may drop an entity's clicks, and its next rows would be wrong;"
            " set noeviction"
        )


def _load_library(connection: Connection) -> None:
    """Load the library unless the server has it, byte for byte."""
    code = resources.files(__package__).joinpath("library.lua").read_bytes()
    try:
        held = _said(connection, "FUNCTION", "LIST", "LIBRARYNAME", LIBRARY, "WITHCODE")
    except faults.ResponseError as fault:
        if isinstance(fault, faults.NoPermissionError):
            raise
        raise StoreError(
            f"redis at {_text((connection.host, connection.port))} has no functions ({fault}); slidr needs Redis"
            f" {_OLDEST} or newer, or Valkey"
        ) from None
    if not any(code in library for library in held):
        try:
            _said(connection, "FUNCTION", "LOAD", "REPLACE", code)
        except faults.ReadOnlyError:
            # A replica has the library of its master; one that was promoted is checked again.
            return
