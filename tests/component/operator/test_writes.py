"""What is written to the API server: pods, finalizer, status, Events."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from jobworker_operator.act.budget import WriteBudget
from jobworker_operator.act.closing import Closing
from jobworker_operator.act.creation import FIRST_PAUSE, LONGEST_PAUSE, PodCreator
from jobworker_operator.act.events import SAME_SECONDS, EventRecorder
from jobworker_operator.act.expectations import Expectations
from jobworker_operator.act.finalizer import write_finalizer
from jobworker_operator.act.status import StatusWriter, merge_patch
from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.errors import Conflict, Unavailable
from jobworker_operator.model.actions import Event
from jobworker_operator.model.names import DRAIN_FINALIZER
from jobworker_operator.model.parse import parse_jobworker
from jobworker_operator.model.spec import JobWorker, Key
from tests.component.operator.api_server import ApiServer
from tests.component.operator.objects import EVENTS, JOBWORKERS, PODS, jobworker

KEY = Key("shop", "mailers")
QUOTA = 'pods "mailers-r1-abcde" is forbidden: exceeded quota: q'


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def closing() -> Closing:
    return Closing()


@pytest.fixture
def expectations(clock: Clock) -> Expectations:
    return Expectations(clock)


@pytest.fixture
def creator(kube: Kube, expectations: Expectations, closing: Closing, clock: Clock) -> PodCreator:
    return PodCreator(kube, WriteBudget(1000, 1000), expectations, lambda _key, _uid: None, closing, clock)


def stored(api: ApiServer, **fields: Any) -> JobWorker:
    return parse_jobworker(api.put(JOBWORKERS, {**jobworker(), **fields}))


# ── pods ───────────────────────────────────────────────────────────────────────


async def test_pods_are_created_and_expected(api: ApiServer, creator: PodCreator, expectations: Expectations) -> None:
    assert await creator.create(stored(api), "r1", 7) is None
    pods = api.collections[PODS].values()
    assert len(pods) == 7
    assert all(pod["metadata"]["ownerReferences"][0]["controller"] for pod in pods)
    assert expectations.unsettled_seconds(KEY) is not None
    for pod in pods:
        expectations.observed(KEY, pod["metadata"]["uid"], None)
    assert expectations.unsettled_seconds(KEY) is None


async def test_a_refused_template_is_tried_once_and_then_after_growing_pauses(
    api: ApiServer, creator: PodCreator, clock: Clock
) -> None:
    api.refuse_always.append(("create", "pods", 403, QUOTA))
    owner = stored(api)
    pauses = []
    for tries in range(1, 9):
        pause = await creator.create(owner, "r1", 50)
        assert api.count("create", "pods") == tries, "a refusal was repeated"
        assert pause is not None
        assert await creator.create(owner, "r1", 50) == pytest.approx(pause), "the pause was not kept"
        pauses.append(pause)
        clock.now += pause
    assert pauses[0] == FIRST_PAUSE
    assert pauses[-1] == LONGEST_PAUSE
    assert pauses == sorted(pauses)


async def test_a_refusal_reads_the_same_whatever_name_was_made_up(
    api: ApiServer, creator: PodCreator, clock: Clock
) -> None:
    sentences = set()
    for name in ("mailers-r1-abcde", "mailers-r1-zyxwv"):
        api.refusals.append(("create", "pods", 403, QUOTA.replace("mailers-r1-abcde", name)))
        await creator.create(stored(api), "r1", 1)
        sentences.add(creator.problem(KEY))
        clock.now += LONGEST_PAUSE
    assert len(sentences) == 1
    assert "ResourceQuota" in str(sentences.pop())


async def test_a_new_revision_is_tried_at_once_after_a_refusal(api: ApiServer, creator: PodCreator) -> None:
    api.refusals.append(("create", "pods", 422, "spec.containers: Required value"))
    assert await creator.create(stored(api), "r1", 1) is not None
    assert creator.problem(KEY) is not None
    assert await creator.create(stored(api), "r2", 1) is None
    assert creator.problem(KEY) is None
    assert len(api.collections[PODS]) == 1


async def test_a_create_without_an_answer_is_not_repeated_before_the_watch_could_show_its_pod(
    api: ApiServer, creator: PodCreator, expectations: Expectations
) -> None:
    api.refusals.append(("create", "pods", 504, "timeout"))
    with pytest.raises(Unavailable):
        await creator.create(stored(api), "r1", 3)
    assert expectations.unsettled_seconds(KEY) is not None
    assert creator.problem(KEY) is None, "an outage is no fault of the template"


async def test_in_a_namespace_that_is_deleted_nothing_is_created_and_that_is_said_once(
    api: ApiServer, kube: Kube, creator: PodCreator, closing: Closing, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jobworker_operator")
    api.refuse_always.append(("create", "pods", 403, "unable to create: namespace shop is being terminated"))
    api.refuse_always.append(("create", "events", 403, "unable to create: namespace shop is being terminated"))
    owner = stored(api)
    recorder = EventRecorder(kube, WriteBudget(), "operator-1", closing, clock)
    recorder.post(owner, Event("A", "was waiting when the namespace was deleted"))
    for _ in range(3):
        assert await creator.create(owner, "r1", 3) is None
        clock.now += LONGEST_PAUSE
    recorder.post(owner, Event("B", "too late"))
    await recorder.flush()
    assert creator.problem(KEY) is None, "it is no fault of the template"
    assert (api.count("create", "pods"), api.count("create", "events")) == (1, 0)
    told = [record for record in caplog.records if "is being deleted" in record.getMessage()]
    assert [record.levelname for record in told] == ["INFO"]
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


# ── finalizer ──────────────────────────────────────────────────────────────────


async def test_the_finalizer_is_added_beside_those_of_others_and_removed_alone(api: ApiServer, kube: Kube) -> None:
    learnt: list[dict[str, Any]] = []
    owner = jobworker()
    owner["metadata"]["finalizers"] = ["example.com/other"]
    first = parse_jobworker(api.put(JOBWORKERS, owner))
    await write_finalizer(kube, WriteBudget(), first, learnt.append, present=True)
    assert api.collections[JOBWORKERS]["mailers"]["metadata"]["finalizers"] == ["example.com/other", DRAIN_FINALIZER]
    await write_finalizer(kube, WriteBudget(), parse_jobworker(learnt[0]), learnt.append, present=False)
    assert api.collections[JOBWORKERS]["mailers"]["metadata"]["finalizers"] == ["example.com/other"]
    assert len(learnt) == 1, "a JobWorker that may be gone was put back into memory"


async def test_a_finalizer_that_somebody_added_meanwhile_is_not_lost(api: ApiServer, kube: Kube) -> None:
    first = stored(api)
    owner = jobworker()
    owner["metadata"]["finalizers"] = ["example.com/other"]
    api.put(JOBWORKERS, owner)
    with pytest.raises(Conflict):
        await write_finalizer(kube, WriteBudget(), first, lambda _obj: None, present=True)
    assert api.collections[JOBWORKERS]["mailers"]["metadata"]["finalizers"] == ["example.com/other"]


# ── status ─────────────────────────────────────────────────────────────────────


async def test_a_status_that_is_the_same_is_not_written(api: ApiServer, kube: Kube) -> None:
    owner = stored(api, status={"replicas": 2, "queues": [{"name": "default", "depth": 1}]})
    writer = StatusWriter(kube, WriteBudget(), lambda _obj: None)
    await writer.write(owner, {"queues": [{"name": "default", "depth": 1}], "replicas": 2})
    assert api.count("patch") == 0


async def test_only_what_differs_is_written_and_what_is_left_out_is_removed(api: ApiServer, kube: Kube) -> None:
    owner = stored(api, status={"replicas": 2, "summary": "x", "scaling": {"reason": "a", "recommendation": 3}})
    learnt: list[dict[str, Any]] = []
    writer = StatusWriter(kube, WriteBudget(), learnt.append)
    await writer.write(owner, {"replicas": 3, "scaling": {"recommendation": 3}})
    assert api.calls[-1].body["status"] == {"replicas": 3, "summary": None, "scaling": {"reason": None}}
    assert learnt[0]["status"] == {"replicas": 3, "scaling": {"recommendation": 3}}


async def test_the_status_of_a_namesake_is_left_alone(api: ApiServer, kube: Kube) -> None:
    first = stored(api)
    namesake = jobworker()
    namesake["metadata"]["uid"] = "second"
    api.put(JOBWORKERS, namesake)
    with pytest.raises(Conflict):
        await StatusWriter(kube, WriteBudget(), lambda _obj: None).write(first, {"replicas": 3})
    assert "status" not in api.collections[JOBWORKERS]["mailers"]


async def test_samples_yield_to_other_writes(api: ApiServer, kube: Kube) -> None:
    budget = WriteBudget(0.001, 4)
    for _ in range(3):
        await budget.take()
    writer = StatusWriter(kube, budget, lambda _obj: None)
    owner = stored(api, status={"replicas": 2, "depth": 1})
    assert await writer.write(owner, {"replicas": 2, "depth": 9}) is not None
    assert api.count("patch") == 0
    assert await writer.write(owner, {"replicas": 3, "depth": 9}) is None
    assert api.count("patch") == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {"a": 1}),
        ({"a": 1}, {}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}),
        ({"a": [1, 2]}, {"a": [1]}),
        ({"a": {"b": 1}}, {"a": 5}),
        ({"a": 5}, {"a": {"b": 1}}),
        ({"a": 0}, {"a": False}),
    ],
)
def test_a_merge_patch_makes_the_new_of_the_old(old: dict[str, Any], new: dict[str, Any]) -> None:
    def applied(target: Any, patch: Any) -> Any:  # RFC 7396, as written there
        if not isinstance(patch, dict):
            return patch
        merged = dict(target) if isinstance(target, dict) else {}
        for name, value in patch.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = applied(merged.get(name), value)
        return merged

    assert applied(old, merge_patch(old, new)) == new


# ── Events ─────────────────────────────────────────────────────────────────────


async def test_the_same_event_within_a_minute_is_posted_once_and_later_counted(
    api: ApiServer, kube: Kube, closing: Closing, clock: Clock
) -> None:
    recorder = EventRecorder(kube, WriteBudget(), "operator-1", closing, clock)
    owner = stored(api)
    event = Event("PodDeleted", "Deleted pod a")
    for _ in range(5):
        recorder.post(owner, event)
    await recorder.flush()
    assert [(posted["count"], posted["reason"]) for posted in api.collections[EVENTS].values()] == [(1, "PodDeleted")]
    clock.now += SAME_SECONDS
    recorder.post(owner, event)
    recorder.post(owner, Event("PodDeleted", "Deleted pod b"))
    await recorder.flush()
    assert sorted((posted["message"], posted["count"]) for posted in api.collections[EVENTS].values()) == [
        ("Deleted pod a", 2),
        ("Deleted pod b", 1),
    ]


async def test_an_event_that_the_api_server_has_forgotten_is_posted_anew(
    api: ApiServer, kube: Kube, closing: Closing, clock: Clock
) -> None:
    recorder = EventRecorder(kube, WriteBudget(), "operator-1", closing, clock)
    owner = stored(api)
    recorder.post(owner, Event("PodDeleted", "Deleted pod a"))
    await recorder.flush()
    api.collections[EVENTS].clear()
    clock.now += SAME_SECONDS
    recorder.post(owner, Event("PodDeleted", "Deleted pod a"))
    await recorder.flush()
    assert [posted["count"] for posted in api.collections[EVENTS].values()] == [1]


async def test_an_event_that_cannot_be_posted_stops_nothing(
    api: ApiServer, kube: Kube, closing: Closing, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = EventRecorder(kube, WriteBudget(), "operator-1", closing, clock)
    owner = stored(api)
    api.refusals.append(("create", "events", 403, "events is forbidden"))
    recorder.post(owner, Event("A", "refused"))
    recorder.post(owner, Event("B", "posted"))
    await recorder.flush()
    assert [posted["reason"] for posted in api.collections[EVENTS].values()] == ["B"]
    assert "events is forbidden" in caplog.text
