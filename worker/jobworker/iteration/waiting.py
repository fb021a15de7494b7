"""The wait of an async job for its next item, which ends where none shall follow.

Nothing is lost with it: no item is in work, and a later run asks its enumerator from the cursor on. But a run that had
no item yet waits some seconds more for its first one, so that a slow enumerator gets on through many interruptions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import Any

from jobworker.iteration.enumerators.walking import Enumerator, Interrupted, closed
from jobworker.iteration.pairs import check_first

_FIRST_ITEM_SECONDS = 10.0


class Waiting:
    """Of one run of a job of this name. For the thread of the event loop."""

    __slots__ = ("_ended", "_found", "_inside", "_job", "_task")

    def __init__(self, job: str = "") -> None:
        self._job = job
        self._task: asyncio.Task[Any] | None = None
        self._inside = self._found = self._ended = False

    async def lots(
        self, enumerator: Enumerator, *, ends: bool = True
    ) -> AsyncGenerator[Iterable[tuple[Any, Any]], None]:
        """What the enumerator gives, in lots that are walked without waiting: a pair, or all behind the first.

        ``ends``: the wait for a pair may be ended.

        Raises:
            Interrupted: it was.
            ConfigurationError: the first pair is none.
        """
        if not isinstance(enumerator, AsyncIterable):
            plain = iter(enumerator)
            try:
                for pair in plain:
                    check_first(self._job, pair)
                    yield (pair,)
                    del pair  # it may be large, and this waits until the walk ends
                    yield plain
                    break
            finally:
                closed(plain)
            return
        pairs = aiter(enumerator)
        self._task = asyncio.current_task() if ends else None
        try:
            self._inside = True
            async for pair in pairs:
                self._inside = False
                if not self._found:
                    check_first(self._job, pair)
                    self._found = True
                yield (pair,)
                self._inside = True
        except asyncio.CancelledError:
            # Somebody else may want the whole job to end at the same time.
            if self._ended and self._task is not None and not self._task.uncancel():
                raise Interrupted from None
            raise
        finally:
            self._inside = False
            # Closing this generator alone would leave the user's open until the garbage collector comes by.
            close = getattr(pairs, "aclose", None)
            if close is not None:
                await close()

    def end(self, *, patient: bool) -> None:
        """End the wait, if there is one; ``patient`` after some seconds, if it is the one for the first item."""
        if not self._inside or self._ended or self._task is None:
            return
        if patient and not self._found:
            asyncio.get_running_loop().call_later(_FIRST_ITEM_SECONDS, self._end_first)
            return
        self._ended = True
        self._task.cancel()

    def _end_first(self) -> None:
        # Behind its first item the walk has looked up by itself.
        if not self._found:
            self.end(patient=False)
