"""The application: its jobs, and the Redis that they go to.

Stands above jobs, client and iteration and ties them together, so that none of them needs to know the others.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, TypeVarTuple, Unpack, overload

from jobworker.client import middleware as client_middleware
from jobworker.client.address import not_empty
from jobworker.client.asynchronous import Client
from jobworker.client.connection import DEFAULT_URL
from jobworker.client.middleware import ClientMiddleware
from jobworker.client.outbox import Outbox, outbox_for
from jobworker.client.synchronous import SyncClient
from jobworker.errors import ArgumentsNotJSON, ConfigurationError
from jobworker.iteration.job import IteratingJob, register
from jobworker.jobs import definition
from jobworker.jobs.definition import DeathHandler, Definition, JobOptions, Options
from jobworker.jobs.fetcher import Fetcher
from jobworker.jobs.middleware import Middleware, checked
from jobworker.jobs.registry import Registry
from jobworker.protocol.deaths import DeadSet
from jobworker.protocol.payload import JobId, TimeFormat
from jobworker.protocol.progress import ERRORS_AT_ONCE, JobProgress

P = ParamSpec("P")
R = TypeVar("R")
A1 = TypeVar("A1")
A2 = TypeVar("A2")
Args = TypeVarTuple("Args")
C = TypeVar("C", bound=type[IteratingJob])
M = TypeVar("M", bound=Middleware)
CM = TypeVar("CM", bound=ClientMiddleware)
H = TypeVar("H", bound=DeathHandler)


class Takes(Protocol[*Args]):
    """What takes arguments of these types, so that many tuples of them can be checked as well as one call."""

    @property
    def enqueue_sync(self) -> Callable[[*Args], JobId]:
        """Enqueue one."""
        ...


class Enqueueable(Generic[P]):
    """What can be enqueued, with the types of its own parameters."""

    def __init__(self, app: App, defined: Definition) -> None:
        self._app = app
        self.definition = defined
        options = defined.options
        self._options = {
            "queue": options.queue, "retry": options.retry, "signature": defined.signature, **options.fields,
        }  # fmt: skip
        self._fewest, self._most = definition.places(defined.signature)

    @property
    def name(self) -> str:
        """What payloads carry in ``class``."""
        return self.definition.name

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobId:
        """Enqueue it; the jid.

        Raises:
            ArgumentsNotJSON: an argument cannot travel as JSON.
        """
        return await self._app.client.enqueue(self.name, self._bind(args, kwargs), **self._options)

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> JobId:
        """`enqueue` for code without an event loop."""
        return self._app.sync_client.enqueue(self.name, self._bind(args, kwargs), **self._options)

    async def schedule(self, when: datetime | timedelta | float, /, *args: P.args, **kwargs: P.kwargs) -> JobId:
        """Enqueue it at a time with a zone, or after so long (seconds or timedelta); the jid.

        Raises:
            ArgumentsNotJSON: an argument cannot travel as JSON.
            ValueError: the time has no zone.
        """
        return await self._app.client.schedule(when, self.name, self._bind(args, kwargs), **self._options)

    def schedule_sync(self, when: datetime | timedelta | float, /, *args: P.args, **kwargs: P.kwargs) -> JobId:
        """`schedule` for code without an event loop."""
        return self._app.sync_client.schedule(when, self.name, self._bind(args, kwargs), **self._options)

    @overload
    async def enqueue_many(self: Takes[*Args], args_of_each: Iterable[tuple[*Args]]) -> list[JobId]: ...

    @overload
    async def enqueue_many(self: Takes[A1], args_of_each: Iterable[tuple[A1]]) -> list[JobId]: ...  # type: ignore[overload-cannot-match]  # fewer than all

    @overload
    async def enqueue_many(self: Takes[A1, A2], args_of_each: Iterable[tuple[A1, A2]]) -> list[JobId]: ...  # type: ignore[overload-cannot-match]  # fewer than all

    async def enqueue_many(self, args_of_each: Iterable[tuple[Any, ...]]) -> list[JobId]:
        """Enqueue it once for each tuple of arguments, a thousand in a network crossing; the jids in order.

        Raises:
            ArgumentsNotJSON: an argument cannot travel; the chunks before its own are already enqueued.
        """
        return await self._app.client.enqueue_many(self.name, map(self._bind, args_of_each), **self._options)

    @overload
    def enqueue_many_sync(self: Takes[*Args], args_of_each: Iterable[tuple[*Args]]) -> list[JobId]: ...

    @overload
    def enqueue_many_sync(self: Takes[A1], args_of_each: Iterable[tuple[A1]]) -> list[JobId]: ...  # type: ignore[overload-cannot-match]  # fewer than all

    @overload
    def enqueue_many_sync(self: Takes[A1, A2], args_of_each: Iterable[tuple[A1, A2]]) -> list[JobId]: ...  # type: ignore[overload-cannot-match]  # fewer than all

    def enqueue_many_sync(self, args_of_each: Iterable[tuple[Any, ...]]) -> list[JobId]:
        """`enqueue_many` for code without an event loop."""
        return self._app.sync_client.enqueue_many(self.name, map(self._bind, args_of_each), **self._options)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Sequence[Any]:
        # Arguments by place that are neither too few nor too many need no look at the signature.
        try:
            if not kwargs and self._fewest <= len(args) <= self._most:
                return args
        except TypeError:  # of enqueue_many, which was given something else than tuples
            raise ArgumentsNotJSON(
                f"{self.name}: enqueue_many takes a tuple of arguments for each job, as in [(1,), (2,)], and not "
                f"{type(args).__name__} values"
            ) from None
        return self.definition.bind(args, kwargs or {})


class Job(Enqueueable[P], Generic[P, R]):
    """A function that is a job; calling it runs the function here and now."""

    def __init__(self, app: App, defined: Definition, function: Callable[P, R]) -> None:
        super().__init__(app, defined)
        self._function = function
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now."""
        return self._function(*args, **kwargs)


class JobDecorator(Protocol):
    """What ``@app.job(…)`` returns: takes a function or a class of iterating jobs."""

    @overload
    def __call__(self, target: C, /) -> C: ...  # type: ignore[overload-overlap]  # a class is narrower

    @overload
    def __call__(self, target: Callable[P, R], /) -> Job[P, R]: ...


class App:
    """Holds the jobs of an application and the address of its Redis.

    ``redis_url`` is by default JOBWORKER_REDIS_URL, else redis://127.0.0.1:6379/0; ``key_prefix`` is by default
    JOBWORKER_KEY_PREFIX, else empty. `jobworker run` lets its flags and these variables win over the arguments.
    ``dead_set`` bounds the set of jobs that failed for good. ``poison_after`` deaths of workers of no known cause a job
    goes there too, unless its own option says otherwise: by default 3, 0 for never.
    ``time_format`` of payloads is ``seconds``, which all Sidekiqs read, or ``milliseconds``, as from Sidekiq 8 on.
    ``max_run_seconds`` is how long an iterating job runs in one go before it goes to the back of its queue and makes
    room for others, unless its class says otherwise: by default for as long as it likes.
    ``reliable_push``: while Redis is away, jobs wait in this process instead of being refused, at most 1,000 (True) or
    so many; each is enqueued once, in their order.
    """

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        key_prefix: str | None = None,
        dead_set: DeadSet = DeadSet(),  # noqa: B008  # frozen
        poison_after: int | None = None,
        time_format: TimeFormat = "seconds",
        reliable_push: bool | int = False,
        max_run_seconds: float | None = None,
    ) -> None:
        if max_run_seconds is not None and not max_run_seconds > 0:
            raise ConfigurationError(
                f"max_run_seconds is {max_run_seconds}; it is a time above 0, or None for no limit"
            )
        self.jobs = Registry()
        self.jobs.max_run_seconds = max_run_seconds
        self.around_pushes: list[ClientMiddleware] = []
        self._reliable_push = reliable_push
        self._outbox: Outbox | None = None
        self._time_format: TimeFormat = time_format
        self.dead_set = dead_set
        self.poison_after = poison_after
        self._redis_url = None if redis_url is None else not_empty(redis_url)
        self._key_prefix = key_prefix
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Client] = weakref.WeakKeyDictionary()
        self._sync_client: SyncClient | None = None
        self._instead: tuple[Client, SyncClient] | None = None

    @property
    def redis_url(self) -> str:
        """Where jobs go."""
        return self._redis_url or os.environ.get("JOBWORKER_REDIS_URL") or DEFAULT_URL

    @property
    def key_prefix(self) -> str:
        """What all keys in Redis begin with."""
        return os.environ.get("JOBWORKER_KEY_PREFIX", "") if self._key_prefix is None else self._key_prefix

    def connect_to(self, redis_url: str, key_prefix: str) -> None:
        """Enqueue there from now on; for whoever starts the process, before any job is enqueued."""
        self._redis_url, self._key_prefix = redis_url, key_prefix
        self._sync_client = self._outbox = None
        self._clients.clear()

    @contextmanager
    def enqueueing_by(self, client: Client, sync_client: SyncClient) -> Iterator[None]:
        """Let these two enqueue inside of the block, in all threads: for tests, which no Redis shall hear of."""
        before, self._instead = self._instead, (client, sync_client)
        try:
            yield
        finally:
            self._instead = before

    @property
    def client(self) -> Client:
        """The client of the running event loop."""
        if self._instead is not None:
            return self._instead[0]
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = Client(self.redis_url, self.key_prefix, **self._client_options())
        return client

    @property
    def sync_client(self) -> SyncClient:
        """The client for plain code, shared by all threads."""
        if self._instead is not None:
            return self._instead[1]
        if self._sync_client is None:
            self._sync_client = SyncClient(self.redis_url, self.key_prefix, **self._client_options())
        return self._sync_client

    def _client_options(self) -> dict[str, Any]:
        if self._reliable_push and self._outbox is None:
            # One for the process: a new event loop, which gets a new client, finds what waits from the last one.
            self._outbox = outbox_for(self.redis_url, self.key_prefix, self._reliable_push)
        return {
            "time_format": self._time_format,
            "reliable_push": self._outbox or False,
            "middleware": self.around_pushes,
        }

    async def close(self) -> None:
        """Close the connections of this event loop and of plain code."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()
        self.close_sync()

    def close_sync(self) -> None:
        """Close the connections of plain code."""
        if self._sync_client is not None:
            self._sync_client.close()
            self._sync_client = None

    async def progress(
        self, jid: str, *, errors_after: int = 0, errors: int | None = ERRORS_AT_ONCE
    ) -> JobProgress | None:
        """How far an iterating job is, while it runs and for a time after it; None if it never ran, or is long over.

        ``errors`` rows with their messages, those with higher numbers than ``errors_after``; None for all there are.
        """
        return await self.client.progress(jid, errors_after=errors_after, errors=errors)

    def progress_sync(
        self, jid: str, *, errors_after: int = 0, errors: int | None = ERRORS_AT_ONCE
    ) -> JobProgress | None:
        """`progress` for code without an event loop."""
        return self.sync_client.progress(jid, errors_after=errors_after, errors=errors)

    @overload
    def job(self, target: C) -> C: ...  # type: ignore[overload-overlap]  # a class is narrower

    @overload
    def job(self, target: Callable[P, R]) -> Job[P, R]: ...

    @overload
    def job(self, *, name: str | None = ..., **options: Unpack[JobOptions]) -> JobDecorator: ...

    def job(self, target: Any = None, *, name: str | None = None, **options: Unpack[JobOptions]) -> Any:
        """Make a job of a function or of a subclass of `IteratingJob`, with or without options.

        ``name`` is what payloads carry; by default the function's or class's own. The options are those of
        `JobOptions`. A function becomes a `Job`, which can be called and enqueued; a class stays what it is, and its
        class methods enqueue it.

        Raises:
            ConfigurationError: two jobs of one name, a class that is registered already, an option out of range, a
                parameter that a list cannot fill.
        """
        if self.poison_after is not None and options.get("poison_after") is None:
            options["poison_after"] = self.poison_after
        chosen = definition.options_of(options)
        if target is None:
            return lambda found: self._define(found, name, chosen)
        return self._define(target, name, chosen)

    @overload
    def on_death(self, handler: H) -> H: ...

    @overload
    def on_death(self) -> Callable[[H], H]: ...

    def on_death(self, handler: Any = None) -> Any:
        """Call a function with each `DeadJob`: one that failed for good or was taken for poison.

        Async functions run on the worker's event loop, plain ones in a thread. Called at least once, by a worker that
        knows the job, after the job has reached the dead set; what a handler raises is logged and harms nobody.
        """
        if handler is None:
            return self.on_death
        self.jobs.death_handlers.append(handler)
        return handler

    def middleware(self, surround: M) -> M:
        """Run every job inside of a generator function that takes the job's `Context` and yields once, plain or async.

        See `jobworker.jobs.middleware` for what happens when it raises, or returns without yielding. The first one that
        was added is the outermost.

        Raises:
            ConfigurationError: it is no generator function.
        """
        self.jobs.middleware.append(checked(surround))
        return surround

    def client_middleware(self, surround: CM) -> CM:
        """Push every job inside of a plain generator function that takes the `OutgoingJob` and yields once.

        It may change what is pushed; see `jobworker.client.middleware` for what happens when it raises, or returns
        without yielding. The first one that was added is the outermost.

        Raises:
            ConfigurationError: it is no plain generator function.
        """
        self.around_pushes.append(client_middleware.checked(surround))
        return surround

    def add_fetcher(self, fetcher: Fetcher) -> None:
        """Have workers run jobs from somewhere else too, in slots that their Redis queues leave free.

        Each process of a worker calls the same fetcher from its event loop; see `jobworker.jobs.fetcher`.
        """
        self.jobs.fetchers.append(fetcher)

    def _define(self, target: Any, name: str | None, options: Options) -> Any:
        if inspect.isclass(target):
            if not issubclass(target, IteratingJob):
                raise ConfigurationError(f"{target.__qualname__} is a class, but no IteratingJob; derive it from one")
            defined = definition.of_class(target, name or target.__name__, options)
            enqueueable: Enqueueable[...] = Enqueueable(self, defined)
            self.jobs.add(defined)
            register(target, enqueueable)
            return target
        if not callable(target) or not hasattr(target, "__name__"):
            raise ConfigurationError(f"@app.job is for functions and IteratingJob classes, not for {target!r}")
        defined = definition.of_function(target, name or target.__name__, options)
        self.jobs.add(defined)
        return Job(self, defined, target)
