"""Hears from Redis that keys have changed, whoever changed them, and costs nothing while they do not.

Redis remembers for one connection which keys it asked for and tells it once when one of them changes (client-side
caching, `CLIENT TRACKING`). That is how an idle worker learns of jobs that a Ruby process pushed, without asking for
them several times a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from redis import exceptions
from redis.asyncio import Redis

from jobworker.runtime.link import AWAY, Link

log = logging.getLogger("jobworker.redis")

_SILENCE_SECONDS = 30.0  # after which the connection is asked whether it still stands
_ANSWER_SECONDS = 5.0
_PUSHED = object()


class Tracking:
    """One connection for all who want to hear. Made in the event loop that it runs in.

    ``works`` is false while there is no connection, and for ever where Redis does not allow it: then callers have to
    look from time to time.
    """

    def __init__(self, redis: Redis, link: Link) -> None:
        self._redis = redis
        self._link = link
        self._watches: list[Watched] = []
        self._by_key: dict[bytes, list[Watched]] = {}  # a worker may run a thousand jobs, each with a key of its own
        self._asked: deque[Watched | None] = deque()
        self._connection: Any = None
        self.works = False

    def watch(self, keys: Sequence[str], found: Callable[[], None], changed: Callable[[], None]) -> Watched:
        """Keys to hear of, from the first `Watched.arm` on. See there for the two callbacks."""
        watched = Watched(self, keys, found, changed)
        self.add(watched)
        return watched

    def add(self, watched: Watched) -> None:
        """Tell it of its keys, from its first `Watched.arm` on."""
        self._watches.append(watched)
        for name in watched.names:
            self._by_key.setdefault(name, []).append(watched)

    def unwatch(self, watched: Watched) -> None:
        """Tell nothing of it any more."""
        self._watches.remove(watched)
        for name in watched.names:
            self._by_key[name].remove(watched)
            if not self._by_key[name]:
                del self._by_key[name]

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except exceptions.ResponseError as error:
                log.warning(
                    "Redis does not tell of changed keys, so idle workers ask for jobs four times a second: %s", error
                )
                await asyncio.Event().wait()  # a permission does not come back by itself
            except AWAY as error:
                self._link.lost(error)
                await self._link.pause()
            finally:
                self._close()

    async def _listen(self) -> None:
        pool = self._redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py does not say
        try:
            connection._parser.set_invalidation_push_handler(self._on_push)  # noqa: SLF001  # no public way in redis-py 8
            await connection.send_command("CLIENT", "TRACKING", "ON")
            await connection.read_response()
            self._connection = connection
            self.works = True
            for watched in list(self._watches):
                watched.lost()  # what happened without a connection is not known
            await self._read(connection)
        finally:
            # RACE somebody asks while it goes back to the pool, where another may have it by then: that one would read
            # the answer as its own. Forgotten first.
            self._close()
            # Never to be used for anything else: Redis would go on telling it of keys.
            await connection.disconnect(nowait=True)
            await pool.release(connection)

    async def _read(self, connection: Any) -> None:
        while True:
            try:
                answer = await connection.read_response(
                    timeout=_SILENCE_SECONDS, disconnect_on_error=False, push_request=True
                )
            except exceptions.ResponseError as error:
                asked = self._asked.popleft()
                if asked is None:
                    raise
                asked.refused(error)
                continue
            if answer is _PUSHED:
                continue
            if answer is None:  # silence
                if None in self._asked:
                    raise exceptions.TimeoutError("the connection that hears of changed keys is silent")
                self._asked.append(None)
                await connection.send_command("PING")
                continue
            watched = self._asked.popleft()
            if watched is not None:
                watched.answered(answer)

    async def _on_push(self, message: list[Any]) -> object:
        keys = message[1]
        changed = self._watches if keys is None else [each for key in keys for each in self._by_key.get(key, ())]
        for watched in tuple(changed):
            watched.told()
        return _PUSHED

    def _close(self) -> None:
        self._connection = None
        self.works = False
        self._asked.clear()

    def ask(self, watched: Watched) -> None:
        """Have Redis answer the question about its keys, and remember that it was asked."""
        writer = None if self._connection is None else self._connection._writer  # noqa: SLF001  # past a lock and a wait
        # RACE the connection was cut, and its reader, who says so, has not run yet: it will ask all to look anew.
        if writer is not None:
            self._asked.append(watched)
            # One small write: into the kernel's buffer, or the connection is broken and its reader says so.
            writer.writelines(self._connection.pack_command(*watched.question))


class Watched:
    """Some keys. ``found`` is called if they exist when `arm` asks, ``changed`` once when one of them changes later."""

    def __init__(
        self, tracking: Tracking, keys: Sequence[str], found: Callable[[], None], changed: Callable[[], None]
    ) -> None:
        self.keys = tuple(keys)
        self.question: tuple[str, ...] = ("EXISTS", *keys)
        self.names = frozenset(key.encode() for key in keys)
        self._tracking = tracking
        self._found = found
        self._changed = changed
        self._armed = False

    @property
    def armed(self) -> bool:
        """Is a change going to be told?"""
        return self._armed

    def arm(self) -> None:
        """From now on tell the next change, if there is a connection."""
        if self._tracking.works:
            self._armed = True
            self._tracking.ask(self)

    def answered(self, answer: Any) -> None:
        """Redis has seen the question: from here on no change is missed."""
        if answer:
            self._found()

    def refused(self, error: exceptions.ResponseError) -> None:
        """Redis does not answer the question.

        Raises:
            ResponseError: it will answer none, so that nothing can be heard of keys.
        """
        raise error

    def told(self) -> None:
        """One of its keys has changed."""
        if self._armed:
            self._armed = False
            self._changed()

    def lost(self) -> None:
        """There was no connection for a while."""
        self._armed = False
        self._changed()
