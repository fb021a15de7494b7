from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobworker_operator.model.actions import DeletePod, RetirePod
from jobworker_operator.model.facts import Observation, PodFacts, QueueFacts, RedisFacts, Removal, WorkerActivity
from jobworker_operator.model.spec import RedisSpec, ScalingSpec, SecretKey
from jobworker_operator.plan import plan
from tests.unit.operator.situations import (
    AWAY,
    NEW,
    NOW,
    OLD,
    busy,
    going,
    idle,
    jobworker,
    observe,
    pending,
    pod,
    quiet,
    rollout,
)
from tests.unit.operator.test_rollout import BROKEN

PODS = [pod(f"p{number}") for number in range(3)]


def status(observation: Observation) -> dict[str, Any]:
    return dict(plan(observation).status or {})


def condition(observation: Observation, kind: str) -> tuple[str, str]:
    told = next(one for one in status(observation)["conditions"] if one["type"] == kind)
    return told["status"], told["reason"]


def later(observation: Observation, seconds: float = 0.0, **more: Any) -> Observation:
    """The same, after the status was written."""
    written = replace(observation.jobworker, status=status(observation))
    return replace(observation, jobworker=written, now=observation.now + seconds, **more)


def with_depth(depth: int, latency: float = 0.0) -> RedisFacts:
    return RedisFacts({"p0": idle(), "p1": idle(), "p2": idle()}, (QueueFacts("default", depth, latency),))


def test_the_whole_of_it() -> None:
    workers = {"p0": busy(2), "old": quiet(1)}
    observation = observe(*PODS, going("old"), of=jobworker(generation=4), workers=workers, depth=12)
    told = status(observation)
    conditions = told.pop("conditions")
    assert told == {
        "observedGeneration": 4,
        "desiredReplicas": 3,
        "replicas": 3,
        "readyReplicas": 3,
        "updatedReplicas": 3,
        "busyReplicas": 2,
        "drainingReplicas": 1,
        "selector": "jobworker.dev/jobworker=mailers",
        "currentRevision": NEW,
        "updateRevision": NEW,
        "queues": [{"name": "default", "depth": 12, "latencySeconds": 0, "paused": False}],
        "depth": 12,
        "latencySeconds": 0,
        "draining": [{"pod": "old", "since": "1970-01-12T13:46:05Z", "waitingFor": "1 job to end", "jobs": 1}],
        "summary": "Ready, 1 draining (old waits since 13:46:05 UTC for 1 job to end)",
        "sampledAt": "1970-01-12T13:46:40Z",
    }
    assert [one["type"] for one in conditions] == ["Ready", "Progressing", "Degraded", "Draining", "ScalingActive"]
    assert {one["observedGeneration"] for one in conditions} == {4}


@pytest.mark.parametrize(
    ("observation", "ready", "progressing", "degraded", "summary"),
    [
        pytest.param(
            observe(*PODS),
            ("True", "ReplicasAvailable"),
            ("True", "RolloutComplete"),
            ("False", "AsExpected"),
            "Ready",
            id="at rest",
        ),
        pytest.param(
            observe(*PODS[:2], pending("new")),
            ("False", "ReplicasUnavailable"),
            ("True", "WaitingForReplicas"),
            ("False", "AsExpected"),
            "Starting: 2 of 3 available",
            id="starting",
        ),
        pytest.param(
            observe(pod("a", OLD), pod("b", OLD), PODS[0], PODS[1], going("o"), workers={"o": quiet(1)}),
            ("False", "RollingOut"),
            ("True", "RollingOut"),
            ("False", "AsExpected"),
            "Rolling out: 2 of 3 updated, 1 draining (o waits since 13:46:05 UTC for 1 job to end)",
            id="rolling out",
        ),
        pytest.param(
            observe(pod("a", OLD), of=jobworker(1, rollout=rollout(paused=True))),
            ("False", "RolloutPaused"),
            ("Unknown", "RolloutPaused"),
            ("False", "AsExpected"),
            "Paused: 0 of 1 updated",
            id="paused",
        ),
        pytest.param(
            observe(*PODS, redis=AWAY),
            ("True", "ReplicasAvailable"),
            ("True", "RolloutComplete"),
            ("True", "RedisUnreachable"),
            f"Held: {AWAY.problem}",
            id="Redis away",
        ),
        pytest.param(
            observe(pending("new", **BROKEN), of=jobworker(1)),
            ("False", "ReplicasUnavailable"),
            ("True", "WaitingForReplicas"),
            ("True", "PodsCannotStart"),
            "Stuck: pod new cannot start: ImagePullBackOff: no such image; "
            "check spec.template.spec.containers[0].image",
            id="cannot start",
        ),
        pytest.param(
            observe(*PODS, workers={"p2": idle(alive=False)}),
            ("False", "ReplicasUnavailable"),
            ("True", "WaitingForReplicas"),
            ("True", "WorkersUnknown"),
            "Starting: 2 of 3 available",
            id="unknown",
        ),
        pytest.param(
            observe(*PODS, of=jobworker(1), workers={p.uid: busy() for p in PODS}),
            ("True", "ReplicasAvailable"),
            ("True", "RolloutComplete"),
            ("False", "AsExpected"),
            "Scaling in: 3 replicas of 1, waits for idle pods",
            id="waits for idle pods",
        ),
        pytest.param(
            observe(*PODS[:2], problems=("the API server refuses pods: quota",)),
            ("False", "ReplicasUnavailable"),
            ("True", "WaitingForReplicas"),
            ("True", "WritesRefused"),
            "Stuck: the API server refuses pods: quota",
            id="refused",
        ),
        pytest.param(
            observe(*PODS, of=jobworker(deleting=True)),
            ("False", "Deleting"),
            ("False", "Deleting"),
            ("False", "AsExpected"),
            "Deleting",
            id="deleting",
        ),
    ],
)
def test_conditions_and_summary(
    observation: Observation,
    ready: tuple[str, str],
    progressing: tuple[str, str],
    degraded: tuple[str, str],
    summary: str,
) -> None:
    assert condition(observation, "Ready") == ready
    assert condition(observation, "Progressing") == progressing
    assert condition(observation, "Degraded") == degraded
    assert status(observation)["summary"] == summary


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("CrashLoopBackOff", "see kubectl logs -n shop p -c worker --previous"),
        ("CreateContainerConfigError", "check the Secrets and ConfigMaps that spec.template.spec.containers[1]"),
        ("ErrImagePull", "check spec.template.spec.containers[1].image"),
        ("RunContainerError", "check spec.template.spec.containers[1]"),
    ],
)
def test_a_pod_that_cannot_start_comes_with_advice(reason: str, advice: str) -> None:
    spec = jobworker(1, template={"spec": {"containers": [{"name": "side"}, {"name": "worker"}]}})
    shown = pending("p", waiting_reason=reason, waiting_container="worker")
    told = next(one for one in status(observe(shown, of=spec))["conditions"] if one["type"] == "Degraded")
    assert advice in told["message"]


def test_at_rest_the_status_stays_the_same() -> None:
    observation = observe(*PODS, going("old"), workers={"old": quiet(1)})
    first = later(observation, 1.5)
    assert status(first) == first.jobworker.status
    much = later(first, 3600, redis=first.redis)
    assert status(much) == first.jobworker.status


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    def since(observation: Observation) -> str:
        return str(status(observation)["conditions"][0]["lastTransitionTime"])

    start = observe(*PODS[:2])
    still = later(start, 60, pods=(PODS[0],))
    assert since(still) == since(start)
    ready = later(still, 60, pods=tuple(PODS), redis=with_depth(0))
    assert since(ready) == "1970-01-12T13:48:40Z"


def test_samples_are_written_now_and_then_and_with_whatever_else_changes() -> None:
    start = observe(*PODS, redis=with_depth(5))
    soon = later(start, 4, redis=with_depth(90))
    assert status(soon)["depth"] == 5
    assert plan(soon).look_again_seconds == 6
    due = replace(soon, now=NOW + 10)
    assert (status(due)["depth"], status(due)["sampledAt"]) == (90, "1970-01-12T13:46:50Z")
    changed = replace(soon, pods=tuple(PODS[:2]))
    assert status(changed)["depth"] == 90


@pytest.mark.parametrize(("seconds", "shown"), [(0.9, 0), (99.9, 99), (123.0, 120), (3671.0, 3600), (86_999.0, 86_000)])
def test_the_age_of_a_job_that_nobody_takes_is_not_news_every_second(seconds: float, shown: int) -> None:
    assert status(observe(*PODS, redis=with_depth(1, seconds)))["latencySeconds"] == shown


def test_figures_of_redis_stand_while_it_is_away() -> None:
    away = later(observe(*PODS, redis=with_depth(5)), 60, redis=AWAY)
    assert status(away)["depth"] == 5
    assert status(away)["busyReplicas"] == 3, "unknown is busy"


def test_a_long_answer_of_a_registry_fits_into_the_status() -> None:
    shown = pending("p", waiting_reason="ErrImagePull", waiting_message="x" * 5000)
    assert len(status(observe(shown, of=jobworker(1)))["summary"]) < 1024


def events(observation: Observation) -> list[str]:
    return [event.reason for event in plan(observation).events]


def test_a_rollout_is_told_when_it_starts_and_when_it_is_complete() -> None:
    before = observe(*PODS)
    started = replace(later(before), revision="newer")
    assert events(started) == ["RolloutStarted"]
    assert events(later(started)) == []
    done = later(started, pods=tuple(pod(f"p{number}", "newer") for number in range(3)))
    assert events(done) == ["RolloutComplete"]
    assert events(later(done)) == []


def test_the_first_pods_are_no_rollout() -> None:
    assert events(observe()) == []
    assert events(later(observe(), pods=tuple(PODS), redis=with_depth(0))) == []


@pytest.mark.parametrize(
    ("draining", "rest"),
    [
        pytest.param((), "", id="none"),
        pytest.param(("one",), "; 1 pod of another revision finishes its jobs", id="one"),
        pytest.param(("one", "withdrawn"), "; 2 pods of other revisions finish their jobs", id="one was withdrawn"),
        pytest.param(("same",), "", id="scaled in"),
        pytest.param(("ending",), "", id="is only being ended"),
    ],
)
def test_a_complete_rollout_tells_who_still_works(draining: tuple[str, ...], rest: str) -> None:
    shown = {
        "one": going("one"),
        "withdrawn": going("withdrawn", revision="between"),
        "same": going("same", "ScaleIn", NEW),
        "ending": going("ending", terminating=True),
    }
    of = jobworker(status={"currentRevision": OLD, "updateRevision": NEW})
    workers = {name: quiet(1) for name in draining}
    (event,) = plan(observe(*PODS, *(shown[name] for name in draining), of=of, workers=workers)).events
    assert (event.reason, event.message) == ("RolloutComplete", f"All 3 replicas are of revision {NEW}{rest}")


def test_a_size_that_somebody_changed_is_told_once() -> None:
    before = later(observe(*PODS))
    for replicas, words in ((5, "5 replicas"), (1, "1 replica")):
        scaled = replace(before, jobworker=replace(before.jobworker, spec=jobworker(replicas).spec))
        (event,) = plan(scaled).events
        assert (event.reason, event.message) == ("Rescaled", f"From 3 to {words}: spec.replicas was changed")
        assert events(later(scaled)) == []
    assert events(observe(*PODS)) == [], "a first size is no change"
    assert events(replace(before, jobworker=replace(before.jobworker, deleting=True))) == []


def test_the_size_that_the_queues_ask_for_is_told_by_what_was_done() -> None:
    auto = jobworker(3, scaling=ScalingSpec(mode="Auto", max_replicas=9), status={"desiredReplicas": 2})
    assert "Rescaled" not in events(observe(*PODS, of=auto, depth=70))


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        pytest.param(pending("p", OLD), "had not started and will take no jobs", id="never started"),
        pytest.param(
            pod("p", OLD, ready=False, ready_since=None, unready_since=NOW - 1000),
            "had not registered in Redis and will take no jobs",
            id="not registered",
        ),
        pytest.param(pod("p", OLD), "was idle and takes no more jobs", id="idle"),
    ],
)
def test_a_retired_pod_is_idle_only_if_it_could_have_worked(shown: PodFacts, words: str) -> None:
    told = {} if shown.ready else {"p": WorkerActivity()}
    decided = plan(observe(*PODS, shown, workers=told))
    (event,) = [action.event for action in decided.actions if isinstance(action, RetirePod)]
    assert event is not None
    assert event.message == f"Pod p {words} (Rollout)"


def test_trouble_is_told_once_and_so_is_its_end() -> None:
    fine = observe(*PODS)
    away = later(fine, redis=AWAY)
    (event,) = plan(away).events
    assert (event.reason, event.type) == ("RedisUnreachable", "Warning")
    assert AWAY.problem in event.message
    assert events(later(away)) == []
    assert events(later(away, redis=fine.redis)) == ["Recovered"]


def test_a_pod_that_has_just_begun_is_no_trouble_yet() -> None:
    begun = pod("p2", container_started_at=NOW - 3, ready_since=NOW - 1)
    assert events(observe(*PODS[:2], begun, workers={"p2": WorkerActivity()})) == []
    assert events(observe(*PODS, workers={"p2": WorkerActivity()})) == ["WorkersUnknown"]


def test_a_pod_whose_secret_now_names_another_redis_is_busy_and_the_status_says_what_to_do() -> None:
    moored = pod("old", redis=RedisSpec(secret=SecretKey("shop-redis", "url")))
    for removal in (None, Removal("Rollout", NOW - 60)):
        told = {
            "old": WorkerActivity(quiet=None if removal is None else "operator: Rollout")
        }  # as the new Redis shows it
        observation = observe(pod("new"), replace(moored, removal=removal), of=jobworker(1), workers=told)
        decided = plan(observation)
        assert not [action for action in decided.actions if isinstance(action, DeletePod)]
        degraded = next(one for one in (decided.status or {})["conditions"] if one["type"] == "Degraded")
        assert degraded["reason"] == "WorkersUnknown"
        assert "Secret shop-redis was changed" in degraded["message"]


def test_a_rollout_that_is_late_is_told_once() -> None:
    late = observe(pod("a", OLD), pending("new", created_at=NOW - 601), of=jobworker(1))
    assert events(late) == ["ProgressDeadlineExceeded"]
    assert events(later(late)) == []


@pytest.mark.parametrize(
    ("observation", "seconds"),
    [
        pytest.param(observe(*PODS), 10, id="samples"),
        pytest.param(observe(*PODS, going("o"), workers={"o": quiet(1)}), 1, id="somebody drains"),
        pytest.param(
            observe(*PODS, pod("new", ready_since=NOW - 4.5), of=jobworker(4, rollout=rollout(min_ready_seconds=5))),
            0.5,
            id="ready in a moment",
        ),
        pytest.param(observe(of=jobworker(deleting=True)), None, id="nothing is left"),
        pytest.param(observe(of=jobworker(spec=None, problem="x")), None, id="invalid, without pods"),
    ],
)
def test_when_to_look_again(observation: Observation, seconds: float | None) -> None:
    assert plan(observation).look_again_seconds == seconds
