"""The program `jobworker`. Every flag has an environment variable, which is what the operator sets."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
import orjson
from redis.exceptions import RedisError

from jobworker.cli import progress as progress_command
from jobworker.cli.loading import load
from jobworker.client.connection import DEFAULT_URL, without_password
from jobworker.client.synchronous import SyncClient
from jobworker.errors import JobworkerError
from jobworker.jobs.definition import MAX_RETRIES
from jobworker.protocol.records import WorkerId
from jobworker.runtime import logs
from jobworker.runtime.process import EXIT_JOBS_CUT, Process
from jobworker.runtime.settings import Order, Settings, parse_queues

C = TypeVar("C", bound=Callable[..., Any])


def redis_options(command: C) -> C:
    """The flags that say which Redis."""
    command = click.option(
        "--key-prefix", envvar="JOBWORKER_KEY_PREFIX", default=None, help="What all keys in Redis begin with."
    )(command)
    return click.option(
        "--redis", "redis_url", envvar="JOBWORKER_REDIS_URL", default=None, metavar="URL", help="redis://host:6379/0"
    )(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jobworker")
def cli() -> None:
    """Background jobs on Redis that survive deploys."""


@cli.command()
@click.argument("target", metavar="MODULE:APP")
@click.option(
    "-q", "--queues", envvar="JOBWORKER_QUEUES", default="default", help="'critical,5 default,1': names and weights."
)
@click.option(
    "--order",
    envvar="JOBWORKER_ORDER",
    type=click.Choice([order.value for order in Order], case_sensitive=False),
    default=Order.WEIGHTED.value,
    help="Ask queues as written, or by chance according to their weights.",
)
@click.option(
    "-c", "--concurrency", envvar="JOBWORKER_CONCURRENCY", type=click.IntRange(1, 1000), default=10,
    help="How many jobs run at the same time.",
)  # fmt: skip
@click.option(
    "--shutdown-seconds", envvar="JOBWORKER_SHUTDOWN_SECONDS", type=click.FloatRange(min=0), default=25.0,
    help="How long SIGTERM lets jobs run before they are given back.",
)  # fmt: skip
@click.option(
    "--connect-seconds", envvar="JOBWORKER_CONNECT_SECONDS", type=click.FloatRange(min=0), default=30.0,
    help="How long to wait for Redis at start.",
)  # fmt: skip
@click.option(
    "--health-port", envvar="JOBWORKER_HEALTH_PORT", type=click.IntRange(0, 65535), default=0,
    help="Serve /livez and /readyz there; 0 serves nothing.",
)  # fmt: skip
@click.option("--worker", envvar="JOBWORKER_WORKER", default=None, help="Identity; the pod's UID in Kubernetes.")
@click.option("--pod", envvar="JOBWORKER_POD", default="", help="Name of the pod.")
@click.option("--fleet", envvar="JOBWORKER_FLEET", default="local/default", help="namespace/name of the JobWorker.")
@click.option("--revision", envvar="JOBWORKER_REVISION", default="", help="Revision of the pod's template.")
@click.option(
    "--log-format", envvar="JOBWORKER_LOG_FORMAT", type=click.Choice(["text", "json"]), default="text",
    help="For people or for machines.",
)  # fmt: skip
@click.option(
    "--log-level", envvar="JOBWORKER_LOG_LEVEL", type=click.Choice(["debug", "info", "warning", "error"]),
    default="info", help="debug logs the start and the end of each job.",
)  # fmt: skip
@redis_options
def run(  # noqa: PLR0913, PLR0917  # one parameter a flag
    target: str,
    queues: str,
    order: str,
    concurrency: int,
    shutdown_seconds: float,
    connect_seconds: float,
    health_port: int,
    worker: str | None,
    pod: str,
    fleet: str,
    revision: str,
    log_format: logs.Format,
    log_level: str,
    redis_url: str | None,
    key_prefix: str | None,
) -> None:
    """Run a worker for the jobs of MODULE:APP.

    SIGTERM and SIGINT stop it, a second one at once; SIGTSTP makes it quiet; SIGTTIN logs all stacks.
    Exit codes: 0 clean, 1 could not start, 2 wrong usage, 3 jobs were cut and will run again.
    """
    logs.configure(log_format, log_level)
    app = load(target)
    app.connect_to(redis_url or app.redis_url, app.key_prefix if key_prefix is None else key_prefix)
    settings = Settings(
        redis_url=app.redis_url,
        key_prefix=app.key_prefix,
        queues=parse_queues(queues),
        order=Order(order),
        concurrency=concurrency,
        shutdown_seconds=shutdown_seconds,
        connect_seconds=connect_seconds,
        health_port=health_port,
        worker=WorkerId(worker) if worker else None,
        pod=pod,
        fleet=fleet,
        revision=revision,
    )

    async def work() -> int:
        return await Process(app, settings).run()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(work())
        if code == EXIT_JOBS_CUT:
            # Threads of cut jobs may hold the interpreter up; the jobs are given back and nothing is left to do.
            logging.shutdown()
            sys.stdout.flush()
            os._exit(code)
    sys.exit(code)


@cli.command()
@click.argument("name")
@click.argument("args_json", metavar="[ARGS_JSON]", default="[]")
@click.option("-q", "--queue", default="default", help="Queue to push to.")
@click.option("--in", "delay", type=float, default=None, metavar="SECONDS", help="Not before so many seconds.")
@redis_options
def enqueue(
    name: str, args_json: str, queue: str, delay: float | None, redis_url: str | None, key_prefix: str | None
) -> None:
    """Enqueue the job NAME with a JSON list of arguments and print its jid."""
    try:
        args = orjson.loads(args_json)
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"{args_json!r} is not JSON ({error})", param_hint="ARGS_JSON") from error
    if not isinstance(args, list):
        raise click.BadParameter(f"{args_json!r} is no list; write '[{args_json}]'", param_hint="ARGS_JSON")
    with SyncClient(redis_url or DEFAULT_URL, key_prefix or "") as client:
        if delay is None:
            click.echo(client.enqueue(name, args, queue=queue))
        else:
            click.echo(client.schedule(delay, name, args, queue=queue))


@cli.command()
@click.argument("jid")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@redis_options
def progress(jid: str, as_json: bool, redis_url: str | None, key_prefix: str | None) -> None:  # noqa: FBT001  # a flag
    """Show how far the iterating job JID is, and what was wrong with which row."""
    found = asyncio.run(progress_command.read(redis_url or DEFAULT_URL, key_prefix or "", jid))
    if found is None:
        raise click.ClickException(f"no progress is known of {jid}: it never wrote a checkpoint, or it is long over")
    if as_json:
        click.echo(progress_command.as_json(jid, found))
    else:
        progress_command.show(jid, found)


@cli.command()
@click.argument("target", metavar="MODULE:APP")
def check(target: str) -> None:
    """Import MODULE:APP and list its jobs, as a build or a deploy may want to."""
    app = load(target)
    for job in app.jobs:
        retry = f"{MAX_RETRIES if job.retry is True else int(job.retry)} retries"
        click.echo(f"{job.name}{job.signature}  {job.kind.value}, queue {job.queue}, {retry}")
    if len(app.jobs) == 0:
        raise click.ClickException(f"{target} defines no job; are the modules with the jobs imported?")


def main() -> None:
    """Run the command line; errors that are known are said in one line."""
    try:
        cli.main(standalone_mode=True)
    except JobworkerError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except RedisError as error:
        address = without_password(os.environ.get("JOBWORKER_REDIS_URL", DEFAULT_URL))
        click.echo(f"Error: Redis does not answer (JOBWORKER_REDIS_URL or default is {address}): {error}", err=True)
        sys.exit(1)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415  # an extra
    except ImportError:
        return None
    return uvloop.new_event_loop
