"""The base class of iterating jobs, in the words of Sidekiq 7.3's iteration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Concatenate, Literal, NoReturn, ParamSpec, Protocol, TypeVar, TypeVarTuple, overload

from jobworker.errors import ConfigurationError
from jobworker.iteration.aborting import Aborted
from jobworker.iteration.progress import JobProgress
from jobworker.iteration.store import AsyncStore, Store
from jobworker.iteration.transactions.checkpoints import SqlCheckpoints
from jobworker.protocol.payload import JobId
from jobworker.protocol.records import Side

P = ParamSpec("P")
A1 = TypeVar("A1")
A2 = TypeVar("A2")
Args = TypeVarTuple("Args")

When = datetime | timedelta | float


class Iterates(Protocol[P]):
    """A class of iterating jobs as the type checker sees it: what is enqueued is what follows the item."""

    @property
    def each_iteration(self) -> Callable[Concatenate[Any, P], Any]:
        """Works on one item."""
        ...


class IteratesWith(Protocol[*Args]):
    """The same for many tuples of arguments."""

    @property
    def each_iteration(self) -> Callable[[Any, *Args], Any]:
        """Works on one item."""
        ...


class Registered(Protocol):
    """What `App.job` knows of a class: its name, and how to enqueue it."""

    @property
    def name(self) -> str:
        """What payloads carry in ``class``."""
        ...

    def enqueue(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, JobId]:
        """Enqueue it."""
        ...

    def enqueue_sync(self, *args: Any, **kwargs: Any) -> JobId:
        """Enqueue it."""
        ...

    def schedule(self, when: When, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, JobId]:
        """Enqueue it later."""
        ...

    def schedule_sync(self, when: When, /, *args: Any, **kwargs: Any) -> JobId:
        """Enqueue it later."""
        ...

    def enqueue_many(self, args_of_each: Iterable[tuple[Any, ...]]) -> Coroutine[Any, Any, list[JobId]]:
        """Enqueue many."""
        ...

    def enqueue_many_sync(self, args_of_each: Iterable[tuple[Any, ...]]) -> list[JobId]:
        """Enqueue many."""
        ...


class _NoTransaction:
    """Stands where a job has no transaction: None for one with checkpoints, between items, else an error that helps."""

    def __get__(self, job: IteratingJob | None, owner: type[IteratingJob]) -> None:
        if job is not None and job.checkpoints is None:
            raise ConfigurationError(
                f"{owner.__name__} has no self.transaction: set checkpoints = SqlCheckpoints(engine) in the class"
            )


class IteratingJob:
    """A long job cut into items, which a deploy may interrupt after any of them.

    Define ``build_enumerator(self, *args, cursor)``, which returns pairs of an item and the cursor behind it, from
    ``cursor`` on (None at the beginning), and ``each_iteration(self, item, *args)``, async or plain. Both get the
    job's arguments. One run is one instance; between runs only cursor and progress survive.

    Registered by ``@app.job``, the class enqueues itself: the class methods take what `each_iteration` takes after the
    item, raise what those of `Job` raise, and a ConfigurationError where the class was never registered.
    """

    on_error: ClassVar[Literal["fail", "record"]] = "fail"
    """An item that raises fails the job, which tries again at that item; or is recorded as an error of its row."""

    item_retries: ClassVar[int] = 0
    """How often an item that raised is tried again, in the same run, before `on_error` decides.

    A worker that is made quiet during a pause leaves at once. The count goes along: so many tries altogether.
    """

    item_retry_seconds: ClassVar[float] = 1.0
    """The pause in front of each of these tries."""

    checkpoint_seconds: ClassVar[float] = 5.0
    """The longest time between two checkpoints: what a SIGKILL may repeat. Clean interruptions repeat nothing.

    0 is after each item. While a job waits between two items its checkpoint is written anew, so that it stays young.
    """

    max_run_seconds: ClassVar[float | None] = None
    """After so long the job goes to the back of its queue and makes room for others; None for what the app says."""

    returns_to: ClassVar[Side] = "front"
    """Where in its queue an interrupted job goes: the front, where it is the next one, or the back."""

    progress_seconds: ClassVar[float] = 7 * 24 * 3600.0
    """How long the progress of a job can be read once it is over, and its done ids are known."""

    checkpoints: ClassVar[SqlCheckpoints | None] = None
    """Where effects and cursor are committed together, so that each item's effects are there exactly once."""

    transaction: Any = _NoTransaction()
    """While an item or a callback runs, with `checkpoints`: the connection or session in which its effects belong."""

    progress: JobProgress

    # Subclasses give both of them narrower parameters, which no declared method could allow.
    build_enumerator: Any
    each_iteration: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse what cannot work when the class is made, and not when its first item runs.

        Raises:
            ConfigurationError: an option is out of range, or `around_iteration` does not surround anything.
        """
        super().__init_subclass__(**kwargs)
        _check(cls)

    def on_start(self) -> Any:
        """The first run begins. May be async, like all of these but `around_iteration` of a plain job."""

    def on_resume(self) -> Any:
        """A later run begins, where the one before left off."""

    def around_iteration(self) -> Any:
        """Surrounds each try of each item: a generator that yields once, plain, or async for an async job.

        One that does not yield skips the item. What the item raises is raised at the yield.
        """

    def on_stop(self) -> Any:
        """This run ends: interrupted, paused, cancelled, aborted or complete; not after an error."""

    def on_cancel(self) -> Any:
        """Somebody cancelled the job; no item follows."""

    def on_complete(self) -> Any:
        """All items are done, or the job was cancelled or aborted."""

    def abort(self) -> NoReturn:
        """End the job here: `on_stop` and `on_complete` follow, no further item, and the present one does not count."""
        raise Aborted

    def checkpoint_store(self) -> Store | AsyncStore | None:
        """What keeps the job's place beside Redis, in one step with its effects; None for nothing."""
        return None if self.checkpoints is None else self.checkpoints.seat(self)

    @classmethod
    async def enqueue(cls: type[Iterates[P]], *args: P.args, **kwargs: P.kwargs) -> JobId:
        """Enqueue it; the jid."""
        return await _registered(cls).enqueue(*args, **kwargs)

    @classmethod
    def enqueue_sync(cls: type[Iterates[P]], *args: P.args, **kwargs: P.kwargs) -> JobId:
        """`enqueue` for code without an event loop."""
        return _registered(cls).enqueue_sync(*args, **kwargs)

    @classmethod
    async def schedule(cls: type[Iterates[P]], when: When, /, *args: P.args, **kwargs: P.kwargs) -> JobId:
        """Enqueue it at a time with a zone, or after so long (seconds or timedelta); the jid."""
        return await _registered(cls).schedule(when, *args, **kwargs)

    @classmethod
    def schedule_sync(cls: type[Iterates[P]], when: When, /, *args: P.args, **kwargs: P.kwargs) -> JobId:
        """`schedule` for code without an event loop."""
        return _registered(cls).schedule_sync(when, *args, **kwargs)

    @overload
    @classmethod
    async def enqueue_many(cls: type[IteratesWith[*Args]], args_of_each: Iterable[tuple[*Args]]) -> list[JobId]: ...

    @overload
    @classmethod
    async def enqueue_many(cls: type[IteratesWith[A1]], args_of_each: Iterable[tuple[A1]]) -> list[JobId]: ...  # type: ignore[overload-cannot-match]  # fewer than all

    @overload
    @classmethod
    async def enqueue_many(cls: type[IteratesWith[A1, A2]], args_of_each: Iterable[tuple[A1, A2]]) -> list[JobId]: ...  # type: ignore[overload-cannot-match]  # fewer than all

    @classmethod
    async def enqueue_many(cls, args_of_each: Iterable[tuple[Any, ...]]) -> list[JobId]:
        """Enqueue it once for each tuple of arguments, a thousand in a network crossing; the jids in order."""
        return await _registered(cls).enqueue_many(args_of_each)

    @overload
    @classmethod
    def enqueue_many_sync(cls: type[IteratesWith[*Args]], args_of_each: Iterable[tuple[*Args]]) -> list[JobId]: ...

    @overload
    @classmethod
    def enqueue_many_sync(cls: type[IteratesWith[A1]], args_of_each: Iterable[tuple[A1]]) -> list[JobId]: ...  # type: ignore[overload-cannot-match]  # fewer than all

    @overload
    @classmethod
    def enqueue_many_sync(cls: type[IteratesWith[A1, A2]], args_of_each: Iterable[tuple[A1, A2]]) -> list[JobId]: ...  # type: ignore[overload-cannot-match]  # fewer than all

    @classmethod
    def enqueue_many_sync(cls, args_of_each: Iterable[tuple[Any, ...]]) -> list[JobId]:
        """`enqueue_many` for code without an event loop."""
        return _registered(cls).enqueue_many_sync(args_of_each)


_KINDS = {True: "async", False: "plain"}


def _check(target: type[IteratingJob]) -> None:
    for option, fits, meaning in (
        ("on_error", target.on_error in {"fail", "record"}, '"fail" or "record"'),
        ("item_retries", target.item_retries >= 0, "a number of further tries, or 0 for none"),
        ("item_retry_seconds", target.item_retry_seconds >= 0, "a time in seconds, or 0"),
        ("checkpoint_seconds", target.checkpoint_seconds >= 0, "a time in seconds, or 0 for after each item"),
        ("max_run_seconds", target.max_run_seconds is None or target.max_run_seconds > 0, "seconds above 0, or None"),
        ("returns_to", target.returns_to in {"front", "back"}, '"front" or "back"'),
    ):
        if not fits:
            raise ConfigurationError(
                f"{target.__qualname__}: {option} is {getattr(target, option)!r}; it must be {meaning}"
            )
    is_async = inspect.iscoroutinefunction(getattr(target, "each_iteration", None))
    if target.checkpoints is not None and hasattr(target, "open_sink"):
        raise ConfigurationError(
            f"{target.__qualname__} is an export and has checkpoints: its file is its checkpoint, and what else it "
            "does cannot be one step with both; write the effects in a job of their own"
        )
    if target.checkpoints is not None and hasattr(target, "each_iteration") and target.checkpoints.is_async != is_async:
        raise ConfigurationError(
            f"{target.__qualname__}: the engine of its checkpoints is {_KINDS[target.checkpoints.is_async]}, but "
            f"each_iteration is {_KINDS[is_async]}; make both the same"
        )
    around = target.around_iteration
    if around is IteratingJob.around_iteration or inspect.isgeneratorfunction(around):
        return
    if not inspect.isasyncgenfunction(around):
        raise ConfigurationError(
            f"{target.__qualname__}.around_iteration surrounds nothing: write a generator method that yields once"
        )
    if not is_async:
        raise ConfigurationError(
            f"{target.__qualname__}.around_iteration is async, but each_iteration is plain; make both the same"
        )


_REGISTERED = "__jobworker_registered__"


def register(target: type[IteratingJob], registered: Registered) -> None:
    """From here on the class can be enqueued.

    Raises:
        ConfigurationError: it is registered already: which of two names its own methods should use, nobody could know.
    """
    known: Registered | None = vars(target).get(_REGISTERED)
    if known is not None:
        raise ConfigurationError(
            f"{target.__qualname__} is registered already, as {known.name}; derive a class for a second name"
        )
    setattr(target, _REGISTERED, registered)


def _registered(target: type[Any]) -> Registered:
    # Of the class itself: one derived from a registered job is another job.
    found: Registered | None = vars(target).get(_REGISTERED)
    if found is None:
        raise ConfigurationError(f"{target.__qualname__} is not registered; decorate it with @app.job")
    return found
