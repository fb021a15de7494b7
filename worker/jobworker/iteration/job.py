"""The base class of iterating jobs, in the words of Sidekiq 7.3's iteration."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Concatenate, Literal, ParamSpec, Protocol, TypeVar, TypeVarTuple, overload

from jobworker.errors import ConfigurationError
from jobworker.iteration.progress import JobProgress
from jobworker.protocol.payload import JobId

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

    checkpoint_seconds: ClassVar[float] = 5.0
    """The longest time between two checkpoints: what a SIGKILL may repeat. Clean interruptions repeat nothing."""

    progress_seconds: ClassVar[float] = 7 * 24 * 3600.0
    """How long the progress of a job can be read once it is over, and its done ids are known."""

    progress: JobProgress

    # Subclasses give both of them narrower parameters, which no declared method could allow.
    build_enumerator: Any
    each_iteration: Any

    def on_start(self) -> Any:
        """The first run begins. May be async, like the other four."""

    def on_resume(self) -> Any:
        """A later run begins, where the one before left off."""

    def on_stop(self) -> Any:
        """This run ends: interrupted, cancelled or complete; not after an error."""

    def on_cancel(self) -> Any:
        """Somebody cancelled the job; no item follows."""

    def on_complete(self) -> Any:
        """All items are done, or the job was cancelled."""

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
