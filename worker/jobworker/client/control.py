"""Carries out the steps of `jobworker.protocol.steps`, for asyncio and for plain code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import redis
from redis.asyncio import Redis

from jobworker.client.finding import Elsewhere
from jobworker.protocol.steps import Command, Steps

T = TypeVar("T")


def carry_out(client: redis.Redis, steps: Steps[T]) -> T:
    """What the steps return.

    Raises:
        redis.exceptions.RedisError: Redis refused, or did not answer: then what was asked may have happened, and may
            be asked again without harm.
    """
    try:
        commands = next(steps)
        while True:
            try:
                answers = _cross(client, commands)
            except Elsewhere:
                answers = _cross(client, commands)
            commands = steps.send(answers)
    except StopIteration as end:
        return cast("T", end.value)


async def carry_out_async(client: Redis, steps: Steps[T]) -> T:
    """`carry_out` for asyncio."""
    try:
        commands = next(steps)
        while True:
            try:
                answers = await _cross_async(client, commands)
            except Elsewhere:
                answers = await _cross_async(client, commands)
            commands = steps.send(answers)
    except StopIteration as end:
        return cast("T", end.value)


def _cross(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    with client.pipeline(transaction=False) as pipe:
        untyped: Any = pipe
        for command in commands:
            untyped.execute_command(*command)
        return list(pipe.execute())


async def _cross_async(client: Redis, commands: Sequence[Command]) -> list[Any]:
    async with client.pipeline(transaction=False) as pipe:
        untyped: Any = pipe
        for command in commands:
            untyped.execute_command(*command)
        return list(await pipe.execute())
