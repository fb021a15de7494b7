"""A job as the application defines it: a name, how it is run, and the options that its payloads get."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import Any, TypedDict

from jobworker.errors import ConfigurationError
from jobworker.jobs.options import RETRY_FOR_LONGEST, check_known, check_queue, check_retry
from jobworker.protocol.deaths import POISON_AFTER, DeadJob
from jobworker.protocol.payload import Payload

MAX_RETRIES = 25  # tries that `retry=True` stands for; Sidekiq's default


class Kind(Enum):
    """How a worker runs it."""

    ASYNC = "async"
    PLAIN = "plain"
    ITERATING = "iterating"


class Instead(Enum):
    """What `retry_in` may answer instead of a time."""

    KILL = "kill"
    """No further try: into the dead set."""
    DISCARD = "discard"
    """No further try, and kept nowhere."""


KILL, DISCARD = Instead.KILL, Instead.DISCARD

Errors = type[BaseException] | tuple[type[BaseException], ...]
RetryIn = Callable[[int, BaseException, Payload], "float | timedelta | Instead | None"]
DeathHandler = Callable[[DeadJob], Any]


class JobOptions(TypedDict, total=False):
    """Options of ``@app.job(…)``; all but the callbacks and error classes travel in the payload as Sidekiq's do.

    ``retry`` is True (25 tries), False (none: the failure is counted and logged, the job kept nowhere) or a number of
    tries, after which the job goes to the dead set. ``retry_for`` (seconds or timedelta) sets a time since the first
    failure in place of a number. ``retry_queue`` is where further tries go.

    ``retry_in(count, error, job)`` answers in how many seconds (or a timedelta) the next try is due, `KILL`, `DISCARD`,
    or None for Sidekiq's curve; ``count`` is 0 after the first failure. It is plain, quick code. Sidekiq's jitter is
    added to what it says. ``discard_on`` and ``kill_on`` are error classes after which there is no further try.

    ``dead`` False: not kept in the dead set. ``backtrace`` True, or a number of lines, which the payload keeps.
    ``retries_exhausted(dead)`` is called once the job has failed for good, async or plain (in a thread).
    ``poison_after`` deaths of workers of no known cause, the job goes to the dead set; 0 for never, None for the app's.

    ``timeout`` (seconds or timedelta) is how long one run may take. What runs on the event loop is then cancelled and
    tried again; a plain function cannot be cut: its context becomes quiet, and the log tells where it is.
    """

    queue: str
    retry: bool | int
    retry_for: float | timedelta | None
    retry_in: RetryIn | None
    retry_queue: str | None
    discard_on: Errors
    kill_on: Errors
    dead: bool
    backtrace: bool | int
    retries_exhausted: DeathHandler | None
    poison_after: int | None
    timeout: float | timedelta | None


@dataclass(frozen=True, slots=True)
class Options:
    """What ``@app.job(…)`` was given: see `JobOptions`."""

    queue: str = "default"
    retry: bool | int = True
    retry_for: float | timedelta | None = None
    retry_in: RetryIn | None = None
    retry_queue: str | None = None
    discard_on: Errors = ()
    kill_on: Errors = ()
    dead: bool = True
    backtrace: bool | int = False
    retries_exhausted: DeathHandler | None = None
    poison_after: int | None = None
    timeout: float | timedelta | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """What payloads carry of them beside queue and retry: only what differs from the default."""
        fields: dict[str, Any] = {}
        if self.retry_for is not None:
            fields["retry_for"] = _whole_seconds(self.retry_for)
        if self.retry_queue is not None:
            fields["retry_queue"] = self.retry_queue
        if not self.dead:
            fields["dead"] = False
        if self.backtrace:
            fields["backtrace"] = self.backtrace
        if self.poison_after is not None:
            fields[POISON_AFTER] = self.poison_after
        return fields


def options_of(given: JobOptions) -> Options:
    """What ``@app.job(…)`` was given.

    Raises:
        ConfigurationError: there is no such option.
    """
    check_known(given, Options.__slots__)
    return Options(**given)


@dataclass(frozen=True, slots=True)
class Definition:
    """``target`` is the function, or the class of an iterating job; ``signature`` that of the enqueued arguments.

    ``timeout_seconds`` is how long a run may take, None for as long as it likes.
    """

    name: str
    kind: Kind
    target: Callable[..., Any]
    signature: inspect.Signature
    options: Options = Options()
    timeout_seconds: float | None = None

    @property
    def queue(self) -> str:
        """Where it is enqueued."""
        return self.options.queue

    @property
    def retry(self) -> bool | int:
        """How often it is tried again."""
        return self.options.retry

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The arguments as the list that travels: keywords take their places, defaults in front of them too.

        Raises:
            TypeError: they do not fit the job's parameters.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            whose = ", as each_iteration takes behind the item" if self.kind is Kind.ITERATING else ""
            raise TypeError(f"{self.name}{self.signature}{whose}: {error}") from error
        if kwargs:
            bound.apply_defaults()  # a skipped parameter in front of a keyword needs a value in the list
        return list(bound.args)


def of_function(function: Callable[..., Any], name: str, options: Options) -> Definition:
    """Define a job from a function.

    Raises:
        ConfigurationError: an option is out of range, or a parameter cannot be filled from a list.
    """
    kind = Kind.ASYNC if inspect.iscoroutinefunction(function) else Kind.PLAIN
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigurationError(f"job {name} is a generator, which a worker would never run; use IteratingJob")
    signature = inspect.signature(function)
    return _checked(Definition(name, kind, function, signature, options, _seconds(options.timeout)))


def of_class(target: type[Any], name: str, options: Options) -> Definition:
    """Define an iterating job from its class: its arguments are what `each_iteration` takes after the item.

    Raises:
        ConfigurationError: an option is out of range, or the class cannot be run.
    """
    needs: tuple[str, ...] = getattr(target, "needs", ("build_enumerator", "each_iteration"))
    missing = [method for method in needs if not callable(getattr(target, method, None))]
    if missing:
        raise ConfigurationError(f"job {name} does not define {' and '.join(missing)}")
    each = inspect.signature(target.each_iteration)
    parameters = list(each.parameters.values())
    named = [parameter for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_POSITIONAL]
    if len(named) < 2 and len(named) == len(parameters):  # noqa: PLR2004  # self and the item
        raise ConfigurationError(f"job {name}: each_iteration{each} must take the item: each_iteration(self, item, …)")
    build = inspect.signature(target.build_enumerator)
    if "cursor" not in build.parameters:
        raise ConfigurationError(f"job {name}: build_enumerator must take `cursor`, where it shall begin")
    kept = [p for place, p in enumerate(parameters) if place > 1 or p.kind is inspect.Parameter.VAR_POSITIONAL]
    signature = each.replace(parameters=kept)
    _check_same_arguments(name, signature, build)
    cleaning = _cleaning(getattr(target, "clean_up_after", None), options)
    return _checked(Definition(name, Kind.ITERATING, target, signature, cleaning, _seconds(options.timeout)))


def _check_same_arguments(name: str, behind_item: inspect.Signature, build: inspect.Signature) -> None:
    given = [p for place, p in enumerate(build.parameters.values()) if place > 0 or p.kind is p.VAR_POSITIONAL]
    walks = build.replace(parameters=[p for p in given if p.name != "cursor"])
    fewest, most = places(behind_item)
    walk_fewest, walk_most = places(walks)
    # With fewer arguments than one of them needs, or more than the other takes, every run would fail.
    if max(fewest, walk_fewest) > min(most, walk_most):
        raise ConfigurationError(
            f"job {name}: build_enumerator takes the arguments {walks}, but each_iteration takes {behind_item} behind "
            "the item; both get all arguments of the job, so let them take the same"
        )


def places(signature: inspect.Signature) -> tuple[int, float]:
    """How many arguments it takes by place: at least and at most."""
    by_place = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind not in {parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD}
    ]
    any_number = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in by_place)
    needed = [p for p in by_place if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    return len(needed), math.inf if any_number else len(by_place)


def _cleaning(clean_up: DeathHandler | None, options: Options) -> Options:
    """A class with a ``clean_up_after(dead)``, plain, cleans up after a death before its own handler hears of it."""
    own = options.retries_exhausted
    if clean_up is None:
        return options
    if own is None:
        return replace(options, retries_exhausted=clean_up)

    def first(dead: DeadJob) -> None:
        try:
            clean_up(dead)
        finally:
            own(dead)

    async def first_in_thread(dead: DeadJob) -> None:
        try:
            await asyncio.to_thread(clean_up, dead)
        finally:
            await own(dead)

    return replace(options, retries_exhausted=first_in_thread if inspect.iscoroutinefunction(own) else first)


def _checked(definition: Definition) -> Definition:
    for parameter in definition.signature.parameters.values():
        if parameter.kind in {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}:
            raise ConfigurationError(
                f"job {definition.name}: the parameter {parameter.name} can only be given by keyword, but a payload "
                "carries a list of arguments; make it an ordinary parameter"
            )
    _check_options(definition.name, definition.options)
    return definition


def _check_options(name: str, options: Options) -> None:
    try:
        _check_types(options)
    except ConfigurationError as error:
        raise ConfigurationError(f"job {name}: {error}") from None
    if options.retry_for is not None:
        if options.retry is not True:
            raise ConfigurationError(f"job {name}: retry and retry_for are both given; keep one of them")
        if not 0 < _whole_seconds(options.retry_for) < RETRY_FOR_LONGEST:
            raise ConfigurationError(f"job {name}: retry_for is {options.retry_for}; it is a second to 30 years")
    timeout = _seconds(options.timeout)
    if timeout is not None and not timeout > 0:
        raise ConfigurationError(f"job {name}: timeout is {options.timeout}; it is a time above 0, or None")
    for option, errors in (("discard_on", options.discard_on), ("kill_on", options.kill_on)):
        classes: tuple[object, ...] = errors if isinstance(errors, tuple) else (errors,)
        if not all(isinstance(found, type) and issubclass(found, BaseException) for found in classes):
            raise ConfigurationError(f"job {name}: {option} is {errors!r}; it is a class of errors or a tuple of them")
    if inspect.iscoroutinefunction(options.retry_in):
        raise ConfigurationError(f"job {name}: retry_in is async; it must be a plain function of count, error and job")


def _check_types(options: Options) -> None:
    check_queue(options.queue)
    if options.retry_queue is not None:
        check_queue(options.retry_queue)
    check_retry(options.retry)
    check_retry(options.backtrace, "backtrace", "True, False or a number of lines")
    if options.poison_after is not None:
        check_retry(options.poison_after, "poison_after", "a number of deaths, or 0 for never")
    for option, length in (("retry_for", options.retry_for), ("timeout", options.timeout)):
        if length is not None and (isinstance(length, bool) or not isinstance(length, int | float | timedelta)):
            raise ConfigurationError(f"{option} is {length!r}; it is a number of seconds or a timedelta")
    if not isinstance(options.dead, bool):
        raise ConfigurationError(f"dead is {options.dead!r}; it is True or False")


def _seconds(value: float | timedelta | None) -> float | None:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _whole_seconds(value: float | timedelta) -> int:
    return round(value.total_seconds() if isinstance(value, timedelta) else value)
