"""`jobworker jobs`: those that run, rest, are scheduled, to be retried or dead; and acting on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from redis.asyncio import Redis

from jobworker.cli import job_actions, job_control
from jobworker.cli.job_tables import (
    backtrace,
    described_entry,
    described_parked,
    described_queued,
    described_running,
    details,
    enqueued_at,
    entries_table,
    parked_table,
    running_table,
)
from jobworker.cli.options import Place, echo_json, json_option, on_redis
from jobworker.cli.screen import ago, console, table
from jobworker.cli.wanted import Wanted, wanted_options
from jobworker.cli.whereabouts import where_it_is
from jobworker.client.control import carry_out_async
from jobworker.protocol import job_sets
from jobworker.protocol.control import Parked, parked_jobs
from jobworker.protocol.inspection import RunningJob, worker_reports
from jobworker.protocol.job_sets import Found, JobSet, SetEntry
from jobworker.protocol.keys import Keys
from jobworker.protocol.locating import Nowhere, Queued, locate, parked_job

C = TypeVar("C", bound=Callable[..., Any])

RUNNING, PAUSED = "running", "paused"

_FIRST = {
    RUNNING: "the oldest began",
    PAUSED: "the first",
    "scheduled": "the next",
    "retry": "the next",
    "dead": "the latest",
}
_SETS = [*(job_set.value for job_set in JobSet), RUNNING, PAUSED]
_AT_ONCE = 500  # entries read at once where they are chosen here


@click.group(invoke_without_command=True)
@json_option
@on_redis
def jobs(place: Place, as_json: bool) -> None:  # noqa: FBT001  # a flag
    """Count, list and show jobs; cancel, pause and resume iterating ones; retry, kill or delete others."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    seen = place.ask(_summary)
    if as_json:
        echo_json({"jobs": {name: size for name, size, _ in seen}})
        return
    rows = table("jobs", "number", "", numbers=("number",))
    for name, size, first in seen:
        rows.add_row(name, f"{size:,}", "" if first is None else f"{_FIRST[name]} {ago(first)}")
    console().print(rows)
    click.echo("\n`jobworker jobs list dead` lists them; --help tells more", err=True)


@jobs.command(name="list")
@click.argument("named", metavar="SET", type=click.Choice(_SETS), required=False)
@click.option("--in", "where", type=click.Choice(_SETS), default=None, help="Another way to name SET.")
@wanted_options
@click.option("--page", type=click.IntRange(1), default=1, show_default=True)
@click.option("--limit", type=click.IntRange(1, 10_000), default=25, show_default=True, help="Jobs on a page.")
@json_option
@on_redis
def list_jobs(
    named: str | None,
    where: str | None,
    place: Place,
    wanted: Wanted,
    page: int,
    limit: int,
    as_json: bool,  # noqa: FBT001  # a flag
) -> None:
    """List the jobs of SET: scheduled and retry by when they are due, the others by age."""
    if named is not None and where not in {None, named}:
        raise click.UsageError(f"SET is {named}, and --in names {where}: leave one of them out")
    where = named or where
    if where is None:
        raise click.UsageError(f"which jobs? Name one of {', '.join(_SETS)}")
    begin = (page - 1) * limit
    if where == PAUSED:
        resting = [job for job in place.ask(_parked) if wanted.wants(Found.read(job.payload), job.queue)]
        some_resting, size, more = resting[begin : begin + limit], len(resting), len(resting) > begin + limit
        listed = [described_parked(job) for job in some_resting]
        rows = parked_table(some_resting)
    elif where == RUNNING:
        running = [job for job in place.ask(_running) if wanted.wants(job.found, job.queue)]
        some, size, more = running[begin : begin + limit], len(running), len(running) > begin + limit
        listed = [described_running(job) for job in some]
        rows = running_table(some)
    else:
        job_set = JobSet(where)
        chosen = place.ask(lambda redis, keys: _page(redis, keys, job_set, wanted, begin, limit))
        size, more = chosen.size, chosen.more
        listed = [described_entry(entry) for entry in chosen.entries]
        rows = entries_table(job_set, chosen.entries)
    if as_json:
        echo_json({"set": where, "size": size, "page": page, "limit": limit, "more": more, "jobs": listed})
        return
    if listed:
        console().print(rows)
    shown = f"{begin + 1} to {begin + len(listed)}" if listed else "none"
    following = f"; --page {page + 1} shows more" if more else ""
    what = "jobs to be retried" if where == JobSet.RETRY.value else f"{where} jobs"
    counted = f"{shown} of {size:,}" if size else "no"
    click.echo(f"{counted} {what}{wanted.in_words(' ')}{following}", err=True)


@jobs.command()
@click.argument("identity", metavar="ID")
@json_option
@on_redis
def show(identity: str, place: Place, as_json: bool) -> None:  # noqa: FBT001  # a flag
    """Show all that is known of the job ID, wherever it lies; queues are searched from the job that is next on."""

    async def look(
        redis: Redis, keys: Keys
    ) -> tuple[list[SetEntry], list[RunningJob], Parked | Queued | Nowhere | None]:
        running = [job for job in await _running(redis, keys) if job.found.id == identity]
        entries, parked = await job_sets.find(redis, keys, identity), await parked_job(redis, keys, identity)
        if entries or running or parked is not None:
            return entries, running, parked
        where = await locate(redis, keys, identity)
        # RACE it moved on from a queue between the two looks.
        if isinstance(where, SetEntry):
            return [where], [], None
        return ([], [where], None) if isinstance(where, RunningJob) else ([], [], where)

    entries, running, other = place.ask(look)
    if isinstance(other, Nowhere):
        raise click.ClickException(f"job {identity} {where_it_is(other)}; it has ended, or never was")
    if as_json:
        listed = [
            *({**described_running(job), **_whole(job.found)} for job in running),
            *(
                {**described_parked(job), **_whole(Found.read(job.payload))}
                for job in (other,)
                if isinstance(job, Parked)
            ),
            *({**described_queued(job), **_whole(job.found)} for job in (other,) if isinstance(job, Queued)),
            *({**described_entry(entry), **_whole(entry.found)} for entry in entries),
        ]
        echo_json({"jobs": listed})
        return
    screen = console()
    for job in running:
        screen.print(details(job.found, f"running on {job.worker}", job.taken_at), soft_wrap=True)
    if isinstance(other, Parked):
        screen.print(details(Found.read(other.payload), PAUSED, other.parked_at), soft_wrap=True)
    if isinstance(other, Queued):
        place_in = f"waiting in the queue {other.queue} at place {other.place:,}"
        screen.print(details(other.found, place_in, enqueued_at(other.found)), soft_wrap=True)
    for entry in entries:
        screen.print(details(entry.found, entry.job_set.value, entry.score), soft_wrap=True)


for action in (
    job_control.cancel, job_control.pause, job_control.resume, job_actions.retry, job_actions.kill, job_actions.delete,
):  # fmt: skip
    jobs.add_command(action)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Entries of a page; ``size`` is that of the whole set, ``more`` says that another page follows."""

    entries: tuple[SetEntry, ...]
    size: int
    more: bool


async def _page(redis: Redis, keys: Keys, job_set: JobSet, wanted: Wanted, begin: int, limit: int) -> _Chosen:
    if wanted.all:
        page = await job_sets.page(redis, keys, job_set, begin, limit)
        return _Chosen(page.entries, page.size, page.size > begin + limit)
    found: list[SetEntry] = []
    place, size = 0, 0
    async for entry, size in _in_order(redis, keys, job_set):  # the last size counts
        if not wanted.wants(entry.found):
            continue
        place += 1
        if place > begin + limit:
            return _Chosen(tuple(found), size, more=True)
        if place > begin:
            found.append(entry)
    return _Chosen(tuple(found), size, more=False)


async def _in_order(redis: Redis, keys: Keys, job_set: JobSet) -> AsyncIterator[tuple[SetEntry, int]]:
    offset = 0
    while True:
        page = await job_sets.page(redis, keys, job_set, offset, _AT_ONCE)
        for entry in page.entries:
            yield entry, page.size
        if len(page.entries) < _AT_ONCE:
            return
        offset += _AT_ONCE


async def _running(redis: Redis, keys: Keys) -> list[RunningJob]:
    held = [job for worker in await worker_reports(redis, keys) for job in worker.jobs]
    return sorted(held, key=lambda job: job.taken_at)


async def _parked(redis: Redis, keys: Keys) -> tuple[Parked, ...]:
    return await carry_out_async(redis, parked_jobs(keys))


async def _summary(redis: Redis, keys: Keys) -> list[tuple[str, int, float | None]]:
    """Name, size and the time of the first of each list."""
    running = await _running(redis, keys)
    parked = await _parked(redis, keys)
    rows: list[tuple[str, int, float | None]] = [
        (RUNNING, len(running), running[0].taken_at if running else None),
        (PAUSED, len(parked), parked[0].parked_at if parked else None),
    ]
    for job_set in JobSet:
        page = await job_sets.page(redis, keys, job_set, 0, 1)
        rows.append((job_set.value, page.size, page.entries[0].score if page.entries else None))
    return rows


def _whole(found: Found) -> dict[str, Any]:
    return {"backtrace": backtrace(found), "payload": found.raw.decode("utf-8", "backslashreplace")}
