"""Opens connections to Redis as this project needs them.

No command is ever sent twice by the library: a take or a push that was cut off may have happened, and only the
caller knows what a second one would do.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.retry import Retry as SyncRetry

from jobworker.errors import ConfigurationError

DEFAULT_URL = "redis://127.0.0.1:6379/0"
ANSWER_SECONDS = 5.0
CONNECT_SECONDS = 3.0


def connect(url: str) -> Redis:
    """A client for asyncio; it connects at its first command.

    Raises:
        ConfigurationError: the URL cannot be one of a Redis.
    """
    try:
        return Redis.from_url(
            url,
            protocol=3,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=CONNECT_SECONDS,
        )
    except ValueError as error:
        raise _bad(url, error) from error


def connect_sync(url: str) -> redis.Redis:
    """A client for plain code; it connects at its first command.

    Raises:
        ConfigurationError: the URL cannot be one of a Redis.
    """
    try:
        return redis.Redis.from_url(
            url,
            protocol=3,
            retry=SyncRetry(NoBackoff(), 0),
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=CONNECT_SECONDS,
        )
    except ValueError as error:
        raise _bad(url, error) from error


def without_password(url: str) -> str:
    """The URL as it may be shown: the password hidden."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(an address that cannot be read)"
    if "@" not in parts.netloc:
        return url
    credentials, host = parts.netloc.rsplit("@", 1)
    user, _, password = credentials.partition(":")
    shown = f"{user}:***@{host}" if password else f"{user}@{host}"
    return urlunsplit(parts._replace(netloc=shown))


def _bad(url: str, error: ValueError) -> ConfigurationError:
    return ConfigurationError(
        f"the Redis address {without_password(url)} cannot be used ({error}); it looks like redis://host:6379/0"
    )
