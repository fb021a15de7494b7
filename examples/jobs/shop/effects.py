"""What the jobs leave behind, in the Redis of their queues, so that anybody can count from outside what was done twice.

`demo:effects` is a HASH row → how often the row was handled; `demo:mails` a HASH mail → how often it was sent;
`demo:reports:<report>` a HASH with started, finished and the version that started it last; `demo:ledger:<key>` a STRING
with two bits for each row of an object. All are increments, never
overwritten: work that is done twice shows as 2.
"""

from __future__ import annotations

from functools import cache

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from shop.application import app

ROWS = "demo:effects"
MAILS = "demo:mails"


def report_key(report: str) -> str:
    """The HASH of one report."""
    return f"demo:reports:{report}"


def ledger_key(key: str) -> str:
    """The counters of an object's rows."""
    return f"demo:ledger:{key}"


@cache
def redis() -> Redis:
    """The process's connections for plain jobs."""
    return Redis.from_url(app.redis_url, socket_timeout=10, socket_connect_timeout=5)


@cache
def async_redis() -> AsyncRedis:
    """The process's connections for async jobs, which all run on the worker's one event loop."""
    return AsyncRedis.from_url(app.redis_url, socket_timeout=10, socket_connect_timeout=5)
