"""Where everything of one cluster is, decided by its name alone.

Each cluster lives in network and mount namespaces of its own, so ports and iptables rules never meet. What the
machine shares are the state folder, the cgroup root, one link and the routes over it: these are what a name decides.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from tests.cluster.tool.errors import ClusterError

SLOTS = 1024
MAX_NODES = 15
NAME_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")

POD_NETWORKS = IPv4Network("10.128.0.0/10")
SERVICE_NETWORKS = IPv4Network("10.64.0.0/10")
LINK_NETWORKS = IPv4Network("10.192.0.0/20")


@dataclass(frozen=True, slots=True)
class NodeLayout:
    """One node: its number from 1, its address on the bridge and its folder."""

    cluster: str
    number: int
    address: IPv4Address
    pods_first: IPv4Address
    pods_last: IPv4Address
    folder: Path

    @property
    def name(self) -> str:
        """The name in the API, e.g. `demo-node-1`."""
        return f"{self.cluster}-node-{self.number}"

    @property
    def containerd_socket(self) -> Path:
        """Where this node's containerd answers."""
        return self.folder / "containerd" / "containerd.sock"

    @property
    def cgroup(self) -> str:
        """Root of this node's pods, relative to a hierarchy's mount."""
        return f"jobworker-{self.cluster}/node-{self.number}"


@dataclass(frozen=True, slots=True)
class Layout:
    """Names, folders and addresses of one cluster. Pure: nothing is looked up or made."""

    name: str
    state_root: Path

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise ClusterError(
                f"{self.name!r} is no cluster name: use 1 to 32 of a-z, 0-9 and '-', not starting or ending with '-'"
            )

    @property
    def slot(self) -> int:
        """Which of the 1024 address blocks is this cluster's. Two names may share one; `up` refuses the second."""
        digest = hashlib.sha256(self.name.encode()).digest()
        return int.from_bytes(digest[:4]) % SLOTS

    @property
    def folder(self) -> Path:
        """All files of the cluster; gone after `down`."""
        return self.state_root / self.name

    @property
    def lock(self) -> Path:
        """Held by a command while it changes the cluster; outside of the folder, which `down` removes."""
        return self.state_root / f".{self.name}.lock"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    @property
    def certificates(self) -> Path:
        """Keys, certificates and the components' kubeconfigs."""
        return self.folder / "certificates"

    @property
    def processes(self) -> Path:
        """One record for each process that was started."""
        return self.folder / "processes"

    @property
    def logs(self) -> Path:
        """One log for each component."""
        return self.folder / "logs"

    @property
    def cgroup(self) -> str:
        """Cgroup of everything that belongs to the cluster, relative to a hierarchy's mount."""
        return f"jobworker-{self.name}"

    @property
    def daemons_cgroup(self) -> str:
        """Cgroup of the components; a leaf, for cgroup v2 allows processes in leaves only."""
        return f"{self.cgroup}/daemons"

    @property
    def bridge(self) -> str:
        """The bridge inside the cluster's network namespace."""
        return "pods"

    @property
    def network(self) -> str:
        """The CNI network's name."""
        return f"jw{self.slot}"

    @property
    def host_link(self) -> str:
        """The machine's end of the link into the cluster."""
        return f"jw{self.slot}"

    @property
    def link(self) -> IPv4Network:
        """The two addresses of the link between the machine and the cluster."""
        return _block(LINK_NETWORKS, self.slot, prefix=30)

    @property
    def pods(self) -> IPv4Network:
        """Addresses of nodes (first /24) and pods (one /24 for each node)."""
        return _block(POD_NETWORKS, self.slot, prefix=20)

    @property
    def services(self) -> IPv4Network:
        """Addresses of Services."""
        return _block(SERVICE_NETWORKS, self.slot, prefix=20)

    @property
    def host_address(self) -> IPv4Address:
        """The machine, as seen from pods: a server of a test that listens here can be reached by them."""
        return self.link[1]

    @property
    def address(self) -> IPv4Address:
        """Where the API server, etcd and DNS answer: the bridge's first address, also that of node 1."""
        return self.pods[1]

    @property
    def api_url(self) -> str:
        """Base URL of the API server, reachable from the machine and from pods."""
        return f"https://{self.address}:6443"

    def node(self, number: int) -> NodeLayout:
        """Layout of a node.

        Raises:
            ClusterError: the number is not in 1..15.
        """
        if not 1 <= number <= MAX_NODES:
            raise ClusterError(f"node {number}: a cluster has nodes 1 to {MAX_NODES}")
        block = self.pods.network_address + number * 256
        return NodeLayout(
            cluster=self.name,
            number=number,
            address=self.pods[number],
            pods_first=block + 1,
            pods_last=block + 254,
            folder=self.folder / f"node-{number}",
        )


def _block(networks: IPv4Network, slot: int, prefix: int) -> IPv4Network:
    size = 2 ** (32 - prefix)
    return IPv4Network((int(networks.network_address) + slot * size, prefix))
