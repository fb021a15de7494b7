"""Checks what a job is given as options, alike where it is defined, where it is enqueued and on the command line.

A slip that travels ends in the dead set as unreadable, or in a queue that nobody can take. Fields that are not options
of ours travel freely, unless they look like one that is misspelt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from jobworker.errors import ConfigurationError
from jobworker.protocol.deaths import POISON_AFTER
from jobworker.protocol.queue_patterns import is_pattern

RETRY_FOR_LONGEST = 1_000_000_000  # seconds; Sidekiq's own bound
_NEAR = 0.8  # of 1: `retry_fro` is near, `trace` is not
_FIELDS = ("backtrace", "dead", POISON_AFTER, "retry_for", "retry_queue", "tags")
_OF_DECORATOR = frozenset({"discard_on", "kill_on", "name", "retries_exhausted", "retry_in", "timeout"})
_ELSEWHERE = {
    "at": "schedule(when, …) enqueues later",
    "poison_after": f"as a field of a payload it is {POISON_AFTER}",
    "retries": "did you mean retry?",
    "uniq": "no job is made unique here",
    "unique": "no job is made unique here",
}


def check_queue(name: object) -> str:
    """The name of a queue, if a worker can be told to take it.

    Raises:
        ConfigurationError: it is empty, or would be read as several queues, a weight or a pattern.
    """
    if not isinstance(name, str):
        raise ConfigurationError(f"the queue {name!r} must be a name, as in 'mails'")
    _check_queue(name)
    return name


@lru_cache(maxsize=1_000)
def _check_queue(name: str) -> None:
    if not name or "," in name or any(map(str.isspace, name)) or is_pattern(name):
        raise ConfigurationError(
            f"{name!r} is no queue name: it needs a letter at least, and none of white space, comma, * ? [ or a ! in "
            "front, which mean something else where a worker is told its queues; write mails or mails_slow for example"
        )


def check_retry(retry: object, option: str = "retry", meaning: str = "True, False or a number of tries") -> None:
    """Is it True, False or a number from 0 on?

    Raises:
        ConfigurationError: it is not; ``meaning`` says what it may be.
    """
    if not isinstance(retry, int) or retry < 0:
        raise ConfigurationError(f"{option} is {retry!r}; it is {meaning}")


def check_pushed(job_class: object, queue: object, retry: object, fields: Mapping[str, Any]) -> None:
    """What jobs are pushed with, when no definition has checked it; to be called once for each kind of job.

    Raises:
        ConfigurationError: no worker could read or take it, or a field looks like a misspelt option.
    """
    if not isinstance(job_class, str) or not job_class:
        raise ConfigurationError(f"a job is enqueued by its name, as in enqueue('welcome', [7]); {job_class!r} is none")
    try:
        check_queue(queue)
        check_retry(retry)
        for field, value in fields.items():
            _check_field(field, value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{job_class}: {error}") from None


def _check_field(field: str, value: Any) -> None:
    match field:
        case "retry_queue":
            check_queue(value)
        case "dead" if not isinstance(value, bool):
            raise ConfigurationError(f"dead is {value!r}; it is True or False")
        case "backtrace":
            check_retry(value, field, "True, False or a number of lines")
        case "retry_for" if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigurationError(f"retry_for is {value!r}; it is a number of seconds")
        case "retry_for" if not 0 < value < RETRY_FOR_LONGEST:
            raise ConfigurationError(f"retry_for is {value}; it is a second to 30 years")
        case _ if field == POISON_AFTER:
            check_retry(value, field, "a number of deaths, or 0 for never")
        case _ if (wrong := _wrong(field)) is not None:
            raise ConfigurationError(wrong)
        case _:
            pass


@lru_cache(maxsize=1_000)
def _wrong(field: str) -> str | None:
    """Why this cannot be a field of somebody's own; None if it can."""
    if field in _FIELDS:
        return None
    if field in _OF_DECORATOR:
        return f"{field} does not travel with a job; give it where the job is defined: @app.job({field}=…)"
    if field in _ELSEWHERE:
        return f"there is no option {field}: {_ELSEWHERE[field]}"
    near = nearest(field, [*_FIELDS, *_OF_DECORATOR, "queue", "retry"])
    return f"there is no option {field}{near}" if near else None


def check_known(given: Iterable[str], known: Iterable[str]) -> None:
    """Are these options of ``@app.job(…)``?

    Raises:
        ConfigurationError: one is not; the message names the nearest, or all there are.
    """
    names = sorted({*known, "name"})
    for option in sorted(set(given).difference(names)):
        why = f": {_ELSEWHERE[option]}" if option in _ELSEWHERE else nearest(option, names)
        raise ConfigurationError(f"@app.job has no option {option}{why or '; it has ' + ', '.join(names)}")


def nearest(written: str, known: Iterable[str]) -> str:
    """``; did you mean retry_for?``, or nothing where none of the ``known`` is near."""
    found = get_close_matches(written, list(known), n=1, cutoff=_NEAR)
    return f"; did you mean {found[0]}?" if found else ""
