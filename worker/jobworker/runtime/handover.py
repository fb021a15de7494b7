"""Has jobs handed over to an idle worker in the moment they come, in one crossing.

One connection waits for the token that a producer leaves, with a take behind it in the same packet: Redis carries the
take out right after the producer's script, and sends the jobs instead of the news that there are some. Who wants to do
anything else withdraws the offer first, so that no two steps of a worker ever cross.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
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


class _Standing:
    """One offer that stands: ``client`` is the number of its connection, once it has one."""

    __slots__ = ("client", "task", "withdrawn")

    def __init__(self) -> None:
        self.client = 0
        self.withdrawn = False
        self.task: asyncio.Task[None] | None = None


class Handover:
    """``taken`` is called with what an offer brought, in the moment it comes; ``ended`` when an offer is over."""

    def __init__(
        self, life: Life, tracking: Tracking, taken: Callable[[Taken], None], ended: Callable[[], None]
    ) -> None:
        self._life = life
        self._tracking = tracking
        self._taken = taken
        self._ended = ended
        self._refused = False
        self._standing: _Standing | None = None
        self._free: tuple[Any, int] | None = None  # the connection of the last offer, which ended well, and its number

    def offer(self, offer: Offer) -> None:
        """Wait for jobs until some came, Redis says something else, or the offer is withdrawn."""
        self._standing = standing = _Standing()
        standing.task = asyncio.create_task(self._stand(standing, self._life.scripts, offer), name="handover")
        standing.task.add_done_callback(self._over)

    async def withdraw(self) -> bool:
        """End the offer, if there is one: what it brought until now was passed to ``taken``.

        False if it had to be cut off: its take may have been carried out, or may still be.

        Raises:
            RedisError, OSError: the connection broke, or Redis does not answer. What is said for False is true as well.
            StaleEpoch: this life of the worker has ended.
        """
        standing, self._standing = self._standing, None
        if standing is None or standing.task is None:
            return True
        waiting = standing.task
        standing.withdrawn = True
        try:
            async with asyncio.timeout(_WITHDRAW_SECONDS):
                while not waiting.done():
                    await self._unblock(standing)
                    await asyncio.wait({waiting}, timeout=_AGAIN_SECONDS)
        except ResponseError as error:
            if not self._refused:
                self._refused = True
                log.warning("Redis refuses CLIENT UNBLOCK, so waiting for jobs costs a connection each time: %s", error)
            return False
        finally:
            if not waiting.done():
                waiting.cancel()
        waiting.result()
        return True

    async def _unblock(self, standing: _Standing) -> None:
        """Have Redis end the wait; RACE the offer may still be on its way to it, so it is asked until it was heard."""
        if standing.client:
            redis: Any = self._life.redis
            await redis.execute_command("CLIENT", "UNBLOCK", standing.client)

    def end(self) -> None:
        """The worker ends: nothing is waited for any more."""
        if self._standing is not None and self._standing.task is not None:
            self._standing.task.cancel()
            self._standing = None

    async def _stand(self, standing: _Standing, scripts: WorkerScripts, offer: Offer) -> None:
        wakes = [self._life.keys.wake(queue) for queue in sorted(offer.queues)]
        take = scripts.take_command(*offer)
        taken = Taken()
        # RACE an offer that was cut off may still be about to end: each touches its own connection and nothing else.
        connection, standing.client = await self._connected()
        try:
            # Looked at right before it is sent: nobody asks Redis to end what was withdrawn before it began.
            while not standing.withdrawn and not taken.entries and taken.quiet is None:
                seconds = _LOOK_SECONDS if self._tracking.works else POLL_SECONDS
                packet = connection.pack_commands([("BLPOP", *wakes, f"{seconds:.3f}"), take])
                await connection.send_packed_command(packet)
                async with asyncio.timeout(seconds + _ANSWER_SECONDS):
                    await connection.read_response(timeout=math.inf)
                    answer = await connection.read_response(timeout=math.inf)
                taken = scripts.taken(answer, offer.queues, offer.number)
        except NoScriptError:
            pass  # the ordinary take that follows brings the script along
        except BaseException:
            # The answer may still come: nobody may read it as another's.
            await self._drop(connection)
            raise
        self._free = (connection, standing.client)
        if taken.entries or taken.quiet is not None:
            self._taken(taken)

    async def _connected(self) -> tuple[Any, int]:
        free, self._free = self._free, None
        if free is not None:
            if free[0].is_connected:
                return free
            await self._drop(free[0])
        connection: Any = await self._life.redis.connection_pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py
        try:
            await connection.send_command("CLIENT", "ID")
            return connection, await connection.read_response()
        except BaseException:
            await self._drop(connection)
            raise

    async def _drop(self, connection: Any) -> None:
        with contextlib.suppress(*AWAY):
            await connection.disconnect(nowait=True)
        await self._life.redis.connection_pool.release(connection)

    def _over(self, waiting: asyncio.Task[None]) -> None:
        if not waiting.cancelled():
            waiting.exception()  # whoever withdraws hears of it; where Redis is away for both, of the first error
        self._ended()
