from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from jobworker_operator.model.actions import Action, CreatePod, DeletePod, Plan, QuietPod, RetirePod, UnquietPod
from jobworker_operator.model.facts import Observation, PodFacts, WorkerActivity
from jobworker_operator.model.spec import DrainSpec
from jobworker_operator.plan import plan
from tests.unit.operator.promises import check
from tests.unit.operator.situations import (
    AWAY,
    NEW,
    NOW,
    OLD,
    UNREGISTERED,
    busy,
    going,
    jobworker,
    observe,
    pending,
    pod,
    quiet,
    rollout,
)

OLD_PODS = [pod(f"old-{number}", OLD) for number in range(3)]
BROKEN: dict[str, Any] = {
    "waiting_reason": "ImagePullBackOff",
    "waiting_message": "no such image",
    "waiting_container": "worker",
}


def decide(observation: Observation) -> Plan:
    decided = plan(observation)
    check(observation, decided)
    return decided


def moves(observation: Observation) -> list[str]:
    """The plan in words, such as `quiet old-1`."""
    words = {CreatePod: "create", QuietPod: "quiet", RetirePod: "retire", UnquietPod: "unquiet", DeletePod: "delete"}
    return [
        f"{words[type(action)]} {getattr(action, 'name', '')}".strip()
        for action in decide(observation).actions
        if type(action) in words
    ]


def busy_all(*pods: PodFacts) -> dict[str, WorkerActivity]:
    return {pod.uid: busy() for pod in pods}


def test_replacements_come_first_and_as_many_as_the_surge() -> None:
    assert moves(observe(*OLD_PODS)) == ["create"]
    assert moves(observe(*OLD_PODS, of=jobworker(rollout=rollout(2)))) == ["create"] * 2
    assert moves(observe(*OLD_PODS, pending("new-0"))) == []


@pytest.mark.parametrize(
    ("new", "activity", "expected"),
    [
        pytest.param(pod("new-0"), None, ["retire old-0"], id="available"),
        pytest.param(pod("new-0", ready=False, ready_since=None), None, [], id="not ready"),
        pytest.param(pod("new-0", ready_since=NOW - 4), None, [], id="not ready for long enough"),
        pytest.param(pod("new-0"), UNREGISTERED, [], id="ready, and not registered"),
    ],
)
def test_an_old_pod_goes_only_for_a_new_one_that_works(
    new: PodFacts, activity: WorkerActivity | None, expected: list[str]
) -> None:
    workers = {} if activity is None else {"new-0": activity}
    observation = observe(*OLD_PODS, new, of=jobworker(rollout=rollout(min_ready_seconds=5)), workers=workers)
    assert moves(observation) == expected


def test_idle_pods_go_before_busy_ones_and_those_with_few_jobs_before_those_with_many() -> None:
    workers = {"old-0": busy(5), "old-1": busy(1)}
    news = [pod(f"new-{number}") for number in range(3)]
    spec = jobworker(rollout=rollout(3))
    assert moves(observe(*OLD_PODS, *news, of=spec, workers=workers)) == ["retire old-2", "quiet old-1", "quiet old-0"]


def test_no_more_than_max_draining_finish_at_the_same_time() -> None:
    news = [pod(f"new-{number}") for number in range(3)]
    spec = jobworker(rollout=rollout(3, max_draining=2))
    workers = busy_all(*OLD_PODS) | {"going": quiet(1)}
    assert moves(observe(*OLD_PODS, *news, going("going"), of=spec, workers=workers)) == ["quiet old-0"]


def test_a_pod_that_may_be_cut_at_its_checkpoint_still_drains_until_it_is_gone() -> None:
    """Its deletion may be refused at the last moment; then one more than maxDraining would drain."""
    news = [pod(f"new-{number}") for number in range(3)]
    spec = jobworker(rollout=rollout(3, max_draining=1), drain=DrainSpec("Checkpoint", 60))
    workers = busy_all(*OLD_PODS) | {"going": quiet(1, checkpoint_age_seconds=1.0)}
    assert moves(observe(*OLD_PODS, *news, going("going"), of=spec, workers=workers)) == ["delete going"]


def test_one_long_job_is_not_waited_for_to_go_on_with_the_others() -> None:
    workers = {"long": quiet(1), "old-1": busy()}
    observation = observe(going("long"), OLD_PODS[1], OLD_PODS[2], pod("new-0"), workers=workers)
    assert moves(observation) == ["create"], "the draining pod is no replica, so there is room for the next new one"


def test_max_unavailable_lets_old_pods_go_first() -> None:
    spec = jobworker(rollout=rollout(0, 1))
    assert moves(observe(*OLD_PODS, of=spec)) == ["retire old-0"]
    assert moves(observe(going("old-0"), *OLD_PODS[1:], of=spec, workers={"old-0": quiet(1)})) == ["create"]


def test_pods_of_an_abandoned_revision_that_never_worked_go_first() -> None:
    assert moves(observe(*OLD_PODS, pending("b", "b"))) == ["retire b"]
    assert moves(observe(*OLD_PODS, pending("b", "b", scheduled=False))) == ["delete b"]
    (delete,) = decide(observe(*OLD_PODS, pending("b", "b", scheduled=False))).actions
    assert isinstance(delete, DeletePod)
    assert delete.unconfirmed


def test_quiet_pods_of_other_revisions_go_on_draining_when_a_newer_one_supersedes() -> None:
    observation = observe(*OLD_PODS, going("b", revision="b"), workers={"b": quiet(1)})
    assert moves(observation) == ["create"]


def test_a_pod_that_drains_for_a_revision_that_is_wanted_again_takes_jobs_again() -> None:
    observation = observe(going("a", revision=NEW), pod("b-0", "b"), pod("b-1", "b"), workers={"a": quiet(2)})
    assert "unquiet a" in moves(observation)
    assert "quiet a" not in moves(observation)


def test_a_revision_that_cannot_start_stops_the_rollout() -> None:
    spec = jobworker(rollout=rollout(1, 1))
    observation = observe(*OLD_PODS, pending("new-0", **BROKEN), of=spec)
    assert moves(observation) == [], "not even maxUnavailable is spent on a revision that does not start"
    told = {one["type"]: one for one in (decide(observation).status or {})["conditions"]}
    assert told["Degraded"]["reason"] == "PodsCannotStart"
    assert told["Degraded"]["message"] == (
        "Pod new-0 cannot start: ImagePullBackOff: no such image; check spec.template.spec.containers[0].image"
    )


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        pytest.param(pending("new-0", created_at=NOW - 601), "ProgressDeadlineExceeded", id="late"),
        pytest.param(pending("new-0", created_at=NOW - 599), "RollingOut", id="not yet late"),
    ],
)
def test_the_deadline_counts_pods_that_do_not_become_ready(new: PodFacts, reason: str) -> None:
    told = {one["type"]: one["reason"] for one in (decide(observe(*OLD_PODS, new)).status or {})["conditions"]}
    assert told["Progressing"] == reason


def test_the_deadline_never_counts_pods_that_are_busy() -> None:
    spec = jobworker(1)
    observation = observe(pod("new-0"), going("old"), of=spec, workers={"old": quiet(1, beat_age_seconds=0.1)})
    told = {one["type"]: one["reason"] for one in (decide(observation).status or {})["conditions"]}
    assert told["Progressing"] == "RolloutComplete"


def test_a_paused_rollout_moves_nothing_and_heals_all_the_same() -> None:
    spec = jobworker(rollout=rollout(paused=True))
    assert moves(observe(*OLD_PODS, of=spec)) == []
    assert moves(observe(*OLD_PODS, pod("new-0"), of=spec)) == [], "in the middle of it, too"
    assert moves(observe(*OLD_PODS[:2], of=spec)) == ["create"]


def test_without_redis_replacements_are_made_and_nobody_goes() -> None:
    assert moves(observe(*OLD_PODS, redis=AWAY)) == ["create"]
    assert moves(observe(*OLD_PODS, pod("new-0"), redis=AWAY)) == []


def test_nothing_is_decided_on_a_watch_that_has_not_shown_the_last_write() -> None:
    assert moves(observe(*OLD_PODS, pod("new-0"), going("gone"), workers={"gone": quiet()}, settled=False)) == []
    assert moves(observe(OLD_PODS[0], settled=False)) == []


def test_an_unknown_pod_is_not_told_to_go_while_it_may_be_what_is_missing() -> None:
    stale = {"old-2": busy(alive=False)}
    news = [pod(f"new-{number}") for number in range(3)]
    assert moves(observe(*OLD_PODS[1:], pod("new-0"), workers=stale)) == ["create"]
    assert moves(observe(OLD_PODS[2], *news, workers=stale)) == ["quiet old-2"], "everybody else is there"


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        pytest.param({"phase": "Failed"}, ["create", "delete p"], id="failed"),
        pytest.param({"phase": "Succeeded"}, ["create", "delete p"], id="succeeded"),
        pytest.param({"phase": "Failed", "created_at": NOW - 2}, [], id="refused by its node just now"),
        pytest.param({"terminating": True}, ["create"], id="deleted by hand"),
    ],
)
def test_a_pod_that_ended_is_replaced(gone: dict[str, Any], expected: list[str]) -> None:
    shown = pod("p", **{"container_running": False, "ready": False, **gone})
    assert moves(observe(pod("a"), pod("b"), shown)) == expected


def test_a_plan_keeps_before_it_takes() -> None:
    kinds: list[type[Action]] = [
        type(action)
        for action in decide(observe(*OLD_PODS, pod("new-0"), of=jobworker(4, rollout=rollout(2, 1)))).actions
    ]
    assert Counter(kinds)[CreatePod] == 2
    assert kinds.index(CreatePod) < kinds.index(RetirePod)


def test_a_nodes_clock_that_is_ahead_keeps_no_new_pod_from_being_available() -> None:
    """Without minReadySeconds there is nothing to measure."""
    fresh = pod("new", ready_since=NOW + 60, created_at=NOW - 3)
    assert moves(observe(fresh, pod("old", OLD), of=jobworker(1, rollout=rollout(1)))) == ["retire old"]
