"""`drain.waitFor: Checkpoint`: a pod with one very long item goes when its checkpoint is young, and only then."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis

from tests.cluster.effects import Effects
from tests.cluster.platform import Manifest, Shop, pod_template
from tests.waiting import wait_until_sync

LONG_SECONDS = 25
FIRST_LONG = 26  # by then one second is over, which is when a run writes its first checkpoint

MODULE = f"""
import asyncio

from jobworker import App, IteratingJob, list_items
from redis.asyncio import Redis

app = App()


@app.job(queue="imports", name="Uneven")
class Uneven(IteratingJob):
    checkpoint_seconds = 300.0

    def build_enumerator(self, rows, long, *, cursor):
        return list_items(list(range(1, rows + 1)), cursor)

    async def each_iteration(self, row, rows, long):
        redis = Redis.from_url(app.redis_url)
        await redis.hincrby("uneven:begun", row, 1)
        await asyncio.sleep({LONG_SECONDS} if row in long else 0.06)
        await redis.hincrby("uneven:done", row, 1)
        await redis.aclose()
"""


class Uneven:
    """A job of 30 rows of which one takes long, and what it has done."""

    def __init__(self, shop: Shop, client: redis.Redis) -> None:
        self.shop = shop
        self._redis = client
        self.effects = Effects(client)

    def run(self, wait_for: str, long_row: int = FIRST_LONG) -> dict[str, Manifest]:
        """Apply, enqueue, and wait until the long row is under way; the pods by UID."""
        metadata = {"name": "uneven", "namespace": self.shop.namespace}
        code: Manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"uneven.py": MODULE}}
        self.shop.platform.apply(code, self.jobworker(wait_for))
        self.shop.wait_ready()
        self.effects.push("Uneven", [30, [long_row]], "imports")
        wait_until_sync(lambda: self.count("begun", long_row) == 1, 30, "the long row has begun")
        return {pod["metadata"]["uid"]: pod for pod in self.shop.pods()}

    def jobworker(self, wait_for: str, version: str = "1") -> Manifest:
        template = pod_template(SHOP_VERSION=version)
        spec: dict[str, Any] = template["spec"]
        container = spec["containers"][0]
        container["args"] = ["run", "uneven:app"]
        container.setdefault("env", []).append({"name": "PYTHONPATH", "value": "/uneven"})
        container.setdefault("volumeMounts", []).append({"name": "uneven", "mountPath": "/uneven"})
        spec.setdefault("volumes", []).append({"name": "uneven", "configMap": {"name": "uneven"}})
        drain = {"waitFor": wait_for, "checkpointMaxAgeSeconds": 60}
        return self.shop.jobworker(
            replicas=1, drain=drain, template=template, rollout={"maxSurge": 1, "maxUnavailable": 0}
        )

    def roll_out(self, wait_for: str) -> None:
        self.shop.platform.apply(self.jobworker(wait_for, version="2"))

    def count(self, what: str, row: int) -> int:
        return int(self._redis.hget(f"uneven:{what}", str(row)) or 0)

    def done(self) -> dict[int, int]:
        return {int(row): int(count) for row, count in self._redis.hgetall("uneven:done").items()}

    def is_over(self) -> bool:
        return len(self.done()) == 30 and not self.effects.holders()

    def checkpoint(self) -> int:
        """The row that the last checkpoint stands behind."""
        (key,) = self._redis.keys("it-*")
        return int(self._redis.hget(key, "c") or 0)


@pytest.fixture
def uneven(shop: Shop, shop_redis: redis.Redis) -> Uneven:
    return Uneven(shop, shop_redis)


def deleted(shop: Shop, uid: str) -> bool:
    return all(pod["metadata"]["uid"] != uid or "deletionTimestamp" in pod["metadata"] for pod in shop.pods())


def test_a_young_checkpoint_lets_the_pod_go_in_the_middle_of_an_item(uneven: Uneven) -> None:
    (uid,) = uneven.run("Checkpoint")
    began = time.monotonic()
    uneven.roll_out("Checkpoint")
    wait_until_sync(lambda: deleted(uneven.shop, uid), LONG_SECONDS - 5, "the pod is deleted before its item ends")
    assert uneven.count("done", FIRST_LONG) == 0, "the long row was over: the test shows nothing"
    print(f"deleted {time.monotonic() - began:.1f} s after the rollout began")  # noqa: T201
    unflushed = set(range(uneven.checkpoint() + 1, FIRST_LONG))
    wait_until_sync(lambda: uneven.count("begun", FIRST_LONG) == 2, 30, "the job goes on elsewhere")
    wait_until_sync(uneven.is_over, 60, "the job's end")
    done = uneven.done()
    repeated = {row for row, count in done.items() if count > 1}
    print(f"rows {sorted(repeated)} were repeated")  # noqa: T201
    assert repeated <= unflushed, "a row before the checkpoint was done twice"
    assert set(done) == set(range(1, 31))


def test_with_jobs_the_same_pod_waits_for_its_item(uneven: Uneven) -> None:
    (uid,) = uneven.run("Jobs")
    uneven.roll_out("Jobs")
    wait_until_sync(lambda: deleted(uneven.shop, uid), LONG_SECONDS + 30, "the pod is deleted")
    assert uneven.count("done", FIRST_LONG) == 1, "the pod was deleted before its item had ended"
    wait_until_sync(uneven.is_over, 60, "the job's end")
    assert set(uneven.done().values()) == {1}, "a row was done twice"


def test_a_job_without_a_checkpoint_is_waited_for(uneven: Uneven) -> None:
    (uid,) = uneven.run("Checkpoint", long_row=1)
    uneven.roll_out("Checkpoint")
    wait_until_sync(lambda: deleted(uneven.shop, uid), LONG_SECONDS + 30, "the pod is deleted")
    assert uneven.count("done", 1) == 1, "the pod was deleted before its first item had ended"
    wait_until_sync(uneven.is_over, 60, "the job's end")
    assert set(uneven.done().values()) == {1}, "a row was done twice"
