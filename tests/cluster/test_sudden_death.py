"""A worker that is killed with all its slots taken: the operator gives its jobs to the others at once."""

from __future__ import annotations

import time

import redis

from tests.cluster.conftest import Measured
from tests.cluster.effects import Effects
from tests.cluster.platform import Shop
from tests.waiting import wait_until_sync

REPORTS = tuple(f"report-{n}" for n in range(8))
REPORT_SECONDS = 15


def test_eight_jobs_of_a_killed_worker_run_again_elsewhere(
    shop: Shop, shop_redis: redis.Redis, measured: Measured
) -> None:
    effects = Effects(shop_redis)
    worker = {"queues": [{"name": "reports"}], "concurrency": len(REPORTS)}
    shop.platform.apply(shop.jobworker(replicas=1, worker=worker))
    shop.wait_ready()
    (victim,) = shop.pods()
    for name in REPORTS:
        effects.push("LongReport", [name, REPORT_SECONDS], "reports")
    wait_until_sync(lambda: all(effects.report(name) == (1, 0) for name in REPORTS), 30, "all eight run in one pod")
    shop.platform.apply(shop.jobworker(replicas=2, worker=worker))
    wait_until_sync(lambda: shop.status().get("readyReplicas") == 2, 60, "another worker is there")
    assert effects.held(victim["metadata"]["uid"]) == len(REPORTS), "the victim holds all of them"

    shop.platform.kill_container(victim, "jobworker")
    killed = time.monotonic()
    wait_until_sync(lambda: all(effects.report(name)[0] == 2 for name in REPORTS), 30, "all eight run again")
    measured(f"{len(REPORTS)} jobs ran again {time.monotonic() - killed:.2f} s after the SIGKILL of their worker")

    wait_until_sync(lambda: all(effects.report(name) == (2, 1) for name in REPORTS), 60, "each was done once")
    assert shop_redis.zcard("retry") == 0, "no retry was counted"
    assert shop_redis.zcard("dead") == 0, "one death is no poison"
