"""Producers: note that they will push, push, note the answer. What was in doubt is pushed again under the same key.

A key is acknowledged when Redis said so: it must run. A key in doubt may run once for each push.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from jobworker import Client, SyncClient
from jobworker.client.connection import connect_sync
from tests.chaos.records import LIFE, Own

own = Own()

LOST = (RedisError, OSError)
_QUEUES = ("quick", "slow", "items")
_ENOUGH = 400  # jobs that wait: no more are pushed until the workers come after
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Push:
    """One push: jobs of one class, ``delay`` later if that is not 0."""

    job_class: str
    queue: str
    args: tuple[tuple[Any, ...], ...]
    retry: bool | int = True
    delay: float = 0.0

    @property
    def keys(self) -> list[str]:
        return [str(args[0]) for args in self.args]


def pushes(life: str, seed: str) -> Callable[[], Push]:
    """What one life of a producer pushes, by seed."""
    chance, number = random.Random(seed), 0

    def key() -> str:
        nonlocal number
        number += 1
        return f"{life}:{number}"

    kinds: dict[Callable[[], Push], int] = {
        lambda: Push("quick_async", "quick", ((key(),),)): 15,
        lambda: Push("quick_plain", "quick", ((key(),),)): 10,
        lambda: Push("quick_async", "quick", tuple((key(),) for _ in range(chance.randrange(2, 12)))): 5,
        lambda: Push("slow_async", "slow", ((key(), chance.uniform(0.1, 2.0)),)): 25,
        lambda: Push("slow_plain", "slow", ((key(), chance.uniform(0.1, 2.0)),)): 20,
        lambda: Push("long_async", "long", ((key(), chance.uniform(3, 8)),)): 1,
        lambda: Push("retrying", "quick", ((key(), chance.choice((1, 1, 2))),)): 8,
        lambda: Push("doomed", "quick", ((key(),),), retry=0): 1,
        lambda: Push("dropped", "quick", ((key(),),), retry=False): 1,
        lambda: Push("quick_plain", "quick", ((key(),),), delay=chance.uniform(0.3, 4)): 10,
        lambda: walk("Walk"): 4,
        lambda: walk("PlainWalk"): 4,
    }

    def walk(job_class: str) -> Push:
        items = chance.randrange(30, 200)
        failing = chance.randrange(items) if chance.random() < 0.3 else -1
        return Push(job_class, "items", ((key(), items, failing),))

    makers, weights = list(kinds), list(kinds.values())

    def one() -> Push:
        (make,) = chance.choices(makers, weights)
        return make()

    return one


def note_push(push: Push) -> None:
    own.note("push", keys=push.keys, job=push.job_class)


def note_answer(push: Push, jids: list[str]) -> None:
    own.note("ack", keys=push.keys, jids=jids)


def note_doubt(push: Push, error: BaseException) -> None:
    own.note("doubt", keys=push.keys, error=f"{type(error).__name__}: {error}")


async def produce(url: str, seed: str, per_second: float) -> None:
    """Push by the asynchronous client until killed."""
    client, chance = Client(url), random.Random(f"{seed}-pauses")
    following, looked = pushes(os.environ[LIFE], seed), 0.0
    while True:
        push = following()
        pause = 0.0
        while True:
            await asyncio.sleep(pause + chance.expovariate(per_second))
            try:
                note_push(push)
                note_answer(push, await _push(client, push))
                break
            except LOST as error:
                note_doubt(push, error)
                pause = 0.2
        if time.monotonic() - looked > _LOOK_SECONDS:
            looked = time.monotonic()
            await asyncio.to_thread(until_wanted, url)


async def _push(client: Client, push: Push) -> list[str]:
    job_class, queue, retry = push.job_class, push.queue, push.retry
    if push.delay:
        return [
            await client.schedule(push.delay, job_class, args, queue=queue, retry=retry) for args in push.args
        ]  # fmt: skip
    if len(push.args) > 1:
        return list(await client.enqueue_many(job_class, push.args, queue=queue, retry=retry))
    return [await client.enqueue(job_class, push.args[0], queue=queue, retry=retry)]


def produce_sync(url: str, seed: str, per_second: float) -> None:
    """Push by the client for plain code until killed."""
    client, chance = SyncClient(url), random.Random(f"{seed}-pauses")
    following, looked = pushes(os.environ[LIFE], seed), 0.0
    while True:
        push = following()
        pause = 0.0
        while True:
            time.sleep(pause + chance.expovariate(per_second))
            try:
                note_push(push)
                note_answer(push, _push_sync(client, push))
                break
            except LOST as error:
                note_doubt(push, error)
                pause = 0.2
        if time.monotonic() - looked > _LOOK_SECONDS:
            looked = time.monotonic()
            until_wanted(url)


def _push_sync(client: SyncClient, push: Push) -> list[str]:
    job_class, queue, retry = push.job_class, push.queue, push.retry
    if push.delay:
        return [client.schedule(push.delay, job_class, args, queue=queue, retry=retry) for args in push.args]
    if len(push.args) > 1:
        return list(client.enqueue_many(job_class, push.args, queue=queue, retry=retry))
    return [client.enqueue(job_class, push.args[0], queue=queue, retry=retry)]


def until_wanted(url: str) -> None:
    """Wait while more jobs lie on the queues than the workers can soon take."""
    while True:
        try:
            with connect_sync(url) as redis:
                if sum(int(str(redis.llen(f"queue:{queue}"))) for queue in _QUEUES) < _ENOUGH:
                    return
        except LOST:
            return
        time.sleep(_LOOK_SECONDS)
