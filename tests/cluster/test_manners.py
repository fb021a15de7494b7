"""What a user of Deployments expects of kubectl: wait, scale, get, delete."""

from __future__ import annotations

import json

import redis

from tests.cluster.effects import Effects
from tests.cluster.platform import Shop
from tests.waiting import wait_until_sync


def test_apply_wait_get_scale_and_delete(shop: Shop, shop_redis: redis.Redis) -> None:
    kubectl, space = shop.platform.kubectl, ("-n", shop.namespace)
    shop.platform.apply(shop.jobworker(replicas=2))
    shop.wait_ready()

    table = kubectl("get", "jw", "shop", *space).stdout
    header, row = table.splitlines()
    assert header.split()[:6] == ["NAME", "DESIRED", "READY", "BUSY", "DRAINING", "DEPTH"]
    assert row.split()[:4] == ["shop", "2", "2", "0"]

    assert kubectl("scale", "jw/shop", "--replicas=4", *space).returncode == 0
    wait_until_sync(lambda: shop.status().get("readyReplicas") == 4, 60, "four ready replicas")
    told = kubectl("get", "events", "--field-selector=reason=Rescaled", *space).stdout
    assert "From 2 to 4 replicas" in told
    assert kubectl("scale", "jw/shop", "--replicas=1", *space).returncode == 0
    wait_until_sync(lambda: len(shop.pods()) == 1, 60, "one pod")
    scale = json.loads(kubectl("get", "jw", "shop", "--subresource=scale", "-o", "json", *space).stdout)
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (1, 1)
    assert "jobworker.dev/jobworker=shop" in scale["status"]["selector"]

    assert kubectl("delete", "jw", "shop", "--timeout=60s", *space).returncode == 0
    assert shop.pods() == []
    endless = [key for key in shop_redis.keys("jw:*") if shop_redis.ttl(key) < 0]
    assert endless == [], "nothing of its workers stays in Redis for ever"


def test_delete_waits_for_the_job_that_runs(shop: Shop, shop_redis: redis.Redis) -> None:
    shop.platform.apply(shop.jobworker(replicas=1))
    shop.wait_ready()
    effects = Effects(shop_redis)
    effects.push("LongReport", ["last", 15], "reports")
    wait_until_sync(lambda: effects.report("last")[0], 60, "the report has begun")
    done = shop.platform.kubectl("delete", "jw", "shop", "-n", shop.namespace, "--timeout=90s")
    assert done.returncode == 0, done.stderr
    assert effects.report("last") == (1, 1)


def test_a_deleted_pod_is_replaced(shop: Shop, shop_redis: redis.Redis) -> None:
    shop.platform.apply(shop.jobworker(replicas=2))
    shop.wait_ready()
    victim = shop.pods()[0]["metadata"]["name"]
    shop.platform.kubectl("delete", "pod", victim, "-n", shop.namespace)
    wait_until_sync(
        lambda: shop.status().get("readyReplicas") == 2 and victim not in {p["metadata"]["name"] for p in shop.pods()},
        60,
        "two ready replicas again",
    )


def test_an_unchanged_jobworker_at_rest_is_not_written_to(shop: Shop, shop_redis: redis.Redis) -> None:
    """Status written again and again would wake every watcher; its resourceVersion stands still."""
    shop.platform.apply(shop.jobworker(replicas=1))
    shop.wait_ready()

    def version() -> str:
        found = shop.platform.get("jobworker", "shop", shop.namespace)
        assert found is not None
        resource_version: str = found["metadata"]["resourceVersion"]
        return resource_version

    # Two equal versions with a job in between, which is the slowest thing that could still be on its way.
    def at_rest() -> bool:
        before = version()
        shop.platform.kubectl(
            "wait", "--for=jsonpath={.metadata.name}=never", "jw/shop", "-n", shop.namespace, "--timeout=5s"
        )
        return version() == before

    wait_until_sync(at_rest, 40, "no writes for five seconds")
