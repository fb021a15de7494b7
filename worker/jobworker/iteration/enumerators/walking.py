"""Walking over an enumerator of either kind, for the run of a job and for enumerators that wrap others.

Those that wrap others can be walked both ways, so that one name serves plain and async jobs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from typing import Any

from jobworker.errors import ConfigurationError
from jobworker.jobs.context import CURRENT

_STEP_SECONDS = 0.05  # how long a worker that was made quiet waits for an enumerator that waits

Enumerator = Iterable[tuple[Any, Any]] | AsyncIterable[tuple[Any, Any]]


class Interrupted(Exception):
    """The worker wants to be rid of the job, and the next item would only come after a wait.

    Raised by an enumerator in place of an item; the run ends as if it had been interrupted after the item before.
    """


def plain_pairs(enumerator: Enumerator) -> Iterator[tuple[Any, Any]]:
    """Its pairs, to whom cannot await.

    Raises:
        ConfigurationError: it is async.
    """
    if not isinstance(enumerator, Iterable):
        raise ConfigurationError(
            f"each_iteration is plain, but its enumerator is async ({type(enumerator).__name__}); make both the same"
        )
    return iter(enumerator)


async def async_pairs(enumerator: Enumerator) -> AsyncGenerator[tuple[Any, Any], None]:
    """Its pairs; of one that can be walked both ways by its async way, which holds up nobody."""
    if not isinstance(enumerator, AsyncIterable):
        for pair in enumerator:
            yield pair
        return
    pairs = aiter(enumerator)
    try:
        async for pair in pairs:
            yield pair
    finally:
        # Closing this generator alone would leave the user's open until the garbage collector comes by.
        close = getattr(pairs, "aclose", None)
        if close is not None:
            await close()


def closed(pairs: Iterator[Any]) -> None:
    """Close it now, if it is a generator, and with it the file or the connection that it holds."""
    close = getattr(pairs, "close", None)
    if close is not None:
        close()


def wait_until(moment: float) -> None:
    """Sleep until `time.monotonic` says so, in small steps.

    Raises:
        Interrupted: the worker became quiet meanwhile, or the run is to end for another reason.
    """
    while (rest := moment - time.monotonic()) > 0 and not _over():
        time.sleep(min(rest, _STEP_SECONDS))


async def wait_until_async(moment: float) -> None:
    """The same by the clock of the event loop."""
    clock = asyncio.get_running_loop().time
    while (rest := moment - clock()) > 0 and not _over():  # noqa: ASYNC110  # the worker's flag is a plain one
        await asyncio.sleep(min(rest, _STEP_SECONDS))


def _over() -> bool:
    current = CURRENT.get()
    if current is None:
        return False
    # A plain job whose time is over gets its item at once: the run then sees that it shall do no more.
    if (current.quiet or current.leaving) and not current.overdue:
        raise Interrupted
    return current.overdue
