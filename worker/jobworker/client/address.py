"""What an address of Redis says: one server, the primary that Sentinels know, or the node of a Redis Cluster.

    redis://[user:password@]host[:6379][/database]             rediss:// with TLS, unix:///path for a socket
    redis+sentinel://[user:password@]host[:26379],host2/service[/database]
    redis+cluster://[user:password@]host[:6379],host2

``rediss+sentinel://`` and ``rediss+cluster://`` are the same with TLS. User and password are those of the data; those
of the Sentinels are ``?sentinel_username=…&sentinel_password=…``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from redis.crc import key_slot

from jobworker.errors import ConfigurationError

_SINGLE = frozenset({"redis", "rediss", "unix"})
# Of what redis-py would read from a query, only what these clients can bear: no protocol and no retries of its own.
_SINGLE_OPTIONS = frozenset({
    "client_name", "db", "health_check_interval", "max_connections", "password", "socket_connect_timeout",
    "socket_timeout", "username",
})  # fmt: skip
_SINGLE_TLS_OPTIONS = frozenset({
    "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname",
    "ssl_keyfile", "ssl_min_version", "ssl_password",
})  # fmt: skip
_TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile"})
_SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})
_PORTS = {"sentinel": 26379, "cluster": 6379}
_LAST_PORT = 65535
_FORMS = (
    "redis://host:6379/0, rediss://… for TLS, unix:///path, redis+sentinel://host1:26379,host2:26379/service/0 or "
    "redis+cluster://host1:6379,host2:6379"
)

Node = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Single:
    """One server, as redis-py reads its URL."""

    url: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """``username`` None stands for the default user, ``password`` None for none. ``tls`` None is a plain connection."""

    username: str | None = None
    password: str | None = None
    tls: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class BySentinel:
    """The primary that the Sentinels at ``seeds`` know as ``service``."""

    seeds: tuple[Node, ...]
    service: str
    database: int
    credentials: Credentials
    sentinel_credentials: Credentials


@dataclass(frozen=True, slots=True)
class InCluster:
    """The primary of ``slot`` in the Redis Cluster with the nodes ``seeds``: all keys of a prefix lie there."""

    seeds: tuple[Node, ...]
    slot: int
    credentials: Credentials


Address = Single | BySentinel | InCluster


def parse(url: str, key_prefix: str) -> Address:
    """Read an address.

    Raises:
        ConfigurationError: it is none, or one of a Redis Cluster with a prefix that would spread keys over its nodes.
    """
    not_empty(url)
    try:
        parts = urlsplit(url)
        return _single(url, parts) if parts.scheme in _SINGLE else _found(parts, key_prefix)
    except ValueError as error:
        raise bad(url, error) from error


def not_empty(url: str) -> str:
    """The address, if anything was given: an empty one is a variable that nobody set, not a wish for the default.

    Raises:
        ConfigurationError: it is empty.
    """
    if url.strip():
        return url
    raise ConfigurationError(
        "the Redis address is empty: is the variable that should hold it set? Without any address it is that of "
        f"JOBWORKER_REDIS_URL; one looks like {_FORMS}"
    )


def _single(url: str, parts: SplitResult) -> Single:
    known = _SINGLE_OPTIONS
    if parts.scheme == "rediss":
        known |= _SINGLE_TLS_OPTIONS
    elif parts.scheme == "redis":
        known |= {"socket_keepalive"}
    options = _options(parts, known)
    # redis-py takes what it cannot read for database 0, which is somebody's.
    for database in (options.get("db"), None if parts.scheme == "unix" else parts.path.removeprefix("/") or None):
        if database is not None and not (database.isascii() and database.isdigit()):
            raise ValueError(f"{database!r} is no number of a database")
    return Single(url)


def _found(parts: SplitResult, key_prefix: str) -> BySentinel | InCluster:
    base, _, kind = parts.scheme.partition("+")
    if base not in {"redis", "rediss"} or kind not in _PORTS:
        raise ValueError(f"the scheme {parts.scheme!r} is none of Redis")
    seeds = _seeds(parts, _PORTS[kind])
    options = _options(parts, _TLS_OPTIONS | (_SENTINEL_OPTIONS if kind == "sentinel" else frozenset()))
    credentials = _credentials(parts, options, with_tls=base == "rediss")
    if kind == "cluster":
        if parts.path not in {"", "/", "/0"}:
            raise ValueError("a Redis Cluster has database 0 alone")
        return InCluster(seeds, _slot(key_prefix), credentials)
    service, database = _service(parts.path)
    ask_as = Credentials(options.get("sentinel_username"), options.get("sentinel_password"), credentials.tls)
    return BySentinel(seeds, service, database, credentials, ask_as)


def bad(url: str, error: ValueError) -> ConfigurationError:
    """The error to raise for an address that cannot be used."""
    return ConfigurationError(
        f"the Redis address {without_password(url)} cannot be used ({error}); it looks like {_FORMS}"
    )


def has_hash_tag(key_prefix: str) -> bool:
    """Does the prefix put all keys into one slot of a Redis Cluster?"""
    opened = key_prefix.find("{")
    return opened >= 0 and key_prefix.find("}", opened) > opened + 1


def without_password(url: str) -> str:
    """The URL as it may be shown: passwords hidden, in the query too."""
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return "(an address that cannot be read)"
    if any("password" in name for name, _ in query):
        shown = [(name, "***" if "password" in name else value) for name, value in query]
        parts = parts._replace(query=urlencode(shown, safe="*/:,"))
    elif "@" not in parts.netloc:
        return url
    credentials, at, host = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    return urlunsplit(parts._replace(netloc=f"{user}{':***' if password else ''}{at}{host}"))


def _seeds(parts: SplitResult, port: int) -> tuple[Node, ...]:
    seeds = []
    for part in parts.netloc.rpartition("@")[2].split(","):
        host = urlsplit(f"//{part}")
        if not host.hostname:
            raise ValueError("a host is missing")
        if host.port is not None and not 0 < host.port <= _LAST_PORT:
            raise ValueError(f"{host.port} is no port")
        seeds.append((host.hostname, port if host.port is None else host.port))
    return tuple(seeds)


def _service(path: str) -> tuple[str, int]:
    service, _, database = path.strip("/").partition("/")
    if not service:
        raise ValueError("the name of the service is missing behind the hosts, as in …/mymaster")
    if database and not database.isdecimal():
        raise ValueError(f"{database!r} is no number of a database")
    return unquote(service), int(database or 0)


def _options(parts: SplitResult, known: frozenset[str]) -> Mapping[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = options.keys() - known
    if unknown and min(unknown) in _SINGLE_TLS_OPTIONS:
        raise ValueError(f"{min(unknown)} is for TLS; the scheme for it begins with rediss")
    if unknown:
        raise ValueError(f"the option {min(unknown)} is not one of {', '.join(sorted(known))}")
    return options


def _credentials(parts: SplitResult, options: Mapping[str, str], *, with_tls: bool) -> Credentials:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    tls = {name: value for name, value in options.items() if name in _TLS_OPTIONS}
    if tls and not with_tls:
        raise ValueError(f"{min(tls)} is for TLS; the scheme for it begins with rediss+")
    return Credentials(unquote(user) or None, unquote(password) or None, tuple(tls.items()) if with_tls else None)


def _slot(key_prefix: str) -> int:
    if not has_hash_tag(key_prefix):
        raise ConfigurationError(
            f"a Redis Cluster needs a key prefix with a hash tag, so that all keys of an application lie on one node: "
            f"set JOBWORKER_KEY_PREFIX (or --key-prefix, or App(key_prefix=…)) to '{{shop}}:' for example; it is "
            f"{key_prefix!r}"
        )
    return key_slot(key_prefix.encode())
