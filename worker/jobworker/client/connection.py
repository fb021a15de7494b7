"""Opens connections to Redis as this project needs them: to one server, through Sentinels, into a Redis Cluster.

No command is ever sent twice by the library: a take or a push that was cut off may have happened, and only the
caller knows what a second one would do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import redis
from redis import connection as plain
from redis.asyncio import Redis
from redis.asyncio import connection as asynchronous
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry as SyncRetry

from jobworker.client import address
from jobworker.client.address import BySentinel, Credentials, InCluster, Single
from jobworker.client.address import without_password as without_password  # noqa: PLC0414  # part of what this offers
from jobworker.client.finding import Found, FoundTLS, Question, SyncFound, SyncFoundTLS

DEFAULT_URL = "redis://127.0.0.1:6379/0"
ANSWER_SECONDS = 5.0
CONNECT_SECONDS = 3.0

P = TypeVar("P")


def connect(url: str, key_prefix: str = "") -> Redis:
    """A client for asyncio; it connects at its first command. `jobworker.client.address` tells the forms of ``url``.

    Raises:
        ConfigurationError: the URL cannot be one of a Redis, or ``key_prefix`` cannot be that of a Redis Cluster.
    """
    options = _options(Retry(NoBackoff(), 0))
    match address.parse(url, key_prefix):
        case Single():
            try:
                return Redis.from_url(url, **options)
            except ValueError as error:
                raise address.bad(url, error) from error
        case BySentinel() | InCluster() as found:
            return Redis.from_pool(_pool(found, options, asynchronous.ConnectionPool, Found, FoundTLS))


def connect_sync(url: str, key_prefix: str = "") -> redis.Redis:
    """A client for plain code; it connects at its first command.

    Raises:
        ConfigurationError: as `connect`.
    """
    options = _options(SyncRetry(NoBackoff(), 0))
    match address.parse(url, key_prefix):
        case Single():
            try:
                return redis.Redis.from_url(url, **options)
            except ValueError as error:
                raise address.bad(url, error) from error
        case BySentinel() | InCluster() as found:
            return redis.Redis.from_pool(_pool(found, options, plain.ConnectionPool, SyncFound, SyncFoundTLS))


def _pool(
    found: BySentinel | InCluster, options: dict[str, Any], pool: Callable[..., P], connection: type, with_tls: type
) -> P:
    data = found.credentials
    tls = data.tls is not None
    seeds = found.sentinel_credentials if isinstance(found, BySentinel) else data
    question = Question(found, {**options, **_login(seeds)}, tls=tls)
    database = found.database if isinstance(found, BySentinel) else 0
    return pool(
        connection_class=with_tls if tls else connection, question=question, db=database, **options, **_login(data)
    )


def _login(credentials: Credentials) -> dict[str, Any]:
    return {"username": credentials.username, "password": credentials.password, **dict(credentials.tls or ())}


def _options(retry: Any) -> dict[str, Any]:
    return {
        "protocol": 3,
        "retry": retry,
        "socket_timeout": ANSWER_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
        # For a hosted Redis of one vendor; elsewhere it costs each new connection a command that is refused.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
