"""Connections that ask where their server is each time they connect.

They ask Sentinels for the primary, or a node of a Redis Cluster for the primary of one slot. All keys of an application
lie on one server, so what stands above is an ordinary client, with blocking pops, transactions and subscriptions. A
server that says that it is not the right one any more loses the connection, and the next command asks anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis import connection as plain
from redis.asyncio import connection as asynchronous
from redis.exceptions import AskError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as NoConnection

from jobworker.client.address import BySentinel, InCluster, Node

_ELSEWHERE = (ReadOnlyError, AskError)  # MOVED is a kind of ASK in redis-py


class Elsewhere(NoConnection):
    """The server that was asked is not the right one any more. It carried nothing out; the next command asks anew."""


class Question:
    """Where is the server? ``options`` are those of a connection to whoever is asked."""

    def __init__(self, of: BySentinel | InCluster, options: Mapping[str, Any], *, tls: bool) -> None:
        self.options = dict(options)
        self.tls = tls
        self._of = of
        self._seeds = of.seeds

    @property
    def command(self) -> tuple[str, ...]:
        """What each seed is asked."""
        if isinstance(self._of, BySentinel):
            return "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._of.service
        return "CLUSTER", "SLOTS"

    @property
    def seeds(self) -> tuple[Node, ...]:
        """Whom to ask, in this order."""
        return self._seeds

    def read(self, answer: Any, asked: Node) -> Node | None:
        """The server, if the answer tells."""
        if isinstance(self._of, BySentinel):
            return None if answer is None else (answer[0].decode(), int(answer[1]))
        for first, last, primary, *_ in answer:
            if first <= self._of.slot <= last:
                # A node that does not know its own address leaves it out: it is the one that was asked.
                host = (primary[0] or b"").decode()
                return (asked[0] if host in {"", "?"} else host), int(primary[1])
        return None

    def doubt(self) -> None:
        """Begin with another seed the next time: the first one does not answer, or what it says is no good."""
        self._seeds = (*self._seeds[1:], *self._seeds[:1])

    def failed(self, faults: list[str]) -> NoConnection:
        """What to raise when no seed could tell."""
        what = f"primary {self._of.service!r}" if isinstance(self._of, BySentinel) else f"slot {self._of.slot}"
        who = "Sentinel" if isinstance(self._of, BySentinel) else "node of the Redis Cluster"
        return NoConnection(f"no {who} tells where {what} is: {'; '.join(faults)}")


class Found(asynchronous.Connection):
    """A connection of asyncio to the server that ``question`` leads to."""

    def __init__(self, *, question: Question, **options: Any) -> None:
        super().__init__(**options)
        self._question = question

    async def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:  # noqa: FBT001, FBT002  # redis-py's
        """Ask where the server is, and connect."""
        if self.is_connected:
            return
        self.host, self.port = await find_async(self._question)
        try:
            await super().connect_check_health(check_health, retry_socket_connect)
        except RedisError:
            self._question.doubt()
            raise

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Read; an answer that says that the server is elsewhere ends the connection."""
        try:
            return await super().read_response(*args, **options)
        except _ELSEWHERE as error:
            await self.disconnect(nowait=True)
            raise Elsewhere(f"{self.host}:{self.port} is not the primary any more: {error}") from error


class FoundTLS(Found, asynchronous.SSLConnection):
    """The same with TLS."""


class SyncFound(plain.Connection):
    """A connection of plain code to the server that ``question`` leads to."""

    def __init__(self, *, question: Question, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]  # redis-py's
        self._question = question

    def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:  # noqa: FBT001, FBT002  # redis-py's
        """Ask where the server is, and connect."""
        if self.is_connected:
            return
        self.host, self.port = find(self._question)
        try:
            super().connect_check_health(check_health, retry_socket_connect)
        except RedisError:
            self._question.doubt()
            raise

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Read; an answer that says that the server is elsewhere ends the connection."""
        try:
            return super().read_response(*args, **options)
        except _ELSEWHERE as error:
            self.disconnect()  # type: ignore[no-untyped-call]  # the same
            raise Elsewhere(f"{self.host}:{self.port} is not the primary any more: {error}") from error


class SyncFoundTLS(SyncFound, plain.SSLConnection):
    """The same with TLS."""


async def find_async(question: Question) -> Node:
    """`find` for asyncio."""
    faults: list[str] = []
    kind: Any = asynchronous.SSLConnection if question.tls else asynchronous.Connection
    for host, port in question.seeds:
        connection = kind(host=host, port=port, **question.options)
        try:
            await connection.connect()
            await connection.send_command(*question.command)
            found = question.read(await connection.read_response(), (host, port))
        except RedisError as error:
            faults.append(f"{host}:{port}: {error}")
        else:
            if found is not None:
                return found
            faults.append(f"{host}:{port} does not know it")
        finally:
            await connection.disconnect(nowait=True)
        question.doubt()
    raise question.failed(faults)


def find(question: Question) -> Node:
    """Ask one seed after the other.

    Raises:
        redis.exceptions.ConnectionError: none could tell; the message has what each of them said.
    """
    faults: list[str] = []
    kind: Any = plain.SSLConnection if question.tls else plain.Connection
    for host, port in question.seeds:
        connection = kind(host=host, port=port, **question.options)
        try:
            connection.connect()
            connection.send_command(*question.command)
            found = question.read(connection.read_response(), (host, port))
        except RedisError as error:
            faults.append(f"{host}:{port}: {error}")
        else:
            if found is not None:
                return found
            faults.append(f"{host}:{port} does not know it")
        finally:
            connection.disconnect()
        question.doubt()
    raise question.failed(faults)
