"""`jobworker run`: a worker. Every flag has an environment variable, which is what the operator sets."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import click

from jobworker.app import App
from jobworker.cli.loading import load
from jobworker.cli.options import all_queues, redis_options
from jobworker.errors import ConfigurationError
from jobworker.protocol.queue_patterns import takes
from jobworker.protocol.records import WorkerId
from jobworker.runtime import logs
from jobworker.runtime.process import EXIT_JOBS_CUT, Process
from jobworker.runtime.settings import Order, QueueWeight, Settings, parse_queues
from jobworker.swarm.parent import Parent

log = logging.getLogger("jobworker.worker")


@click.command()
@click.argument("target", metavar="MODULE:APP")
@click.option(
    "-q", "--queues", envvar="JOBWORKER_QUEUES", multiple=True, callback=all_queues,
    help="'critical,5 default,1': names and weights; 'mail_* !mail_bulk': by pattern. May repeat. "
    "By default the queues that the jobs of the application name.",
)  # fmt: skip
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
    "-p", "--processes", envvar="JOBWORKER_PROCESSES", type=click.IntRange(1, 256), default=1,
    help="How many processes run jobs, each with --concurrency of its own; they share what the application loads.",
)  # fmt: skip
@click.option(
    "--max-memory-mb", envvar="JOBWORKER_MAX_MEMORY_MB", type=click.IntRange(min=0), default=0,
    help="Replace one of several processes when it has more MiB than this and its jobs have ended; 0 for never.",
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
    queues: str | None,
    order: str,
    concurrency: int,
    processes: int,
    max_memory_mb: int,
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
        queues=queues_of(app, queues),
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

    if processes > 1:
        code = Parent(app, settings, processes, max_memory_mb, _run).run()
    elif max_memory_mb:
        raise click.UsageError("--max-memory-mb replaces one of several processes: say --processes 2 or more as well")
    else:
        code = _run(lambda: Process(app, settings).run())
    sys.exit(code)


def _run(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    async def made_inside() -> int:
        return await work()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(made_inside())
        if code == EXIT_JOBS_CUT:
            # Threads of cut jobs may hold the interpreter up; the jobs are given back and nothing is left to do.
            logging.shutdown()
            sys.stdout.flush()
            os._exit(code)
        return code


def queues_of(app: App, written: str | None) -> tuple[QueueWeight, ...]:
    """The queues that the worker shall take; jobs of the application that it would leave lying are said.

    Raises:
        click.BadParameter: ``written`` names no queues.
    """
    named = sorted({job.queue for job in app.jobs})
    if written is None:
        if not named:
            log.warning("the application defines no job: are the modules with the jobs imported?")
        return tuple(QueueWeight(name) for name in named or ["default"])
    try:
        queues = parse_queues(written)
    except ConfigurationError as error:
        raise click.BadParameter(str(error), param_hint="-q/--queues or JOBWORKER_QUEUES") from error
    missed = [name for name in named if not takes([queue.name for queue in queues], name)]
    if missed:
        log.warning(
            "jobs of this application go to queues that this worker does not take: add them to -q, or run another",
            extra={"queues": " ".join(missed), "jobs": " ".join(job.name for job in app.jobs if job.queue in missed)},
        )
    return queues


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415  # an extra
    except ImportError:
        return None
    return uvloop.new_event_loop
