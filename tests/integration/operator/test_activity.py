"""The activity observer on real Redis servers: where it looks, when it wakes somebody, what it says when it cannot."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from jobworker.protocol.records import Finished, Number
from jobworker_operator.adapters.connections import connect
from jobworker_operator.kube.client import Kube
from jobworker_operator.model.facts import RedisFacts, Unreadable
from jobworker_operator.model.spec import DrainSpec, Key
from jobworker_operator.observe import activity as activity_module
from jobworker_operator.observe import addresses as addresses_module
from jobworker_operator.observe.activity import ActivityObserver
from jobworker_operator.observe.addresses import Addresses
from jobworker_operator.observe.jobworkers import JobWorkerStore
from jobworker_operator.observe.pods import PodStore
from jobworker_operator.observe.redis_watch import RedisWatch
from jobworker_operator.plan.drain import state_of
from tests.component.operator.api_server import ApiServer
from tests.component.operator.objects import ALL_PODS, OWNER, SECRETS, jobworker, pod
from tests.integration.operator.conftest import Birth
from tests.redis_server import RedisServer
from tests.waiting import wait_until

KEY = Key("shop", "mailers")


class Watchtower:
    def __init__(self, kube: Kube) -> None:
        self.pokes: Counter[Key] = Counter()
        self.jobworkers = JobWorkerStore(kube, [None], lambda _key: None)
        self.pods = PodStore(kube, [None], lambda *_: None)
        self.observer = ActivityObserver(self.jobworkers, self.pods, Addresses(kube), self.poke)

    def poke(self, key: Key) -> None:
        self.pokes[key] += 1

    def facts(self, key: Key = KEY) -> RedisFacts | None:
        facts = self.observer.facts(key)
        return facts if isinstance(facts, RedisFacts) else None

    def unreadable(self, key: Key = KEY) -> Unreadable | None:
        facts = self.observer.facts(key)
        return facts if isinstance(facts, Unreadable) else None

    def held(self, uid: str) -> int | None:
        facts = self.facts()
        return None if facts is None or uid not in facts.activities else facts.activities[uid].held


@pytest.fixture
async def tower(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watchtower]:
    monkeypatch.setattr(activity_module, "CENSUS_SECONDS", 0.05)
    monkeypatch.setattr(addresses_module, "RETRY_SECONDS", 0.1)
    made = Watchtower(kube)
    tasks = [asyncio.create_task(made.pods.run()), asyncio.create_task(made.observer.run())]
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_job_that_ends_wakes_its_jobworker_before_the_next_tick(
    api: ApiServer, tower: Watchtower, birth: Birth, redis_server: RedisServer, redis: Redis
) -> None:
    api.put(ALL_PODS, pod("a", redis_url=redis_server.url))
    tower.jobworkers.put(jobworker(redis={"url": redis_server.url}))
    worker = await birth("uid-a", 1)
    await wait_until(lambda: tower.held("uid-a") == 1)
    await tower_quiet(tower)
    await worker.finish([Finished(Number(1), "default")])
    before = tower.pokes[KEY]
    await worker.beat(60, 0, {})  # which announces that it is drained
    await wait_until(lambda: tower.held("uid-a") == 0, 0.8, "the announcement was not heard")
    assert tower.pokes[KEY] > before
    assert tower.observer.drained_at(KEY, "uid-a") is not None


async def tower_quiet(tower: Watchtower) -> None:
    adapter = tower.observer.adapter(KEY, "uid-a")
    assert adapter is not None
    await adapter.quiet("uid-a", "operator: Rollout")
    await wait_until(lambda: (facts := tower.facts()) and facts.activities["uid-a"].quiet)


async def test_facts_are_old_from_a_change_until_the_next_look(
    api: ApiServer, tower: Watchtower, birth: Birth, redis_server: RedisServer, redis: Redis
) -> None:
    api.put(ALL_PODS, pod("a", redis_url=redis_server.url))
    tower.jobworkers.put(jobworker(redis={"url": redis_server.url}))
    await birth("uid-a", 1)
    await wait_until(lambda: tower.held("uid-a") == 1)
    assert tower.observer.is_fresh(KEY)
    tower.observer.changed(KEY)
    assert not tower.observer.is_fresh(KEY), "what was seen before the change was taken for news"
    await wait_until(lambda: tower.observer.is_fresh(KEY), 0.8, "nobody looked before the next tick")


async def test_the_quiet_fact_of_a_pod_that_vanished_unseen_is_an_orphan_until_it_is_forgotten(
    api: ApiServer, tower: Watchtower, redis_server: RedisServer, redis: Redis
) -> None:
    api.put(ALL_PODS, pod("a", redis_url=redis_server.url))
    tower.jobworkers.put(jobworker(redis={"url": redis_server.url}))
    await wait_until(lambda: tower.held("uid-a") == 0)
    await redis.set("jw:quiet:uid-a", "operator: Rollout")
    api.remove(ALL_PODS, "a")
    await wait_until(lambda: tower.pods.get(KEY, "uid-a") is None)
    tower.observer.vanished(KEY, "uid-a")
    await wait_until(lambda: (facts := tower.facts()) and facts.orphans == ("uid-a",))
    adapter = tower.observer.adapter(KEY, "uid-a")
    assert adapter is not None
    await adapter.rescue("uid-a", str(KEY), epoch=None, planned=True, forget=True)
    assert await redis.keys("jw:quiet:*") == []
    tower.observer.changed(KEY)
    await wait_until(lambda: (facts := tower.facts()) and "uid-a" not in facts.activities, what="it is forgotten")


async def test_who_vanished_is_reached_in_the_redis_that_has_something_of_it(
    api: ApiServer,
    tower: Watchtower,
    redis_server: RedisServer,
    redis: Redis,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with RedisServer(tmp_path_factory.mktemp("other-redis")) as second:
        for name, url in (("a", redis_server.url), ("b", second.url), ("c", redis_server.url), ("d", second.url)):
            api.put(ALL_PODS, pod(name, redis_url=url))
        tower.jobworkers.put(jobworker(redis={"url": second.url}))
        await wait_until(lambda: (facts := tower.facts()) and len(facts.activities) == 4)
        other = Redis.from_url(second.url)
        await redis.set("jw:quiet:uid-a", "operator: Rollout")
        await other.set("jw:quiet:uid-b", "operator: Rollout")
        for name in ("a", "b"):
            api.remove(ALL_PODS, name)
        await wait_until(lambda: tower.pods.uids(KEY) == {"uid-c", "uid-d"})
        for uid in ("uid-a", "uid-b"):
            tower.observer.vanished(KEY, uid)
        await wait_until(lambda: (facts := tower.facts()) and facts.orphans == ("uid-a", "uid-b"))
        for uid in ("uid-a", "uid-b"):
            adapter = tower.observer.adapter(KEY, uid)
            assert adapter is not None
            await adapter.rescue(uid, str(KEY), epoch=None, planned=True, forget=True)
        assert await redis.keys("jw:quiet:*") == await other.keys("jw:quiet:*") == []
        await other.aclose()


async def test_a_pod_that_was_released_is_no_orphan_and_not_ours(
    api: ApiServer, tower: Watchtower, birth: Birth, redis_server: RedisServer, redis: Redis
) -> None:
    released = pod("a", redis_url=redis_server.url)
    api.put(ALL_PODS, released)
    tower.jobworkers.put(jobworker(redis={"url": redis_server.url}))
    await birth("uid-a", 1)
    await wait_until(lambda: tower.held("uid-a") == 1)
    api.put(ALL_PODS, {**released, "metadata": {**released["metadata"], "ownerReferences": []}})
    await wait_until(lambda: not tower.pods.of(KEY, OWNER))
    tower.observer.changed(KEY)
    await wait_until(lambda: tower.observer.is_fresh(KEY))
    facts = tower.facts()
    assert facts is not None
    assert facts.orphans == (), "the JobWorker's deletion would wait for it for ever"


async def test_a_redis_that_nobody_needs_any_more_is_not_said_to_answer(
    api: ApiServer, tower: Watchtower, redis_server: RedisServer, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    watch = RedisWatch(redis_server.url, connect(redis_server.url), lambda *_: None)
    await watch.look()
    await watch.close()
    assert "0 JobWorkers" not in caplog.text


async def test_a_dead_redis_delays_no_other(
    api: ApiServer, tower: Watchtower, redis_server: RedisServer, redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tower.jobworkers.put(jobworker(redis={"url": "redis://:geheim@127.0.0.1:1/0"}))
    tower.jobworkers.put(jobworker("other", redis={"url": redis_server.url}))
    await tower.pods.wait_synced()
    other = Key("shop", "other")
    await wait_until(lambda: tower.facts(other), 2)
    problem = await wait_until(tower.unreadable, 5)
    assert problem is not None
    assert problem.reason == "RedisUnreachable"
    assert "127.0.0.1:1" in problem.problem
    assert "geheim" not in problem.problem


async def test_a_redis_that_comes_back_is_read_again(
    api: ApiServer, tower: Watchtower, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("own-redis")
    with RedisServer(folder) as server:
        tower.jobworkers.put(jobworker(redis={"url": server.url}))
        await wait_until(tower.facts)
        server.kill()
        await wait_until(tower.unreadable)
        pokes = tower.pokes[KEY]
        server.start()
        await wait_until(tower.facts)
        assert tower.pokes[KEY] > pokes


async def test_the_address_comes_from_a_secret_as_soon_as_there_is_one(
    api: ApiServer, tower: Watchtower, redis_server: RedisServer, redis: Redis
) -> None:
    tower.jobworkers.put(jobworker(redis={"urlFrom": {"secretKeyRef": {"name": "redis", "key": "url"}}}))
    missing = await wait_until(tower.unreadable)
    assert missing is not None
    assert missing.reason == "SecretMissing"
    assert "kubectl create secret generic redis -n shop --from-literal=url=" in missing.problem
    secret = {"metadata": {"name": "redis"}, "data": {"other": "eA=="}}
    api.put(SECRETS, secret)
    await wait_until(lambda: (found := tower.unreadable()) and "has no key url" in found.problem)
    api.put(SECRETS, {**secret, "data": {"url": base64.b64encode(f"{redis_server.url}\n".encode()).decode()}})
    await wait_until(tower.facts)
    assert api.count("list", "secrets") == api.count("watch", "secrets") == 0


async def test_after_a_secret_has_changed_its_pods_are_looked_up_at_the_new_address_and_are_never_idle(
    api: ApiServer,
    tower: Watchtower,
    birth: Birth,
    redis_server: RedisServer,
    redis: Redis,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses_module, "KEEP_SECONDS", 0.1)
    reference = {"secretKeyRef": {"name": "redis", "key": "url"}}
    old = pod("old")
    old["spec"]["containers"][0]["env"] = [{"name": "JOBWORKER_REDIS_URL", "valueFrom": reference}]
    running = {"name": "worker", "state": {"running": {"startedAt": "2026-01-01T00:00:01Z"}}}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:02Z"}
    old["status"] |= {"containerStatuses": [running], "conditions": [ready]}
    api.put(ALL_PODS, old)
    secret = {"metadata": {"name": "redis"}, "data": {"url": base64.b64encode(redis_server.url.encode()).decode()}}
    api.put(SECRETS, secret)
    tower.jobworkers.put(jobworker(redis={"urlFrom": reference}))
    await birth("uid-old", 1)
    await wait_until(lambda: tower.held("uid-old") == 1)
    with RedisServer(tmp_path_factory.mktemp("new-redis")) as second:
        moved = {**secret, "data": {"url": base64.b64encode(second.url.encode()).decode()}}
        api.put(SECRETS, moved)
        await wait_until(lambda: tower.held("uid-old") == 0, what="the new address is looked at")
        facts, shown = tower.facts(), tower.pods.get(KEY, "uid-old")
        assert facts is not None
        assert shown is not None
        assert state_of(shown, facts.activities["uid-old"], DrainSpec()) == "Unknown", "a busy pod was taken for idle"
        assert len(tower.observer.watches) <= 2
        await wait_until(lambda: len(tower.observer.watches) == 1, what="the old connection is closed")


async def test_a_pod_is_looked_up_where_its_own_environment_sent_it(
    api: ApiServer,
    tower: Watchtower,
    birth: Birth,
    redis_server: RedisServer,
    redis: Redis,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    await birth("uid-old", 2)
    api.put(ALL_PODS, pod("old", redis_url=redis_server.url))
    with RedisServer(tmp_path_factory.mktemp("new-redis")) as second:
        api.put(ALL_PODS, pod("new", redis_url=second.url))
        tower.jobworkers.put(jobworker(redis={"url": second.url}))
        await wait_until(lambda: tower.held("uid-old") == 2)
        facts = await wait_until(tower.facts)
        assert facts is not None
        assert facts.orphans == ()
        adapter = tower.observer.adapter(KEY, "uid-old")
        assert adapter is not None
        assert await adapter.retire("uid-old", "operator: Rollout") == 2


async def test_a_pod_whose_own_redis_cannot_be_read_has_no_activity_and_is_told_of(
    api: ApiServer, tower: Watchtower, redis_server: RedisServer, redis: Redis
) -> None:
    api.put(ALL_PODS, pod("old", redis_url="redis://127.0.0.1:1/0"))
    tower.jobworkers.put(jobworker(redis={"url": redis_server.url}))
    await wait_until(lambda: tower.observer.problems(KEY))
    facts = await wait_until(tower.facts)
    assert facts is not None
    assert "uid-old" not in facts.activities
    assert "127.0.0.1:1" in tower.observer.problems(KEY)[0]
    assert tower.observer.adapter(KEY, "uid-old") is None


async def test_an_invalid_address_is_told_and_holds_up_nothing(
    api: ApiServer, tower: Watchtower, redis_server: RedisServer, redis: Redis
) -> None:
    tower.jobworkers.put(jobworker(redis={"url": "redis://:6379:x/0"}))
    tower.jobworkers.put(jobworker("other", redis={"url": redis_server.url}))
    problem = await wait_until(tower.unreadable)
    assert problem is not None
    assert problem.reason == "RedisAddressInvalid"
    await wait_until(lambda: tower.facts(Key("shop", "other")))


async def test_connections_end_with_the_last_jobworker_that_needs_them(
    api: ApiServer, tower: Watchtower, redis_server: RedisServer, redis: Redis
) -> None:
    tower.jobworkers.put(jobworker(redis={"url": redis_server.url}))
    await wait_until(tower.facts)
    tower.jobworkers.drop(KEY, OWNER)
    await wait_until(lambda: not tower.observer.watches)
