"""A cluster of plain processes, for machines with root and no Docker daemon.

Real etcd, API server, kubelet and containers, in namespaces and cgroups of the cluster's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.tool import bootstrap, cgroups, controlplane, images, network, node, processes
from tests.cluster.tool.certificates import issue_control_plane
from tests.cluster.tool.errors import ClusterError
from tests.cluster.tool.imagespec import IMAGES, by_tag
from tests.cluster.tool.layout import MAX_NODES, NAME_PATTERN, Layout, NodeLayout
from tests.cluster.tool.provider import ComponentStatus, Provider, Status
from tests.cluster.tool.waiting import answers, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.cluster.tool.progress import Progress

# The kernel's, for the path of a Unix socket.
SOCKET_PATH_LIMIT = 107
STATE_ROOT = Path("/var/lib/jobworker-clusters")


def state_root() -> Path:
    """Where the clusters' folders are: JOBWORKER_STATE, or a fixed place that every checkout shares."""
    return Path(os.environ.get("JOBWORKER_STATE") or STATE_ROOT)


class NativeProvider(Provider):
    """One cluster of plain processes."""

    def __init__(self, name: str, progress: Progress) -> None:
        self.layout = Layout(name, state_root())
        self._progress = progress

    @property
    def kubeconfig(self) -> Path:
        return self.layout.kubeconfig

    # ── up and down ──────────────────────────────────────────────────────────

    def up(self) -> None:
        _require_root()
        with self._lock():
            status = self.status()
            if status.healthy:
                return
            if status.exists:
                with self._progress.step("clear what is left of a cluster that died"):
                    self._clear()
            self._refuse_long_paths()
            self._refuse_taken_addresses()
            try:
                self._start()
            except BaseException:
                self._progress.note(f"logs are kept in {self.layout.logs} until the next up or down")
                cgroups.kill(self.layout.cgroup)
                raise

    def _start(self) -> None:
        layout, step = self.layout, self._progress.step
        first = layout.node(1)
        with step("find programs"):
            programs = bootstrap.kubernetes_programs()
            pause = images.pause_layout()
        with step("make namespaces, network and certificates"):
            cgroups.make(layout.daemons_cgroup)
            layout.folder.mkdir(parents=True, exist_ok=True)
            namespaces = network.open_namespaces(layout)
            network.connect(layout, namespaces)
            issue_control_plane(layout)
        with step("start etcd, API server and containerd"):
            controlplane.start_api_server(layout, namespaces, programs)
            node.start_containerd(layout, namespaces, first)
            node.wait_for_containerd(layout, first)
            node.import_layouts(first, {node.PAUSE_IMAGE: pause})
            controlplane.wait_for_api_server(layout)
        with step("start controllers, DNS and the node"):
            controlplane.start_controllers(layout, namespaces, programs)
            node.start_kubelet(layout, namespaces, first, programs)
            self._wait_for_node(first)
            controlplane.wait_for_dns(layout)
            self._wait_for_service_account()

    def down(self) -> None:
        _require_root()
        with self._lock(), self._progress.step(f"take down cluster {self.layout.name}"):
            self._clear()
            self.layout.lock.unlink()
        # The last cluster takes the root folder along; it stays while there is another.
        with contextlib.suppress(OSError):
            self.layout.state_root.rmdir()

    def _clear(self) -> None:
        layout = self.layout
        cgroups.kill(layout.cgroup)
        for record in processes.read_records(layout.processes).values():
            # A process that died between its start and its cgroup is found by its record.
            if record.alive:
                record.signal(signal.SIGKILL)
        network.remove_link(layout)
        cgroups.remove(layout.cgroup)
        _remove_folder(layout.folder)

    def _refuse_taken_addresses(self) -> None:
        for folder in self.layout.state_root.iterdir():
            if not folder.is_dir() or not NAME_PATTERN.fullmatch(folder.name):
                continue
            if Layout(folder.name, folder.parent).slot == self.layout.slot:
                raise ClusterError(
                    f"clusters {folder.name} and {self.layout.name} would get the same addresses: use another name"
                )

    def _refuse_long_paths(self) -> None:
        socket = f"{self.layout.node(MAX_NODES).containerd_socket}.ttrpc"
        if len(socket) > SOCKET_PATH_LIMIT:
            raise ClusterError(f"{socket} is too long for a socket: use a shorter JOBWORKER_STATE or a shorter name")

    # ── status ───────────────────────────────────────────────────────────────

    def status(self) -> Status:
        layout = self.layout
        components = tuple(
            ComponentStatus(record.component, record.pid, alive=record.alive, log=Path(record.log))
            for record in processes.read_records(layout.processes).values()
        )
        exists = layout.folder.exists() or bool(cgroups.members(layout.cgroup))
        complete = {"etcd", controlplane.API_SERVER, "kubelet-1"} <= {component.name for component in components}
        running = bool(components) and all(component.alive for component in components) and complete
        healthy = running and answers(f"{layout.api_url}/readyz", layout)
        return Status(layout.name, exists=exists, healthy=healthy, components=components, kubeconfig=layout.kubeconfig)

    # ── images ───────────────────────────────────────────────────────────────

    def build_images(self) -> None:
        for spec in IMAGES:
            images.build(spec, self._progress)

    def load_images(self, given: Sequence[str]) -> None:
        archives = [Path(image) for image in given if Path(image).is_file()]
        specs = [by_tag(image) for image in given if not Path(image).is_file()]
        layouts = {spec.tag: images.build(spec, self._progress) for spec in specs}
        for member in self._nodes():
            with self._progress.step(f"load {len(given)} images into {member.name}"):
                if layouts:
                    node.import_layouts(member, layouts)
                for archive in archives:
                    node.import_archive(member, archive)

    # ── nodes ────────────────────────────────────────────────────────────────

    def add_node(self) -> str:
        _require_root()
        layout = self.layout
        with self._lock():
            namespaces = network.find_namespaces(layout)
            existing = self._nodes()
            # By folder: the number of a node that was killed is not given again.
            added = layout.node(1 + max(int(folder.name.rpartition("-")[2]) for folder in layout.folder.glob("node-*")))
            with self._progress.step(f"add {added.name}"):
                network.add_node_address(layout, namespaces, added)
                node.start_containerd(layout, namespaces, added)
                node.wait_for_containerd(layout, added)
                self._copy_images(existing[0], added)
                node.start_kubelet(layout, namespaces, added, bootstrap.kubernetes_programs())
                self._wait_for_node(added)
        return added.name

    def stop_node(self, name: str) -> None:
        """SIGSTOP: to the control plane the node is lost, while its containers run on, as on a node cut off."""
        self._signal_kubelet(name, signal.SIGSTOP)

    def resume_node(self, name: str) -> None:
        self._signal_kubelet(name, signal.SIGCONT)

    def kill_node(self, name: str) -> None:
        """SIGKILL to kubelet, containerd and every container of a node, as when its power fails."""
        member = self._node_named(name)
        records = processes.read_records(self.layout.processes)
        for component in (node.kubelet_component(member), node.containerd_component(member)):
            if records[component].alive:
                records[component].signal(signal.SIGKILL)
            (self.layout.processes / f"{component}.json").unlink()
        cgroups.kill(member.cgroup)

    def _signal_kubelet(self, name: str, number: signal.Signals) -> None:
        component = node.kubelet_component(self._node_named(name))
        processes.read_records(self.layout.processes)[component].signal(number)

    def _nodes(self) -> list[NodeLayout]:
        records = processes.read_records(self.layout.processes)
        numbers = (int(component.rpartition("-")[2]) for component in records if component.startswith("kubelet-"))
        if found := [self.layout.node(number) for number in sorted(numbers)]:
            return found
        raise ClusterError(f"cluster {self.layout.name} is not up: run `python -m tests.cluster.tool up` first")

    def _node_named(self, name: str) -> NodeLayout:
        for member in self._nodes():
            if name in {member.name, str(member.number)}:
                return member
        names = ", ".join(member.name for member in self._nodes())
        raise ClusterError(f"cluster {self.layout.name} has no node {name!r}; it has {names}")

    def _copy_images(self, source: NodeLayout, target: NodeLayout) -> None:
        """Give a new node what the first one has: images are never pulled here."""
        listing = [
            "ctr",
            "--address",
            str(source.containerd_socket),
            "--namespace",
            "k8s.io",
            "image",
            "list",
            "--quiet",
        ]
        names = [name for name in processes.run(listing).split() if not name.startswith("sha256:")]
        archive = target.folder / "images.tar"
        processes.run([*listing[:5], "image", "export", str(archive), *names])
        node.import_archive(target, archive)
        archive.unlink()

    # ── waiting ──────────────────────────────────────────────────────────────

    def kubectl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run kubectl on this cluster and return what it printed and its exit code."""
        program = bootstrap.kubernetes_programs() / "kubectl"
        command = [str(program), f"--kubeconfig={self.kubeconfig}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def _wait_for_node(self, member: NodeLayout) -> None:
        component = node.kubelet_component(member)
        record = processes.read_records(self.layout.processes)[component]

        def ready() -> bool:
            shown = self.kubectl("get", "node", member.name, "--output=json")
            if shown.returncode != 0:
                return False
            conditions = json.loads(shown.stdout)["status"].get("conditions", [])
            return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)

        wait_until(
            ready,
            component,
            "did not make its node Ready",
            log=self.layout.logs / f"{component}.log",
            seconds=controlplane.START_SECONDS,
            alive=lambda: record.alive,
        )

    def _wait_for_service_account(self) -> None:
        # Pods are refused until the controller manager has made it.
        wait_until(
            lambda: self.kubectl("get", "serviceaccount", "default").returncode == 0,
            "kube-controller-manager",
            "did not make the default service account",
            log=self.layout.logs / "kube-controller-manager.log",
            seconds=controlplane.START_SECONDS,
        )

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One command at a time changes a cluster."""
        file = self.layout.lock
        while True:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                # `down` removes the file: who waited for it then holds a lock that nobody else will see.
                if file.exists() and file.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                    yield
                    return


def _require_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "a cluster without Docker needs root: run this with sudo, or start Docker and use --provider kind"
        )


def _remove_folder(folder: Path) -> None:
    # Mounts were in the cluster's own namespace and went with its last process; none can be below the folder.
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise ClusterError(
            f"{folder} could not be removed; is something mounted below it? See `findmnt | grep {folder}`"
        )
