"""A new version in the middle of work: no pod is deleted while it holds a job, no row is lost or done twice."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
import redis

from tests.cluster.conftest import Measured
from tests.cluster.effects import Effects
from tests.cluster.invariants import Witness
from tests.cluster.platform import OPERATOR_NAMESPACE, Manifest, Shop, pod_template
from tests.waiting import wait_until_sync

REPORTS = tuple(f"report-{n}" for n in range(4))
REPORT_SECONDS = 20
ROWS = 15_000
IMPORT_JOBS = 6
ROW_MS = 12.0
FLUSH_SECONDS = 2.0  # ImportCities.checkpoint_seconds


@dataclass
class Work:
    """A shop with three replicas in the middle of 20 s jobs that cannot be interrupted and of iterating jobs."""

    shop: Shop
    effects: Effects
    imports: list[str]

    def ended(self) -> bool:
        reports = all(self.effects.report(name)[1] for name in REPORTS)
        return reports and not self.effects.rows_missing(ROWS) and not self.effects.holders()

    def roll_out(self) -> None:
        template = pod_template("localhost/jobworker-examples:dev-v2")
        self.shop.platform.apply(self.shop.jobworker(rollout=SURGE, template=template))


SURGE = {"maxSurge": 1, "maxUnavailable": 0}


@pytest.fixture
def work(shop: Shop, shop_redis: redis.Redis) -> Work:
    effects = Effects(shop_redis)
    shop.platform.apply(shop.jobworker(rollout=SURGE))
    shop.wait_ready()
    for name in REPORTS:
        effects.push("LongReport", [name, REPORT_SECONDS], "reports")
    imports = effects.import_rows(ROWS, IMPORT_JOBS, ROW_MS)
    wait_until_sync(lambda: all(effects.report(name)[0] for name in REPORTS), 30, "the reports have begun")
    wait_until_sync(lambda: effects.rows_done() > ROWS // 20, 60, "the import is under way")
    return Work(shop, effects, imports)


def uids(pods: list[Manifest]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def test_no_job_notices_a_rollout(work: Work, shop_redis: redis.Redis, measured: Measured) -> None:
    before = uids(work.shop.pods())
    with Witness(work.shop, shop_redis, done=work.effects.rows_done) as witness:
        witness.count_ready_from_now()
        began = time.monotonic()
        work.roll_out()
        work.shop.wait_ready(seconds=120)
        ready_after = time.monotonic() - began
        assert not work.ended(), "the work was over before the new version was ready: the test shows nothing"
        wait_until_sync(lambda: not before & uids(work.shop.pods()), 120, "the old pods are gone")
        gone_after = time.monotonic() - began
        wait_until_sync(work.ended, 120, "all work is done")
    measured(f"rollout: ready after {ready_after:.1f} s, old pods gone after {gone_after:.1f} s; {witness.findings}")
    assert witness.findings.errors == []
    assert witness.findings.deleted_while_holding == []
    assert len(witness.findings.deleted) == 3
    assert witness.findings.fewest_ready == 3
    assert work.effects.rows_twice() == 0
    assert [work.effects.report(name) for name in REPORTS] == [(1, 1)] * len(REPORTS)
    assert work.effects.progress(work.imports).processed == ROWS


def test_the_operators_sudden_death_in_the_middle_changes_nothing(work: Work, shop_redis: redis.Redis) -> None:
    before = uids(work.shop.pods())
    platform = work.shop.platform
    with Witness(work.shop, shop_redis) as witness:
        work.roll_out()
        wait_until_sync(lambda: len(work.shop.pods()) > 3, 60, "the rollout has begun")
        (operator,) = platform.list("pods", OPERATOR_NAMESPACE)
        platform.kill_container(operator, "jobworker-operator")
        assert not work.ended(), "the work was over before the operator died: the test shows nothing"
        wait_until_sync(lambda: not before & uids(work.shop.pods()), 180, "the old pods are gone")
        wait_until_sync(work.ended, 120, "all work is done")
    (operator_after,) = platform.list("pods", OPERATOR_NAMESPACE)
    restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in (operator, operator_after)]
    assert restarts[1] > restarts[0], "the operator was not killed"
    assert witness.findings.deleted_while_holding == []
    assert work.effects.rows_twice() == 0
    assert [work.effects.report(name) for name in REPORTS] == [(1, 1)] * len(REPORTS)


def test_a_workers_sudden_death_repeats_at_most_what_came_after_the_last_checkpoint(
    work: Work, measured: Measured
) -> None:
    busy = [pod for pod in work.shop.pods() if work.effects.held(pod["metadata"]["uid"])]
    victim = max(busy, key=lambda pod: work.effects.held(pod["metadata"]["uid"]))
    uid = victim["metadata"]["uid"]
    life = work.effects.life(uid)
    lost = {jid for jid, holders in work.effects.holders().items() if life in holders}
    assert lost, "the victim held nothing"
    work.shop.platform.kill_container(victim, "jobworker")
    killed = time.monotonic()

    def running_again() -> bool:
        holders = work.effects.holders()
        return all(jid in holders and life not in holders[jid] for jid in lost)

    wait_until_sync(running_again, 30, "what the dead worker held runs again")
    measured(f"{len(lost)} jobs ran again {time.monotonic() - killed:.2f} s after the SIGKILL of their worker")
    wait_until_sync(work.ended, 180, "all work is done")
    repeated = work.effects.rows_twice()
    bound = len(lost) * FLUSH_SECONDS * 1000 / ROW_MS
    measured(f"{repeated} rows were repeated, at most {bound:.0f} could be")
    assert repeated <= bound
    assert all(finished >= 1 for _, finished in map(work.effects.report, REPORTS))
