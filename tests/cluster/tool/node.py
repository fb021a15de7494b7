"""One node: its containerd and its kubelet, with folders, sockets, address and cgroups of their own."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tests.cluster.tool import cgroups, processes
from tests.cluster.tool.certificates import issue_node
from tests.cluster.tool.controlplane import START_SECONDS, start_component
from tests.cluster.tool.errors import ClusterError, MissingProgramError
from tests.cluster.tool.network import cni_configuration
from tests.cluster.tool.ocilayout import write_stream
from tests.cluster.tool.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.cluster.tool.layout import Layout, NodeLayout
    from tests.cluster.tool.network import Namespaces

PAUSE_IMAGE = "localhost/jobworker-pause:dev"
# Where Debian, and where everybody else has the plugins.
CNI_PLUGINS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))


def containerd_component(node: NodeLayout) -> str:
    """Name of the node's containerd among the cluster's processes."""
    return f"containerd-{node.number}"


def kubelet_component(node: NodeLayout) -> str:
    """Name of the node's kubelet among the cluster's processes."""
    return f"kubelet-{node.number}"


def start_containerd(layout: Layout, namespaces: Namespaces, node: NodeLayout) -> None:
    """Start the node's containerd; it does not answer yet."""
    for program in ("containerd", "ctr", "runc"):
        processes.require(program)
    folder = node.folder / "containerd"
    plugins = node.folder / "cni"
    for made in (folder, plugins):
        made.mkdir(parents=True, exist_ok=True)
    (plugins / "10-pods.conflist").write_text(cni_configuration(layout, node))
    config = folder / "config.toml"
    config.write_text(containerd_configuration(node))
    start_component(layout, namespaces, containerd_component(node), ["containerd", "--config", str(config)])


def wait_for_containerd(layout: Layout, node: NodeLayout) -> None:
    """Wait until the node's containerd answers."""
    component = containerd_component(node)
    record = processes.read_records(layout.processes)[component]
    wait_until(
        node.containerd_socket.exists,
        component,
        "did not open its socket",
        log=layout.logs / f"{component}.log",
        seconds=START_SECONDS,
        alive=lambda: record.alive,
    )


def import_archive(node: NodeLayout, archive: Path) -> None:
    """Load an OCI or Docker archive, so that pods of the node can use its images."""
    processes.run([*_import_command(node), str(archive)], doing=f"loading {archive} into {node.name}")


def import_layouts(node: NodeLayout, layouts: Mapping[str, Path]) -> None:
    """Load images (tag → OCI layout) in one go.

    Raises:
        ClusterError: containerd refused them; the message holds what it said.
    """
    with subprocess.Popen(
        [*_import_command(node), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as importing:
        if importing.stdin is None or importing.stderr is None:
            raise TypeError("both are pipes, as asked for above")
        # It reads to the end or fails early and closes the pipe; its own words say why.
        with contextlib.suppress(BrokenPipeError):
            write_stream(layouts, importing.stdin)
            importing.stdin.close()
        said = importing.stderr.read().decode(errors="replace")
    if importing.returncode != 0:
        raise ClusterError(f"loading {', '.join(layouts)} into {node.name} failed:\n{said}")


def _import_command(node: NodeLayout) -> list[str]:
    return ["ctr", "--address", str(node.containerd_socket), "--namespace", "k8s.io", "image", "import"]


def start_kubelet(layout: Layout, namespaces: Namespaces, node: NodeLayout, programs: Path) -> None:
    """Start the node's kubelet; it registers the node."""
    issue_node(layout, node)
    cgroups.make(node.cgroup)
    resolver = node.folder / "resolv.conf"
    resolver.write_text(f"nameserver {layout.address}\n")
    config = node.folder / "kubelet.yaml"
    config.write_text(yaml.safe_dump(kubelet_configuration(layout, node, resolver)))
    flags = [
        f"--config={config}",
        f"--kubeconfig={layout.certificates / f'{node.name}.kubeconfig'}",
        f"--root-dir={node.folder / 'kubelet'}",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
    ]
    start_component(layout, namespaces, kubelet_component(node), [str(programs / "kubelet"), *flags])


def containerd_configuration(node: NodeLayout) -> str:
    """Configuration of containerd 1.6 and later 1.x: everything under the node's own folder."""
    folder = node.folder / "containerd"
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "{node.containerd_socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"

[{cri}]
sandbox_image = "{PAUSE_IMAGE}"
# Without CAP_SYS_RESOURCE no sandbox could lower its score, and none would start.
restrict_oom_score_adj = true
tolerate_missing_hugetlb_controller = true
stream_server_address = "127.0.0.1"
stream_server_port = "0"
netns_mounts_under_state_dir = true

[{cri}.containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false

[{cri}.cni]
bin_dir = "{cni_plugins()}"
conf_dir = "{node.folder}/cni"
"""


def cni_plugins() -> Path:
    """The folder with the CNI plugins.

    Raises:
        MissingProgramError: there is none.
    """
    for folder in CNI_PLUGINS:
        if (folder / "bridge").exists():
            return folder
    raise MissingProgramError("the CNI plugins are missing: run `scripts/bootstrap cluster`, which installs them")


def kubelet_configuration(layout: Layout, node: NodeLayout, resolver: Path) -> dict[str, object]:
    """Configuration of the kubelet, for machines with cgroup v1 or v2, with or without swap."""
    files = layout.certificates
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(node.address),
        "port": 10250,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(files / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(files / f"{node.name}-server.crt"),
        "tlsPrivateKeyFile": str(files / f"{node.name}-server.key"),
        "containerRuntimeEndpoint": f"unix://{node.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "clusterDNS": [str(layout.address)],
        "clusterDomain": "cluster.local",
        "resolvConf": str(resolver),
        "podLogsDir": str(node.folder / "pod-logs"),
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "syncFrequency": "10s",
        "nodeStatusReportFrequency": "10s",
        # A developer's disk is often nearly full; evictions would only blur what a test is about.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
    }
