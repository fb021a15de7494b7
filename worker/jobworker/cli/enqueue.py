"""`jobworker enqueue`: one job by hand, and whether anybody is there to run it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import click
import orjson
from redis.asyncio import Redis

from jobworker.app import App, Enqueueable
from jobworker.cli.loading import load
from jobworker.cli.options import Place, echo_json, json_option, queue_name, redis_is_away, redis_options
from jobworker.cli.screen import duration, seconds_of
from jobworker.client.connection import DEFAULT_URL
from jobworker.client.synchronous import SyncClient
from jobworker.errors import ArgumentsNotJSON
from jobworker.jobs.definition import Definition
from jobworker.protocol.inspection import QueueReport, queue_reports
from jobworker.protocol.keys import Keys
from jobworker.runtime.link import AWAY


@click.command()
@click.argument("name")
@click.argument("args_json", metavar="[ARGS_JSON]", default="[]")
@click.option(
    "-q", "--queue", default=None, callback=queue_name,
    help="Queue to push to. By default the job's own with --app, else default.",
)  # fmt: skip
@click.option(
    "--app", "target", envvar="JOBWORKER_APP", metavar="MODULE:APP", default=None,
    help="The application that defines the job: its queue and options are used, and the arguments checked.",
)  # fmt: skip
@click.option(
    "--in", "delay", type=seconds_of, metavar="DURATION", default=None, help="Not before so long from now: 90, 10m, 2h."
)
@json_option
@redis_options
def enqueue(  # noqa: PLR0913, PLR0917  # one parameter a flag
    name: str,
    args_json: str,
    queue: str | None,
    target: str | None,
    delay: float | None,
    as_json: bool,  # noqa: FBT001  # a flag
    redis_url: str | None,
    key_prefix: str | None,
) -> None:
    """Enqueue the job NAME with a JSON list of arguments.

    Its jid goes to standard output, alone; where the job lies, and whether a worker takes that queue, to standard
    error.
    """
    args = parse_arguments(args_json)
    app = None if target is None else load(target)
    if app is not None:
        redis_url = redis_url or app.redis_url
        key_prefix = app.key_prefix if key_prefix is None else key_prefix
        app.connect_to(redis_url, key_prefix)
    url = redis_url or DEFAULT_URL
    try:
        jid, queue = push(app, url, key_prefix or "", name, args, queue, delay)
    except ArgumentsNotJSON as error:
        raise click.BadParameter(str(error), param_hint="ARGS_JSON") from error
    except AWAY as error:
        raise redis_is_away(url, error) from error
    found = Place(url, key_prefix or "").ask(lambda redis, keys: _queue(redis, keys, queue))
    if as_json:
        due = None if delay is None else time.time() + delay
        workers = 0 if found is None else found.workers
        echo_json({"jid": jid, "queue": queue, "scheduled_at": due, "workers": workers})
        return
    click.echo(jid)
    if delay is not None:
        click.echo(f"in {duration(delay)} it goes to the queue {queue}", err=True)
    else:
        click.echo(f"in the queue {queue}", err=True)
    _warn(found, queue, known=app is not None)


def parse_arguments(args_json: str) -> list[Any]:
    """The list that the command line gives.

    Raises:
        click.BadParameter: it is not JSON, or no list.
    """
    try:
        args = orjson.loads(args_json)
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"{args_json!r} is not JSON ({error})", param_hint="ARGS_JSON") from error
    if not isinstance(args, list):
        raise click.BadParameter(f"{args_json!r} is no list; write '[{args_json}]'", param_hint="ARGS_JSON")
    return args


def push(
    app: App | None, url: str, prefix: str, name: str, args: list[Any], queue: str | None, delay: float | None
) -> tuple[str, str]:
    """Enqueue or, with ``delay`` in seconds, schedule a job; its jid and the queue that it goes to.

    Raises:
        UnknownJob: the application has no job of that name.
        ArgumentsNotJSON: an argument cannot travel, such as an integer of more than 64 bits.
        click.ClickException: a client middleware of the application stopped the push.
        click.BadParameter: the arguments do not fit the job.
    """
    if app is not None:
        defined = app.jobs.get(name)
        _fit(defined, args)
        defined = replace(defined, options=replace(defined.options, queue=queue or defined.queue))
        job: Enqueueable[...] = Enqueueable(app, defined)
        try:
            jid = job.enqueue_sync(*args) if delay is None else job.schedule_sync(delay, *args)
        finally:
            app.close_sync()
        if not jid:
            raise click.ClickException(f"a client middleware of the application stopped {name}: nothing was enqueued")
        return jid, defined.queue
    queue = queue or "default"
    with SyncClient(url, prefix) as client:
        if delay is None:
            return client.enqueue(name, args, queue=queue), queue
        return client.schedule(delay, name, args, queue=queue), queue


def _fit(defined: Definition, args: list[Any]) -> None:
    try:
        defined.bind(tuple(args), {})
    except TypeError as error:
        raise click.BadParameter(str(error), param_hint="ARGS_JSON") from error


async def _queue(redis: Redis, keys: Keys, name: str) -> QueueReport | None:
    return next((queue for queue in await queue_reports(redis, keys) if queue.depth.name == name), None)


def _warn(found: QueueReport | None, queue: str, *, known: bool) -> None:
    if found is not None and found.depth.paused:
        click.echo(f"Warning: the queue {queue} is paused; `jobworker queues unpause {queue}` lets it go on", err=True)
    if found is None or (not found.workers and not found.sidekiq):
        hint = "" if known else "; is it the job's own? -q names another, and --app MODULE:APP finds it"
        click.echo(f"Warning: no worker that is running takes the queue {queue}{hint}", err=True)
