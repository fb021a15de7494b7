from __future__ import annotations

import copy
from typing import Any

import pytest

from jobworker_operator.model.parse import parse_jobworker
from jobworker_operator.model.pod import pod_manifest
from jobworker_operator.model.revision import revision_of
from jobworker_operator.model.spec import InvalidSpec
from tests.unit.operator.test_parse_jobworker import LEAST, changed


def manifest(obj: dict[str, Any] = LEAST) -> dict[str, Any]:
    return pod_manifest(parse_jobworker(obj), "abc1234567")


def env(obj: dict[str, Any] = LEAST, container: int = 0) -> dict[str, Any]:
    variables = manifest(obj)["spec"]["containers"][container]["env"]
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in variables}


def test_a_pod_belongs_to_its_jobworker() -> None:
    obj = changed(
        "spec.template.metadata", {"labels": {"team": "a", "jobworker.dev/jobworker": "x"}, "annotations": {"b": "c"}}
    )
    metadata = manifest(obj)["metadata"]
    assert metadata["generateName"] == "mailers-abc1234567-"
    assert metadata["namespace"] == "shop"
    assert metadata["annotations"] == {"b": "c"}
    assert metadata["labels"] == {
        "team": "a",
        "jobworker.dev/jobworker": "mailers",
        "jobworker.dev/revision": "abc1234567",
        "app.kubernetes.io/managed-by": "jobworker-operator",
        "app.kubernetes.io/name": "mailers",
    }
    owner = metadata["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == ("JobWorker", "mailers", "u", True)


def test_the_worker_is_told_who_it_is() -> None:
    obj = changed(
        "spec.worker", {"queues": [{"name": "critical", "weight": 5}, {"name": "default"}], "order": "Strict"}
    )
    assert env(obj) == {
        "JOBWORKER_WORKER": {"fieldRef": {"fieldPath": "metadata.uid"}},
        "JOBWORKER_POD": {"fieldRef": {"fieldPath": "metadata.name"}},
        "JOBWORKER_FLEET": "shop/mailers",
        "JOBWORKER_REVISION": "abc1234567",
        "JOBWORKER_REDIS_URL": "redis://redis",
        "JOBWORKER_KEY_PREFIX": "",
        "JOBWORKER_QUEUES": "critical,5 default,1",
        "JOBWORKER_ORDER": "Strict",
        "JOBWORKER_CONCURRENCY": "10",
        "JOBWORKER_SHUTDOWN_SECONDS": "25",
        "JOBWORKER_HEALTH_PORT": "7433",
    }


def test_the_url_of_a_secret_stays_in_the_secret() -> None:
    obj = changed("spec.redis", {"urlFrom": {"secretKeyRef": {"name": "s", "key": "k"}}})
    assert env(obj)["JOBWORKER_REDIS_URL"] == {"secretKeyRef": {"name": "s", "key": "k"}}


def test_the_operators_variables_win_and_come_first() -> None:
    own = [{"name": "JOBWORKER_WORKER", "value": "me"}, {"name": "GREETING", "value": "$(JOBWORKER_POD)"}]
    obj = changed("spec.template.spec.containers", [{"name": "worker", "env": own}])
    variables = [variable["name"] for variable in manifest(obj)["spec"]["containers"][0]["env"]]
    assert env(obj)["JOBWORKER_WORKER"] == {"fieldRef": {"fieldPath": "metadata.uid"}}
    assert env(obj)["GREETING"] == "$(JOBWORKER_POD)"
    assert len(variables) == len(set(variables))
    assert variables.index("JOBWORKER_POD") < variables.index("GREETING")


@pytest.mark.parametrize(
    ("names", "index"),
    [
        pytest.param(["a", "worker"], 1, id="the one named worker"),
        pytest.param(["a", "b"], 0, id="else the first"),
    ],
)
def test_one_container_is_the_worker(names: list[str], index: int) -> None:
    containers = manifest(changed("spec.template.spec.containers", [{"name": name} for name in names]))["spec"][
        "containers"
    ]
    assert [bool(container.get("env")) for container in containers] == [place == index for place in range(len(names))]


@pytest.mark.parametrize(("grace", "seconds"), [(3600, "3595"), (5, "1"), (0, "1")])
def test_the_worker_stops_waiting_before_the_kubelet_does(grace: int, seconds: str) -> None:
    obj = changed("spec.template.spec.terminationGracePeriodSeconds", grace)
    assert env(obj)["JOBWORKER_SHUTDOWN_SECONDS"] == seconds
    assert manifest(obj)["spec"]["terminationGracePeriodSeconds"] == grace


def test_probes_are_added_only_where_there_are_none() -> None:
    container = manifest()["spec"]["containers"][0]
    assert container["readinessProbe"] == {"httpGet": {"path": "/readyz", "port": 7433}, "periodSeconds": 2}
    assert container["livenessProbe"]["failureThreshold"] == 6
    own = {"exec": {"command": ["true"]}}
    obj = changed("spec.template.spec.containers", [{"name": "worker", "readinessProbe": own}])
    assert manifest(obj)["spec"]["containers"][0]["readinessProbe"] == own


def test_the_last_words_of_a_worker_that_crashes_are_kept_unless_the_template_says_otherwise() -> None:
    assert manifest()["spec"]["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"
    containers = [{"name": "side"}, {"name": "worker", "terminationMessagePolicy": "File"}]
    side, worker = manifest(changed("spec.template.spec.containers", containers))["spec"]["containers"]
    assert "terminationMessagePolicy" not in side
    assert worker["terminationMessagePolicy"] == "File"


def test_the_template_is_left_as_it_was() -> None:
    obj = copy.deepcopy(LEAST)
    parsed = parse_jobworker(obj)
    made = pod_manifest(parsed, "abc")
    made["spec"]["containers"][0]["image"] = "other"
    assert obj == LEAST


def test_a_pod_is_not_born_to_go() -> None:
    obj = changed("spec.template.metadata", {"annotations": {"jobworker.dev/removal": '{"reason": "Rollout"}'}})
    assert manifest(obj)["metadata"]["annotations"] == {}


def test_there_is_no_pod_and_no_revision_of_an_invalid_spec() -> None:
    invalid = parse_jobworker(changed("spec.worker.queues", []))
    with pytest.raises(InvalidSpec, match="at least one queue"):
        pod_manifest(invalid, "abc")
    with pytest.raises(InvalidSpec, match="at least one queue"):
        revision_of(invalid)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("spec.template.spec.nodeSelector", {"a": "b"}, id="template"),
        pytest.param("spec.worker.concurrency", 3, id="concurrency"),
        pytest.param("spec.worker.queues", [{"name": "other"}], id="queues"),
        pytest.param("spec.redis.keyPrefix", "x:", id="redis"),
        pytest.param("metadata.annotations", {"jobworker.dev/restartedAt": "now"}, id="restart"),
    ],
)
def test_a_change_of_what_makes_pods_different_is_a_new_revision(path: str, value: object) -> None:
    assert revision_of(parse_jobworker(changed(path, value))) != revision_of(parse_jobworker(LEAST))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("spec.replicas", 7, id="replicas"),
        pytest.param("spec.rollout.maxSurge", 3, id="rollout"),
        pytest.param("spec.drain.waitFor", "Checkpoint", id="drain"),
        pytest.param("spec.scaling", {"mode": "Auto", "maxReplicas": 3}, id="scaling"),
        pytest.param("spec.worker.concurrency", 10, id="a default that is written out"),
        pytest.param("metadata.annotations", {"note": "hello"}, id="an annotation of somebody"),
    ],
)
def test_any_other_change_restarts_nobody(path: str, value: object) -> None:
    assert revision_of(parse_jobworker(changed(path, value))) == revision_of(parse_jobworker(LEAST))


def test_the_revision_does_not_depend_on_the_order_of_keys_nor_on_the_release() -> None:
    turned = {"metadata": LEAST["metadata"], "spec": dict(reversed(LEAST["spec"].items()))}
    assert revision_of(parse_jobworker(turned)) == revision_of(parse_jobworker(LEAST)) == "2732bf95b9"
