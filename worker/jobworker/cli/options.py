"""What commands share: which Redis, tables or JSON, and how they say that Redis is away."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click
import orjson
from click.core import ParameterSource
from redis.asyncio import Redis

from jobworker.client.address import not_empty
from jobworker.client.connection import DEFAULT_URL, connect, without_password
from jobworker.errors import ConfigurationError
from jobworker.jobs.options import check_queue
from jobworker.protocol.keys import Keys
from jobworker.runtime.link import AWAY, in_words, is_away

C = TypeVar("C", bound=Callable[..., Any])
T = TypeVar("T")


def redis_options(command: C) -> C:
    """The flags that say which Redis."""
    command = click.option(
        "--key-prefix", envvar="JOBWORKER_KEY_PREFIX", default=None, help="What all keys in Redis begin with."
    )(command)
    return click.option(
        "--redis", "redis_url", envvar="JOBWORKER_REDIS_URL", default=None, metavar="URL", help="redis://host:6379/0",
        callback=_address,
    )(command)  # fmt: skip


def _address(_context: click.Context, _flag: click.Parameter, url: str | None) -> str | None:
    try:
        return None if url is None else not_empty(url)
    except ConfigurationError as error:
        raise click.BadParameter(str(error)) from error


def queue_name(_context: click.Context, _flag: click.Parameter, name: str | None) -> str | None:
    """The callback of a flag or argument that names a queue which may be new.

    Raises:
        click.BadParameter: no queue can have that name.
    """
    try:
        return None if name is None else check_queue(name)
    except ConfigurationError as error:
        raise click.BadParameter(str(error)) from error


@dataclass(frozen=True, slots=True)
class Place:
    """A Redis and what keys begin with there."""

    url: str = DEFAULT_URL
    prefix: str = ""

    def ask(self, work: Callable[[Redis, Keys], Awaitable[T]]) -> T:
        """What ``work`` answers, done on a connection of its own.

        Raises:
            click.ClickException: Redis is away or refuses; the message tells the address and how to name another.
        """

        async def connected() -> T:
            async with connect(self.url, self.prefix) as redis:
                return await work(redis, Keys(self.prefix))

        try:
            return asyncio.run(connected())
        except AWAY as error:
            raise redis_is_away(self.url, error) from error


def on_redis(command: Callable[..., T]) -> Callable[..., T]:
    """Give the command the flags for Redis, which become its argument ``place``.

    A subcommand may be told by the flags of its group: those are nearer than the environment.
    """

    @redis_options
    @functools.wraps(command)
    def placed(*args: Any, redis_url: str | None, key_prefix: str | None, **options: Any) -> T:
        context = click.get_current_context()
        outer = (context.parent.find_object(Place) if context.parent is not None else None) or Place()

        def told(flag: str) -> bool:
            return context.get_parameter_source(flag) is ParameterSource.COMMANDLINE or outer == Place()

        place = Place(
            (redis_url if told("redis_url") else None) or outer.url,
            (key_prefix if told("key_prefix") else None) or outer.prefix,
        )
        context.obj = place
        return command(*args, place=place, **options)

    return placed


def json_option(command: C) -> C:
    """The flag for machines."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(command)


def redis_is_away(url: str, error: BaseException) -> click.ClickException:
    """The one line for it."""
    another = "; --redis URL or JOBWORKER_REDIS_URL names another" if is_away(error) else ""
    return click.ClickException(f"Redis at {without_password(url)} {in_words(error)}{another}")


def echo_json(value: Any) -> None:
    """For machines: numbers of seconds, never words."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def confirm(what: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone; a script says --yes, since nobody can answer there.

    Raises:
        click.UsageError: there is nobody to ask.
        click.Abort: the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{what}? Nobody can be asked here; say --yes")
    click.confirm(f"{what}?", abort=True, err=True)


def all_queues(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> str | None:
    """Queues of several ``-q`` as of one, as Sidekiq's command line takes them; None where there is none."""
    return " ".join(values) if values else None
