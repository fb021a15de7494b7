from __future__ import annotations

from typing import Any

import pytest

from jobworker_operator.model.actions import CreatePod, DeletePod, RetirePod, SetReplicas
from jobworker_operator.model.facts import PodFacts, QueueFacts, Recommendation, RedisFacts, WorkerActivity
from jobworker_operator.model.spec import JobWorker, ScalingSpec
from jobworker_operator.plan import plan
from tests.unit.operator.situations import (
    AWAY,
    NOW,
    busy,
    going,
    idle,
    jobworker,
    observe,
    pending,
    pod,
    quiet,
)
from tests.unit.operator.test_rollout import decide, moves

PODS = [pod(f"p{number}", created_at=NOW - 1000 + number) for number in range(3)]


def auto(replicas: int, least: int = 1, most: int = 10, window: int = 60) -> JobWorker:
    scaling = ScalingSpec("Auto", least, most, backlog_per_replica=10, scale_down_stabilization_seconds=window)
    return jobworker(replicas, scaling=scaling)


@pytest.mark.parametrize(
    ("replicas", "shown", "workers", "expected"),
    [
        pytest.param(5, PODS, {}, ["create", "create"], id="too few"),
        pytest.param(3, PODS, {}, [], id="enough"),
        pytest.param(2, PODS, {}, ["retire p2"], id="the youngest idle one"),
        pytest.param(2, PODS, {"p1": busy(), "p2": busy()}, ["retire p0"], id="the idle one"),
        pytest.param(1, PODS, {"p1": busy(), "p2": busy()}, ["retire p0"], id="busy ones are waited for"),
        pytest.param(0, PODS, {p.uid: busy() for p in PODS}, [], id="all busy"),
        pytest.param(2, PODS, {"p2": idle(alive=False)}, [], id="unknown ones are not chosen, nor is their stand-in"),
        pytest.param(
            3,
            [*PODS, pending("s", scheduled=False), pending("t")],
            {},
            ["delete s", "retire t"],
            id="pods that do not work yet",
        ),
        pytest.param(
            3,
            [*PODS, pending("t", created_at=NOW - 3), pending("u", created_at=NOW - 1)],
            {},
            ["retire u", "retire t"],
            id="the newest first",
        ),
        pytest.param(
            4, [*PODS[:2], pending("t"), pending("u"), pending("v")], {}, ["retire t"], id="never for a pending one"
        ),
        pytest.param(2, PODS, {"p0": quiet(reason="by a person")}, ["delete p0"], id="one that a person made quiet"),
    ],
)
def test_scale_in_takes_who_is_missed_least(
    replicas: int, shown: list[PodFacts], workers: dict[str, WorkerActivity], expected: list[str]
) -> None:
    assert moves(observe(*shown, of=jobworker(replicas), workers=workers)) == expected


def test_without_redis_nobody_is_scaled_in_and_the_missing_are_made() -> None:
    assert moves(observe(*PODS, pending("s", scheduled=False), of=jobworker(1), redis=AWAY)) == []
    assert moves(observe(*PODS, of=jobworker(4), redis=AWAY)) == ["create"]


def test_demand_that_rises_again_takes_back_who_was_going() -> None:
    observation = observe(*PODS[:2], going("p2", "ScaleIn", "new"), workers={"p2": quiet(0, "operator: ScaleIn")})
    assert moves(observation) == ["unquiet p2"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        pytest.param({"desiredReplicas": 2, "replicas": 2}, "Surplus", id="there are more than anybody wanted"),
        pytest.param({"desiredReplicas": 3, "replicas": 3}, "ScaleIn", id="somebody wants fewer"),
        pytest.param({}, "ScaleIn", id="nothing is known"),
    ],
)
def test_a_surplus_is_told_from_a_wish(status: dict[str, Any], reason: str) -> None:
    (retire,) = decide(observe(*PODS, of=jobworker(2, status=status))).actions
    assert isinstance(retire, RetirePod)
    assert retire.reason == reason


def size(observation_of: JobWorker, depth: int = 0, **more: Any) -> int | None:
    spec = observation_of.spec
    assert spec is not None
    pods = [pod(f"p{number}") for number in range(spec.replicas)]
    decided = decide(observe(*pods, of=observation_of, depth=depth, **more))
    sizes = [action.replicas for action in decided.actions if isinstance(action, SetReplicas)]
    return sizes[0] if sizes else None


@pytest.mark.parametrize(
    ("depth", "workers", "expected"),
    [
        pytest.param(0, {}, None, id="nothing to do"),
        pytest.param(10, {}, None, id="as much as one does"),
        pytest.param(11, {}, 2, id="one job more"),
        pytest.param(9, {"p0": busy(2)}, 2, id="held jobs count"),
        pytest.param(999, {}, 10, id="the upper limit"),
    ],
)
def test_more_work_is_more_replicas_at_once(
    depth: int, workers: dict[str, WorkerActivity], expected: int | None
) -> None:
    assert size(auto(1), depth, workers=workers) == expected


def test_pods_are_created_in_the_same_plan_as_the_size_is_written() -> None:
    kinds = [type(action) for action in decide(observe(pod("p0"), of=auto(1), depth=35)).actions]
    assert kinds == [SetReplicas, CreatePod, CreatePod, CreatePod]


@pytest.mark.parametrize(
    ("history", "watching", "expected"),
    [
        pytest.param([], 1000, 1, id="down"),
        pytest.param([(59, 3)], 1000, 3, id="to the highest of the window"),
        pytest.param([(59, 9)], 1000, None, id="held by a higher one"),
        pytest.param([(61, 9)], 1000, 1, id="what is older does not count"),
        pytest.param([], 59, None, id="a new process holds"),
    ],
)
def test_less_work_is_fewer_replicas_after_a_window(
    history: list[tuple[float, int]], watching: float, expected: int | None
) -> None:
    past = tuple(Recommendation(NOW - age, replicas) for age, replicas in history)
    assert size(auto(5), 3, history=past, watching_since=NOW - watching) == expected


@pytest.mark.parametrize(
    ("scaled_to", "depth", "expected"),
    [
        pytest.param(25, 300, 10, id="beyond the limit, in the middle of work"),
        pytest.param(25, 0, 10, id="beyond the limit, and then down with the window"),
        pytest.param(2, 45, 5, id="below what the queues ask for"),
        pytest.param(7, 45, None, id="between both, held by the window"),
    ],
)
def test_kubectl_scale_against_auto_is_brought_back_between_the_limits(
    scaled_to: int, depth: int, expected: int | None
) -> None:
    busy_lately = (Recommendation(NOW - 5, 10),)
    assert size(auto(scaled_to), depth, history=busy_lately, watching_since=NOW - 1000) == expected


def test_the_upper_limit_holds_from_the_first_moment_on() -> None:
    assert size(auto(25), 0, watching_since=NOW - 1) == 10


def test_a_pod_of_which_nothing_is_known_holds_scale_in() -> None:
    assert size(auto(5), 0, workers={"p0": idle(alive=False)}) is None
    assert size(auto(5), 0) == 1


def test_what_draining_pods_finish_needs_no_replica() -> None:
    observation = observe(pod("a"), going("b"), of=auto(1), workers={"b": quiet(30)})
    assert not [action for action in plan(observation).actions if isinstance(action, SetReplicas)]


def test_queues_that_are_paused_ask_for_nobody_and_orphans_do() -> None:
    redis = RedisFacts({"p0": idle()}, (QueueFacts("default", 500, 9.0, paused=True),))
    assert size(auto(1), redis=redis) is None
    gone = RedisFacts({"p0": idle(), "gone": busy(30)}, (), ("gone",))
    assert size(auto(1), redis=gone) == 3


@pytest.mark.parametrize(("due", "expected"), [(0, 0), (1, None)])
def test_the_last_pod_stays_while_something_is_due_soon(due: int, expected: int | None) -> None:
    redis = RedisFacts({"p0": idle()}, (QueueFacts("default", 0, 0.0),), (), due)
    assert size(auto(1, least=0), redis=redis) == expected


@pytest.mark.parametrize(
    ("current", "expected"), [pytest.param(5, None, id="held"), pytest.param(1, 2, id="but never under the minimum")]
)
def test_without_a_signal_the_size_is_held(current: int, expected: int | None) -> None:
    assert size(auto(current, least=2), redis=AWAY) == expected
    status = decide(observe(pod("a"), of=auto(current, least=2), redis=AWAY)).status or {}
    active = next(one for one in status["conditions"] if one["type"] == "ScalingActive")
    assert (active["status"], active["reason"]) == ("False", "RedisUnreachable")
    assert AWAY.problem in active["message"]


def test_a_decision_says_why() -> None:
    decided = decide(observe(pod("p0"), of=auto(1, most=3), depth=47, workers={"p0": busy(3)}))
    (scaled,) = [action for action in decided.actions if isinstance(action, SetReplicas)]
    assert scaled.reason == "47 queued and 3 held, 10 for each replica; maxReplicas is 3, 5 would be needed"
    assert scaled.event is not None
    assert (scaled.event.reason, scaled.event.message[:22]) == ("ScaledOut", "From 1 to 3 replicas: ")
    assert decided.recommendation == Recommendation(NOW, 3)
    assert (decided.status or {})["scaling"] == {"recommendation": 3, "reason": scaled.reason}


def test_with_mode_off_the_size_is_the_specs() -> None:
    decided = decide(observe(pod("p0"), of=jobworker(1), depth=999))
    assert not [action for action in decided.actions if isinstance(action, SetReplicas | DeletePod)]
    assert decided.recommendation is None
