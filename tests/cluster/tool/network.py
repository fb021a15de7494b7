"""The namespaces of one cluster: a network with one bridge for nodes and pods, and mounts of its own.

The machine reaches pods, Services and the API server over one link; nothing in the cluster has a route further out.
When the last process in the namespaces ends, the kernel removes bridge, rules and mounts: nothing is left to forget.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.cluster.tool import cgroups, processes
from tests.cluster.tool.errors import ClusterError
from tests.cluster.tool.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.cluster.tool.layout import Layout, NodeLayout

HOLDER = "namespaces"

# Paths that containerd, the kubelet and CNI plugins have compiled in. Inside the cluster's mount namespace each of
# them is a folder of the cluster, so that clusters do not meet there and nothing is left on the machine.
PRIVATE_FOLDERS = ("/run", "/var/log", "/var/lib/kubelet", "/var/lib/cni")

# "ready" appears once the mounts are in place; the holder then only keeps the namespaces open.
HOLD = """
set -e
state=$1; shift
for folder in "$@"; do
  mkdir -p "$folder" "$state/private$folder"
  mount --bind "$state/private$folder" "$folder"
done
: > "$state/namespaces.ready"
exec sleep infinity
"""


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The way into a cluster's namespaces: through the process that holds them open."""

    holder_pid: int

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` in the namespaces, with no process in between."""
        return ["nsenter", f"--target={self.holder_pid}", "--mount", "--net", "--", *command]

    def run(self, *command: str) -> str:
        """Run a program in the namespaces to its end and return its output.

        Raises:
            ClusterError: it failed.
        """
        return processes.run(self.inside(command))


def open_namespaces(layout: Layout) -> Namespaces:
    """Make the namespaces, and the process that holds them.

    Raises:
        ClusterError: the kernel does not allow it (it needs root).
    """
    for program in ("unshare", "nsenter", "ip", "iptables"):
        processes.require(program)
    ready = layout.folder / "namespaces.ready"
    log = layout.logs / f"{HOLDER}.log"
    unshare = ["unshare", "--mount", "--net", "--propagation=slave", "sh", "-c", HOLD, "hold"]
    record = processes.start(
        HOLDER,
        [*unshare, str(layout.folder), *PRIVATE_FOLDERS],
        log=log,
        records=layout.processes,
        procs_files=cgroups.procs_files(layout.daemons_cgroup),
    )
    wait_until(ready.exists, HOLDER, "did not make its mounts", log=log, seconds=10, alive=lambda: record.alive)
    return Namespaces(record.pid)


def find_namespaces(layout: Layout) -> Namespaces:
    """The namespaces of a running cluster.

    Raises:
        ClusterError: the cluster is not up.
    """
    record = processes.read_records(layout.processes).get(HOLDER)
    if record is None or not record.alive:
        raise ClusterError(
            f"cluster {layout.name} is not up: run `python -m tests.cluster.tool up --name {layout.name}`"
        )
    return Namespaces(record.pid)


def connect(layout: Layout, namespaces: Namespaces) -> None:
    """Make the bridge, the link to the machine and the routes."""
    network = layout.link.prefixlen
    inner = "machine"
    remove_link(layout)
    peer = ["peer", "name", inner, "netns", str(namespaces.holder_pid)]
    processes.run(["ip", "link", "add", layout.host_link, "type", "veth", *peer])
    processes.run(["ip", "address", "add", f"{layout.host_address}/{network}", "dev", layout.host_link])
    processes.run(["ip", "link", "set", layout.host_link, "up"])

    namespaces.run("ip", "link", "set", "lo", "up")
    namespaces.run("ip", "address", "add", f"{layout.link[2]}/{network}", "dev", inner)
    namespaces.run("ip", "link", "set", inner, "up")
    namespaces.run("ip", "link", "add", layout.bridge, "type", "bridge")
    namespaces.run("ip", "link", "set", layout.bridge, "up")
    add_node_address(layout, namespaces, layout.node(1))
    # A Service's address is rewritten only after the kernel found a route for it; one without a Service stays here.
    namespaces.run("ip", "route", "add", str(layout.services), "dev", layout.bridge, "src", str(layout.address))
    # Without the second, answers between two pods on the bridge skip the rewrite back to the Service's address; it is
    # missing where the kernel does so by other means.
    for setting in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
        file = f"/proc/sys/{setting}"
        namespaces.run("sh", "-c", f"test ! -e {file} || echo 1 > {file}")
    for block in (layout.pods, layout.services):
        processes.run(["ip", "route", "replace", str(block), "via", str(layout.link[2]), "dev", layout.host_link])


def remove_link(layout: Layout) -> None:
    """Remove the machine's end of the link, and with it the routes; nothing happens when there is none."""
    try:
        processes.run(["ip", "link", "delete", layout.host_link])
    except ClusterError:
        # RACE the kernel removes it by itself as soon as the namespace of its other end is gone, so whoever asked
        # first whether it is there might be told an old truth.
        shown = json.loads(processes.run(["ip", "-json", "link", "show", "type", "veth"]) or "[]")
        if any(link.get("ifname") == layout.host_link for link in shown):
            raise


def add_node_address(layout: Layout, namespaces: Namespaces, node: NodeLayout) -> None:
    """Give the bridge a node's address."""
    namespaces.run("ip", "address", "add", f"{node.address}/{layout.pods.prefixlen}", "dev", layout.bridge)


def cni_configuration(layout: Layout, node: NodeLayout) -> str:
    """How the pods of a node get their interface: on the one bridge, with an address of the node's own range."""
    addresses = {
        "subnet": str(layout.pods),
        "rangeStart": str(node.pods_first),
        "rangeEnd": str(node.pods_last),
        "gateway": str(layout.address),
    }
    bridge = {
        "type": "bridge",
        "bridge": layout.bridge,
        "isGateway": True,
        "ipMasq": False,
        # A pod may call itself through its own Service.
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[addresses]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(node.folder / "addresses"),
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": layout.network, "plugins": [bridge, ports]}, indent=2)
