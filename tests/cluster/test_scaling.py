"""Replicas follow the queue between their bounds; on the way in only idle pods are chosen."""

from __future__ import annotations

import time

import redis

from tests.cluster.conftest import Measured
from tests.cluster.effects import Effects
from tests.cluster.invariants import Witness
from tests.cluster.platform import Shop
from tests.waiting import wait_until_sync

SCALING = {
    "mode": "Auto",
    "minReplicas": 1,
    "maxReplicas": 5,
    "targets": {"backlogPerReplica": 10},
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}},
}


def test_a_burst_brings_pods_and_their_end_takes_idle_ones_away(
    shop: Shop, shop_redis: redis.Redis, measured: Measured
) -> None:
    effects = Effects(shop_redis)
    shop.platform.apply(shop.jobworker(replicas=1, scaling=SCALING))
    shop.wait_ready()
    with Witness(shop, shop_redis) as witness:
        began = time.monotonic()
        for mail in range(300):
            effects.push("SendMail", [mail, 0.5], "mails")
        wait_until_sync(lambda: shop.status().get("desiredReplicas") == 5, 60, "the decision to scale out")
        decided = time.monotonic() - began
        wait_until_sync(lambda: len(shop.pods()) == 5, 60, "five pods")
        wait_until_sync(lambda: effects.mails_sent() > 150, 60, "half of the mails")
        # Two jobs outlast the burst: the pods that run them must outlast the scale-in.
        for name in ("slow-1", "slow-2"):
            effects.push("LongReport", [name, 40], "reports")
        wait_until_sync(lambda: effects.mails_sent() == 300, 60, "all mails")
        wait_until_sync(lambda: len(shop.pods()) < 5, 60, "the first pods go")
        assert effects.holders(), "the slow jobs were over before the scale-in: the test shows nothing"
        wait_until_sync(lambda: len(shop.pods()) == 1 and not effects.holders(), 120, "one pod, and the slow jobs' end")
    measured(f"burst: decided after {decided:.1f} s; {witness.findings}")
    assert witness.findings.deleted_while_holding == []
    assert effects.mails_twice() == 0
    assert (effects.report("slow-1"), effects.report("slow-2")) == ((1, 1), (1, 1))


def test_a_redis_that_goes_away_neither_scales_nor_deletes(shop: Shop, shop_redis: redis.Redis) -> None:
    effects = Effects(shop_redis)
    shop.platform.apply(shop.jobworker(replicas=1, scaling=SCALING))
    shop.wait_ready()
    for mail in range(60):
        effects.push("SendMail", [mail, 0.5], "mails")
    wait_until_sync(lambda: len(shop.pods()) >= 3, 30, "three pods or more")
    before = {pod["metadata"]["uid"] for pod in shop.pods()}
    shop.platform.kubectl("scale", "deployment/redis", "--replicas=0", "-n", shop.namespace)
    wait_until_sync(lambda: shop.condition("ScalingActive").get("status") == "False", 60, "the status says so")
    assert "redis" in shop.condition("ScalingActive")["message"].lower()
    # Twice the stabilization window without a signal.
    shop.platform.kubectl(
        "wait", "--for=jsonpath={.metadata.name}=never", "jw/shop", "-n", shop.namespace, "--timeout=10s"
    )
    assert {pod["metadata"]["uid"] for pod in shop.pods()} >= before
