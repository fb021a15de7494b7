"""Has jobs handed over to an idle worker in the moment they come, in one crossing.

One connection waits for the token that a producer leaves, with a take behind it in the same packet: Redis carries the
take out right after the producer's script, and sends the jobs instead of the news that there are some. Who wants to do
anything else withdraws the offer first, so that no two steps of a worker ever cross.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError, ResponseError

from jobworker.protocol.records import Taken
from jobworker.protocol.scripts import WorkerScripts
from jobworker.runtime.life import Life
from jobworker.runtime.link import AWAY
from jobworker.runtime.tracking import Tracking

log = logging.getLogger("jobworker.redis")

POLL_SECONDS = 0.25  # between two looks where Redis does not tell of changes
_LOOK_SECONDS = 30.0  # between two looks where it does: whatever was missed, this finds
_ANSWER_SECONDS = 5.0  # how much later than that Redis may answer
_WITHDRAW_SECONDS = 2.0
_AGAIN_SECONDS = 0.05  # between two attempts to have Redis end the wait


class Offer(NamedTuple):
    """What an idle worker would take: up to ``most`` jobs of ``queues``, numbered from ``number`` on.

    ``held`` as for `WorkerScripts.take`.
    """

    queues: Sequence[str]
    most: int
    number: int
    held: Mapping[str, int]


class Handover:
    """``taken`` is called with what an offer brought, in the moment it comes; ``ended`` when an offer is over."""

    def __init__(
        self, life: Life, tracking: Tracking, taken: Callable[[Taken], None], ended: Callable[[], None]
    ) -> None:
        self._life = life
        self._tracking = tracking
        self._taken = taken
        self._ended = ended
        self._connection: Any = None
        self._client = 0
        self._withdrawn = False
        self._refused = False
        self._waiting: asyncio.Task[None] | None = None

    def offer(self, offer: Offer) -> None:
        """Wait for jobs until some came, Redis says something else, or the offer is withdrawn."""
        self._withdrawn = False
        self._waiting = asyncio.create_task(self._wait(self._life.scripts, offer), name="handover")
        self._waiting.add_done_callback(self._over)

    async def withdraw(self) -> bool:
        """End the offer, if there is one: what it brought until now was passed to ``taken``.

        False if it had to be cut off: its take may have been carried out, or may still be.

        Raises:
            RedisError, OSError: the connection broke, or Redis does not answer. What is said for False is true as well.
            StaleEpoch: this life of the worker has ended.
        """
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return True
        self._withdrawn = True
        try:
            async with asyncio.timeout(_WITHDRAW_SECONDS):
                while not waiting.done():
                    await self._unblock()
                    await asyncio.wait({waiting}, timeout=_AGAIN_SECONDS)
        except ResponseError as error:
            if not self._refused:
                self._refused = True
                log.warning("Redis refuses CLIENT UNBLOCK, so waiting for jobs costs a connection each time: %s", error)
            return False
        finally:
            if not waiting.done():
                waiting.cancel()
                # redis-py may take the cancellation for an error of its own; either ends it.
                await asyncio.wait({waiting}, timeout=_AGAIN_SECONDS)
        waiting.result()
        return True

    async def _unblock(self) -> None:
        """Have Redis end the wait; RACE the offer may still be on its way to it, so it is asked until it was heard."""
        if self._client:
            redis: Any = self._life.redis
            await redis.execute_command("CLIENT", "UNBLOCK", self._client)

    def end(self) -> None:
        """The worker ends: nothing is waited for any more."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    async def close(self) -> None:
        """Give the connection back."""
        connection, self._connection, self._client = self._connection, None, 0
        if connection is not None:
            with contextlib.suppress(*AWAY):
                await connection.disconnect(nowait=True)
            await self._life.redis.connection_pool.release(connection)

    async def _wait(self, scripts: WorkerScripts, offer: Offer) -> None:
        wakes = [self._life.keys.wake(queue) for queue in sorted(offer.queues)]
        take = scripts.take_command(*offer)
        try:
            while True:
                seconds = _LOOK_SECONDS if self._tracking.works else POLL_SECONDS
                connection = await self._connected()
                # Looked at right before it is sent: nobody asks Redis to end what was withdrawn before it began.
                if self._withdrawn:
                    return
                await connection.send_packed_command(
                    connection.pack_commands([("BLPOP", *wakes, f"{seconds:.3f}"), take])
                )
                await connection.read_response(timeout=seconds + _ANSWER_SECONDS)
                answer = await connection.read_response(timeout=_ANSWER_SECONDS)
                taken = scripts.taken(answer, offer.queues, offer.number)
                if taken.entries or taken.quiet is not None:
                    self._taken(taken)
                    return
        except NoScriptError:
            return  # the ordinary take that follows brings the script along
        except BaseException:
            # The answer may still come: nobody may read it as another's.
            await self.close()
            raise

    async def _connected(self) -> Any:
        if self._connection is not None and not self._connection.is_connected:
            await self.close()
        if self._connection is None:
            connection: Any = await self._life.redis.connection_pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py
            self._connection = connection
            await connection.send_command("CLIENT", "ID")
            self._client = await connection.read_response()
        return self._connection

    def _over(self, waiting: asyncio.Task[None]) -> None:
        if not waiting.cancelled():
            waiting.exception()  # whoever withdraws hears of it; where Redis is away for both, of the first error
        self._ended()
