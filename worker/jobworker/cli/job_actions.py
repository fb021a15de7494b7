"""`jobworker jobs retry`, `kill` and `delete`: one job, several, or all of a set that are of a kind."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import click
from redis.asyncio import Redis

from jobworker.cli.options import Place, confirm, echo_json, json_option, on_redis
from jobworker.cli.screen import jobs_in_words
from jobworker.cli.wanted import Wanted, wanted_options
from jobworker.cli.whereabouts import instead, where_it_is
from jobworker.protocol import job_sets
from jobworker.protocol.job_sets import JobSet, SetEntry
from jobworker.protocol.keys import Keys
from jobworker.protocol.locating import Queued, delete_queued, locate
from jobworker.protocol.payload import JobId
from jobworker.protocol.slices import awaited

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
    """Delete jobs for good: scheduled ones, those to be retried, dead ones, and by their ID those that wait in queues.

    A slice that its parallel job waits for is left alone.
    """


@dataclass(slots=True)
class _Acted:
    """What became of the jobs that were named."""

    done: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    """Why nothing was done, by the ID."""
    unreadable: list[str] = field(default_factory=list)
    refused: dict[str, JobId] = field(default_factory=dict)
    """Slices, and the jobs that wait for them."""
    held_up: dict[str, JobId] = field(default_factory=dict)
    """Slices that were killed, and the jobs that wait for them."""


def _some(
    place: Place, action: Action, identities: tuple[str, ...], sets: tuple[JobSet, ...], *, as_json: bool
) -> None:
    async def act(redis: Redis, keys: Keys) -> _Acted:
        acted = _Acted()
        for identity in dict.fromkeys(identities):
            await _one(redis, keys, action, identity, sets, acted)
        return acted

    acted = place.ask(act)
    if as_json:
        echo_json(
            {
                "action": action.name,
                "done": acted.done,
                "missing": list(acted.missing),
                "unreadable": acted.unreadable,
                "refused": list(acted.refused),
            }
        )
    elif acted.done:
        click.echo(f"{jobs_in_words(acted.done)} {action.done}")
    for identity, whole in acted.held_up.items():
        click.echo(f"{identity} is a slice of {whole}, which waits {_until_retried(identity, whole)}", err=True)
    for identity, why in acted.missing.items():
        click.echo(f"Error: {identity} {why}", err=True)
    for identity in acted.unreadable:
        click.echo(f"Error: {identity} cannot be read, so nobody knows its queue; it can only be deleted", err=True)
    for identity, whole in acted.refused.items():
        what = f"{identity} is a slice of {whole}, which would wait for it for ever, and was not deleted"
        click.echo(f"Error: {what}: {_ways_out(identity, whole)}", err=True)
    if acted.missing or acted.unreadable or acted.refused:
        raise click.exceptions.Exit(1)


async def _one(
    redis: Redis, keys: Keys, action: Action, identity: str, sets: tuple[JobSet, ...], acted: _Acted
) -> None:
    found = await job_sets.find(redis, keys, identity, sets)
    if action.needs_payload and any(entry.found.job is None for entry in found):
        acted.unreadable.append(identity)
        return
    queued = None
    if not found and action is DELETE and len(sets) == len(JobSet):
        where = await locate(redis, keys, identity)
        queued = where if isinstance(where, Queued) else None
    jobs = [entry.found.job for entry in found] if queued is None else [queued.found.job]
    whole = next((whole for whole in await awaited(redis, keys, jobs) if whole is not None), None)
    if whole is not None and action is DELETE:
        acted.refused[identity] = whole
        return
    if queued is not None:
        done = await delete_queued(redis, keys, queued)
    else:
        done = await action.act(redis, keys, found) if found else 0
    acted.done += done
    if not done:
        where = await locate(redis, keys, identity)
        acted.missing[identity] = f"{where_it_is(where)}: {instead(where, action.name)}"
    elif whole is not None and action is KILL:
        acted.held_up[identity] = whole


def _until_retried(identity: str, whole: str) -> str:
    return f"until it is retried: {_ways_out(identity, whole)}"


def _ways_out(identity: str, whole: str) -> str:
    return f"`jobworker jobs retry {identity}` completes it, `jobworker jobs cancel {whole}` ends the whole job"


def _all(place: Place, action: Action, job_set: JobSet, wanted: Wanted, *, yes: bool, as_json: bool) -> None:
    size = place.ask(lambda redis, keys: job_sets.page(redis, keys, job_set, 0, 1)).size
    if size:
        which = (
            f"those{wanted.in_words(' ')} of {jobs_in_words(size)}" if not wanted.all else f"all {jobs_in_words(size)}"
        )
        confirm(f"{action.name.capitalize()} {which} in {job_set.value}", yes=yes)
    began = time.time()
    kept: list[SetEntry] = []

    async def act(redis: Redis, keys: Keys) -> tuple[int, int]:
        done = skipped = 0
        some: list[SetEntry] = []

        async def act_on(chosen: list[SetEntry]) -> int:
            if action is DELETE:
                waits = await awaited(redis, keys, [entry.found.job for entry in chosen])
                kept.extend(entry for entry, whole in zip(chosen, waits, strict=True) if whole is not None)
                chosen = [entry for entry, whole in zip(chosen, waits, strict=True) if whole is None]
            return await action.act(redis, keys, chosen) if chosen else 0

        async for entry in job_sets.entries(redis, keys, job_set):
            # One that failed anew while this goes on is not chosen a second time.
            if not wanted.wants(entry.found) or (job_sets.touched_at(entry) or 0.0) > began:
                continue
            if action.needs_payload and entry.found.job is None:
                skipped += 1
                continue
            some.append(entry)
            if len(some) >= _AT_ONCE:
                done += await act_on(some)
                some = []
        return done + await act_on(some), skipped

    done, skipped = place.ask(act)
    if as_json:
        echo_json({"action": action.name, "done": done, "unreadable": skipped, "refused": len(kept)})
        return
    click.echo(f"{jobs_in_words(done)} {action.done}")
    if skipped:
        click.echo(
            f"{jobs_in_words(skipped)} cannot be read and stay; `jobs delete --unreadable` deletes them", err=True
        )
    if kept:
        click.echo(
            f"{jobs_in_words(len(kept))} stay, slices that others wait for: `jobs retry` completes them, `jobs cancel` "
            "of those that wait ends them",
            err=True,
        )
