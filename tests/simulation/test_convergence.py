"""The planner against a toy cluster in virtual time: faults by seed, promises at every step, and an end in sight.

The number in a failing test's name is its seed; `JOBWORKER_SIMULATION_SEED` runs that alone, and
`JOBWORKER_SIMULATION_SEEDS` sets how many run.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest

from jobworker_operator.model.actions import CreatePod, DeletePod, QuietPod, RetirePod
from jobworker_operator.model.spec import Amount, JobWorkerSpec, RolloutSpec, ScalingSpec
from tests.simulation.toy_cluster import STEP, ToyCluster
from tests.simulation.toy_operator import ToyOperator
from tests.unit.operator.situations import jobworker

TURMOIL_STEPS = 400
CALM_STEPS = 1500

_alone = os.environ.get("JOBWORKER_SIMULATION_SEED")
SEEDS = [int(_alone)] if _alone else range(int(os.environ.get("JOBWORKER_SIMULATION_SEEDS", "60")))


class Run:
    """One seed: a JobWorker of random settings and a person, a cluster and a Redis that give it no rest."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.cluster = ToyCluster(seed)
        choose = self.random.choice
        surge = choose([Amount(0), Amount(1), Amount(2), Amount(25, percent=True)])
        rollout = RolloutSpec(
            max_surge=surge,
            max_unavailable=Amount(1) if surge.value == 0 else choose([Amount(0), Amount(1)]),
            max_draining=choose([1, 2, 10]),
            min_ready_seconds=choose([0, 0, 2]),
            progress_deadline_seconds=30,
        )
        scaling = choose(
            [
                ScalingSpec(),
                ScalingSpec(
                    mode="Auto", min_replicas=choose([0, 1]), max_replicas=6, backlog_per_replica=2,
                    scale_down_stabilization_seconds=20,
                ),
            ]
        )  # fmt: skip
        owner = jobworker(choose([1, 3, 5]), rollout=rollout, scaling=scaling, finalizers=())
        self.operator = ToyOperator(self.cluster, owner, "r1")

    @property
    def spec(self) -> JobWorkerSpec:
        spec = self.operator.jobworker.spec
        assert spec is not None
        return spec

    def turmoil(self, steps: int = TURMOIL_STEPS) -> None:
        self.operator.conflict_rate = 0.1
        for _ in range(steps):
            self._person()
            self._trouble()
            self.step()
        self.operator.conflict_rate = 0.0
        self.cluster.redis_away = self.cluster.redis_lags = False
        self.cluster.lagging.clear()
        self.cluster.bad_revisions.discard(self.operator.revision)
        for pod in self.cluster.pods.values():
            pod.good = pod.good or pod.facts.revision == self.operator.revision
            pod.mute_until = 0.0
        if self.spec.scaling.mode == "Off":
            self.change(replicas=max(3, self.spec.replicas))
        if self.spec.rollout.paused:
            self.change(rollout=replace(self.spec.rollout, paused=False))

    def step(self) -> None:
        self.cluster.tick()
        self.cluster.show()
        self.operator.reconcile()

    def until_settled(self, steps: int = CALM_STEPS) -> int:
        """Steps until everything is as it shall be."""
        for number in range(steps):
            if self.is_settled():
                return number
            self.step()
        raise AssertionError(
            f"seed {self.seed} not settled after {steps * STEP:.0f} s: {self.operator.jobworker.status}"
        )

    def is_settled(self) -> bool:
        pods, operator = [pod.facts for pod in self.cluster.pods.values()], self.operator
        return (
            len(self.cluster.done) == self.cluster.enqueued
            and len(pods) == self.spec.replicas
            and all(pod.ready and pod.revision == operator.revision and pod.removal is None for pod in pods)
            and (self.spec.scaling.mode == "Off" or self.spec.replicas == self.spec.scaling.min_replicas)
            and next(one for one in operator.jobworker.status["conditions"] if one["type"] == "Ready")["status"]
            == "True"
        )

    def change(self, **fields: object) -> None:
        self.operator.jobworker = replace(self.operator.jobworker, spec=replace(self.spec, **fields))  # type: ignore[arg-type]  # names are checked by replace itself

    def _person(self) -> None:
        dice = self.random.random()
        if dice < 0.15:
            for _ in range(self.random.choice([1, 1, 5])):
                self.cluster.enqueue(self.random.choice([0.1, 0.6, 3, 10, 40]))
        elif dice < 0.16:
            self.operator.revision = self.random.choice(["r1", "r2", "r3"])
            if self.random.random() < 0.2:
                self.cluster.bad_revisions.add(self.operator.revision)
        elif dice < 0.17 and self.spec.scaling.mode == "Off":
            self.change(replicas=self.random.choice([0, 1, 2, 4, 6]))
        elif dice < 0.175:
            self.change(rollout=replace(self.spec.rollout, paused=not self.spec.rollout.paused))
        elif dice < 0.18 and self.cluster.pods:
            self.cluster.terminate(self.random.choice(list(self.cluster.pods.values())))

    def _trouble(self) -> None:
        cluster, dice = self.cluster, self.random.random()
        pods = list(cluster.pods.values())
        if dice < 0.01:
            cluster.redis_away = not cluster.redis_away
        elif dice < 0.02:
            self.operator.restart()
        elif dice < 0.03 and cluster.quiet:
            cluster.quiet.pop(self.random.choice(list(cluster.quiet)))  # a failover lost the last second
        elif dice < 0.05 and pods:
            cluster.crash(self.random.choice(pods))
        elif dice < 0.055 and pods:
            cluster.evict(self.random.choice(pods))
        elif dice < 0.07 and pods:
            self.random.choice(pods).mute_until = cluster.now + self.random.choice([1, 4, 15])
        elif dice < 0.073 and pods:
            cluster.vanish(self.random.choice(pods))
        elif dice < 0.09:
            cluster.redis_lags = not cluster.redis_lags
        elif dice < 0.20:
            cluster.lagging = {pod.facts.uid for pod in pods if self.random.random() < 0.5}
            cluster.lagging |= {f"pod-{cluster.created + number}" for number in range(1, 4)}
        elif dice < 0.35:
            cluster.lagging = set()


@pytest.mark.parametrize("seed", SEEDS)
def test_after_turmoil_every_job_is_done_and_every_pod_is_as_it_shall_be(seed: int) -> None:
    run = Run(seed)
    run.turmoil()
    run.until_settled()
    assert set(run.cluster.done) == set(range(1, run.cluster.enqueued + 1)), "a job was lost"


@pytest.mark.parametrize("clock_ahead", [-60.0, 60.0])
@pytest.mark.parametrize("seed", range(20))
def test_a_clock_that_is_a_minute_off_breaks_no_promise(seed: int, clock_ahead: float) -> None:
    run = Run(seed)
    run.operator.clock_ahead = clock_ahead
    run.operator.restart()
    run.turmoil()
    run.until_settled()
    assert set(run.cluster.done) == set(range(1, run.cluster.enqueued + 1)), "a job was lost"


@pytest.mark.parametrize("seed", range(10))
def test_at_rest_nothing_is_written(seed: int) -> None:
    run = Run(seed)
    run.turmoil(100)
    run.until_settled()
    for _ in range(60):
        run.step()  # the last samples and the stabilization window
    writes, actions = run.operator.status_writes, len(run.operator.actions)
    for _ in range(240):
        run.step()
    assert run.operator.status_writes == writes
    assert len(run.operator.actions) == actions


@pytest.mark.parametrize("seed", range(20))
def test_a_restart_of_the_operator_changes_nothing(seed: int) -> None:
    run = Run(seed)
    run.turmoil(100)
    run.until_settled()
    actions = len(run.operator.actions)
    run.operator.restart()
    for _ in range(100):
        run.step()
    assert len(run.operator.actions) == actions


@pytest.mark.parametrize("seed", range(20))
def test_a_deleted_jobworker_lets_busy_pods_finish_and_then_goes(seed: int) -> None:
    run = Run(seed)
    run.turmoil(150)
    run.operator.jobworker = replace(run.operator.jobworker, deleting=True)
    for _ in range(CALM_STEPS):
        if run.operator.gone:
            break
        run.step()
    assert run.operator.gone
    assert not run.cluster.pods
    assert not run.cluster.held, "jobs were left with the dead"


@pytest.mark.parametrize("seed", range(20))
def test_a_jobworker_whose_pods_crash_while_redis_is_away_can_be_deleted(seed: int) -> None:
    run = Run(seed)
    run.turmoil(150)
    run.cluster.redis_away = True
    run.operator.seen = None
    run.operator.jobworker = replace(run.operator.jobworker, deleting=True)
    for _ in range(CALM_STEPS):
        if run.operator.gone:
            break
        for pod in list(run.cluster.pods.values()):
            # A worker without its Redis gives up after a while.
            if run.cluster.now - (pod.facts.container_started_at or run.cluster.now) > 5:
                run.cluster.crash(pod)
        run.step()
    assert run.operator.gone, run.operator.jobworker.status
    assert not run.cluster.pods


def test_one_long_job_does_not_hold_up_the_rollout_of_the_others() -> None:
    run = Run(0)
    run.change(replicas=4, scaling=ScalingSpec(), rollout=RolloutSpec(max_surge=Amount(1)))
    run.until_settled()
    run.cluster.enqueue(400)
    for _ in range(4):
        run.step()
    run.operator.revision = "r2"
    for _ in range(80):
        run.step()
    status = run.operator.jobworker.status
    assert [pod.facts.revision for pod in run.cluster.pods.values()].count("r2") == 4
    assert status["drainingReplicas"] == 1
    assert status["conditions"][0]["status"] == "True"
    assert "for 1 job to end" in status["summary"]
    run.until_settled()
    assert run.cluster.done[1] == 1, "the long job was run once, without an interruption"


def test_a_revision_that_cannot_start_leaves_the_old_pods_at_work_until_it_is_mended() -> None:
    run = Run(0)
    run.change(
        replicas=3, scaling=ScalingSpec(), rollout=RolloutSpec(max_surge=Amount(1), progress_deadline_seconds=30)
    )
    run.until_settled()
    run.cluster.bad_revisions.add("r2")
    run.operator.revision = "r2"
    for _ in range(100):
        run.step()
    told = {one["type"]: one["reason"] for one in run.operator.jobworker.status["conditions"]}
    assert [pod.facts.revision for pod in run.cluster.pods.values() if pod.facts.ready] == ["r1"] * 3
    assert told["Progressing"] == "ProgressDeadlineExceeded"
    assert told["Degraded"] == "PodsCannotStart"
    run.operator.revision = "r3"
    run.until_settled()


def test_a_template_that_is_put_back_makes_no_new_pods() -> None:
    run = Run(0)
    run.change(replicas=3, scaling=ScalingSpec(), rollout=RolloutSpec(max_surge=Amount(3)))
    run.until_settled()
    for _ in range(6):
        run.cluster.enqueue(120)
    for _ in range(4):
        run.step()
    run.operator.revision = "r2"
    for _ in range(30):
        run.step()
    assert run.operator.jobworker.status["drainingReplicas"] == 3
    run.operator.revision = "r1"
    before = len(run.operator.actions)
    run.until_settled()
    later = run.operator.actions[before:]
    assert not [action for action in later if isinstance(action, CreatePod)]
    assert {action.name for action in later if isinstance(action, DeletePod)} == {"pod-4", "pod-5", "pod-6"} | {
        action.name for action in later if isinstance(action, RetirePod | QuietPod)
    }


def test_nothing_of_a_quiet_pod_that_vanished_stays_in_redis() -> None:
    run = Run(0)
    run.change(replicas=2, scaling=ScalingSpec(), rollout=RolloutSpec(max_surge=Amount(1)))
    run.until_settled()
    for _ in range(4):
        run.cluster.enqueue(60)
    for _ in range(4):
        run.step()
    run.operator.revision = "r2"
    while not run.cluster.quiet:
        run.step()
    (uid,) = run.cluster.quiet.keys() - {pod.facts.uid for pod in run.cluster.pods.values() if not pod.jobs}
    run.cluster.vanish(run.cluster.pods[uid])
    run.until_settled()
    assert not run.cluster.quiet
