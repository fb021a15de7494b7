from __future__ import annotations

from typing import Any

import pytest

from jobworker_operator.model.facts import Crash, Removal
from jobworker_operator.model.parse import parse_jobworker, parse_pod, removal_annotation, removal_of
from jobworker_operator.model.parse_pod import last_words
from jobworker_operator.model.pod import pod_manifest
from jobworker_operator.model.spec import RedisSpec, SecretKey
from jobworker_operator.model.times import from_rfc3339, to_rfc3339
from tests.unit.operator.test_parse_jobworker import LEAST, changed

T0 = "2026-01-01T00:00:00Z"
AT = from_rfc3339(T0) or 0.0


def obj(*, status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "uid": "u", "name": "p", "resourceVersion": "5", "creationTimestamp": T0,
            "labels": {"jobworker.dev/revision": "abc"}, **metadata,
        },
        "spec": {"nodeName": "n", "containers": [{"name": "sidecar"}, {"name": "worker"}]},
        "status": status or {},
    }  # fmt: skip


def container(state: dict[str, Any], name: str = "worker", **more: Any) -> dict[str, Any]:
    return {"name": name, "state": state, **more}


def test_a_running_pod() -> None:
    facts = parse_pod(
        obj(
            status={
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:09Z"}],
                "containerStatuses": [
                    container({"waiting": {"reason": "CrashLoopBackOff"}}, "sidecar", restartCount=9),
                    container({"running": {"startedAt": "2026-01-01T00:00:05Z"}}, restartCount=2),
                ],
            }
        )
    )
    assert (facts.uid, facts.name, facts.revision, facts.resource_version) == ("u", "p", "abc", "5")
    assert (facts.phase, facts.node, facts.scheduled) == ("Running", "n", True)
    assert (facts.ready, facts.ready_since, facts.unready_since) == (True, AT + 9, None)
    assert (facts.container_running, facts.container_started_at, facts.restarts) == (True, AT + 5, 2)
    assert facts.waiting_reason == "", "the worker's container counts, not the one beside it"
    assert not facts.never_ran


def test_a_pod_without_anything_has_never_run() -> None:
    facts = parse_pod({"metadata": {"name": "p", "creationTimestamp": T0}})
    assert facts.never_ran
    assert (facts.phase, facts.scheduled, facts.removal, facts.terminating) == ("Pending", False, None, False)


@pytest.mark.parametrize(
    ("status", "reason", "about", "never_ran"),
    [
        pytest.param(
            {"containerStatuses": [container({"waiting": {"reason": "ImagePullBackOff", "message": "no"}})]},
            "ImagePullBackOff",
            "worker",
            True,
            id="image",
        ),
        pytest.param(
            {
                "initContainerStatuses": [container({"waiting": {"reason": "CrashLoopBackOff"}}, "migrate")],
                "containerStatuses": [container({"waiting": {"reason": "PodInitializing"}})],
            },
            "CrashLoopBackOff",
            "migrate",
            True,
            id="init container",
        ),
        pytest.param(
            {
                "phase": "Running",
                "containerStatuses": [
                    container({"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": {}}, restartCount=1)
                ],
            },
            "CrashLoopBackOff",
            "worker",
            False,
            id="crash loop",
        ),
        pytest.param(
            {"containerStatuses": [container({"waiting": {"reason": "ContainerCreating"}})]},
            "",
            "",
            True,
            id="creating",
        ),
    ],
)
def test_the_kubelets_words_are_those_about_the_container_in_trouble(
    status: dict[str, Any], reason: str, about: str, *, never_ran: bool
) -> None:
    facts = parse_pod(obj(status=status))
    assert (facts.waiting_reason, facts.waiting_container, facts.never_ran) == (reason, about, never_ran)


def test_how_the_containers_last_life_ended_is_told_in_words() -> None:
    killed = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    again = container({"running": {"startedAt": "2026-01-01T00:00:09Z"}}, lastState=killed, restartCount=1)
    assert parse_pod(obj(status={"containerStatuses": [again]})).container_ended == "OOMKilled, exit code 137"
    assert parse_pod(obj(status={"containerStatuses": [container(killed)]})).container_ended.startswith("OOMKilled")
    assert parse_pod(obj(status={"containerStatuses": [container({"running": {}})]})).container_ended == ""


def ended(code: int = 1, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"reason": reason, "exitCode": code, "message": message}}


BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff"}}
RUNNING = {"running": {"startedAt": T0}}


@pytest.mark.parametrize(
    ("status", "crash"),
    [
        pytest.param({"containerStatuses": [container(RUNNING)]}, None, id="its first life"),
        pytest.param(
            {"containerStatuses": [container(BACK_OFF, lastState=ended(1, "no Redis\n"))]},
            Crash("worker", "Error, exit code 1", "no Redis"),
            id="in back-off",
        ),
        pytest.param(
            {"containerStatuses": [container(ended(2, "now"), lastState=ended(1, "before"))]},
            Crash("worker", "Error, exit code 2", "now"),
            id="ended a moment ago",
        ),
        pytest.param(
            {"containerStatuses": [container(RUNNING, lastState=ended(), ready=True)]}, None, id="ready again"
        ),
        pytest.param(
            {
                "initContainerStatuses": [container(BACK_OFF, "migrate", lastState=ended(3, "no table"))],
                "containerStatuses": [container({"waiting": {"reason": "PodInitializing"}})],
            },
            Crash("migrate", "Error, exit code 3", "no table"),
            id="init container",
        ),
        pytest.param(
            {
                "initContainerStatuses": [container(ended(0, "", "Completed"), "migrate", ready=True)],
                "containerStatuses": [container(BACK_OFF, lastState=ended(1, "no Redis"))],
            },
            Crash("worker", "Error, exit code 1", "no Redis"),
            id="behind an init container that did its work",
        ),
    ],
)
def test_a_crash_is_told_with_the_containers_last_words(status: dict[str, Any], crash: Crash | None) -> None:
    assert parse_pod(obj(status=status)).crash == crash


@pytest.mark.parametrize(
    ("message", "words"),
    [
        pytest.param(None, "", id="none"),
        pytest.param(
            "Traceback …\n  File …\nModuleNotFoundError: shop\n\n", "ModuleNotFoundError: shop", id="last line"
        ),
        pytest.param('{"time": "x", "level": "ERROR", "message": "no Redis"}', "no Redis", id="JSON"),
        pytest.param('{"msg": "no"}', '{"msg": "no"}', id="JSON of somebody else"),
        pytest.param('{"message": ', '{"message":', id="a piece of JSON"),
        pytest.param("2026-11-21T13:00:01.123Z ERROR   no Redis", "no Redis", id="without the time"),
        pytest.param("\x1b[31mred\x1b[0m\tand\x00tab", "red and tab", id="no control characters"),
        pytest.param("x" * 5000, "x" * 299 + "…", id="bounded"),
    ],
)
def test_last_words_are_one_short_line(message: str | None, words: str) -> None:
    assert last_words(message) == words


def test_a_container_beside_the_workers_is_seen_to_run() -> None:
    def beside(state: dict[str, Any], kind: str = "containerStatuses") -> bool:
        status = {"containerStatuses": [container(BACK_OFF)]}
        status[kind] = [*status.get(kind, []), container(state, "sidecar")]
        return parse_pod(obj(status=status)).others_running

    assert beside(RUNNING)
    assert beside(RUNNING, "initContainerStatuses")
    assert not beside(BACK_OFF)
    assert not parse_pod(obj(status={"containerStatuses": [container(RUNNING)]})).others_running


@pytest.mark.parametrize(
    ("text", "removal"),
    [
        pytest.param(None, None, id="none"),
        pytest.param("", None, id="empty"),
        pytest.param("rollout", None, id="no JSON"),
        pytest.param("[1]", None, id="no object"),
        pytest.param('{"reason": "Whim", "since": "2026-01-01T00:00:00Z"}', None, id="unknown reason"),
        pytest.param('{"reason": ["Rollout"]}', None, id="a reason that is a list"),
        pytest.param('{"reason": "Rollout", "since": "soon"}', Removal("Rollout", 7.0), id="no time"),
        pytest.param('{"reason": "ScaleIn", "since": "2026-01-01T00:00:00Z"}', Removal("ScaleIn", AT), id="good"),
    ],
)
def test_the_removal_annotation_is_read_with_tolerance(text: str | None, removal: Removal | None) -> None:
    assert removal_of(text, 7.0) == removal


def test_the_removal_annotation_is_read_back_as_it_was_written() -> None:
    assert removal_of(removal_annotation(Removal("Deleted", AT))) == Removal("Deleted", AT)


def test_terminating_since_is_when_the_deletion_was_asked_for() -> None:
    facts = parse_pod(obj(deletionTimestamp="2026-01-01T00:01:00Z", deletionGracePeriodSeconds=60))
    assert facts.terminating
    assert facts.terminating_since == AT


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({"phase": "Failed", "reason": "Evicted"}, id="evicted by the kubelet"),
        pytest.param({"conditions": [{"type": "DisruptionTarget", "status": "True"}]}, id="disruption target"),
    ],
)
def test_what_the_cluster_ended_is_disrupted(status: dict[str, Any]) -> None:
    assert parse_pod(obj(status=status)).disrupted
    assert not parse_pod(obj(status={"phase": "Failed", "reason": "OOM"})).disrupted


def test_a_pod_tells_which_redis_it_was_made_with() -> None:
    assert parse_pod(pod_manifest(parse_jobworker(LEAST), "abc")).redis == RedisSpec(url="redis://redis")
    by_secret = changed("spec.redis", {"urlFrom": {"secretKeyRef": {"name": "s", "key": "k"}}, "keyPrefix": "x:"})
    assert parse_pod(pod_manifest(parse_jobworker(by_secret), "abc")).redis == RedisSpec(
        secret=SecretKey("s", "k"), key_prefix="x:"
    )
    assert parse_pod(obj()).redis is None


@pytest.mark.parametrize("text", [None, 5, "", "yesterday"])
def test_what_is_no_time_is_none(text: object) -> None:
    assert from_rfc3339(text) is None


def test_times_go_there_and_back() -> None:
    assert to_rfc3339(AT) == T0
    assert from_rfc3339("2026-01-01T01:00:00+01:00") == AT
