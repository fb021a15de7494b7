"""`jobworker jobs cancel`, `pause` and `resume`: iterating jobs, wherever they are."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, assert_never, cast

import click
from redis.asyncio import Redis

from jobworker.cli.options import Place, echo_json, json_option, on_redis
from jobworker.cli.whereabouts import searched, where_it_is
from jobworker.client.control import carry_out_async
from jobworker.protocol import control
from jobworker.protocol.control import ControlAnswer, Parked, Standing, Wanted
from jobworker.protocol.inspection import RunningJob
from jobworker.protocol.job_sets import JobSet, SetEntry
from jobworker.protocol.keys import Keys
from jobworker.protocol.locating import Located, Nowhere, Queued, iterating_classes, locate
from jobworker.protocol.slices import awaited


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one job: ``answer`` is None where nothing was asked of it, for a reason that the words tell."""

    jid: str
    words: str
    answer: ControlAnswer | None = None

    @property
    def accepted(self) -> bool:
        """Does the job what was asked?"""
        return self.answer is not None and self.answer.accepted

    def described(self) -> dict[str, Any]:
        """For machines."""
        answer = self.answer
        return {
            "id": self.jid,
            "accepted": self.accepted,
            "changed": answer is not None and answer.changed,
            "standing": None if answer is None else answer.standing.value,
            "worker": None if answer is None else answer.worker,
            "message": self.words,
        }


def _command(wanted: Wanted) -> Callable[[Callable[..., None]], click.Command]:
    def decorate(described: Callable[..., None]) -> click.Command:
        @click.command(name=wanted.value)
        @click.argument("identities", metavar="ID…", nargs=-1, required=True)
        @json_option
        @on_redis
        @functools.wraps(described)
        def command(identities: tuple[str, ...], place: Place, as_json: bool) -> None:  # noqa: FBT001  # a flag
            async def act(redis: Redis, keys: Keys) -> list[Told]:
                return [await ask(redis, keys, jid, wanted) for jid in dict.fromkeys(identities)]

            told = place.ask(act)
            if as_json:
                echo_json({"action": wanted.value, "jobs": [each.described() for each in told]})
            else:
                for each in told:
                    click.echo(f"{'' if each.accepted else 'Error: '}{each.jid} {each.words}", err=not each.accepted)
            if not all(each.accepted for each in told):
                raise click.exceptions.Exit(1)

        return command

    return decorate


@_command(Wanted.CANCEL)
def cancel() -> None:
    """End iterating jobs for good: those that run after the item that they are at, others when it is their turn.

    Each calls its on_cancel. Jobs that are not iterating are left alone.
    """


@_command(Wanted.PAUSE)
def pause() -> None:
    """Have iterating jobs rest from the item on that they are at, or before their first one, until they are resumed.

    They leave their workers and their queues; `jobworker jobs list paused` lists them.
    """


@_command(Wanted.RESUME)
def resume() -> None:
    """Have paused jobs go on where they were: each becomes the first of its queue."""


async def ask(redis: Redis, keys: Keys, jid: str, wanted: Wanted) -> Told:
    """Look where the job is, ask it if it can obey, and say what comes of it."""
    where = await locate(redis, keys, jid)
    if isinstance(where, Nowhere) and not await _is_known(redis, keys, jid):
        return Told(jid, _unknown(where))
    if isinstance(where, SetEntry) and where.job_set is JobSet.DEAD:
        (whole,) = await awaited(redis, keys, [where.found.job])
        return Told(jid, _dead(jid, whole))
    if isinstance(where, SetEntry | Queued) and where.found.job is not None:
        queue = where.queue if isinstance(where, Queued) else where.found.job.queue
        classes = await iterating_classes(redis, keys, queue)
        if classes is not None and where.found.job.job_class not in classes:
            return Told(jid, _not_iterating(where, where.found.job.job_class))
    answer = await carry_out_async(redis, control.ask(keys, jid, wanted))
    if isinstance(where, Nowhere) and answer.standing is Standing.WAITING:
        left = await cast("Awaitable[bytes | None]", redis.hget(keys.slices(jid), "left"))
        if left == b"0" and wanted is Wanted.CANCEL:
            return Told(jid, "waited for slices that are dead or were deleted, and is cancelled now", answer)
        if left is not None and left != b"0":
            return Told(jid, f"waits for {int(left):,} of its slices: each of them {_SLICES[wanted]}", answer)
    return Told(jid, words(answer, wanted, where), answer)


def words(answer: ControlAnswer, wanted: Wanted, where: Located) -> str:
    """What the answer means, for people: it follows the name of the job."""
    match answer.standing:
        case Standing.RUNNING:
            return f"runs on {answer.worker}{_RUNNING[wanted] if answer.changed else _SAME[wanted]}"
        case Standing.WAITING:
            return _waiting(where) + (_WAITING[wanted] if answer.changed else _SAME[wanted])
        case Standing.PAUSED:
            return _RESTING[wanted]
        case Standing.OVER:
            return f"has ended: there is nothing to {wanted.value}"
        case Standing.CANCELLED:
            return "was cancelled before" + ("" if answer.accepted else ", which is final")
        case Standing.NOT_ITERATING:
            queue = f" {where.queue}" if isinstance(where, RunningJob) else ""
            return (
                f"runs on {answer.worker}, and is no iterating job: it has no items after which it could stop, "
                f"and goes on to its end or its `timeout`; `jobworker queues pause{queue}` holds up the jobs behind it"
            )
        case _:
            assert_never(answer.standing)


_RESTING = {
    Wanted.CANCEL: "rested, and is the next one of its queue: it calls on_cancel and ends",
    Wanted.PAUSE: "rests already",
    Wanted.RESUME: "goes on: it is the next one of its queue",
}
_RUNNING = {
    Wanted.CANCEL: ", and ends after the item that it is at",
    Wanted.PAUSE: ", and rests after the item that it is at",
    Wanted.RESUME: ", and goes on: it was to rest and does not any more",
}
_WAITING = {
    Wanted.CANCEL: ": it ends without an item when a worker takes it",
    Wanted.PAUSE: ": it rests when a worker takes it",
    Wanted.RESUME: ", and is not to rest any more",
}
_SAME = {
    Wanted.CANCEL: ", and was cancelled before",
    Wanted.PAUSE: ", and was paused before",
    Wanted.RESUME: ", and was not paused",
}


_SLICES = {
    Wanted.CANCEL: "ends after the item that it is at, and the job with the last one",
    Wanted.PAUSE: "rests after the item that it is at, or before its first one",
    Wanted.RESUME: "goes on where it was",
}


def _waiting(where: Located) -> str:
    match where:
        case SetEntry() | Queued():
            return where_it_is(where)
        case Nowhere():
            return "was found in no queue and runs nowhere"
        case Parked() | RunningJob():
            return "is on its way to its queue"  # it moved between the look and the question


def _dead(jid: str, whole: str | None) -> str:
    failed = "is dead: it failed for good and runs no more"
    if whole is None:
        return f"{failed}; `jobworker jobs delete` removes it"
    return (
        f"{failed}, and {whole} waits for it as its slice; `jobworker jobs retry {jid}` completes it, "
        f"`jobworker jobs cancel {whole}` ends the whole job"
    )


def _not_iterating(where: SetEntry | Queued, job_class: str) -> str:
    begun = f"{_waiting(where)} as {job_class}, no iterating job of any worker, which has no items to stop after"
    if isinstance(where, SetEntry):
        return f"{begun}; `jobworker jobs delete` removes it"
    return f"{begun}; `jobworker queues pause {where.queue}` holds up all jobs of its queue"


def _unknown(where: Nowhere) -> str:
    return f"is not known: it neither runs nor rests nor waits, and no progress of it is left{searched(where)}"


async def _is_known(redis: Redis, keys: Keys, jid: str) -> bool:
    return bool(await redis.exists(keys.iteration(jid), keys.progress(jid)))
