"""Walks over a real Redis."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import redis as plain
from redis.asyncio import Redis

from jobworker import ConfigurationError, CursorMismatch, IteratingJob, redis_scan
from jobworker.iteration.enumerators.redis_scan import Kind
from jobworker.testing import simulate_drain
from tests.redis_server import RedisServer
from tests.resuming import resumed_everywhere, resumed_everywhere_async, travelled

KINDS: tuple[Kind, ...] = get_args(Kind)
NAMES = [f"name:{n}".encode() for n in range(600)] + [b"name:\xff\x00"]  # too many for one small answer


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[plain.Redis]:
    with plain.Redis.from_url(redis_server.url) as made:
        made.flushall()
        yield made


def fill(client: plain.Redis, kind: Kind, names: list[bytes]) -> dict[str, Any]:
    """What a walk needs to know of where they are."""
    match kind:
        case "keys":
            client.mset(dict.fromkeys(names, 1))
            return {"kind": kind, "match": "name:*"}
        case "set":
            client.sadd("all", *names)
        case "hash":
            client.hset("all", mapping=dict.fromkeys(names, b"v"))
        case "sorted set":
            client.zadd("all", dict.fromkeys(names, 1.5))
    return {"kind": kind, "key": "all"}


def name_of(item: Any) -> bytes:
    name: bytes = item[0] if isinstance(item, tuple) else item
    return name


@pytest.mark.parametrize("kind", KINDS)
def test_walk_goes_on_at_any_element(client: plain.Redis, kind: Kind) -> None:
    where = fill(client, kind, NAMES[::10])
    client.set("other", 1)
    items = resumed_everywhere(lambda cursor: redis_scan(client, cursor, count=7, **where))
    assert sorted(map(name_of, items)) == sorted(NAMES[::10])
    assert len(items) == len(NAMES[::10])


@pytest.mark.parametrize("kind", KINDS)
async def test_async_walk_goes_on_at_any_element(client: plain.Redis, redis_server: RedisServer, kind: Kind) -> None:
    where = fill(client, kind, NAMES[:30])
    async with Redis.from_url(redis_server.url) as redis:
        items = await resumed_everywhere_async(functools.partial(redis_scan, redis, count=4, **where))
    assert sorted(map(name_of, items)) == sorted(NAMES[:30])


def test_items_are_what_redis_says(client: plain.Redis) -> None:
    client.hset("ages", mapping={"ada": 36})
    client.zadd("scores", {"ada": 1.5})
    assert [item for item, _ in redis_scan(client, None, kind="hash", key="ages")] == [(b"ada", b"36")]
    assert [item for item, _ in redis_scan(client, None, kind="sorted set", key="scores")] == [(b"ada", 1.5)]
    assert list(redis_scan(client, None, kind="set", key="nothing")) == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_all_the_time_comes_whatever_else_comes_and_goes(client: plain.Redis, kind: Kind) -> None:
    where = fill(client, kind, NAMES)
    steady, seen, cursor, others = set(NAMES[::2]), set[bytes](), None, NAMES[1::2]
    walk = iter(redis_scan(client, None, count=20, **where))
    for number in range(10 * len(NAMES)):
        if (pair := next(walk, None)) is None:
            break
        seen.add(name_of(pair[0]))
        cursor = travelled(pair[1])
        if number % 13 == 0:
            # The table grows and shrinks, and so does its number of slots, while the walk is interrupted.
            fill(client, kind, [b"name:new:%d:%d" % (number, n) for n in range(40)])
            if others:
                gone, others = others[:30], others[30:]
                remove(client, kind, gone)
            walk = iter(redis_scan(client, cursor, count=20, **where))
    else:
        pytest.fail("the walk did not end")
    assert steady <= seen


def remove(client: plain.Redis, kind: Kind, names: list[bytes]) -> None:
    match kind:
        case "keys":
            client.delete(*names)
        case "set":
            client.srem("all", *names)
        case "hash":
            client.hdel("all", *[name.decode(errors="replace") for name in names])
        case "sorted set":
            client.zrem("all", *names)


def test_client_that_decodes_goes_on_where_one_that_does_not_has_been(
    client: plain.Redis, redis_server: RedisServer
) -> None:
    client.sadd("all", *(f"ü{n}" for n in range(9)))
    pairs = list(redis_scan(client, None, kind="set", key="all"))
    with plain.Redis.from_url(redis_server.url, decode_responses=True) as decoding:
        rest = [item for item, _ in redis_scan(decoding, travelled(pairs[4][1]), kind="set", key="all")]
    assert rest == [item.decode() for item, _ in pairs[5:]]


def test_another_server_is_walked_from_its_beginning(client: plain.Redis, caplog: pytest.LogCaptureFixture) -> None:
    client.sadd("all", 1, 2, 3)
    (*_, (_, cursor)) = redis_scan(client, None, kind="set", key="all")
    assert list(redis_scan(client, cursor, kind="set", key="all")) == []
    elsewhere = {**travelled(cursor), "server": "of before the failover"}
    assert len(list(redis_scan(client, elsewhere, kind="set", key="all"))) == 3
    assert "begins anew" in caplog.text


@pytest.mark.parametrize(
    "cursor", [3, [1, 20], {"scan": 3, "done": [], "server": "x"}, {"scan": "3", "done": [1], "server": "x"}]
)
def test_cursor_of_another_enumerator_is_refused(client: plain.Redis, cursor: Any) -> None:
    with pytest.raises(CursorMismatch, match="redis_scan cannot go on from the cursor"):
        redis_scan(client, cursor)


def test_walks_that_cannot_be_say_why(client: plain.Redis) -> None:
    with pytest.raises(ConfigurationError, match="no kind 'list'"):
        redis_scan(client, None, kind="list", key="x")  # type: ignore[call-overload]  # the mistake
    with pytest.raises(ConfigurationError, match="give key= with the kinds"):
        redis_scan(client, None, kind="set")
    with pytest.raises(ConfigurationError, match="give key= with the kinds"):
        redis_scan(client, None, key="x")
    with pytest.raises(ConfigurationError, match="give 1 or more"):
        redis_scan(client, None, count=0)
    with pytest.raises(ConfigurationError, match="walks over one server"):
        redis_scan(object(), None)  # type: ignore[call-overload]  # the mistake


SCANNED: dict[str, Any] = {}


class Collect(IteratingJob):
    def build_enumerator(self, *, cursor: Any) -> Any:
        return redis_scan(SCANNED["redis"], cursor, kind="set", key="all", count=3)

    async def each_iteration(self, member: bytes) -> None:
        SCANNED["members"].append(member)


async def test_job_bears_a_deploy_after_any_member(redis: Redis) -> None:
    await redis.sadd("all", *(f"m{n}" for n in range(9)))
    SCANNED.update(redis=redis, members=[])
    members: list[bytes] = SCANNED["members"]
    await simulate_drain(Collect, reset=members.clear, effects=lambda: sorted(members))
    assert len(members) == 9
