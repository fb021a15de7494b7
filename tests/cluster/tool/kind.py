"""A cluster of kind's node containers, for machines with a Docker daemon."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.tool import bootstrap, processes
from tests.cluster.tool.errors import ClusterError, MissingProgramError
from tests.cluster.tool.imagespec import IMAGES, ImageSpec, by_tag
from tests.cluster.tool.layout import NAME_PATTERN
from tests.cluster.tool.provider import ComponentStatus, Provider, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.cluster.tool.progress import Progress

KIND_VERSION = "v0.33.0"
CONFIGURATION = bootstrap.REPOSITORY / "kind-config.yaml"


def docker_answers() -> bool:
    """Whether a Docker daemon can be used from here."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


class KindProvider(Provider):
    """One cluster of kind."""

    def __init__(self, name: str, progress: Progress) -> None:
        if not NAME_PATTERN.fullmatch(name):
            raise ClusterError(f"{name!r} is no cluster name: use 1 to 32 of a-z, 0-9 and '-'")
        self.name = name
        self._progress = progress

    @property
    def kubeconfig(self) -> Path:
        folder = bootstrap.where("cache") / "kind"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self.name}.kubeconfig"

    def up(self) -> None:
        if self.status().healthy:
            return
        kind = self._kind()
        if self._containers():
            with self._progress.step("clear what is left of a cluster that died"):
                self._run_kind(kind, "delete", "cluster")
        with self._progress.step(f"kind create cluster {self.name}"):
            self._run_kind(kind, "create", "cluster", f"--config={CONFIGURATION}", "--wait=120s")

    def down(self) -> None:
        with self._progress.step(f"take down cluster {self.name}"):
            self._run_kind(self._kind(), "delete", "cluster")
        self.kubeconfig.unlink(missing_ok=True)

    def status(self) -> Status:
        containers = self._containers()
        components = tuple(
            ComponentStatus(name, None, alive=state == "running", log=None) for name, state in containers.items()
        )
        running = bool(components) and all(component.alive for component in components)
        healthy = running and self.kubeconfig.exists() and self._ready()
        return Status(
            self.name, exists=bool(components), healthy=healthy, components=components, kubeconfig=self.kubeconfig
        )

    def build_images(self) -> None:
        for spec in IMAGES:
            self._docker_build(spec)

    def load_images(self, given: Sequence[str]) -> None:
        kind = self._kind()
        for image in given:
            self._load_image(kind, image)

    def _load_image(self, kind: Path, image: str) -> None:
        if Path(image).is_file():
            with self._progress.step(f"load {image}"):
                self._run_kind(kind, "load", "image-archive", image)
            return
        spec = by_tag(image)
        self._docker_build(spec)
        with self._progress.step(f"load {spec.tag}"):
            self._run_kind(kind, "load", "docker-image", spec.tag)

    def add_node(self) -> str:
        raise ClusterError("kind cannot add a node to a running cluster: add it to kind-config.yaml, then down and up")

    def stop_node(self, name: str) -> None:
        processes.run(["docker", "exec", name, "pkill", "-STOP", "-x", "kubelet"])

    def resume_node(self, name: str) -> None:
        processes.run(["docker", "exec", name, "pkill", "-CONT", "-x", "kubelet"])

    def kill_node(self, name: str) -> None:
        processes.run(["docker", "kill", name])

    def _docker_build(self, spec: ImageSpec) -> None:
        """Build an image, its parent first. Docker's own cache decides what there is to do."""
        if spec.parent is not None:
            self._docker_build(by_tag(spec.parent))
        flags = [f"--build-arg={name}={value}" for name, value in spec.parent_arguments.items()]
        repository = bootstrap.REPOSITORY
        command = ["docker", "build", "--quiet", *flags, f"--tag={spec.tag}", f"--file={repository / spec.dockerfile}"]
        with self._progress.step(f"docker build {spec.tag}"):
            processes.run([*command, str(repository)], doing=f"building {spec.tag}")

    def _kind(self) -> Path:
        """kind from the PATH, or built once from its Go module."""
        if found := shutil.which("kind"):
            return Path(found)
        folder = bootstrap.where("cache") / f"kind-{KIND_VERSION}"
        if not (folder / "kind").exists():
            if shutil.which("go") is None:
                raise MissingProgramError(
                    f"install kind {KIND_VERSION} (https://kind.sigs.k8s.io), or Go to build it with"
                )
            with self._progress.step(f"build kind {KIND_VERSION} (once)"):
                install = ["go", "install", f"sigs.k8s.io/kind@{KIND_VERSION}"]
                environment = os.environ | {"GOBIN": str(folder)}
                built = subprocess.run(install, env=environment, capture_output=True, text=True, check=False)
            if built.returncode != 0:
                raise ClusterError(f"{' '.join(install)} failed:\n{built.stderr}")
        return folder / "kind"

    def _run_kind(self, kind: Path, *arguments: str) -> None:
        command = [str(kind), *arguments, f"--name={self.name}"]
        if arguments[0] in {"create", "delete"}:
            command.append(f"--kubeconfig={self.kubeconfig}")
        processes.run(command)

    def _containers(self) -> dict[str, str]:
        """State of each node container by name."""
        label = f"label=io.x-k8s.kind.cluster={self.name}"
        listed = processes.run(["docker", "ps", "--all", f"--filter={label}", "--format={{json .}}"])
        rows = [json.loads(line) for line in listed.splitlines()]
        return {row["Names"]: row["State"] for row in rows}

    def _ready(self) -> bool:
        # The control plane's container has a kubectl of the right version.
        node = f"{self.name}-control-plane"
        command = ["docker", "exec", node, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "get", "--raw=/readyz"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
