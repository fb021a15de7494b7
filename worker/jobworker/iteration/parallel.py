"""A job that walks in parallel: split into slices, which are jobs of their own, and joined behind the last of them.

While slices run, nobody holds the whole job: it takes no slot, no pod waits for it, and no death can lose it.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, cast

from jobworker.errors import ConfigurationError, NotHeld
from jobworker.iteration.job import IteratingJob
from jobworker.iteration.progress import JobProgress
from jobworker.iteration.run import End, Run
from jobworker.jobs.context import CURRENT
from jobworker.protocol.records import Wish
from jobworker.protocol.slices import JOINS, MOST_SLICES, Slice, Split

_OVER = {End.COMPLETE, End.CANCELLED}


class ParallelJob(IteratingJob):
    """An iterating job whose walk is split into slices that run at the same time, on as many workers as there are.

    Beside what an iterating job defines, define ``split(self, *args)``, async or plain, which returns the slices: up to
    10,000 JSON values, such as `split_range` makes. It is called once, and its answer counts even if it would be
    another one later; it may set ``self.progress.total`` to the number of all rows. ``build_enumerator`` and the
    callbacks find their own slice in ``self.slice``.

    A slice is a job: retried, interrupted, rescued, paused and cancelled as any other, with a place and a progress of
    its own. Once all slices are done, `on_joined` is called by a worker. That is decided once; as the body of every
    job, the call itself is repeated after a death in its middle. A slice that failed for good holds the join up until
    it is retried from the dead set; one that was cancelled, or failed and is kept nowhere, cancels the whole job.
    """

    needs: ClassVar[tuple[str, ...]] = ("split", "build_enumerator", "each_iteration")

    slice: Any = None
    """What `split` said of the slice that runs here."""

    split: Any

    def on_joined(self, *args: Any) -> Any:
        """All slices are done. Gets the job's arguments; may be async."""


class SliceKeeper(Protocol):
    """What keeps slices together."""

    async def split_before(self) -> Split | None:
        """What keeps the job from being split: that it was, or that somebody cancelled or paused it."""
        ...

    async def split(self, values: Sequence[Any], total: int | None) -> Split:
        """Enqueue the slices, which have ``total`` rows together, unless that was done before."""
        ...

    async def slice_over(self, part: Slice, *, cancelled: bool, kept_seconds: int) -> int:
        """Tell that a slice has ended. How many are left; -1 where the whole job is unknown by now."""
        ...

    def kept_after(self, error: Exception) -> bool:
        """Will the job be kept after it raised this, to be retried now or from the dead set?"""
        ...


class ParallelRun(Run):
    """One run of a parallel job: of the whole one, which is split; of a slice; or of the one that joins."""

    async def __call__(self) -> End:
        """Run it.

        Raises:
            NotHeld: the job is somebody else's by now.
            ConfigurationError: what `split` returned is no list of slices.
            Exception: whatever the job raised.
        """
        context = CURRENT.get()
        extra: Mapping[str, Any] = {} if context is None else context.extra
        job, keeper = cast("ParallelJob", self._job), cast("SliceKeeper", self._keeper)
        part = Slice.read(extra)
        if part is None:
            job.progress = JobProgress()
            return await (self._joined(job) if extra.get(JOINS) is True else self._split(job, keeper))
        job.slice = part.value
        seconds = round(job.progress_seconds)
        try:
            end = await super().__call__()
        except NotHeld:
            raise
        except Exception as error:  # the border to the user's code
            if not keeper.kept_after(error):
                # Nobody can complete it any more, and what waits for it would wait for ever.
                await keeper.slice_over(part, cancelled=True, kept_seconds=seconds)
            raise
        if end in _OVER:
            await keeper.slice_over(part, cancelled=end is End.CANCELLED, kept_seconds=seconds)
        return end

    async def _split(self, job: ParallelJob, keeper: SliceKeeper) -> End:
        answer = await keeper.split_before()
        if answer is None:
            values = _checked(job, await self._called(job.split))
            answer = await keeper.split(values, job.progress.total)
        match answer:
            case Split.SPLIT | Split.ALREADY:
                return End.SPLIT
            case Split.PAUSED:
                return End.PAUSED
            case Split.CANCELLED:
                await self._call(job.on_cancel)
                return End.CANCELLED

    async def _joined(self, job: ParallelJob) -> End:
        wish = (await self._keeper.load()).state.wish
        if wish is Wish.PAUSE:
            return End.PAUSED
        if wish is Wish.CANCEL:
            await self._call(job.on_cancel)
            return End.CANCELLED
        await self._called(job.on_joined)
        return End.COMPLETE

    async def _called(self, method: Callable[..., Any]) -> Any:
        if inspect.iscoroutinefunction(method):
            return await method(*self._args)
        return await self._in_thread(lambda: method(*self._args))


def run_class(target: Callable[..., Any]) -> type[Run]:
    """How jobs of a class are run."""
    return ParallelRun if inspect.isclass(target) and issubclass(target, ParallelJob) else Run


def split_range(start: int, stop: int, parts: int) -> list[list[int]]:
    """The numbers from ``start`` up to ``stop``, without it, as ``parts`` pairs [start, stop] of about the same size.

    Fewer where there are fewer numbers.

    Raises:
        ValueError: less than one part.
    """
    if parts < 1:
        raise ValueError(f"{parts} parts: there must be at least one")
    size = max(0, stop - start)
    parts = min(parts, size)
    edges = [start + size * number // parts for number in range(parts + 1)] if parts else []
    return [[first, last] for first, last in itertools.pairwise(edges)]


def _checked(job: ParallelJob, slices: Any) -> list[Any]:
    name = type(job).__name__
    if not isinstance(slices, Iterable) or isinstance(slices, str | bytes | Mapping):
        raise ConfigurationError(
            f"{name}.split returned {type(slices).__name__}; it must return a list of slices, as split_range does"
        )
    found = list(slices)
    if len(found) > MOST_SLICES:
        raise ConfigurationError(
            f"{name}.split returned {len(found):,} slices; {MOST_SLICES:,} is the most: let each of them be larger"
        )
    return found
