"""The operator's parts together, without kopf: an API server in this process, a real Redis, workers as scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import pytest
from redis.asyncio import Redis

from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import parse
from jobworker.protocol.records import Finished, Number
from jobworker.protocol.rescue import DEATHS
from jobworker_operator.kube.client import Kube
from jobworker_operator.model.names import DRAIN_FINALIZER, REMOVAL_ANNOTATION
from jobworker_operator.runtime.health import HealthServer
from jobworker_operator.runtime.metrics import Metrics
from jobworker_operator.runtime.operator import Operator
from jobworker_operator.runtime.settings import Settings
from tests.component.operator.api_server import ApiServer
from tests.component.operator.objects import EVENTS, JOBWORKERS, PODS, jobworker
from tests.integration.operator.conftest import Birth
from tests.redis_server import RedisServer
from tests.waiting import wait_until

TTL_OF_THE_LAST_BEAT = 2.0  # seconds; 5 in a real worker
WRITES = {"create", "patch", "delete"}


class Running:
    """An operator whose watch of JobWorkers is this class."""

    def __init__(self, api: ApiServer, operator: Operator, birth: Birth) -> None:
        self.api = api
        self.operator = operator
        self.birth = birth

    @property
    def pods(self) -> dict[str, dict[str, Any]]:
        return self.api.collections.get(PODS, {})

    @property
    def jobworker(self) -> dict[str, Any]:
        return self.api.collections[JOBWORKERS]["mailers"]

    def apply(self, obj: dict[str, Any]) -> None:
        known = self.api.collections.get(JOBWORKERS, {}).get(obj["metadata"]["name"])
        if known is not None:
            obj["metadata"] = {**known["metadata"], "generation": known["metadata"]["generation"] + 1}
            obj["status"] = known.get("status", {})
        self.operator.jobworkers.put(self.api.put(JOBWORKERS, obj))

    def delete(self) -> None:
        obj = {
            **self.jobworker,
            "metadata": {**self.jobworker["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"},
        }
        self.operator.jobworkers.put(self.api.put(JOBWORKERS, obj))

    async def start(self, pod: dict[str, Any], jobs: int = 0) -> Any:
        """What kubelet and worker do: register, then be ready."""
        worker = await self.birth(pod["metadata"]["uid"], jobs, pod=pod["metadata"]["name"])
        running = {"state": {"running": {"startedAt": "2026-01-01T00:00:01Z"}}, "name": "worker", "restartCount": 0}
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:02Z"}
        pod["status"] = {"phase": "Running", "containerStatuses": [running], "conditions": [ready]}
        pod["spec"]["nodeName"] = "node-1"
        self.api.put(PODS, pod)
        return worker

    def bury(self) -> None:
        """What the kubelet does in the end: pods that were deleted are gone."""
        for name in [name for name, pod in self.pods.items() if "deletionTimestamp" in pod["metadata"]]:
            self.api.remove(PODS, name)

    def writes(self) -> int:
        return sum(call.verb in WRITES for call in self.api.calls)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("test")


@pytest.fixture
async def running(api: ApiServer, kube: Kube, birth: Birth, metrics: Metrics) -> AsyncIterator[Running]:
    operator = Operator(Settings(namespaces=("shop",)), kube, metrics)
    tasks = [asyncio.create_task(loop) for loop in (operator.pods.run(), operator.events.run(), operator.canary.run())]
    await operator.first_list()
    await operator.pods.wait_synced()
    tasks += [asyncio.create_task(loop) for loop in (operator.activity.run(), operator.workers.run())]
    yield Running(api, operator, birth)
    await operator.workers.stop(1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def wanted_pods(running: Running, count: int) -> list[dict[str, Any]]:
    await wait_until(lambda: len(running.pods) == count, what=f"{count} pods")
    return list(running.pods.values())


async def test_a_new_jobworker_gets_its_finalizer_before_its_pods_and_then_rests(
    running: Running, redis_server: RedisServer, redis: Redis
) -> None:
    running.apply(jobworker(redis={"url": redis_server.url}))
    for pod in await wanted_pods(running, 2):
        await running.start(pod)
    first_writes = [(call.verb, call.path) for call in running.api.calls if call.verb in WRITES][:2]
    assert first_writes == [("patch", f"{JOBWORKERS}/mailers"), ("create", PODS)]
    assert DRAIN_FINALIZER in running.jobworker["metadata"]["finalizers"]
    await wait_until(lambda: running.jobworker["status"]["readyReplicas"] == 2)

    async def nothing_is_written_whatever_wakes_it() -> bool:
        # Looks at Redis and events of the last writes may still be under way: it has to come to rest, and stay there.
        writes = running.writes()
        for _ in range(5):
            running.operator.queue.add(next(iter(running.operator.jobworkers)).key)
            await wait_until(lambda: running.operator.queue.depth == 0 and running.operator.queue.in_progress == 0)
        return running.writes() == writes and "True" in str(running.jobworker["status"]["conditions"])

    await wait_until(nothing_is_written_whatever_wakes_it)
    assert len(running.pods) == 2


async def test_a_deleted_jobworker_goes_when_its_busy_pod_has_finished(
    running: Running, redis_server: RedisServer, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    running.apply(jobworker(redis={"url": redis_server.url}))
    idle, busy = await wanted_pods(running, 2)
    await running.start(idle)
    worker = await running.start(busy, jobs=1)
    await wait_until(lambda: running.jobworker["status"].get("busyReplicas") == 1)
    running.delete()
    await wait_until(lambda: "deletionTimestamp" in running.pods[idle["metadata"]["name"]]["metadata"])
    running.bury()
    await wait_until(lambda: REMOVAL_ANNOTATION in str(running.pods[busy["metadata"]["name"]]["metadata"]))
    assert "deletionTimestamp" not in running.pods[busy["metadata"]["name"]]["metadata"]
    assert caplog.text.count("Retired pod") + caplog.text.count("Quieted pod") == 2, "one decision, one line"
    await worker.finish([Finished(Number(1), "default")])
    await worker.beat(60, 0, {})
    await wait_until(lambda: "deletionTimestamp" in running.pods[busy["metadata"]["name"]]["metadata"], 2)
    await worker.deregister()
    running.bury()
    await wait_until(lambda: DRAIN_FINALIZER not in running.jobworker["metadata"]["finalizers"])


async def test_a_refused_template_stands_in_the_status_and_makes_no_storm(
    running: Running, redis_server: RedisServer, redis: Redis
) -> None:
    running.api.refuse_always.append(("create", "pods", 403, 'pods "mailers-x" is forbidden: exceeded quota: q'))
    running.apply(jobworker(redis={"url": redis_server.url}))
    await wait_until(lambda: "ResourceQuota" in str(running.jobworker.get("status")))
    for _ in range(20):
        running.operator.queue.add(next(iter(running.operator.jobworkers)).key)
        await wait_until(lambda: running.operator.queue.depth == 0 and running.operator.queue.in_progress == 0)
    assert running.api.count("create", "pods") <= 3


async def test_a_write_that_is_forbidden_stands_in_the_status(
    running: Running, redis_server: RedisServer, redis: Redis
) -> None:
    running.apply(jobworker(redis={"url": redis_server.url}))
    for pod in await wanted_pods(running, 2):
        await running.start(pod)
    running.api.refuse_always.append(("delete", "", 403, "cannot delete resource pods"))
    running.apply(jobworker(redis={"url": redis_server.url}, replicas=0))
    await wait_until(lambda: "cannot delete resource pods" in str(running.jobworker["status"]))


async def test_health_and_metrics_tell_how_it_stands(
    running: Running, metrics: Metrics, redis_server: RedisServer, redis: Redis
) -> None:
    operator = running.operator
    server = HealthServer(0, metrics.registry, operator.canary, operator.waiting_for)
    url = f"http://127.0.0.1:{await server.start()}"
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/readyz") as answer:
                assert (answer.status, await answer.text()) == (503, "waiting for the watch of JobWorkers\n")
            operator.kopf_ready.set()
            async with session.get(f"{url}/readyz") as answer:
                assert answer.status == 200
            async with session.get(f"{url}/livez") as answer:
                assert answer.status == 200
            await redis.hset(Keys().parked, "jid", "5 default\n{}")
            running.apply(jobworker(redis={"url": redis_server.url}))
            await wanted_pods(running, 2)
            await wait_until(lambda: any(seen.paused_jobs for seen in operator.reconciler.snapshots.values()))
            async with session.get(f"{url}/metrics") as answer:
                text = await answer.text()
    finally:
        await server.close()
    assert 'jobworker_pods{jobworker="mailers",namespace="shop",state="starting"}' in text
    assert "jobworker_operator_reconciles_pending" in text
    assert 'jobworker_queue_depth{jobworker="mailers",namespace="shop",queue="default"} 0.0' in text
    assert 'jobworker_paused_jobs{jobworker="mailers",namespace="shop"} 1.0' in text


async def test_jobs_of_a_container_in_crash_loop_go_back_and_count_a_death(
    running: Running, redis_server: RedisServer, redis: Redis
) -> None:
    running.apply(jobworker(redis={"url": redis_server.url}, replicas=1))
    (pod,) = await wanted_pods(running, 1)
    worker = await running.start(pod, jobs=2)
    await worker.beat(TTL_OF_THE_LAST_BEAT, 2, {})
    await wait_until(lambda: running.jobworker["status"].get("busyReplicas") == 1)
    crashed = {
        "name": "worker",
        "restartCount": 2,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
        "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
    }
    pod["status"] = {**pod["status"], "containerStatuses": [crashed], "conditions": []}
    running.api.put(PODS, pod)
    assert await redis.llen("queue:default") == 0, "given back while the heartbeat still spoke against it"

    async def given_back() -> bool:
        return await redis.llen("queue:default") == 2

    await wait_until(given_back, TTL_OF_THE_LAST_BEAT + 2, "the jobs are back within two seconds of the last heartbeat")
    payloads = cast("list[bytes]", await redis.lrange("queue:default", 0, -1))
    assert [parse(raw).extra[DEATHS] for raw in payloads] == [1, 1]
    told = "Gave back 2 jobs, because the container of pod"
    await wait_until(
        lambda: [
            event["message"]
            for event in running.api.collections[EVENTS].values()
            if event["message"].startswith(told) and event["message"].endswith("ended (OOMKilled, exit code 137)")
        ],
        what="the Event",
    )
    await wait_until(lambda: "CrashLoopBackOff" in running.jobworker["status"]["summary"])
