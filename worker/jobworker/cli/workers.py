"""`jobworker workers`: who runs what, since when, and making one quiet."""

from __future__ import annotations

import getpass
import socket
import time
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from jobworker.cli.job_tables import described_job
from jobworker.cli.options import Place, echo_json, json_option, on_redis
from jobworker.cli.screen import arguments, console, duration, job_name, table, text
from jobworker.protocol.inspection import RunningJob, WorkerReport, worker_reports
from jobworker.protocol.records import Activity
from jobworker.protocol.scripts import FleetScripts

_BY_HAND = "by hand: "
_JOBS = 5  # of a worker in the table; --json has all


@click.group(invoke_without_command=True)
@json_option
@on_redis
def workers(place: Place, as_json: bool) -> None:  # noqa: FBT001  # a flag
    """List the workers with the jobs that they run, or make one quiet."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    found = place.ask(worker_reports)
    if as_json:
        echo_json({"workers": [described(worker) for worker in found]})
    elif found:
        console().print(shown(found))
    else:
        click.echo("no worker runs; `jobworker run MODULE:APP` starts one", err=True)


@workers.command()
@click.argument("worker")
@click.option("--reason", default=None, help="Shown to others; by default who you are.")
@on_redis
def quiet(worker: str, place: Place, reason: str | None) -> None:
    """Let WORKER start no more jobs. What it runs goes on to its end or its next checkpoint.

    WORKER is an identity, the beginning of one, or a pod's name.
    """
    found = _one(place, worker)
    why = reason or f"{getpass.getuser()} on {socket.gethostname()}"
    held = place.ask(lambda redis, keys: FleetScripts(redis, keys).quiet(found.activity.worker, f"{_BY_HAND}{why}"))
    click.echo(f"{name_of(found)} is quiet and holds {held} {'job' if held == 1 else 'jobs'}")


@workers.command()
@click.argument("worker")
@click.option("--force", is_flag=True, help="Also where somebody else than a person made it quiet.")
@on_redis
def unquiet(worker: str, place: Place, force: bool) -> None:  # noqa: FBT001  # a flag
    """Let WORKER start jobs again."""
    found = _one(place, worker)
    reason, here = found.activity.quiet, found.quiet_here
    stays = (
        f"{name_of(found)} was made quiet by {here}, which lasts until its process ends: restart it "
        "(SIGTERM, or delete its pod), or start another worker"
    )
    if reason is None and here is not None:
        raise click.ClickException(stays)
    if reason is None:
        click.echo(f"{name_of(found)} was not quiet")
        return
    if not reason.startswith(_BY_HAND) and not force:
        raise click.ClickException(
            f"{name_of(found)} was made quiet by {reason!r}, which may do so again; --force does it all the same"
        )
    place.ask(lambda redis, keys: FleetScripts(redis, keys).unquiet(found.activity.worker))
    if here is not None:
        raise click.ClickException(f"the reason {reason!r} was taken back, but {stays}")
    click.echo(f"{name_of(found)} takes jobs again")


def shown(found: tuple[WorkerReport, ...]) -> Table:
    """A row for each worker, and under it one for each job that it runs."""
    rows = table("worker", "state", "jobs", "queues", "beat", "checkpoint", "up", "memory", numbers=("jobs", "memory"))
    now = time.time()
    for worker in found:
        activity = worker.activity
        rows.add_row(
            text(name_of(worker), "bold"),
            state_of(worker),
            f"{len(worker.jobs)}/{activity.concurrency}",
            text(" ".join(worker.queues)),
            "-" if activity.beat_age_seconds is None else f"{duration(activity.beat_age_seconds)} ago",
            _checkpoint(activity),
            "-" if worker.started_at is None else duration(max(0.0, now - worker.started_at)),
            "-" if worker.rss_kb is None else f"{worker.rss_kb // 1024} MiB",
        )
        for job in worker.jobs[:_JOBS]:
            what = Text("  ").append(job_name(job.found)).append(" ").append(arguments(job.found))
            since = f"since {duration(max(0.0, now - job.taken_at))}"
            rows.add_row(what, text(since), rows_of(job), text(job.queue))
        if len(worker.jobs) > _JOBS:
            rows.add_row(text(f"  … and {len(worker.jobs) - _JOBS} more", "dim"))
    return rows


def described(worker: WorkerReport) -> dict[str, Any]:
    """For machines."""
    activity = worker.activity
    return {
        "worker": activity.worker,
        "pod": worker.pod,
        "fleet": worker.fleet,
        "hostname": worker.hostname,
        "pid": worker.pid,
        "version": worker.version,
        "alive": activity.alive,
        "quiet": _quiet(worker),
        "stopping": worker.stopping,
        "queues": list(worker.queues),
        "concurrency": activity.concurrency,
        "started_at": worker.started_at,
        "beat_age_seconds": activity.beat_age_seconds,
        "checkpoint_age_seconds": activity.checkpoint_age_seconds if activity.held else None,
        "rss_kb": worker.rss_kb,
        "jobs": [_described_running(job) for job in worker.jobs],
    }


def _described_running(job: RunningJob) -> dict[str, Any]:
    rows = {"processed": job.processed, "total": job.total}
    return {**described_job(job.found), "queue": job.queue, "taken_at": job.taken_at, **rows}


def rows_of(job: RunningJob) -> str:
    """How far an iterating job is: in hundredths, or in rows where nobody knows how many there are."""
    if job.processed is None:
        return ""
    return f"{job.processed / job.total:.0%}" if job.total else f"{job.processed:,} rows"


def _checkpoint(activity: Activity) -> str:
    """How much work would be lost with the worker: what `drain.waitFor: Checkpoint` goes by."""
    age = activity.checkpoint_age_seconds
    return "-" if age is None or not activity.held else f"{duration(age)} ago"


def name_of(worker: WorkerReport) -> str:
    """Its pod's name, or its identity where there is no pod."""
    return worker.pod or worker.activity.worker


def state_of(worker: WorkerReport) -> Text:
    """What it is at, in words."""
    if not worker.activity.alive:
        return text("dead, not rescued yet", "red")
    if worker.stopping:
        return text("stopping", "yellow")
    quiet = _quiet(worker)
    if quiet is not None:
        return text(f"quiet: {quiet}", "yellow")
    return text("busy", "green") if worker.jobs else text("idle")


def _quiet(worker: WorkerReport) -> str | None:
    """Why it is quiet: the fact in Redis, which can be taken back, and the signal, which cannot."""
    here = None if worker.quiet_here is None else f"{worker.quiet_here}, until it ends"
    return "; ".join(filter(None, (worker.activity.quiet, here))) or None


def _one(place: Place, name: str) -> WorkerReport:
    """The worker of that name.

    Raises:
        click.ClickException: there is none, or several begin so; the message tells which there are.
    """
    found = place.ask(worker_reports)
    exact = [worker for worker in found if name in {worker.activity.worker, worker.pod}]
    chosen = exact or [worker for worker in found if worker.activity.worker.startswith(name)]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(worker.activity.worker for worker in chosen or found) or "none at all"
    wrong = "several workers are named" if chosen else "no worker is named"
    raise click.ClickException(f"{wrong} {name}; there are {names}")
