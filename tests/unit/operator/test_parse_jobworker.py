from __future__ import annotations

import copy
from typing import Any

import pytest

from jobworker_operator.model.parse import parse_jobworker
from jobworker_operator.model.spec import (
    Amount,
    DrainSpec,
    Key,
    QueueSpec,
    RolloutSpec,
    ScalingSpec,
    SecretKey,
    WorkerSpec,
)

LEAST: dict[str, Any] = {
    "metadata": {"namespace": "shop", "name": "mailers", "uid": "u", "generation": 4, "resourceVersion": "9"},
    "spec": {
        "worker": {"queues": [{"name": "default"}]},
        "redis": {"url": "redis://redis"},
        "template": {"spec": {"containers": [{"name": "worker", "image": "shop:1"}]}},
    },
}


def changed(path: str, value: object) -> dict[str, Any]:
    obj: dict[str, Any] = copy.deepcopy(LEAST)
    *parents, last = path.split(".")
    place = obj
    for part in parents:
        place = place.setdefault(part, {})
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
    return obj


def test_defaults_are_filled_in_where_the_schema_did_not() -> None:
    parsed = parse_jobworker(LEAST)
    assert parsed.key == Key("shop", "mailers")
    assert (parsed.uid, parsed.generation, parsed.resource_version, parsed.deleting) == ("u", 4, "9", False)
    assert parsed.spec is not None
    assert parsed.spec.replicas == 1
    assert parsed.spec.worker == WorkerSpec(queues=(QueueSpec("default", 1),), order="Weighted", concurrency=10)
    assert parsed.spec.rollout == RolloutSpec(Amount(25, percent=True), Amount(0), 10, 0, 600, paused=False)
    assert parsed.spec.drain == DrainSpec("Jobs", 60)
    assert parsed.spec.scaling == ScalingSpec("Off", 1, 1, 10, 60)


@pytest.mark.parametrize(
    ("path", "value", "read", "expected"),
    [
        pytest.param("spec.replicas", 0, "replicas", 0, id="no replicas"),
        pytest.param("spec.rollout.maxSurge", "50%", "rollout.max_surge", Amount(50, percent=True), id="percent"),
        pytest.param("spec.rollout.maxUnavailable", 2, "rollout.max_unavailable", Amount(2), id="number"),
        pytest.param("spec.rollout.paused", True, "rollout.paused", True, id="paused"),
        pytest.param("spec.drain.waitFor", "Checkpoint", "drain.wait_for", "Checkpoint", id="checkpoint"),
        pytest.param("spec.worker.concurrency", 3, "scaling.backlog_per_replica", 3, id="backlog is concurrency"),
        pytest.param(
            "spec.scaling.behavior.scaleDown.stabilizationWindowSeconds",
            0,
            "scaling.scale_down_stabilization_seconds",
            0,
            id="no stabilization",
        ),
        pytest.param(
            "spec.redis",
            {"urlFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            "redis.secret",
            SecretKey("s", "k"),
            id="secret",
        ),
    ],
)
def test_a_field_is_read(path: str, value: object, read: str, expected: object) -> None:
    parsed: Any = parse_jobworker(changed(path, value))
    assert parsed.problem == ""
    place = parsed.spec
    for part in read.split("."):
        place = getattr(place, part)
    assert place == expected


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        pytest.param("spec", None, "spec.worker.queues is empty", id="no spec"),
        pytest.param("spec.worker.queues", [], "name at least one queue", id="no queue"),
        pytest.param("spec.worker.queues", [{"name": "a"}, {"name": "a"}], "names a twice", id="a queue twice"),
        pytest.param("spec.worker.queues", [{"name": "a b"}], "no space", id="space in a queue"),
        pytest.param("spec.worker.queues", ["a"], "queues[0]", id="a queue that is no mapping"),
        pytest.param("spec.worker.order", "Random", "Strict, Weighted", id="order"),
        pytest.param("spec.worker.concurrency", 0, "at least 1", id="no concurrency"),
        pytest.param("spec.redis.url", None, "exactly one of url and urlFrom", id="no redis"),
        pytest.param(
            "spec.redis.urlFrom",
            {"secretKeyRef": {"name": "a", "key": "b"}},
            "exactly one of url and urlFrom",
            id="both",
        ),
        pytest.param(
            "spec.redis", {"urlFrom": {"secretKeyRef": {"name": "a"}}}, "both name and key", id="half a secret"
        ),
        pytest.param("spec.template", None, "containers is empty", id="no template"),
        pytest.param("spec.template.spec.containers", [{}], "containers[0] has no name", id="container without name"),
        pytest.param("spec.template.spec.restartPolicy", "Never", "run for ever", id="restart policy"),
        pytest.param("spec.rollout.maxSurge", "a lot", "such as 25%", id="surge in words"),
        pytest.param("spec.rollout.maxSurge", 0, "both 0", id="no surge and nothing unavailable"),
        pytest.param("spec.scaling.mode", "Auto", "no spec.scaling.maxReplicas", id="Auto without a limit"),
        pytest.param(
            "spec.scaling",
            {"mode": "Auto", "minReplicas": 5, "maxReplicas": 2},
            "more than maxReplicas",
            id="min over max",
        ),
        pytest.param("metadata.name", "m" * 64, "shorter name", id="name that is no label"),
        pytest.param("spec.worker", "yes", "has to be a mapping", id="a worker that is no mapping"),
    ],
)
def test_what_cannot_work_becomes_a_sentence(path: str, value: object, words: str) -> None:
    parsed = parse_jobworker(changed(path, value))
    assert parsed.spec is None
    assert words in parsed.problem


def test_an_invalid_spec_keeps_what_the_deletion_needs() -> None:
    obj = changed("spec", None)
    obj["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["jobworker.dev/drain"]}
    obj["status"] = {"replicas": 2}
    parsed = parse_jobworker(obj)
    assert parsed.deleting
    assert parsed.finalizers == ("jobworker.dev/drain",)
    assert parsed.status == {"replicas": 2}
