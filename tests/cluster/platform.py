"""A cluster with the operator in it, as tests and the demo use it: apply, ask, reach Redis from outside, kill.

Everything goes through kubectl and the service's own address, so the same steps work for a person.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import redis
import yaml

from tests.cluster.tool.cluster import Cluster
from tests.cluster.tool.errors import ClusterError
from tests.cluster.tool.imagespec import OPERATOR, image_key
from tests.waiting import wait_until_sync

REPOSITORY = Path(__file__).resolve().parents[2]
OPERATOR_NAMESPACE = "jobworker-system"
RELEASE = "jobworker"

Manifest = dict[str, Any]


class Platform:
    """A running cluster. ``kubectl`` never raises: its answer is what tests look at."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._forwards: list[subprocess.Popen[bytes]] = []

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.cluster.kubeconfig

    def kubectl(self, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:  # noqa: A002  # subprocess' own word
        """Run kubectl; the caller looks at the return code."""
        command = [*self.cluster.kubectl_command(), *arguments]
        return subprocess.run(command, input=input, capture_output=True, text=True, check=False, timeout=300)

    def apply(self, *manifests: Manifest) -> None:
        """``kubectl apply`` of documents.

        Raises:
            ClusterError: the API server refused one; the message is its own.
        """
        done = self.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(manifests))
        if done.returncode != 0:
            raise ClusterError(done.stderr)

    def get(self, kind: str, name: str, namespace: str) -> Manifest | None:
        """An object as JSON; None if there is none."""
        done = self.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        if done.returncode != 0:
            raise ClusterError(done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def list(self, kind: str, namespace: str, selector: str = "") -> list[Manifest]:
        """Objects of a namespace as JSON."""
        arguments = ["get", kind, "-n", namespace, "-o", "json", *(["-l", selector] if selector else [])]
        done = self.kubectl(*arguments)
        if done.returncode != 0:
            raise ClusterError(done.stderr)
        items: list[Manifest] = json.loads(done.stdout)["items"]
        return items

    def install_operator(self, *settings: str) -> None:
        """``helm upgrade --install`` of the chart with the image built here, waiting until the operator is ready."""
        # The tag stays the same when the image changes: the annotation makes the Deployment replace its pod.
        built = f"podAnnotations.built-from={image_key(OPERATOR, REPOSITORY)}"
        chosen = ("image.tag=dev", "image.pullPolicy=Never", built, *settings)
        values = [part for setting in chosen for part in ("--set", setting)]
        self.cluster.helm(
            "upgrade", "--install", RELEASE, str(REPOSITORY / "helm" / "jobworker"), "--namespace", OPERATOR_NAMESPACE,
            "--create-namespace", "--wait", "--timeout", "120s", *values,
        )  # fmt: skip

    def reach(self, service: str, namespace: str, port: int) -> tuple[str, int]:
        """Host and port at which a Service answers from outside of the cluster."""
        if self.cluster.provider_name == "native":
            found = self.get("service", service, namespace)
            assert found is not None, f"there is no service {service} in {namespace}"
            return found["spec"]["clusterIP"], port
        local = _free_port()
        command = [
            *self.cluster.kubectl_command(),
            "port-forward",
            "-n",
            namespace,
            f"svc/{service}",
            f"{local}:{port}",
        ]
        self._forwards.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return "127.0.0.1", local

    def kill_container(self, pod: Manifest, program: str) -> None:
        """SIGKILL the processes of a pod whose command line holds ``program``, from outside as the kernel would."""
        uid = pod["metadata"]["uid"]
        if self.cluster.provider_name == "kind":
            node = pod["spec"]["nodeName"]
            search = (
                f"for p in $(grep -l {uid} /proc/*/cgroup | cut -d/ -f3); do "
                f"grep -q {program} /proc/$p/cmdline && kill -9 $p; done"
            )
            docker = shutil.which("docker") or "docker"
            subprocess.run([docker, "exec", node, "sh", "-c", search], check=False, timeout=60)
            return
        killed = [pid for pid in _processes_of(uid) if program in _command_line(pid)]
        assert killed, f"no process of pod {pod['metadata']['name']} runs {program}"
        for pid in killed:
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """End what was started to reach the cluster."""
        for forward in self._forwards:
            forward.terminate()
            forward.wait(10)
        self._forwards.clear()


class Shop:
    """A namespace with a Redis of its own, where JobWorkers are applied."""

    def __init__(self, platform: Platform, namespace: str) -> None:
        self.platform = platform
        self.namespace = namespace
        self.redis_url = f"redis://redis.{namespace}.svc:6379/0"

    def create_namespace(self) -> None:
        """Create the namespace, under Pod Security "restricted"."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        metadata = {"name": self.namespace, "labels": labels}
        self.platform.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def open(self) -> redis.Redis:
        """Create the namespace and its Redis; a client of it, from outside."""
        self.create_namespace()
        documents = yaml.safe_load_all((REPOSITORY / "examples" / "redis.yaml").read_text())
        self.platform.apply(*[_moved(document, self.namespace) for document in documents if _wanted(document)])
        done = self.platform.kubectl("rollout", "status", "deployment/redis", "-n", self.namespace, "--timeout=120s")
        if done.returncode != 0:
            raise ClusterError(f"Redis does not start in {self.namespace}: {done.stderr}")
        host, port = self.platform.reach("redis", self.namespace, 6379)
        client = redis.Redis(host=host, port=port, socket_timeout=10, socket_connect_timeout=2)
        wait_until_sync(lambda: _pings(client), 30, f"redis at {host}:{port}")
        return client

    def close(self) -> None:
        """Delete the namespace; it goes while the next test runs."""
        self.platform.kubectl("delete", "namespace", self.namespace, "--wait=false")

    def jobworker(self, name: str = "shop", **spec: Any) -> Manifest:
        """A JobWorker with this Redis and the examples' application; ``spec`` replaces whole fields."""
        default = {
            "replicas": 3,
            "worker": {"queues": [{"name": "imports"}, {"name": "reports"}, {"name": "mails"}], "concurrency": 4},
            "redis": {"url": self.redis_url},
            "template": pod_template(),
        }
        return {
            "apiVersion": "jobworker.dev/v1alpha1",
            "kind": "JobWorker",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {**default, **spec},
        }

    def pods(self, name: str = "shop") -> list[Manifest]:
        """The pods of a JobWorker."""
        return self.platform.list("pods", self.namespace, f"jobworker.dev/jobworker={name}")

    def status(self, name: str = "shop") -> Manifest:
        """The status of a JobWorker; empty if it has none yet."""
        found = self.platform.get("jobworker", name, self.namespace)
        status: Manifest = (found or {}).get("status", {})
        return status

    def condition(self, kind: str, name: str = "shop") -> Manifest:
        """A condition of a JobWorker; empty if it is not there yet."""
        return next((c for c in self.status(name).get("conditions", []) if c["type"] == kind), {})

    def wait_ready(self, name: str = "shop", seconds: float = 90) -> None:
        """``kubectl wait --for=condition=Ready``.

        Raises:
            AssertionError: it did not become ready; the message shows the status.
        """
        done = self.platform.kubectl(
            "wait", "--for=condition=Ready", f"jobworker/{name}", "-n", self.namespace, f"--timeout={seconds}s"
        )
        assert done.returncode == 0, f"{done.stderr}\n{json.dumps(self.status(name), indent=1)}"


def pod_template(
    image: str = "localhost/jobworker-examples:dev", grace_seconds: int = 10, **environment: str
) -> Manifest:
    """A pod template of the examples' application that Pod Security "restricted" lets in."""
    container: Manifest = {
        "name": "worker",
        "image": image,
        "imagePullPolicy": "Never",
        "args": ["run", "shop:app"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        "env": [{"name": key, "value": value} for key, value in environment.items()],
    }
    return {"spec": {"terminationGracePeriodSeconds": grace_seconds, "containers": [container]}}


def _wanted(document: Manifest | None) -> bool:
    return document is not None and document["kind"] != "Namespace"


def _moved(document: Manifest, namespace: str) -> Manifest:
    return {**document, "metadata": {**document["metadata"], "namespace": namespace}}


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _processes_of(pod_uid: str) -> list[int]:
    found = []
    for cgroup in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if pod_uid in cgroup.read_text():
                found.append(int(cgroup.parent.name))
        except OSError:  # it ended while we looked
            continue
    return found


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def now() -> float:
    """Seconds on a clock that only goes forward, for durations."""
    return time.monotonic()
