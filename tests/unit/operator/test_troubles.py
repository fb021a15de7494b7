"""Troubles that come and go by themselves are told once, in the words of whoever knows what is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobworker_operator.model.facts import Crash, Observation, PodFacts
from jobworker_operator.plan import plan
from tests.unit.operator.situations import (
    AWAY,
    NOW,
    OLD,
    UNREGISTERED,
    idle,
    jobworker,
    observe,
    pending,
    pod,
    rollout,
)
from tests.unit.operator.test_deletion_and_rescue import BACK_OFF
from tests.unit.operator.test_rollout import moves
from tests.unit.operator.test_status import condition, events, later, status

CRASH = Crash("worker", "Error, exit code 1", "Error: there is no module shop")
IN_BACK_OFF = pod("p", **BACK_OFF, crash=CRASH, waiting_message="back-off 10s restarting failed container")
AGAIN: dict[str, Any] = {"ready": False, "ready_since": None, "unready_since": NOW - 60, "crash": CRASH, "restarts": 4}
"""Its container runs again, and was not ready in this life."""
FINE = pod("p", crash=CRASH, restarts=4)


def watched(first: PodFacts, *then: PodFacts) -> list[tuple[str, ...]]:
    """The Events of each of the moments in which a JobWorker of one pod is looked at."""
    observation, told = observe(of=jobworker(1)), []
    for shown in (first, *then):
        young = replace(shown, created_at=NOW - 100)
        activity = idle() if shown.ready else UNREGISTERED
        observation = replace(observation, pods=(young,), redis=observe(young, workers={"p": activity}).redis)
        told.append(tuple(events(observation)))
        observation = later(observation, 1.0)
    return told


def message(observation: Observation) -> str:
    return str(next(one for one in status(observation)["conditions"] if one["type"] == "Degraded")["message"])


def test_a_crash_loop_is_told_once_until_the_pod_has_been_ready() -> None:
    runs = pod("p", **AGAIN, container_started_at=NOW - 1)
    longer = replace(IN_BACK_OFF, waiting_message="back-off 40s restarting failed container")
    assert watched(IN_BACK_OFF, runs, longer, runs, FINE) == [("PodsCannotStart",), (), (), (), ("Recovered",)]


def test_a_crash_loop_is_over_when_its_pod_is_gone() -> None:
    observation = later(observe(IN_BACK_OFF, of=jobworker(1), workers={"p": UNREGISTERED}))
    assert events(replace(observation, pods=(pending("new"),))) == ["Recovered"]


def test_the_status_stays_the_same_through_a_crash_loop() -> None:
    def told(shown: PodFacts, before: Observation) -> tuple[str, str]:
        moment = replace(before, pods=(shown,))
        return message(moment), status(moment)["summary"]

    first = later(observe(IN_BACK_OFF, of=jobworker(1), workers={"p": UNREGISTERED}))
    longer = replace(IN_BACK_OFF, waiting_message="back-off 40s restarting failed container", restarts=5)
    runs = pod("p", **AGAIN, container_started_at=NOW - 1)
    assert told(IN_BACK_OFF, first) == told(longer, first) == told(runs, first)


def test_a_container_that_died_once_and_starts_again_is_no_trouble() -> None:
    runs = pod("p", **AGAIN, container_started_at=NOW - 1)
    assert watched(pod("p"), runs, FINE) == [(), (), ()]
    unready = pod("p", **{**AGAIN, "unready_since": NOW - 5}, container_started_at=NOW - 500)
    before = later(observe(IN_BACK_OFF, of=jobworker(1), workers={"p": UNREGISTERED}))
    now = replace(before, pods=(unready,), redis=observe(unready, workers={"p": idle()}).redis)
    assert condition(now, "Degraded") == ("False", "AsExpected"), "it was ready in this life"


def test_what_the_worker_said_last_stands_in_the_status() -> None:
    observation = observe(IN_BACK_OFF, of=jobworker(1), workers={"p": UNREGISTERED})
    assert message(observation) == (
        "Pod p is in CrashLoopBackOff (Error, exit code 1): Error: there is no module shop; "
        "see kubectl logs -n shop p -c worker --previous"
    )
    assert status(observation)["summary"].startswith("Stuck: pod p is in CrashLoopBackOff (Error, exit code 1): Error:")
    assert len(status(observation)["summary"]) <= 120


def test_a_crash_without_a_word_comes_with_the_question_whether_it_is_a_worker() -> None:
    shown = replace(IN_BACK_OFF, crash=Crash("worker", "Completed, exit code 0"))
    told = message(observe(shown, of=jobworker(1), workers={"p": UNREGISTERED}))
    assert "check that spec.template.spec.containers[0] runs a worker (jobworker run APP)" in told


def test_the_kubelets_word_wins_where_the_trouble_is_another_one() -> None:
    shown = replace(IN_BACK_OFF, waiting_reason="ImagePullBackOff", waiting_message="no such image")
    assert "ImagePullBackOff: no such image" in message(observe(shown, of=jobworker(1), workers={"p": UNREGISTERED}))


def test_what_the_worker_says_about_redis_stands_beside_what_the_operator_says() -> None:
    shown = replace(IN_BACK_OFF, crash=replace(CRASH, words="redis://redis:6379 refuses connections"))
    told = message(observe(shown, of=jobworker(1), redis=AWAY))
    assert told.startswith(AWAY.problem)
    assert "redis://redis:6379 refuses connections; see kubectl logs" in told


def test_a_rollout_does_not_go_on_in_the_moments_in_which_a_crash_loop_runs() -> None:
    spec = jobworker(3, rollout=rollout(1, 1))
    old = [pod(f"old-{number}", OLD) for number in range(3)]
    for shown in (IN_BACK_OFF, pod("p", **AGAIN, container_started_at=NOW - 1)):
        assert moves(observe(*old, shown, of=spec, workers={"p": UNREGISTERED})) == []


STRANGER: dict[str, Any] = {"ready": False, "ready_since": None, "unready_since": NOW - 1000}


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        pytest.param(pod("p", **STRANGER, container_started_at=NOW - 29), "AsExpected", id="may still import"),
        pytest.param(pod("p", **STRANGER, container_started_at=NOW - 30), "NotRegistered", id="no worker"),
        pytest.param(pending("p", created_at=NOW - 300), "AsExpected", id="its container was not started"),
    ],
)
def test_a_container_that_never_registers_is_told_long_before_the_deadline(shown: PodFacts, reason: str) -> None:
    observation = observe(shown, of=jobworker(1), workers={"p": UNREGISTERED})
    assert condition(observation, "Degraded")[1] == reason
    assert condition(later(observation, redis=AWAY), "Degraded")[1] == "RedisUnreachable"


def test_a_stranger_comes_with_what_to_check() -> None:
    observation = observe(pod("p", **STRANGER), of=jobworker(1), workers={"p": UNREGISTERED})
    assert message(observation) == (
        "Pod p runs and has not registered in Redis: check that spec.template.spec.containers[0] is a worker "
        "(jobworker run APP) and reaches the Redis of spec.redis; see kubectl logs -n shop p"
    )
    assert status(observation)["summary"].startswith("Stuck: pod p runs and has not registered in Redis")
    progressing = next(one for one in status(observation)["conditions"] if one["type"] == "Progressing")
    assert progressing["reason"] == "ProgressDeadlineExceeded"
    assert "jobworker run APP" in progressing["message"]


def test_a_stranger_whom_its_probe_restarts_again_and_again_is_told_once() -> None:
    killed = Crash("worker", "Completed, exit code 0")
    runs = pod("p", **STRANGER, container_started_at=NOW - 40)
    again = pod("p", **STRANGER, container_started_at=NOW, crash=killed, restarts=1)
    back_off = pod("p", **BACK_OFF, crash=killed)
    assert watched(runs, again, back_off, again, FINE) == [("NotRegistered",), (), (), (), ("Recovered",)]


def test_a_container_that_has_not_registered_yet_is_looked_at_again_in_time() -> None:
    starting = pod("p", **STRANGER, container_started_at=NOW - 1)
    observation = observe(starting, of=jobworker(1), workers={"p": UNREGISTERED})
    assert (plan(observation).look_again_seconds or 99) <= 30


def test_a_stranger_with_a_probe_of_its_own_is_kept_and_asked_after() -> None:
    told = message(observe(pod("p"), of=jobworker(1), workers={"p": UNREGISTERED}))
    assert told.endswith("check that it is a worker (jobworker run APP) and works with the Redis of spec.redis")
    assert message(observe(pod("p"), of=jobworker(1), workers={"p": idle(alive=False)})).endswith("See its logs")
