"""Sends packed pushes over connections of redis-py's pools, past its layers for single commands.

Nothing is sent twice but after answers that say that nothing was carried out: NOSCRIPT, and those of a server that is
not the right one any more. A connection that may still owe an answer is never given back open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import redis
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from jobworker.client.finding import Elsewhere
from jobworker.client.push import Push


def send(client: redis.Redis, push: Push) -> None:
    """Carry out one push.

    Raises:
        redis.exceptions.RedisError: Redis refused it, or did not answer: then it may have happened.
    """
    try:
        _send(client, push)
    except Elsewhere:
        _send(client, push)


async def send_async(client: Redis, push: Push) -> None:
    """`send` for asyncio."""
    try:
        await _send_async(client, push)
    except Elsewhere:
        await _send_async(client, push)


def _send(client: redis.Redis, push: Push) -> None:
    pool: Any = client.connection_pool  # untyped in redis-py
    connection = pool.get_connection()
    try:
        connection.send_packed_command((push.request(),))
        _answer(connection, push)
    except ResponseError:
        raise  # an answer was read, none is owed
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


async def _send_async(client: Redis, push: Push) -> None:
    pool: Any = client.connection_pool  # untyped in redis-py
    connection = await pool.get_connection()
    try:
        await connection.send_packed_command((push.request(),))
        await _async_answer(connection, push)
    except ResponseError:
        raise  # an answer was read, none is owed
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)


def send_each(client: redis.Redis, pushes: Iterator[Push], acknowledged: Callable[[Push], object]) -> None:
    """Carry out one push after the other; each is told once Redis has acknowledged it.

    The next is made while Redis works on the one before. What its making raises comes after that one's end is told.

    Raises:
        redis.exceptions.RedisError: as `send`, about the push behind the last that was told.
    """
    pool: Any = client.connection_pool  # untyped in redis-py
    connection = pool.get_connection()
    sent: Push | None = None
    try:
        while True:
            try:
                following = next(pushes, None)
            finally:
                if sent is not None:
                    _answer(connection, sent)
                    acknowledged(sent)
            if following is None:
                return
            connection.send_packed_command((following.request(),))
            sent = following
    except ResponseError:
        raise
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


async def send_each_async(client: Redis, pushes: Iterator[Push], acknowledged: Callable[[Push], object]) -> None:
    """`send_each` for asyncio."""
    pool: Any = client.connection_pool  # untyped in redis-py
    connection = await pool.get_connection()
    sent: Push | None = None
    try:
        while True:
            try:
                following = next(pushes, None)
            finally:
                if sent is not None:
                    await _async_answer(connection, sent)
                    acknowledged(sent)
            if following is None:
                return
            await connection.send_packed_command((following.request(),))
            sent = following
    except ResponseError:
        raise
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)


def _answer(connection: Any, push: Push) -> None:
    try:
        connection.read_response()
    except NoScriptError:
        connection.send_packed_command((push.request(by_source=True),))
        connection.read_response()


async def _async_answer(connection: Any, push: Push) -> None:
    try:
        await connection.read_response()
    except NoScriptError:
        await connection.send_packed_command((push.request(by_source=True),))
        await connection.read_response()
