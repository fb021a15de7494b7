"""Runs an iterating job, interrupts it wherever that is possible, and shows that its effects stay the same.

The walk is that of a worker; only the place where the job's cursor lies, the moment at which a checkpoint falls due and
that of the interruption are the simulation's. Each run is a new instance with arguments out of JSON, as on a
new worker.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, cast

import orjson

from jobworker.iteration.enumerators import Counted
from jobworker.iteration.job import IteratingJob
from jobworker.iteration.parallel import ParallelJob
from jobworker.iteration.run import End, InThread, Kept, Run
from jobworker.iteration.transactions.checkpoints import SqlCheckpoints
from jobworker.jobs import arguments, definition
from jobworker.jobs.context import CURRENT, Context, Interruption
from jobworker.jobs.definition import Options
from jobworker.protocol.records import Checkpoint
from jobworker.testing import execution
from jobworker.testing.disturbances import Disturbance, Leg, cancellations, crashes, interruptions
from jobworker.testing.execution import Ask, Steps, Walk
from jobworker.testing.keeper import MemoryKeeper, Places
from jobworker.testing.promises import Promise, same, told

_JID = "0123456789abcdef01234567"
_GOES_ON = {None, End.INTERRUPTED, End.MADE_ROOM}  # None: killed


@dataclass(frozen=True, slots=True)
class SimulatedDrain:
    """What a simulation did: ``items`` of the job, and how often it was interrupted, killed, cancelled, each anew."""

    items: int
    interruptions: int
    crashes: int
    cancellations: int = 0


class _Killed(BaseException):
    """SIGKILL: nothing of this run happens any more. No Exception, so that no job's own `except` catches it."""


class _MortalKeeper(MemoryKeeper):
    """Writes nothing for the dead."""

    killed = False

    async def checkpoint(self, state: Checkpoint, *, wait: bool) -> Kept:
        if self.killed:
            raise _Killed
        return await super().checkpoint(state, wait=wait)


class _Walk:
    """One run of the job, disturbed as its leg says."""

    def __init__(self, target: type[IteratingJob], args: bytes, places: Places, leg: Leg) -> None:
        self.job = target()
        self.items = 0
        self._args = orjson.loads(args)
        self._leg = leg
        self._places = places
        self._keeper = _MortalKeeper(places, _JID)
        if leg.cancel == 0:
            places.cancel(_JID)
        self._interruption = Interruption()
        self._interruption.requested = leg.interrupt == 0
        self._run: Run | None = None
        self.context = Context(_JID, target.__name__, "default", 1, self._interruption)
        self._disturb()

    def make(self, in_thread: InThread) -> Run:
        """The run as a worker would make it."""
        self._run = Run(self.job, self._args, self._keeper, self._interruption, in_thread)
        return self._run

    def _disturb(self) -> None:
        build = self.job.build_enumerator

        async def build_async(*args: Any, **kwargs: Any) -> Any:
            return self._around(await build(*args, **kwargs))

        def build_plain(*args: Any, **kwargs: Any) -> Any:
            return self._around(build(*args, **kwargs))

        self.job.build_enumerator = build_async if inspect.iscoroutinefunction(build) else build_plain

    def _around(self, enumerator: Any) -> Any:
        plain, asynchronous = isinstance(enumerator, Iterable), hasattr(enumerator, "__aiter__")
        if plain and asynchronous:
            around: Any = _EitherPairs(lambda: self._pairs(enumerator), lambda: self._pairs_async(enumerator))
        elif plain:
            around = _Pairs(lambda: self._pairs(enumerator))
        elif asynchronous:
            around = _AsyncPairs(lambda: self._pairs_async(enumerator))
        else:
            return enumerator  # the run refuses it in its own words
        if isinstance(enumerator, Counted):
            around.total = enumerator.total
        return around

    def _pairs(self, enumerator: Iterable[Any]) -> Iterator[Any]:
        pairs = iter(enumerator)
        try:
            for pair in pairs:
                self._before_item()
                yield pair
            self._before_end()
        finally:
            close = getattr(pairs, "close", None)
            if close is not None:
                close()

    async def _pairs_async(self, enumerator: Any) -> AsyncIterator[Any]:
        pairs = aiter(enumerator)
        try:
            async for pair in pairs:
                self._before_item()
                yield pair
            self._before_end()
        finally:
            close = getattr(pairs, "aclose", None)
            if close is not None:
                await close()

    def _before_item(self) -> None:
        if self._leg.kill == self.items:
            self._kill()
        self.items += 1
        if self._leg.interrupt == self.items:
            self._interruption.requested = True
        if self._leg.cancel == self.items:
            self._places.cancel(_JID)
        if self.items in {self._leg.checkpoint, self._leg.cancel} and self._run is not None:
            self._run.hurry()

    def _before_end(self) -> None:
        if self._leg.kill is not None:
            self._kill()

    def _kill(self) -> None:
        self._keeper.killed = True
        raise _Killed


class _Pairs:
    def __init__(self, pairs: Callable[[], Iterator[Any]]) -> None:
        self._iterate = pairs

    def __iter__(self) -> Iterator[Any]:
        return self._iterate()


class _AsyncPairs:
    def __init__(self, pairs: Callable[[], AsyncIterator[Any]]) -> None:
        self._iterate = pairs

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._iterate()


class _EitherPairs:
    def __init__(self, pairs: Callable[[], Iterator[Any]], pairs_async: Callable[[], AsyncIterator[Any]]) -> None:
        self._iterate = pairs
        self._iterate_async = pairs_async

    def __iter__(self) -> Iterator[Any]:
        return self._iterate()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._iterate_async()


async def simulate_drain(
    job: type[IteratingJob],
    *args: Any,
    reset: Callable[[], Any],
    effects: Callable[[], Any],
    crash: bool | Promise = False,
    cancel: Promise | None = None,
    most: int = 300,
    seed: int = 0,
) -> SimulatedDrain:
    """Interrupt a job of these arguments everywhere, and compare its effects with those of an undisturbed run.

    ``reset`` puts the world in front of each run back to where the job begins, ``effects`` reads what the job has done
    in a form that can be compared and printed; both may be async. A clean interruption, as by a deploy, comes after
    each possible number of items, after every single item, and twice at each pair of places. At most ``most``
    interruptions are tried, in a long job at places drawn by ``seed``.

    ``crash`` also kills the job, as SIGKILL does, at each place with each place of the last checkpoint before it.
    What was done since then is done again, so True expects a job that bears that: equal effects. Another promise, such
    as `at_least_once`, allows more.

    ``cancel`` also cancels the job after each possible number of items; it is asked with the effects of an undisturbed
    run and those of the cancelled one, and says whether the latter may be.

    Raises:
        AssertionError: the effects differ; the message says after which disturbance, and shows both.
        TypeError: the job is parallel, and not one that is derived from it for a slice of its own.
        Exception: what the undisturbed job raised.
    """
    return await execution.drive(_simulation(job, args, reset, effects, _Disturbed(crash, cancel, most, seed)))


def simulate_drain_sync(
    job: type[IteratingJob],
    *args: Any,
    reset: Callable[[], Any],
    effects: Callable[[], Any],
    crash: bool | Promise = False,
    cancel: Promise | None = None,
    most: int = 300,
    seed: int = 0,
) -> SimulatedDrain:
    """`simulate_drain` for plain tests: all code of the job, async or not, runs in the test's own thread."""
    here = execution.Here()
    try:
        return here.drive(_simulation(job, args, reset, effects, _Disturbed(crash, cancel, most, seed)))
    finally:
        here.close()


_Tries = list[tuple[Disturbance, Promise]]


@dataclass(frozen=True, slots=True)
class _Tried:
    clean: _Tries
    killed: _Tries
    cancelled: _Tries

    @property
    def all(self) -> _Tries:
        return [*self.clean, *self.killed, *self.cancelled]


@dataclass(frozen=True, slots=True)
class _Disturbed:
    """How a job is to be disturbed: see `simulate_drain`."""

    crash: bool | Promise
    cancel: Promise | None
    most: int
    seed: int

    def tried(self, items: int) -> _Tried:
        """Each disturbance of a job of so many items, and what is promised of the effects after it."""
        promised: Promise = self.crash if callable(self.crash) else same
        return _Tried(
            [(each, same) for each in interruptions(items, self.most, self.seed)],
            [(each, promised) for each in (crashes(items, self.most, self.seed) if self.crash else ())],
            [(each, self.cancel) for each in cancellations(items, self.most, self.seed)] if self.cancel else [],
        )


def _check_class(job: Any) -> None:
    if not inspect.isclass(job) or not issubclass(job, IteratingJob):
        name = getattr(job, "__name__", None) or getattr(job, "name", repr(job))
        raise TypeError(
            f"simulate_drain interrupts classes of iterating jobs, and {name} is none: "
            "nothing interrupts a function between items; test it with inline() or capture()"
        )


def _simulation(
    job: type[IteratingJob],
    args: tuple[Any, ...],
    reset: Callable[[], Any],
    effects: Callable[[], Any],
    disturbed: _Disturbed,
) -> Steps[SimulatedDrain]:
    _check_class(job)
    if issubclass(job, ParallelJob) and job.slice is None:
        raise TypeError(
            f"{job.__name__} is parallel, and one of its slices is walked at a time: simulate a class that is derived "
            "from it and says which, as in: slice = [0, 100]"
        )
    defined = definition.of_class(job, job.__name__, Options())
    bound = defined.bind(args, {})
    arguments.check(defined.name, bound, defined.signature)
    travelled = orjson.dumps(bound)

    def run(disturbance: Disturbance) -> Steps[tuple[Any, int]]:
        yield Ask(reset)
        if job.checkpoints is not None:
            # Each of these runs is the same job by its jid, and begins anew.
            yield Ask(lambda: cast("SqlCheckpoints", job.checkpoints).forget(_JID))
        places, items = Places(), 0
        for leg in chain(disturbance.legs, repeat(Leg())):
            walk = _Walk(job, travelled, places, leg)
            ended = yield from _outcome(walk)
            items += walk.items
            if ended not in _GOES_ON and not leg.unheard:
                break
        return (yield Ask(effects)), items

    undisturbed, items = yield from run(Disturbance("", ()))
    again, _ = yield from run(Disturbance("", ()))
    if not items:
        raise AssertionError(f"{defined.name} had no items with these arguments, so that nothing could be simulated")
    if undisturbed != again:
        raise AssertionError(
            f"{defined.name}: the effects of two undisturbed runs differ, so that nothing can be compared; let `reset` "
            "bring everything back, and leave times and random ids out of `effects`\n" + told(undisturbed, again)
        )
    tried = disturbed.tried(items)
    for disturbance, promise in tried.all:
        try:
            found, _ = yield from run(disturbance)
        except Exception as error:
            raise AssertionError(
                f"{defined.name} raised {type(error).__name__} when {disturbance.words}, and not undisturbed: {error}"
            ) from error
        if not promise(undisturbed, found):
            raise AssertionError(
                f"{defined.name}: the effects {_amiss(disturbance)}\n" + told(undisturbed, found),
            )
    return SimulatedDrain(items, len(tried.clean), len(tried.killed), len(tried.cancelled))


def _amiss(disturbance: Disturbance) -> str:
    if any(leg.cancel is not None for leg in disturbance.legs):
        return f"are not what `cancel` promises when {disturbance.words}"
    return f"differ when {disturbance.words} and goes on in a new run"


def _outcome(walk: _Walk) -> Steps[End | None]:
    """How the run ended; None if it was killed."""
    token = CURRENT.set(walk.context)
    try:
        end: End = yield Walk(walk.job, walk.make)
    except _Killed:
        return None
    finally:
        CURRENT.reset(token)
    return end
