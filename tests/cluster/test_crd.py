"""The CustomResourceDefinition on a real API server: what it accepts, what it refuses, and in which words.

Refusals are the first thing that a user of the operator reads, so the table below holds their texts.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from tests.waiting import wait_until_sync

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[2]
CRD = ROOT / "crds/jobworkers.jobworker.dev.yaml"
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.yaml") if "kind: JobWorker" in path.read_text())

# The definition is served under another group, so that neither the operator nor the chart's own copy is in the way.
GROUP = "samples.jobworker.dev"
NAME = f"jobworkers.{GROUP}"
SHORT = "jwsample"
NAMESPACE = f"crd-samples-{uuid.uuid4().hex[:8]}"


class Cluster(Protocol):
    """What these tests need of the `cluster` fixture."""

    def kubectl(self, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:  # noqa: A002  # as in subprocess
        ...


@pytest.fixture(scope="module")
def served(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with the kind served, and a namespace for samples."""
    definition = yaml.safe_load(CRD.read_text())
    definition["metadata"]["name"] = NAME
    definition["spec"]["group"] = GROUP
    definition["spec"]["names"] |= {"shortNames": [SHORT], "categories": ["jobworkersample"]}
    # As an apply, which keeps the object in an annotation: the one that limits its size.
    succeeded(cluster.kubectl("apply", "-f", "-", input=json.dumps(definition)))
    try:
        wait_until_sync(lambda: conditions(cluster).get("Established", {}).get("status") == "True", what="established")
        wait_until_sync(lambda: cluster.kubectl("get", SHORT).returncode == 0, seconds=30, what="samples served")
        # The OpenAPI document follows the kind with a delay of its own.
        wait_until_sync(lambda: cluster.kubectl("explain", SHORT).returncode == 0, seconds=30, what="samples explained")
        succeeded(cluster.kubectl("create", "namespace", NAMESPACE))
        yield cluster
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false", "--ignore-not-found")
        cluster.kubectl("delete", "crd", NAME)


def succeeded(process: subprocess.CompletedProcess[str]) -> str:
    assert process.returncode == 0, process.stderr
    return process.stdout


def conditions(cluster: Cluster) -> dict[str, Any]:
    process = cluster.kubectl("get", "crd", NAME, "-o", "json")
    if process.returncode != 0:
        return {}
    # Right after its creation the list is null.
    found = json.loads(process.stdout).get("status", {}).get("conditions") or ()
    return {item["type"]: item for item in found}


# ── samples ──────────────────────────────────────────────────────────────────

BASE = f"""
apiVersion: {GROUP}/v1alpha1
kind: JobWorker
metadata: {{name: sample}}
spec:
  worker: {{queues: [{{name: default}}]}}
  redis: {{url: "redis://redis:6379/0"}}
  template:
    spec:
      containers: [{{name: worker, image: "shop:1"}}]
"""

VALID = {
    "the smallest": "{}",
    "replicas of zero": "spec: {replicas: 0}",
    "redis from a secret": "spec: {redis: {url: null, urlFrom: {secretKeyRef: {name: shop-redis, key: url}}}}",
    "redis with TLS": 'spec: {redis: {url: "rediss://:secret@redis:6380/1", keyPrefix: "{shop}:"}}',
    "strict order of weighted queues": "spec: {worker: {order: Strict, queues: [{name: a, weight: 100}, {name: b}]}}",
    "surge in numbers, none unavailable": "spec: {rollout: {maxSurge: 2, maxUnavailable: 0}}",
    "no surge, some unavailable": "spec: {rollout: {maxSurge: 0, maxUnavailable: 10%}}",
    "surge above the replicas": "spec: {rollout: {maxSurge: 200%}}",
    "checkpoints": "spec: {drain: {waitFor: Checkpoint, checkpointMaxAgeSeconds: 5}}",
    "autoscaling from zero": """
        spec: {scaling: {mode: Auto, minReplicas: 0, maxReplicas: 50, targets: {backlogPerReplica: 3}}}""",
    "limits without autoscaling": "spec: {scaling: {minReplicas: 2, maxReplicas: 2}}",
    "two ports with one number": """
        spec: {template: {spec: {containers: [{name: worker, image: "shop:1", ports: [
            {containerPort: 53}, {containerPort: 53, protocol: UDP}]}]}}}""",
    "every kind of quantity": """
        spec: {template: {spec: {containers: [{name: worker, image: "shop:1", resources: {
            requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1500m, memory: "1e9", example.com/gpu: 2}}}]}}}""",
    "the whole of a pod": """
        spec: {template: {metadata: {labels: {app: shop}, annotations: {a: b}}, spec: {
            serviceAccountName: shop, terminationGracePeriodSeconds: 300, imagePullSecrets: [{name: pull}],
            securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}},
            tolerations: [{key: spot, operator: Exists}],
            topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}],
            affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [
                {weight: 1, podAffinityTerm: {topologyKey: zone, labelSelector: {matchLabels: {app: shop}}}}]}},
            initContainers: [{name: proxy, image: "proxy:1", restartPolicy: Always}],
            volumes: [{name: tmp, emptyDir: {sizeLimit: 1Gi}}, {name: all, projected: {sources: [
                {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}]}},
                {name: scratch, ephemeral: {volumeClaimTemplate: {metadata: {labels: {a: b}}, spec: {
                    accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}],
            containers: [{name: worker, image: "shop:1", command: [sh], envFrom: [{configMapRef: {name: env}}],
                env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}],
                lifecycle: {preStop: {sleep: {seconds: 1}}}, volumeMounts: [{name: tmp, mountPath: /tmp}],
                readinessProbe: {httpGet: {path: /readyz, port: health}, periodSeconds: 2},
                livenessProbe: {httpGet: {path: /livez, port: 7433}},
                securityContext: {capabilities: {drop: [ALL]}}}]}}}""",
}

INVALID = {
    "unknown field": ("spec: {drian: {}}", 'unknown field "spec.drian"'),
    "unknown field inside the template": (
        "spec: {template: {spec: {containers: [{name: worker, image: a, imagePolicy: Never}]}}}",
        'unknown field "spec.template.spec.containers[0].imagePolicy"',
    ),
    "unknown field in the template's metadata": (
        "spec: {template: {metadata: {name: a}}}",
        'unknown field "spec.template.metadata.name"',
    ),
    "ephemeral containers": (
        "spec: {template: {spec: {ephemeralContainers: [{name: debug}]}}}",
        'unknown field "spec.template.spec.ephemeralContainers"',
    ),
    "no template": ("spec: {template: null}", "spec.template: Required value"),
    "no containers": (
        "spec: {template: {spec: {containers: []}}}",
        "spec.template.spec.containers in body should have at least 1 items",
    ),
    "pods that end": (
        "spec: {template: {spec: {restartPolicy: OnFailure}}}",
        'spec.template.spec.restartPolicy: Unsupported value: "OnFailure": supported values: "Always"',
    ),
    "a quantity in no known unit": (
        "spec: {template: {spec: {containers: [{name: worker, resources: {limits: {memory: 1GB}}}]}}}",
        "spec.template.spec.containers[0].resources.limits.memory in body should match",
    ),
    "negative replicas": ("spec: {replicas: -1}", "spec.replicas in body should be greater than or equal to 0"),
    "unknown runtime": ("spec: {worker: {runtime: Celery}}", 'Unsupported value: "Celery": supported values: "Native"'),
    "concurrency too high": (
        "spec: {worker: {concurrency: 1001}}",
        "spec.worker.concurrency in body should be less than or equal to 1000",
    ),
    "weight of zero": (
        "spec: {worker: {queues: [{name: a, weight: 0}]}}",
        "spec.worker.queues[0].weight in body should be greater than or equal to 1",
    ),
    "no queues": ("spec: {worker: {queues: []}}", "spec.worker.queues in body should have at least 1 items"),
    "a queue twice": (
        "spec: {worker: {queues: [{name: a}, {name: b}, {name: a, weight: 3}]}}",
        "a queue is named twice: name each queue once, and raise its weight to prefer it",
    ),
    "a queue with a comma": (
        'spec: {worker: {queues: [{name: "a,5"}]}}',
        "name a queue with at least one character, without whitespace, comma or pattern",
    ),
    "queues by pattern": (
        'spec: {worker: {queues: [{name: "mail_*"}]}}',
        "name a queue with at least one character, without whitespace, comma or pattern",
    ),
    "a queue that is left out": (
        'spec: {worker: {queues: [{name: a}, {name: "!mails"}]}}',
        "name a queue with at least one character, without whitespace, comma or pattern",
    ),
    "a queue without a name": (
        'spec: {worker: {queues: [{name: ""}]}}',
        "name a queue with at least one character, without whitespace, comma or pattern",
    ),
    "no Redis": (
        "spec: {redis: {url: null}}",
        "no Redis is named: set redis.url, or redis.urlFrom.secretKeyRef for an address with a password",
    ),
    "two Redis": (
        "spec: {redis: {urlFrom: {secretKeyRef: {name: a, key: b}}}}",
        "two Redis addresses are given: remove redis.url or redis.urlFrom",
    ),
    "a Redis address that is none": (
        "spec: {redis: {url: 'redis:6379'}}",
        "write the address as redis://HOST:PORT/DATABASE, or rediss://… for TLS",
    ),
    "a key prefix with a blank": ("spec: {redis: {keyPrefix: 'a b'}}", "remove the whitespace from redis.keyPrefix"),
    "neither surge nor unavailable": (
        "spec: {rollout: {maxSurge: 0}}",
        "rollout.maxSurge and rollout.maxUnavailable are both 0, so no pod could ever be replaced: raise one of them",
    ),
    "neither surge nor unavailable, in percent": (
        "spec: {rollout: {maxSurge: 0%, maxUnavailable: 0%}}",
        "rollout.maxSurge and rollout.maxUnavailable are both 0",
    ),
    "surge in no percentage": (
        "spec: {rollout: {maxSurge: 25 percent}}",
        'write rollout.maxSurge as a number of pods such as 3, or as a percentage such as "25%"',
    ),
    "negative surge": (
        "spec: {rollout: {maxSurge: -1}}",
        'write rollout.maxSurge as a number of pods such as 3, or as a percentage such as "25%"',
    ),
    "more than all unavailable": (
        "spec: {rollout: {maxUnavailable: 101%}}",
        'write rollout.maxUnavailable as a number of pods such as 1, or as a percentage up to "100%"',
    ),
    "deadline before pods can count as ready": (
        "spec: {rollout: {minReadySeconds: 600}}",
        "rollout.progressDeadlineSeconds must be greater than rollout.minReadySeconds",
    ),
    "nobody may drain": (
        "spec: {rollout: {maxDraining: 0}}",
        "spec.rollout.maxDraining in body should be greater than or equal to 1",
    ),
    "checkpoints of age zero": (
        "spec: {drain: {waitFor: Checkpoint, checkpointMaxAgeSeconds: 0}}",
        "spec.drain.checkpointMaxAgeSeconds in body should be greater than or equal to 1",
    ),
    "autoscaling without an upper limit": (
        "spec: {scaling: {mode: Auto}}",
        "scaling.mode Auto needs an upper limit: set scaling.maxReplicas",
    ),
    "minimum above maximum": (
        "spec: {scaling: {mode: Auto, minReplicas: 5, maxReplicas: 4}}",
        "scaling.minReplicas (5) is greater than scaling.maxReplicas (4); lower the one or raise the other",
    ),
    "a window of more than an hour": (
        "spec: {scaling: {behavior: {scaleDown: {stabilizationWindowSeconds: 3601}}}}",
        "stabilizationWindowSeconds in body should be less than or equal to 3600",
    ),
    "a name too long for labels": (
        f"metadata: {{name: {'a' * 53}}}",
        "metadata.name must have at most 52 characters: pods and their labels are named after it",
    ),
}


def merged(base: Any, patch: Any) -> Any:
    """JSON merge patch: null removes."""
    if not isinstance(patch, Mapping) or not isinstance(base, Mapping):
        return patch
    result = {**base, **{key: merged(base.get(key), value) for key, value in patch.items()}}
    return {key: value for key, value in result.items() if value is not None}


def applied(cluster: Cluster, manifest: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return cluster.kubectl("create", "-n", NAMESPACE, "-o", "json", *arguments, "-f", "-", input=manifest)


def sample(patch: str = "{}") -> str:
    return json.dumps(merged(yaml.safe_load(BASE), yaml.safe_load(patch)))


# ── tests ────────────────────────────────────────────────────────────────────


def test_schema_is_structural(served: Cluster) -> None:
    found = conditions(served)
    assert found["NamesAccepted"]["status"] == "True", found
    assert "NonStructuralSchema" not in found, found


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (".spec.drain", ("waitFor", "There is no time limit", "enum: Jobs, Checkpoint")),
        (".spec.redis.urlFrom.secretKeyRef", ("Key of a Secret in this namespace", "-required-")),
        (".spec.rollout", ("maxSurge", "maxUnavailable", "maxDraining")),
        (".spec.template.spec.containers", ("imagePullPolicy", "volumeMounts")),
        (".status.conditions", ("Ready, Progressing, Degraded, Draining or ScalingActive",)),
    ],
)
def test_kubectl_explains(served: Cluster, path: str, words: tuple[str, ...]) -> None:
    text = " ".join(succeeded(served.kubectl("explain", SHORT + path)).split())
    for word in words:
        assert word in text


@pytest.mark.parametrize("patch", [pytest.param(patch, id=name) for name, patch in VALID.items()])
def test_accepted(served: Cluster, patch: str) -> None:
    succeeded(applied(served, sample(patch), "--dry-run=server"))


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in EXAMPLES])
def test_examples_are_accepted(served: Cluster, path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        if document["kind"] == "JobWorker":
            document["apiVersion"] = document["apiVersion"].replace("jobworker.dev/", f"{GROUP}/")
            document["metadata"].pop("namespace", None)
            succeeded(applied(served, json.dumps(document), "--dry-run=server"))


@pytest.mark.parametrize(
    ("patch", "message"), [pytest.param(patch, message, id=name) for name, (patch, message) in INVALID.items()]
)
def test_refused_with_a_sentence(served: Cluster, patch: str, message: str) -> None:
    process = applied(served, sample(patch), "--dry-run=server")
    assert process.returncode != 0, f"accepted: {process.stdout}"
    assert message in process.stderr


def test_defaults_are_filled_in(served: Cluster) -> None:
    spec = json.loads(succeeded(applied(served, sample(), "--dry-run=server")))["spec"]
    assert spec == {
        "replicas": 1,
        "worker": {
            "runtime": "Native",
            "queues": [{"name": "default", "weight": 1}],
            "order": "Weighted",
            "concurrency": 10,
        },
        "redis": {"url": "redis://redis:6379/0", "keyPrefix": ""},
        "template": {"spec": {"containers": [{"name": "worker", "image": "shop:1"}]}},
        "rollout": {
            "maxSurge": "25%",
            "maxUnavailable": 0,
            "maxDraining": 10,
            "minReadySeconds": 0,
            "progressDeadlineSeconds": 600,
            "paused": False,
        },
        "drain": {"waitFor": "Jobs", "checkpointMaxAgeSeconds": 60},
        "scaling": {"mode": "Off", "minReplicas": 1, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}},
    }


def test_defaults_are_filled_into_a_half_written_part(served: Cluster) -> None:
    patch = "spec: {rollout: {maxSurge: 1}, scaling: {mode: Auto, maxReplicas: 3, behavior: {}}}"
    spec = json.loads(succeeded(applied(served, sample(patch), "--dry-run=server")))["spec"]
    assert spec["rollout"]["progressDeadlineSeconds"] == 600
    assert spec["scaling"]["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 60}}


def test_scale_and_columns_read_the_status(served: Cluster) -> None:
    succeeded(applied(served, sample("metadata: {name: scaled}")))
    status = {
        "observedGeneration": 1,
        "replicas": 2,
        "readyReplicas": 2,
        "busyReplicas": 1,
        "drainingReplicas": 0,
        "updatedReplicas": 2,
        "desiredReplicas": 4,
        "selector": "jobworker.dev/jobworker=scaled",
        "currentRevision": "5d4f",
        "updateRevision": "5d4f",
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "a",
                "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
        "queues": [{"name": "default", "depth": 7, "latencySeconds": 31, "paused": False}],
        "depth": 7,
        "latencySeconds": 31,
        "scaling": {"recommendation": 4, "reason": "7 jobs"},
        "draining": [{"pod": "scaled-5d4f-abcde", "since": "2026-01-01T00:00:00Z", "waitingFor": "1 job", "jobs": 1}],
        "sampledAt": "2026-01-01T00:00:00Z",
        "summary": "2 of 4 ready",
    }
    patch = ("patch", SHORT, "scaled", "-n", NAMESPACE, "--type=merge", "--subresource=status", "-o", "json", "-p")
    stored = json.loads(succeeded(served.kubectl(*patch, json.dumps({"status": status}))))
    assert stored["status"] == status

    succeeded(served.kubectl("scale", SHORT, "scaled", "-n", NAMESPACE, "--replicas=4"))
    path = f"/apis/{GROUP}/v1alpha1/namespaces/{NAMESPACE}/jobworkers/scaled/scale"
    scale = json.loads(succeeded(served.kubectl("get", "--raw", path)))
    assert scale["spec"] == {"replicas": 4}
    assert scale["status"] == {"replicas": 2, "selector": "jobworker.dev/jobworker=scaled"}

    header, row = succeeded(served.kubectl("get", SHORT, "scaled", "-n", NAMESPACE)).splitlines()
    assert header.split() == [
        *("NAME", "DESIRED", "READY", "BUSY", "DRAINING", "DEPTH", "LATENCY", "STATUS", "AGE"),
    ]
    assert row.split()[:11] == ["scaled", "4", "2", "1", "0", "7", "31", "2", "of", "4", "ready"]
