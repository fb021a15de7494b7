"""The keys of a Redis database, or the members of a set, hash or sorted set, by the SCAN family.

What SCAN guarantees is what a walk guarantees: what is there from its beginning to its end comes at least once; what
comes or goes meanwhile may or may not; an element can come twice.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncGenerator, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Literal, overload

import redis
import redis.asyncio

from jobworker.errors import ConfigurationError
from jobworker.iteration.enumerators.cursors import refuse

logger = logging.getLogger(__name__)

Kind = Literal["keys", "set", "hash", "sorted set"]

_COMMANDS: dict[str, str] = {"keys": "SCAN", "set": "SSCAN", "hash": "HSCAN", "sorted set": "ZSCAN"}


class RedisScan:
    """`redis_scan` of a plain client."""

    def __init__(self, client: redis.Redis, scan: _Scan) -> None:
        self._client: Any = client  # its own types do not say what execute_command takes
        self._scan = scan

    def __iter__(self) -> Generator[tuple[Any, Any], None, None]:
        scan = self._scan
        scan.begin(self._client.info("server"))
        while not scan.end:
            yield from scan.items(self._client.execute_command(*scan.command))


class RedisScanAsync:
    """`redis_scan` of an async client."""

    def __init__(self, client: redis.asyncio.Redis, scan: _Scan) -> None:
        self._client: Any = client  # its own types do not say what execute_command takes
        self._scan = scan

    async def __aiter__(self) -> AsyncGenerator[tuple[Any, Any], None]:
        scan = self._scan
        scan.begin(await self._client.info("server"))
        while not scan.end:
            for pair in scan.items(await self._client.execute_command(*scan.command)):
                yield pair


@overload
def redis_scan(
    client: redis.Redis,
    cursor: Any,
    *,
    kind: Kind = ...,
    key: str | bytes | None = ...,
    match: str | bytes | None = ...,
    count: int = ...,
) -> RedisScan: ...


@overload
def redis_scan(
    client: redis.asyncio.Redis,
    cursor: Any,
    *,
    kind: Kind = ...,
    key: str | bytes | None = ...,
    match: str | bytes | None = ...,
    count: int = ...,
) -> RedisScanAsync: ...


def redis_scan(
    client: Any,
    cursor: Any,
    *,
    kind: Kind = "keys",
    key: str | bytes | None = None,
    match: str | bytes | None = None,
    count: int = 100,
) -> RedisScan | RedisScanAsync:
    """The keys that ``match``, or what is in the set, hash or sorted set ``key``.

    Items are keys or members, pairs (field, value) of a hash, and pairs (member, score) of a sorted set, as bytes or
    str as the client decodes them. What is there all the time comes at least once, and may come twice: let each item
    bear that. ``count`` is about how many elements Redis looks at in one command, a few microseconds for each ten.

    The cursor holds Redis' own, the elements of its answer that were done, up to ``count`` or a bit more, and the
    server: another one (a failover, a restart) would not understand it, so there the walk begins anew.

    Raises:
        ConfigurationError: kind and key do not fit together, or the client is one of a cluster.
        CursorMismatch: the cursor is another enumerator's.
    """
    if kind not in _COMMANDS:
        raise ConfigurationError(f"redis_scan: there is no kind {kind!r}; it is one of {', '.join(_COMMANDS)}")
    if (kind == "keys") != (key is None):
        raise ConfigurationError("redis_scan: give key= with the kinds set, hash and sorted set, and with no other")
    if count < 1:
        raise ConfigurationError(f"redis_scan: count={count} never comes to an end; give 1 or more")
    scan = _Scan(kind, key, match, count, cursor)
    if isinstance(client, redis.asyncio.Redis):
        return RedisScanAsync(client, scan)
    if isinstance(client, redis.Redis):
        return RedisScan(client, scan)
    raise ConfigurationError(
        f"redis_scan walks over one server: give it a Redis client, not {type(client).__name__} (in a cluster, one job "
        "for each node)"
    )


@dataclass(frozen=True, slots=True)
class _Element:
    """What Redis names, and what the job gets."""

    name: str | bytes
    item: Any


class _Scan:
    """Which command is next, and what of its answer was done before."""

    def __init__(self, kind: Kind, key: str | bytes | None, match: str | bytes | None, count: int, cursor: Any) -> None:
        self.end = False
        self._kind = kind
        self._options: list[Any] = [*(() if match is None else ("MATCH", match)), "COUNT", count]
        self._key = [] if key is None else [key]
        self._at = "0"
        self._done: list[str] = []
        self._server: str | None = None
        match cursor:
            case None:
                pass
            case {"scan": str() as at, "done": [*done], "server": str() as server} if _all_text(done):
                self._at, self._done, self._server = at, done, server
            case _:
                refuse("redis_scan", cursor, 'its cursor is {"scan": Redis\' own, "done": elements, "server": run_id}')

    @property
    def command(self) -> list[Any]:
        return [_COMMANDS[self._kind], *self._key, self._at, *self._options]

    def begin(self, info: dict[str, Any]) -> None:
        server = info["run_id"]
        if self._server not in {None, server}:
            logger.warning(
                "redis_scan begins anew: its cursor is of the server %s, and this is %s", self._server, server
            )
            self._at, self._done = "0", []
        self._server = server

    def items(self, answer: Any) -> Iterable[tuple[Any, Any]]:
        following, found = answer
        following = following.decode() if isinstance(following, bytes) else str(following)
        before, done = set(self._done), self._done
        for element in self._elements(found):
            written = _written(element.name)
            if written not in before:
                # A list of its own for each item: the run may write a cursor down while the next item is under way.
                done = [*done, written]
                yield element.item, {"scan": self._at, "done": done, "server": self._server}
        self._at, self._done, self.end = following, [], following == "0"

    def _elements(self, found: Any) -> list[_Element]:
        if self._kind in {"keys", "set"}:
            return [_Element(name, name) for name in found]
        pairs = found.items() if isinstance(found, dict) else found
        return [_Element(name, (name, value)) for name, value in pairs]


def _written(name: str | bytes) -> str:
    # Both without a mark: a client that decodes goes on where one that does not has been.
    raw = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
    return base64.b64encode(raw).decode()


def _all_text(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
