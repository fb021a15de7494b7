"""`jobworker queues`: what waits where, and pausing, limiting or clearing a queue."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table
from rich.text import Text

from jobworker.cli.job_tables import described_job, queued_table
from jobworker.cli.options import Place, confirm, echo_json, json_option, on_redis
from jobworker.cli.screen import ago, console, duration, jobs_in_words, seconds_of, table, text
from jobworker.errors import ConfigurationError
from jobworker.jobs.options import check_queue
from jobworker.protocol import pausing
from jobworker.protocol.inspection import QueueReport, clear_queue, queue_reports, queued
from jobworker.protocol.limits import QueueLimit, set_limit


@click.group(invoke_without_command=True)
@json_option
@on_redis
def queues(place: Place, as_json: bool) -> None:  # noqa: FBT001  # a flag
    """List the queues, or show, pause, unpause, limit or clear one."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    found = place.ask(queue_reports)
    if as_json:
        echo_json({"queues": [described(queue) for queue in found]})
    elif found:
        console().print(shown(found))
    else:
        click.echo("no queue ever had a job, and no worker runs", err=True)


@queues.command()
@click.argument("name")
@click.option("--page", type=click.IntRange(1), default=1, show_default=True)
@click.option("--limit", type=click.IntRange(1, 10_000), default=25, show_default=True, help="Jobs on a page.")
@json_option
@on_redis
def show(name: str, place: Place, page: int, limit: int, as_json: bool) -> None:  # noqa: FBT001  # a flag
    """List the jobs that wait in the queue NAME, the one that is taken next first."""
    _readable(_known(place, name))
    begin = (page - 1) * limit
    found, depth = place.ask(lambda redis, keys: queued(redis, keys, name, begin, limit))
    more = depth > begin + len(found)
    if as_json:
        listed = [{**described_job(job), "queue": name} for job in found]
        echo_json({"queue": name, "size": depth, "page": page, "limit": limit, "more": more, "jobs": listed})
        return
    if found:
        console().print(queued_table(found))
    listed_here = f"{begin + 1} to {begin + len(found)}" if found else "none"
    following = f"; --page {page + 1} shows more" if more and found else ""
    click.echo(f"{listed_here} of {depth:,} in {name}{following}", err=True)


@queues.command()
@click.argument("name")
@click.option(
    "--for",
    "seconds",
    type=seconds_of,
    metavar="DURATION",
    default=None,
    help="It goes on by itself after 90s, 10m, 2h.",
)
@on_redis
def pause(name: str, place: Place, seconds: float | None) -> None:
    """Let no worker take jobs of the queue NAME. Jobs that run go on, and new ones can be pushed."""
    _known_or_new(place, name)
    fresh = place.ask(lambda redis, keys: pausing.pause(redis, keys, name, seconds))
    until = "until somebody unpauses it" if seconds is None else f"for {duration(seconds)}"
    click.echo(f"{name} is paused {until}" if fresh else f"{name} was paused already; now it is {until}")


@queues.command()
@click.argument("name")
@on_redis
def unpause(name: str, place: Place) -> None:
    """Let workers take jobs of the queue NAME again."""
    _known(place, name)
    lifted = place.ask(lambda redis, keys: pausing.unpause(redis, keys, name))
    click.echo(f"{name} goes on" if lifted else f"{name} was not paused")


def _number_or_none(written: str) -> int | None:
    if written.lower() == "none":
        return None
    if not written.isascii() or not written.isdigit():
        raise click.BadParameter(f"{written!r} is not a whole number from 0 on, or none")
    return int(written)


@queues.command()
@click.argument("name")
@click.option("--cluster", default=None, metavar="N|none", help="Jobs of it at a time on all workers together.")
@click.option("--worker", default=None, metavar="N|none", help="Jobs of it at a time on each worker.")
@click.option("--blocking/--no-blocking", default=None, help="While one runs, queues behind it in the order wait.")
@on_redis
def limit(name: str, place: Place, cluster: str | None, worker: str | None, blocking: bool | None) -> None:  # noqa: FBT001  # a flag
    """Show or change how many jobs of the queue NAME may run at a time; what is not named stays as it is.

    A lower limit ends nothing: it counts from the next job that is taken.
    """
    changes = cluster is not None or worker is not None or blocking is not None
    known = _known_or_new(place, name) if changes else _known(place, name)
    before = QueueLimit() if known is None else known.limit
    new = QueueLimit(
        cluster=before.cluster if cluster is None else _number_or_none(cluster),
        worker=before.worker if worker is None else _number_or_none(worker),
        blocking=before.blocking if blocking is None else blocking,
    )
    if new != before:
        place.ask(lambda redis, keys: set_limit(redis, keys, name, new))
    parts = [
        "" if new.cluster is None else f"{new.cluster} at a time in all",
        "" if new.worker is None else f"{new.worker} on each worker",
        "queues behind it wait meanwhile" if new.blocking else "",
    ]
    said = ", ".join(part for part in parts if part)
    click.echo(f"{name}: {said}" if said else f"{name} has no limit")


@queues.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@on_redis
def clear(name: str, place: Place, yes: bool) -> None:  # noqa: FBT001  # a flag
    """Drop all jobs that wait in the queue NAME, for good. Jobs that run go on."""
    waiting = _readable(_known(place, name)).depth.depth
    if waiting:
        confirm(f"Drop {jobs_in_words(waiting)} of {name} for good", yes=yes)
    dropped = place.ask(lambda redis, keys: clear_queue(redis, keys, name))
    click.echo(f"{jobs_in_words(dropped)} of {name} dropped")


def shown(found: tuple[QueueReport, ...]) -> Table:
    """A row for each queue."""
    rows = table(
        "queue", "depth", "oldest", "running", "workers", "limit", "state", numbers=("depth", "running", "workers")
    )
    for queue in found:
        depth = queue.depth
        rows.add_row(
            text(depth.name),
            f"{depth.depth:,}" if depth.problem is None else "-",
            duration(depth.latency_seconds) if depth.depth else "-",
            f"{queue.running:,}",
            f"{queue.workers:,}{' + Sidekiq' if queue.sidekiq else ''}",
            _limit_of(queue),
            state_of(queue),
        )
    return rows


def described(queue: QueueReport) -> dict[str, Any]:
    """For machines."""
    return {
        "name": queue.depth.name,
        "depth": queue.depth.depth,
        "latency_seconds": queue.depth.latency_seconds,
        "running": queue.running,
        "workers": queue.workers,
        "quiet": queue.quiet,
        "sidekiq": queue.sidekiq,
        "problem": queue.depth.problem,
        "paused": queue.depth.paused,
        "paused_until": queue.paused_until,
        "limit": {
            "cluster": queue.limit.cluster,
            "worker": queue.limit.worker,
            "blocking": queue.limit.blocking,
        },
    }


def state_of(queue: QueueReport) -> Text:
    """What is special about it."""
    if queue.depth.problem is not None:
        return text(f"unreadable: {queue.depth.problem}", "red")
    if queue.depth.paused:
        until = "" if queue.paused_until is None else f", goes on {ago(queue.paused_until)}"
        return text(f"paused{until}", "yellow")
    if queue.depth.depth and queue.workers == queue.quiet and not queue.sidekiq:
        quiet = (
            "its worker is quiet or stops" if queue.quiet == 1 else f"all its {queue.quiet} workers are quiet or stop"
        )
        return text(quiet if queue.quiet else "no worker takes it", "red")
    return text("")


def _limit_of(queue: QueueReport) -> str:
    limited = queue.limit
    parts = [
        "" if limited.cluster is None else f"{limited.cluster} in all",
        "" if limited.worker is None else f"{limited.worker} each",
        "blocking" if limited.blocking else "",
    ]
    return ", ".join(part for part in parts if part)


def _readable(queue: QueueReport) -> QueueReport:
    """The same.

    Raises:
        click.ClickException: another application's data stand at its key, which nobody here may drop.
    """
    if queue.depth.problem is not None:
        raise click.ClickException(
            f"{queue.depth.name} is unreadable: {queue.depth.problem}; another application wrote it. "
            "Once it is renamed or deleted (redis-cli RENAME, DEL), the queue works again"
        )
    return queue


def _known(place: Place, name: str) -> QueueReport:
    """The queue of that name.

    Raises:
        click.ClickException: there is none, so the name is likely a slip; the message tells those there are.
    """
    found = place.ask(queue_reports)
    for queue in found:
        if queue.depth.name == name:
            return queue
    raise click.ClickException(f"no queue is named {name}; {_there(found)}")


def _known_or_new(place: Place, name: str) -> QueueReport | None:
    """The queue of that name; None, and a note, where it may come with the first deploy of its jobs.

    Raises:
        click.BadParameter: no queue can have the name.
    """
    found = place.ask(queue_reports)
    for queue in found:
        if queue.depth.name == name:
            return queue
    try:
        check_queue(name)
    except ConfigurationError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from error
    click.echo(f"Note: no queue is named {name} so far ({_there(found)}); this holds once it has jobs", err=True)
    return None


def _there(found: tuple[QueueReport, ...]) -> str:
    names = ", ".join(queue.depth.name for queue in found)
    return f"there are {names}" if names else "no queue ever had a job, and no worker runs"
