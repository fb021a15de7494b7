"""`Cluster`: the tool's API for tests and the demo."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Literal, Self

from tests.cluster.tool import bootstrap
from tests.cluster.tool.errors import ClusterError
from tests.cluster.tool.imagespec import IMAGES
from tests.cluster.tool.kind import KindProvider, docker_answers
from tests.cluster.tool.native import NativeProvider
from tests.cluster.tool.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.cluster.tool.provider import Provider, Status

ProviderName = Literal["native", "kind"]


class Cluster:
    """A Kubernetes cluster of a name. Several live side by side; nothing happens before a method is called.

    As a context manager it is up inside of the block and down after it.
    """

    def __init__(self, name: str, provider: ProviderName | None = None, *, progress: Progress | None = None) -> None:
        """Choose a cluster. `provider` None means kind when a Docker daemon answers, else native."""
        self.name = name
        self.provider_name: ProviderName = provider or ("kind" if docker_answers() else "native")
        self._progress = progress or Progress(quiet=True)
        self._provider: Provider
        match self.provider_name:
            case "native":
                self._provider = NativeProvider(name, self._progress)
            case "kind":
                self._provider = KindProvider(name, self._progress)

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; exists while the cluster is up."""
        return self._provider.kubeconfig

    @property
    def host_address(self) -> str | None:
        """The machine's address as pods see it, for servers of a test; None where the provider has none (kind)."""
        return str(self._provider.layout.host_address) if isinstance(self._provider, NativeProvider) else None

    def up(self, *, images: bool = False) -> None:
        """Bring the cluster up, one node Ready, DNS and Services working; return at once when it is.

        With `images`, the project's images are built (when their sources changed) and loaded.
        """
        self._provider.up()
        if images:
            self.load_images()

    def down(self) -> None:
        """Remove everything of the cluster; nothing happens when there is nothing."""
        self._provider.down()

    def status(self) -> Status:
        """What is there of the cluster."""
        return self._provider.status()

    def build_images(self) -> None:
        """Build the project's images whose sources have changed."""
        self._provider.build_images()

    def load_image(self, *images: str | Path) -> None:
        """Load images: tags of the project (built first if changed), or paths of OCI or Docker archives."""
        self._provider.load_images([str(image) for image in images])

    def load_images(self) -> None:
        """Build what changed of the project's images and load all of them."""
        self._provider.load_images([spec.tag for spec in IMAGES])

    def add_node(self) -> str:
        """Add a node that has the first one's images; returns its name once it is Ready."""
        return self._provider.add_node()

    def stop_node(self, name: str) -> None:
        """Stop a node's kubelet: the node is NotReady some 15 s later, its containers run on."""
        self._provider.stop_node(name)

    def resume_node(self, name: str) -> None:
        """Undo `stop_node`."""
        self._provider.resume_node(name)

    def kill_node(self, name: str) -> None:
        """End a node with all of its containers at once and for good."""
        self._provider.kill_node(name)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl on the cluster and return what it printed.

        Raises:
            ClusterError: it failed; the message holds what it said.
        """
        command = [*self.kubectl_command(), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"kubectl {' '.join(arguments)} failed:\n{done.stderr.strip()}")
        return done.stdout

    def helm(self, *arguments: str) -> str:
        """Run helm on the cluster and return what it printed.

        Raises:
            ClusterError: it failed; the message holds what it said.
        """
        done = subprocess.run([*self.helm_command(), *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"helm {' '.join(arguments)} failed:\n{done.stderr.strip()}")
        return done.stdout

    def kubectl_command(self) -> Sequence[str]:
        """The start of a kubectl command line for this cluster.

        Raises:
            ClusterError: the cluster is not up.
        """
        native = self.provider_name == "native"
        program = str(bootstrap.kubernetes_programs() / "kubectl") if native else _on_path("kubectl")
        return [program, self._kubeconfig_flag()]

    def helm_command(self) -> Sequence[str]:
        """The start of a helm command line for this cluster.

        Raises:
            ClusterError: the cluster is not up.
        """
        return [str(bootstrap.helm()), self._kubeconfig_flag()]

    def _kubeconfig_flag(self) -> str:
        if not self.kubeconfig.exists():
            raise ClusterError(
                f"cluster {self.name} is not up: run `python -m tests.cluster.tool up --name {self.name}`"
            )
        return f"--kubeconfig={self.kubeconfig}"


def _on_path(program: str) -> str:
    if found := shutil.which(program, path=os.environ.get("PATH")):
        return found
    raise ClusterError(f"{program} is not on the PATH: install it")
