"""Actions that touch both Redis and pods: their order, and what a race or a death in between leaves behind."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from jobworker.protocol.keys import Keys
from jobworker.protocol.records import Finished, Number, WorkerId
from jobworker.protocol.scripts import WorkerScripts
from jobworker_operator.act.actor import Actor
from jobworker_operator.act.budget import WriteBudget
from jobworker_operator.act.closing import Closing
from jobworker_operator.act.events import EventRecorder
from jobworker_operator.act.expectations import Expectations
from jobworker_operator.act.work import Report, Work
from jobworker_operator.adapters.native import NativeAdapter
from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.errors import KubeError
from jobworker_operator.model.actions import (
    Action,
    DeletePod,
    Event,
    Plan,
    QuietPod,
    RescueWorker,
    RetirePod,
    SetReplicas,
    UnquietPod,
)
from jobworker_operator.model.names import REMOVAL_ANNOTATION
from jobworker_operator.model.parse import parse_jobworker, parse_pod
from tests.component.operator.api_server import ApiServer
from tests.component.operator.objects import EVENTS, JOBWORKERS, PODS, jobworker, pod
from tests.integration.operator.conftest import Birth

UID = "uid-a"


class Stage:
    """One JobWorker, one pod ``a``, and an actor."""

    def __init__(self, api: ApiServer, kube: Kube, adapter: NativeAdapter) -> None:
        self.api = api
        self.adapter: NativeAdapter | None = adapter
        self.expectations = Expectations()
        self.deleted: list[str] = []
        self.learnt: list[dict[str, Any]] = []
        budget = WriteBudget(1000, 1000)
        self.events = EventRecorder(kube, budget, "operator-1", Closing())
        self.actor = Actor(
            kube,
            self.events,
            budget,
            self.expectations,
            learn=self.learnt.append,
            shown=lambda _key, _uid: None,
            on_delete=lambda _key, facts, _reason: self.deleted.append(facts.uid),
        )
        self.owner = parse_jobworker(api.put(JOBWORKERS, jobworker()))
        api.put(PODS, pod("a"))

    @property
    def pod(self) -> dict[str, Any]:
        return self.api.collections[PODS]["a"]

    @property
    def removal(self) -> str | None:
        text: str | None = (self.pod["metadata"].get("annotations") or {}).get(REMOVAL_ANNOTATION)
        return text

    def delete(self, epoch: str | None, **changes: Any) -> DeletePod:
        return DeletePod(UID, "a", self.pod["metadata"]["resourceVersion"], "Rollout", epoch, **changes)

    async def carry_out(self, *actions: Action) -> Report:
        pods = {UID: parse_pod(self.pod)} if "a" in self.api.collections[PODS] else {}
        work = Work(self.owner, Plan(actions), pods, lambda _uid: self.adapter)
        return await self.actor.carry_out(work)


@pytest.fixture
def stage(api: ApiServer, kube: Kube, adapter: NativeAdapter) -> Stage:
    return Stage(api, kube, adapter)


async def quiet(redis: Redis) -> str | None:
    reason = await redis.get(Keys().quiet(WorkerId(UID)))
    assert not isinstance(reason, str), "the client decodes nothing"
    return None if reason is None else reason.decode()


async def finish(worker: WorkerScripts) -> None:
    await worker.finish([Finished(Number(1), "default")])


async def test_an_idle_pod_is_retired_in_redis_and_then_marked(stage: Stage, birth: Birth, redis: Redis) -> None:
    await birth(UID)
    await stage.carry_out(RetirePod(UID, "a", "ScaleIn", Event("PodRetired", "Pod a was idle")))
    assert await quiet(redis) == "operator: ScaleIn"
    assert '"ScaleIn"' in str(stage.removal)
    assert stage.expectations.unsettled_seconds(stage.owner.key) is None, "the watch shows no pod a: it must be gone"
    await stage.events.flush()
    assert [event["reason"] for event in stage.api.collections[EVENTS].values()] == ["PodRetired"]


async def test_a_pod_that_took_a_job_meanwhile_is_not_retired_nor_marked(
    stage: Stage, birth: Birth, redis: Redis
) -> None:
    await birth(UID, 1)
    await stage.carry_out(RetirePod(UID, "a", "ScaleIn", Event("PodRetired", "Pod a was idle")))
    assert await quiet(redis) is None
    assert stage.removal is None
    await stage.events.flush()
    assert EVENTS not in stage.api.collections, "an Event told of what did not happen"


async def test_death_between_quiet_and_mark_leaves_a_quiet_pod_that_is_marked_later(
    stage: Stage, birth: Birth, redis: Redis
) -> None:
    await birth(UID, 1)
    stage.api.refusals.append(("patch", "pods/a", 503, "gone away"))
    with pytest.raises(KubeError):
        await stage.carry_out(QuietPod(UID, "a", "Rollout"))
    assert await quiet(redis) == "operator: Rollout"
    assert stage.removal is None
    await stage.carry_out(QuietPod(UID, "a", "Rollout"))
    assert '"Rollout"' in str(stage.removal)


async def test_a_mark_that_stands_is_not_written_again(stage: Stage, birth: Birth) -> None:
    await birth(UID, 1)
    await stage.carry_out(QuietPod(UID, "a", "Rollout"))
    first = stage.removal
    await stage.carry_out(QuietPod(UID, "a", "Rollout"))
    assert stage.api.count("patch", "pods/a") == 1
    await stage.carry_out(QuietPod(UID, "a", "Deleted"))
    assert str(stage.removal).replace("Deleted", "Rollout") == first, "the time at which it began to leave was lost"


async def test_a_pod_whose_reason_is_withdrawn_loses_mark_and_quiet(stage: Stage, birth: Birth, redis: Redis) -> None:
    await birth(UID, 1)
    await stage.carry_out(QuietPod(UID, "a", "Rollout"))
    await stage.carry_out(UnquietPod(UID, "a"))
    assert await quiet(redis) is None
    assert stage.removal is None


async def test_a_pod_that_holds_a_job_is_not_deleted_whatever_the_plan_says(stage: Stage, birth: Birth) -> None:
    worker = await birth(UID, 1)
    await stage.carry_out(QuietPod(UID, "a", "Rollout"))
    report = await stage.carry_out(stage.delete(worker.epoch))
    assert stage.api.count("delete") == 0
    assert report.look_again is not None
    await finish(worker)
    await stage.carry_out(stage.delete(worker.epoch))
    assert stage.api.count("delete") == 1
    assert stage.deleted == [UID]


async def test_a_pod_in_another_life_than_the_one_looked_at_is_not_deleted(stage: Stage, birth: Birth) -> None:
    await birth(UID)
    await stage.carry_out(RetirePod(UID, "a", "Rollout"))
    await stage.carry_out(stage.delete("a life before"))
    await stage.carry_out(stage.delete(None))
    assert stage.api.count("delete") == 0


async def test_a_quiet_that_redis_has_forgotten_is_set_again_and_the_wait_begins_anew(
    stage: Stage, birth: Birth, redis: Redis
) -> None:
    worker = await birth(UID)
    await stage.carry_out(RetirePod(UID, "a", "Rollout"))
    await redis.delete(Keys().quiet(WorkerId(UID)))
    await stage.carry_out(stage.delete(worker.epoch))
    assert stage.api.count("delete") == 0
    assert await quiet(redis) == "operator: Rollout"


async def test_a_job_with_a_checkpoint_is_cut_only_where_an_age_is_allowed(
    stage: Stage, birth: Birth, redis: Redis
) -> None:
    worker = await birth(UID, 1)
    await stage.carry_out(QuietPod(UID, "a", "Rollout"))
    now_ms = int((await redis.time())[0]) * 1000
    await redis.hset(Keys().checkpoints(WorkerId(UID)), "1", str(now_ms))
    await stage.carry_out(stage.delete(worker.epoch))
    assert stage.api.count("delete") == 0
    await stage.carry_out(stage.delete(worker.epoch, checkpoint_max_age_seconds=60.0))
    assert stage.api.count("delete") == 1


async def test_a_pod_that_changed_since_it_was_looked_at_is_not_deleted(stage: Stage, birth: Birth) -> None:
    worker = await birth(UID)
    await stage.carry_out(RetirePod(UID, "a", "Rollout"))
    action = stage.delete(worker.epoch)
    stage.api.put(PODS, {**stage.pod, "status": {"phase": "Running", "message": "changed"}})
    report = await stage.carry_out(action)
    assert "deletionTimestamp" not in stage.pod["metadata"]
    assert stage.deleted == []
    assert report.look_again is not None


async def test_a_redis_that_fails_stops_neither_the_other_actions_nor_the_report(
    stage: Stage, birth: Birth, adapter: NativeAdapter, redis: Redis
) -> None:
    await redis.set(Keys().working(WorkerId(UID)), "not a hash")
    await birth("uid-b")
    report = await stage.carry_out(RetirePod(UID, "a", "Rollout"), SetReplicas(5, "because"))
    assert len(report.failures) == 1
    assert stage.api.collections[JOBWORKERS]["mailers"]["spec"]["replicas"] == 5


async def test_replicas_that_somebody_changed_meanwhile_are_not_overwritten(stage: Stage) -> None:
    changed = jobworker(replicas=9)
    stage.api.put(JOBWORKERS, changed)
    report = await stage.carry_out(SetReplicas(5, "because"))
    assert stage.api.collections[JOBWORKERS]["mailers"]["spec"]["replicas"] == 9
    assert report.look_again is not None


async def test_without_a_way_to_redis_nobody_is_deleted(stage: Stage) -> None:
    stage.adapter = None
    report = await stage.carry_out(stage.delete("x"), RetirePod(UID, "a", "Rollout"), QuietPod(UID, "a", "Rollout"))
    assert stage.api.count("delete") == 0
    assert stage.removal is None
    assert report.look_again is not None


async def test_jobs_of_a_pod_that_still_stands_are_not_given_back(stage: Stage, birth: Birth, redis: Redis) -> None:
    await birth(UID, 2, pod="a")
    orphan = RescueWorker(UID, None, planned=True, forget=True, cause="the pod is gone")
    await stage.carry_out(orphan)
    assert await redis.llen(Keys().queue("default")) == 0, "jobs were taken from a living worker"
    stage.api.remove(PODS, "a")
    await stage.carry_out(orphan)
    assert await redis.llen(Keys().queue("default")) == 2
    await stage.events.flush()
    (event,) = stage.api.collections[EVENTS].values()
    assert event["message"] == "Gave back 2 jobs, because the pod is gone"
