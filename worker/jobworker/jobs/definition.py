"""A job as the application defines it: a name, how it is run, and the options that its payloads get."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from jobworker.errors import ConfigurationError

MAX_RETRIES = 25  # tries that `retry=True` stands for; Sidekiq's default


class Kind(Enum):
    """How a worker runs it."""

    ASYNC = "async"
    PLAIN = "plain"
    ITERATING = "iterating"


@dataclass(frozen=True, slots=True)
class Options:
    """What ``@app.job(…)`` was given: ``retry`` is True (25 tries), False (none) or a number of tries."""

    queue: str = "default"
    retry: bool | int = True


@dataclass(frozen=True, slots=True)
class Definition:
    """``target`` is the function, or the class of an iterating job; ``signature`` that of the enqueued arguments."""

    name: str
    kind: Kind
    target: Callable[..., Any]
    signature: inspect.Signature
    queue: str = "default"
    retry: bool | int = True

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The arguments as the list that travels: keywords take their places, defaults in front of them too.

        Raises:
            TypeError: they do not fit the job's parameters.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}{self.signature}: {error}") from error
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
    return _checked(Definition(name, kind, function, signature, options.queue, options.retry))


def of_class(target: type[Any], name: str, options: Options) -> Definition:
    """Define an iterating job from its class: its arguments are what `each_iteration` takes after the item.

    Raises:
        ConfigurationError: an option is out of range, or the class cannot be run.
    """
    missing = [
        method for method in ("build_enumerator", "each_iteration") if not callable(getattr(target, method, None))
    ]
    if missing:
        raise ConfigurationError(f"job {name} does not define {' and '.join(missing)}")
    each = inspect.signature(target.each_iteration)
    parameters = list(each.parameters.values())
    named = [parameter for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_POSITIONAL]
    if len(named) < 2 and len(named) == len(parameters):  # noqa: PLR2004  # self and the item
        raise ConfigurationError(f"job {name}: each_iteration{each} must take the item: each_iteration(self, item, …)")
    if "cursor" not in inspect.signature(target.build_enumerator).parameters:
        raise ConfigurationError(f"job {name}: build_enumerator must take `cursor`, where it shall begin")
    kept = [p for place, p in enumerate(parameters) if place > 1 or p.kind is inspect.Parameter.VAR_POSITIONAL]
    signature = each.replace(parameters=kept)
    return _checked(Definition(name, Kind.ITERATING, target, signature, options.queue, options.retry))


def _checked(definition: Definition) -> Definition:
    for parameter in definition.signature.parameters.values():
        if parameter.kind in {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}:
            raise ConfigurationError(
                f"job {definition.name}: the parameter {parameter.name} can only be given by keyword, but a payload "
                "carries a list of arguments; make it an ordinary parameter"
            )
    if not definition.queue or any(letter.isspace() or letter == "," for letter in definition.queue):
        raise ConfigurationError(f"job {definition.name}: {definition.queue!r} is no queue name")
    if not isinstance(definition.retry, bool) and definition.retry < 0:
        raise ConfigurationError(f"job {definition.name}: retry is {definition.retry}; it is True, False or a number")
    return definition
