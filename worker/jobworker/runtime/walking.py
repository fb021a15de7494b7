"""One run of an iterating job in a worker: what its end means for the job, and for whoever holds it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from jobworker.errors import NotHeld
from jobworker.iteration.job import IteratingJob
from jobworker.iteration.parallel import run_class
from jobworker.iteration.run import End, Keeper
from jobworker.jobs.context import Interruption
from jobworker.protocol.places import Over
from jobworker.runtime.running import Back, Parked, Running

log = logging.getLogger("jobworker.jobs")


class WorkersKeeper(Keeper, Protocol):
    """What a worker needs of a keeper beyond the walk."""

    def listening(self, hurry: Callable[[], None]) -> AbstractContextManager[None]:
        """Call ``hurry`` when somebody wants the job to cancel or to pause."""
        ...

    async def park(self) -> bool:
        """Lay the job aside, or put it back to its queue if it shall go on by now. Was it laid aside?"""
        ...


async def walk(
    job: Running,
    keeper: WorkersKeeper,
    interruption: Interruption,
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
    max_seconds: float | None,
) -> Over | None:
    """Walk until it is over; what is to be tidied up then, or None for a job that its slices go on with.

    Raises:
        Back: the job is not over, and goes to the side of its queue that it names.
        Parked: it rests, or has been given back already.
        NotHeld: it is somebody else's by now.
        BaseException: what the job raised.
    """
    iterating: IteratingJob = job.definition.target()
    run = run_class(job.definition.target)(
        iterating, job.payload.args, keeper, interruption, in_thread, max_seconds=max_seconds
    )
    try:
        with keeper.listening(run.hurry):
            end = await run()
        if end is End.PAUSED:
            rests = await keeper.park()
            log.info("job %s", "paused" if rests else "was resumed before it rested", extra=job.context.fields)
            raise Parked
    except NotHeld:
        log.warning("job stopped: another worker has it by now", extra=job.context.fields)
        raise
    if end is End.SPLIT:
        return None
    if end not in {End.COMPLETE, End.CANCELLED}:
        raise Back("back" if end is End.MADE_ROOM else iterating.returns_to)
    kinds, seconds = iterating.progress.kinds, round(iterating.progress_seconds)
    return Over(job.payload.jid, end is End.CANCELLED, seconds, kinds)
