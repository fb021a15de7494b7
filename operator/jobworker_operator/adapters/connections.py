"""Opens Redis for the operator: no command is sent twice by the library, every one is under a time-out."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 3.0

_SCHEMES = {"redis", "rediss", "unix"}


class BadAddress(ValueError):
    """The URL can be no Redis'. The message says what is wrong with it and never holds its password."""


def connect(url: str) -> Redis:
    """A client; it connects at its first command.

    Raises:
        BadAddress: the URL cannot be one of a Redis.
    """
    try:
        parts = urlsplit(url)
        # The port is read here because a URL with a bad one is only refused at the first command.
        known = parts.scheme in _SCHEMES and parts.port != 0
        client = Redis.from_url(
            url,
            protocol=3,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=CONNECT_SECONDS,
        )
    except (ValueError, TypeError):
        known, client = False, None
    if client is None or not known:
        # The library's own words are left out: they may quote a piece of an unencoded password.
        raise BadAddress(
            "the address of Redis cannot be read: write redis://[user:password@]host:port/database, or rediss:// for "
            "TLS, and percent-encode a password with one of / @ : ? # in it"
        )
    return client


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(unreadable)"
    if "@" not in parts.netloc:
        # Rubbish may be a bare password by mistake: nothing of it is shown.
        return urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")) if parts.netloc else f"{parts.scheme}:…"
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit((parts.scheme, f"{user.partition(':')[0]}:***@{host}", parts.path, "", ""))
