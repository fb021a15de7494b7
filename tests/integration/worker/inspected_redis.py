"""A Redis as the commands find it: jobs in queues and sets, workers, and how the answers of the commands are read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import orjson
import redis
from click.testing import Result

from jobworker.client.synchronous import SyncClient
from jobworker.protocol.keys import Keys

KEYS = Keys()

SETS = {"scheduled": KEYS.schedule, "retry": KEYS.retry, "dead": KEYS.dead}


Jobworker = Callable[..., Result]


def described(done: Result) -> Any:
    return orjson.loads(done.stdout)


def payload(jid: str, job_class: str = "Mail", **fields: Any) -> bytes:
    return orjson.dumps({"class": job_class, "args": [7], "jid": jid, "queue": "mails", "retry": True, **fields})


def put(database: redis.Redis, name: str, *members: bytes) -> None:
    database.zadd(SETS[name], {member: 1000 + place for place, member in enumerate(members)})


def jids(database: redis.Redis, key: str) -> list[str]:
    members = cast("list[bytes]", database.zrange(key, 0, -1))
    return [orjson.loads(member)["jid"] for member in members]


def enqueue(database: redis.Redis, queue: str, count: int) -> None:
    client = SyncClient(database)
    for number in range(count):
        client.enqueue("Mail", [number], queue=queue)


def register(database: redis.Redis, name: str, queues: str = "mails,2 reports,1", **fields: Any) -> None:
    database.sadd(KEYS.workers, name)
    record: dict[Any, Any] = {
        "epoch": "e", "beat": time.time(), "running": 1, "concurrency": 4, "queues": queues, "pod": f"pod-{name}",
        "fleet": "shop/mails", "pid": 7, "hostname": "h", "started_at": time.time() - 100, "rss_kb": 40960, **fields,
    }  # fmt: skip
    database.hset(KEYS.record(name), mapping=record)
    database.set(KEYS.alive(name), "e")
