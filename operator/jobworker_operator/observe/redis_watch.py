"""Looks into one Redis once a second for all JobWorkers that live there, and at once when a worker says something.

Each Redis has its own tasks and its own time-outs, so a slow or dead one delays nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError

from jobworker.protocol.cancellation import end
from jobworker_operator.adapters.connections import without_password
from jobworker_operator.adapters.native import NativeAdapter
from jobworker_operator.adapters.port import Ask, WorkerAdapter
from jobworker_operator.model.facts import RedisFacts, Unreadable
from jobworker_operator.model.spec import Key
from jobworker_operator.model.words import counted
from jobworker_operator.observe.addresses import Home

log = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
LOOK_SECONDS = 5.0  # a whole look; a single command has a shorter one
_GAP_SECONDS = 0.02  # between two looks, however much is said on the channel
_LISTEN_AGAIN_SECONDS = 1.0
_QUIET_CHANNEL_SECONDS = 5.0

Resident = tuple[Key, Home]
OnLook = Callable[[Resident, RedisFacts | Unreadable, float], None]
"""Called with the answer and the monotonic time at which it was asked for."""


@dataclass(slots=True)
class Health:
    """How a Redis has been, for metrics. ``seconds`` is how long the last good look took."""

    up: bool = False
    errors: int = 0
    looks: int = 0
    seconds: float = 0.0


@dataclass(slots=True, eq=False)
class RedisWatch:
    """One Redis. ``asks`` is what is wanted of it, by JobWorker and home; `kick` looks at once."""

    url: str
    redis: Redis
    on_look: OnLook
    asks: dict[Resident, Ask] = field(default_factory=dict)
    health: Health = field(default_factory=Health)
    _adapters: dict[str, NativeAdapter] = field(default_factory=dict)
    _kicked: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """The address as it may be shown."""
        return without_password(self.url)

    def adapter(self, home: Home) -> WorkerAdapter:
        """The workers of a home in this Redis."""
        return self._adapters.setdefault(home.redis.key_prefix, NativeAdapter(self.redis, home.redis.key_prefix))

    def kick(self) -> None:
        """Look now rather than at the next tick."""
        self._kicked.set()

    def start(self) -> None:
        """Begin to look and to listen."""
        # In a context of their own: their log lines belong to no reconcile, not even to the one that began them.
        self._tasks = [
            asyncio.create_task(self._look_for_ever(), name=f"look {self.shown}", context=Context()),
            asyncio.create_task(self._listen_for_ever(), name=f"listen {self.shown}", context=Context()),
        ]

    async def close(self) -> None:
        """Stop, and close the connections."""
        await end(self._tasks)
        await self.redis.aclose()

    async def look(self) -> None:
        """Look once, and tell everyone who asked."""
        asks = dict(self.asks)
        if not asks:
            return  # the last JobWorker here is gone, and so is this watch in a moment
        by_prefix: dict[str, list[Resident]] = {}
        for resident in asks:
            by_prefix.setdefault(resident[1].redis.key_prefix, []).append(resident)
        begun = time.monotonic()
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                answers: dict[Resident, RedisFacts | Unreadable] = {}
                for residents in by_prefix.values():
                    facts = await self.adapter(residents[0][1]).look([asks[resident] for resident in residents])
                    answers.update(zip(residents, facts, strict=True))
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(asks, error, begun)
            return
        if not self.health.up:
            homes = {resident[0] for resident in asks}
            log.info("Redis %s answers; it serves %s", self.shown, counted(len(homes), "JobWorker"))
        self.health.up = True
        self.health.looks += 1
        self.health.seconds = time.monotonic() - begun
        for resident, answer in answers.items():
            self.on_look(resident, answer, begun)

    def _failed(self, asks: Mapping[Resident, Ask], error: Exception, begun: float) -> None:
        problem = _sentence(self.shown, error)
        if self.health.up or self.health.errors == 0:
            log.warning("%s; until it answers, every worker there is taken for busy and nothing is deleted", problem)
        self.health.up = False
        self.health.errors += 1
        for resident in asks:
            self.on_look(resident, Unreadable("RedisUnreachable", problem), begun)

    async def _look_for_ever(self) -> None:
        while True:
            self._kicked.clear()
            await self.look()
            await asyncio.sleep(_GAP_SECONDS)
            try:
                async with asyncio.timeout(PERIOD_SECONDS - _GAP_SECONDS):
                    await self._kicked.wait()
            except TimeoutError:
                continue

    async def _listen_for_ever(self) -> None:
        # What is heard is only a reason to look: a message that gets lost costs a second, not the truth.
        while True:
            try:
                await self._listen()
            except (RedisError, OSError, TimeoutError):
                await asyncio.sleep(_LISTEN_AGAIN_SECONDS)

    async def _listen(self) -> None:
        channels = self._channels()
        if not channels:
            await asyncio.sleep(_LISTEN_AGAIN_SECONDS)
            return
        async with self.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(*channels)
            while channels == self._channels():
                if await pubsub.get_message(timeout=_QUIET_CHANNEL_SECONDS) is not None:
                    self.kick()

    def _channels(self) -> list[str]:
        return sorted({self.adapter(home).events for _, home in self.asks})


def _sentence(shown: str, error: Exception) -> str:
    if isinstance(error, AuthenticationError):
        return f"Redis {shown} refuses the user or password: {error}"
    words = str(error).rstrip(".") or type(error).__name__
    if isinstance(error, TimeoutError):
        words = "no answer in time"
    return f"Redis {shown} cannot be read: {words}"
