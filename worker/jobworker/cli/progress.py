"""`jobworker progress`: how far an iterating job is, once or live."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, assert_never

import click
from redis.asyncio import Redis
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobworker.cli.options import Place, echo_json, json_option, on_redis
from jobworker.cli.screen import ago, console, duration, table, text
from jobworker.cli.whereabouts import where_it_is
from jobworker.client.control import carry_out_async
from jobworker.protocol.control import Parked
from jobworker.protocol.inspection import RunningJob
from jobworker.protocol.job_sets import Found, JobSet, SetEntry
from jobworker.protocol.job_states import JobState
from jobworker.protocol.keys import Keys
from jobworker.protocol.locating import Nowhere, Queued, iterating_classes, locate
from jobworker.protocol.progress import JobProgress, job_progress
from jobworker.protocol.slice_progress import SliceProgress
from jobworker.runtime.link import AWAY, in_words

_SHOWN = 50  # rows with errors in the table; --json has all
_WATCHED = 10  # of them on a screen that is drawn anew all the time
_BAR = 60  # columns
_IN_A_SET = {JobSet.SCHEDULED: JobState.WAITING, JobSet.RETRY: JobState.RETRYING, JobSet.DEAD: JobState.FAILED}
_COLOURS = {JobState.FAILED: "red", JobState.CANCELLED: "yellow", JobState.DONE: "green", JobState.RETRYING: "yellow"}


@click.command()
@click.argument("jid")
@click.option("--watch", is_flag=True, help="Draw it anew until the job is over; Ctrl-C ends it.")
@click.option("--every", type=click.FloatRange(0.2, 3600), default=1.0, show_default=True, metavar="SECONDS")
@json_option
@on_redis
def progress(jid: str, place: Place, watch: bool, every: float, as_json: bool) -> None:  # noqa: FBT001  # flags
    """Show how far the iterating job JID is, and what was wrong with which row."""
    if watch and as_json:
        raise click.UsageError("--watch draws on a terminal, --json prints once: choose one of them")
    if watch and not sys.stdout.isatty():
        raise click.UsageError("--watch draws on a terminal, and this is none")
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            place.ask(lambda redis, keys: _watched(redis, keys, jid, every))
        return
    most = None if as_json else _SHOWN
    found, where = place.ask(lambda redis, keys: _asked(redis, keys, jid, most))
    if as_json:
        echo_json(described(found))
        return
    console().print(frame(found, where))


async def _asked(redis: Redis, keys: Keys, jid: str, errors: int | None) -> tuple[JobProgress, str]:
    """How far it is; of one that has not begun also where it is."""
    found = await carry_out_async(redis, job_progress(keys, jid, errors=errors))
    return await _not_begun(redis, keys, jid) if found is None else (found, "")


async def _not_begun(redis: Redis, keys: Keys, jid: str) -> tuple[JobProgress, str]:
    where = await locate(redis, keys, jid)
    words = f"it {where_it_is(where)}"
    match where:
        case Nowhere():
            raise click.ClickException(f"no progress is known of {jid}, and {words}; it is long over, or never was")
        case Parked(queue=queue, payload=payload):
            state, job = JobState.PAUSED, Found.read(payload).job
        case RunningJob(queue=queue):
            state, job = JobState.RUNNING, where.found.job
        case Queued(queue=queue):
            state, job = JobState.WAITING, where.found.job
        case SetEntry(job_set=job_set):
            state, job = _IN_A_SET[job_set], where.found.job
            queue = "" if job is None else job.queue
        case _:
            assert_never(where)
    classes = await iterating_classes(redis, keys, queue)
    if classes is not None and job is not None and job.job_class not in classes:
        raise click.ClickException(
            f"{jid} has no progress: {words}, as {job.job_class}, no iterating job of any worker"
        )
    return JobProgress(
        jid=jid, state=state, processed=0, failed=0, total=None, rate=None, run_rate=None, done={}, errors={},
        next_errors=None, started_at=None, began_at=None, updated_at=None, ended_at=None, worker=None,
    ), words  # fmt: skip


async def _watched(redis: Redis, keys: Keys, jid: str, every: float) -> None:
    found, where = await _asked(redis, keys, jid, _WATCHED)
    with Live(frame(found, where), console=console(), auto_refresh=False) as live:
        while not found.state.over:
            await asyncio.sleep(every)
            problem = ""
            try:
                found, where = await _asked(redis, keys, jid, _WATCHED)
            except AWAY as error:
                problem = f"this is what was seen last: Redis {in_words(error)}"
            shown = frame(found, where)
            live.update(Group(shown, text(problem, "red")) if problem else shown, refresh=True)


def described(progress: JobProgress) -> dict[str, Any]:
    """For machines: everything, rows as strings since JSON's keys are."""
    return {
        "jid": progress.jid,
        "state": progress.state.value,
        "processed": progress.processed,
        "failed": progress.failed,
        "total": progress.total,
        "rate": progress.rate,
        "run_rate": progress.run_rate,
        "eta_seconds": progress.eta_seconds,
        "done": dict(progress.done),
        "started_at": progress.started_at,
        "began_at": progress.began_at,
        "updated_at": progress.updated_at,
        "ended_at": progress.ended_at,
        "worker": progress.worker,
        "errors": {str(row): messages for row, messages in progress.errors.items()},
        "slices": None if progress.slices is None else [_described_slice(found) for found in progress.slices],
    }


def _described_slice(found: SliceProgress) -> dict[str, Any]:
    return {
        "jid": found.jid,
        "state": found.state.value,
        "processed": found.processed,
        "failed": found.failed,
        "total": found.total,
        "rate": found.rate,
    }


def frame(progress: JobProgress, where: str = "") -> RenderableType:
    """One picture of it, for people; of a job that has not begun with ``where`` it is."""
    parts: list[RenderableType] = [_head(progress)]
    if where:
        parts.append(text(where, whole=True))
    if progress.share is not None and not _outgrown(progress):
        line = Table.grid()  # by itself a bar does not end its line
        line.add_row(ProgressBar(total=1.0, completed=progress.share, width=_BAR))
        parts.append(line)
    if progress.slices is not None:
        parts += _slices(progress.slices)
    if progress.done:
        ids = table("kind of id", "done", numbers=("done",))
        for kind, count in progress.done.items():
            ids.add_row(text(kind), f"{count:,}")
        parts += [Text(), ids]
    if progress.errors:
        parts += [Text(), _errors(progress)]
    more = progress.failed - len(progress.errors)
    if progress.errors and progress.next_errors is not None:
        parts.append(text(f"… and {more:,} more rows; --json has all that are explained"))
    elif more > 0 and progress.slices is None:
        parts.append(text(f"{more:,} further rows have errors that are counted and not explained"))
    return Group(*parts)


def _outgrown(progress: JobProgress) -> bool:
    """Are more rows done than there are? The source has shrunk, or was counted wrongly: no share is true."""
    return progress.total is not None and progress.processed > progress.total


def _head(progress: JobProgress) -> Text:
    if _outgrown(progress):
        rows = f"{progress.processed} rows, though {progress.total} were counted"
    else:
        total = "" if progress.total is None else f" of {progress.total}"
        share = "" if progress.share is None else f" ({progress.share:.0%})"
        rows = f"{progress.processed}{total} rows{share}"
    words = [rows, f"{progress.failed} with errors"]
    if progress.rate is not None:
        words.append(f"{progress.rate:,.1f} rows/s")
    if progress.eta_seconds is not None:
        words.append(f"{duration(progress.eta_seconds)} left")
    words.append(_when(progress))
    state = text(progress.state.value, _COLOURS.get(progress.state, "bold"))
    return Text.assemble(text(progress.jid, whole=True), ": ", state, ", ", text(", ".join(filter(None, words))))


def _slices(slices: Sequence[SliceProgress]) -> list[RenderableType]:
    """How many are how far, what holds the join up, and those that run."""
    counts = Counter(found.state for found in slices)
    words = ", ".join(f"{count:,} {state.value}" for state, count in counts.items())
    parts: list[RenderableType] = [text(f"{len(slices):,} slices: {words}")]
    dead = [found.jid for found in slices if found.state is JobState.FAILED]
    if dead:
        some = " ".join(dead[:_SHOWN]) + (" …" if len(dead) > _SHOWN else "")
        what = f"waits for {len(dead):,} dead slice{'s' * (len(dead) > 1)}: jobworker jobs retry {some}"
        parts.append(text(what, "red", whole=True))
    running = [found for found in slices if found.state is JobState.RUNNING][:_SHOWN]
    if running:
        rows = table("slice", "rows", "of", "rows/s", numbers=("rows", "of", "rows/s"))
        for found in running:
            rows.add_row(
                text(found.jid, whole=True),
                f"{found.processed:,}",
                "-" if found.total is None else f"{found.total:,}",
                "-" if found.rate is None else f"{found.rate:,.1f}",
            )
        parts += [Text(), rows]
    return parts


def _when(progress: JobProgress) -> str:
    if progress.ended_at is not None:
        return f"ended {ago(progress.ended_at)}"
    return "" if progress.updated_at is None else f"checkpoint {ago(progress.updated_at)}"


def _errors(progress: JobProgress) -> Table:
    rows = table("row", "errors")
    for row, messages in progress.errors.items():
        rows.add_row(f"{row:,}", Text("\n").join(text(message, whole=True) for message in messages))
    return rows
