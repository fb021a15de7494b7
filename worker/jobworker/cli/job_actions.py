"""`jobworker jobs retry`, `kill` and `delete`: one job, several, or all of a set that are of a kind."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import click
from redis.asyncio import Redis

from jobworker.cli.options import Place, confirm, echo_json, json_option, on_redis
from jobworker.cli.screen import jobs_in_words
from jobworker.cli.wanted import Wanted, wanted_options
from jobworker.protocol import job_sets
from jobworker.protocol.job_sets import JobSet, SetEntry
from jobworker.protocol.keys import Keys

_AT_ONCE = 200  # jobs acted on before the next are read

Act = Callable[[Redis, Keys, list[SetEntry]], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Action:
    """What is done to entries, how it is said, and to which sets and entries it can be done."""

    name: str
    done: str
    act: Act
    sets: tuple[JobSet, ...]
    needs_payload: bool = False


RETRY = Action("retry", "enqueued", job_sets.retry, tuple(JobSet), needs_payload=True)
KILL = Action("kill", "moved to the dead set", job_sets.kill, (JobSet.SCHEDULED, JobSet.RETRY))
DELETE = Action("delete", "deleted", job_sets.delete, tuple(JobSet))


def _command(action: Action) -> Callable[[Callable[..., None]], click.Command]:
    names = [job_set.value for job_set in action.sets]

    def decorate(described: Callable[..., None]) -> click.Command:
        @click.command(name=action.name)
        @click.argument("identities", metavar="[ID]…", nargs=-1)
        @click.option("--in", "where", type=click.Choice(names), default=None, help="Look in this set only.")
        @click.option("--all", "everything", is_flag=True, help="All jobs of the set, or those that the flags choose.")
        @click.option("--yes", is_flag=True, help="Do not ask before --all.")
        @wanted_options
        @json_option
        @on_redis
        @functools.wraps(described)
        def command(
            identities: tuple[str, ...], place: Place, wanted: Wanted, where: str | None, **flags: bool
        ) -> None:
            if flags["everything"] and where is None and len(identities) == 1 and identities[0] in names:
                where, identities = identities[0], ()  # the set as a word, as `jobs list` has it
            sets = action.sets if where is None else (JobSet(where),)
            if flags["everything"]:
                if identities or where is None:
                    raise click.UsageError("--all takes no ID, and --in SET to say of which set")
                _all(place, action, JobSet(where), wanted, yes=flags["yes"], as_json=flags["as_json"])
                return
            if not identities:
                raise click.UsageError(f"which jobs? Name their IDs, or --all --in {names[-1]}")
            if not wanted.all:
                raise click.UsageError("--class, --queue and --unreadable choose from --all; leave the IDs out")
            _some(place, action, identities, sets, as_json=flags["as_json"])

        return command

    return decorate


@_command(RETRY)
def retry() -> None:
    """Put jobs onto their queues now: dead ones, those to be retried, scheduled ones.

    It does not use up a try. A job that somebody else retried, killed or deleted meanwhile is left alone.
    """


@_command(KILL)
def kill() -> None:
    """Move scheduled jobs and those to be retried to the dead set, where they rest until they are retried by hand."""


@_command(DELETE)
def delete() -> None:
    """Delete jobs for good: scheduled ones, those to be retried, dead ones."""


def unknown(identity: str) -> str:
    """What to say of a job that is nowhere."""
    return (
        f"no job {identity} is scheduled, to be retried, dead, paused or running; it has ended, or waits in a queue, "
        "which is not searched"
    )


def _some(
    place: Place, action: Action, identities: tuple[str, ...], sets: tuple[JobSet, ...], *, as_json: bool
) -> None:
    async def act(redis: Redis, keys: Keys) -> tuple[int, list[str], list[str]]:
        done, missing, unreadable = 0, [], []
        for identity in dict.fromkeys(identities):
            found = await job_sets.find(redis, keys, identity, sets)
            if action.needs_payload and any(entry.found.job is None for entry in found):
                unreadable.append(identity)
                continue
            acted = await action.act(redis, keys, found) if found else 0
            done += acted
            if not acted:
                missing.append(identity)
        return done, missing, unreadable

    done, missing, unreadable = place.ask(act)
    if as_json:
        echo_json({"action": action.name, "done": done, "missing": missing, "unreadable": unreadable})
    elif done:
        click.echo(f"{jobs_in_words(done)} {action.done}")
    names = " or ".join(job_set.value for job_set in sets)
    for identity in missing:
        click.echo(f"Error: no job {identity} is {names}; it may have ended, or somebody was faster", err=True)
    for identity in unreadable:
        click.echo(f"Error: {identity} cannot be read, so nobody knows its queue; it can only be deleted", err=True)
    if missing or unreadable:
        raise click.exceptions.Exit(1)


def _all(place: Place, action: Action, job_set: JobSet, wanted: Wanted, *, yes: bool, as_json: bool) -> None:
    size = place.ask(lambda redis, keys: job_sets.page(redis, keys, job_set, 0, 1)).size
    if size:
        which = (
            f"those{wanted.in_words(' ')} of {jobs_in_words(size)}" if not wanted.all else f"all {jobs_in_words(size)}"
        )
        confirm(f"{action.name.capitalize()} {which} in {job_set.value}", yes=yes)
    began = time.time()

    async def act(redis: Redis, keys: Keys) -> tuple[int, int]:
        done = skipped = 0
        some: list[SetEntry] = []
        async for entry in job_sets.entries(redis, keys, job_set):
            # One that failed anew while this goes on is not chosen a second time.
            if not wanted.wants(entry.found) or (job_sets.touched_at(entry) or 0.0) > began:
                continue
            if action.needs_payload and entry.found.job is None:
                skipped += 1
                continue
            some.append(entry)
            if len(some) >= _AT_ONCE:
                done += await action.act(redis, keys, some)
                some = []
        return done + (await action.act(redis, keys, some) if some else 0), skipped

    done, skipped = place.ask(act)
    if as_json:
        echo_json({"action": action.name, "done": done, "unreadable": skipped})
        return
    click.echo(f"{jobs_in_words(done)} {action.done}")
    if skipped:
        click.echo(
            f"{jobs_in_words(skipped)} cannot be read and stay; `jobs delete --unreadable` deletes them", err=True
        )
