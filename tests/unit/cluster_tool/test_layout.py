from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cluster.tool.errors import ClusterError
from tests.cluster.tool.layout import LINK_NETWORKS, MAX_NODES, POD_NETWORKS, SERVICE_NETWORKS, Layout

ROOT = Path("/state")
names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", fullmatch=True)


def test_a_name_always_decides_the_same_addresses() -> None:
    assert Layout("demo", ROOT).pods == Layout("demo", Path("/elsewhere")).pods


@given(names, names)
def test_clusters_of_different_slots_share_no_address_and_no_folder(one: str, other: str) -> None:
    first, second = Layout(one, ROOT), Layout(other, ROOT)
    if first.slot == second.slot:
        return
    networks = [(layout.pods, layout.services, layout.link) for layout in (first, second)]
    assert not any(mine.overlaps(theirs) for mine in networks[0] for theirs in networks[1])
    assert first.host_link != second.host_link
    assert first.folder != second.folder


@given(names)
def test_every_address_is_in_the_range_of_its_kind(name: str) -> None:
    layout = Layout(name, ROOT)
    assert layout.pods.subnet_of(POD_NETWORKS)
    assert layout.services.subnet_of(SERVICE_NETWORKS)
    assert layout.link.subnet_of(LINK_NETWORKS)


def test_the_kinds_of_address_do_not_overlap() -> None:
    assert not POD_NETWORKS.overlaps(SERVICE_NETWORKS)
    assert not POD_NETWORKS.overlaps(LINK_NETWORKS)
    assert not SERVICE_NETWORKS.overlaps(LINK_NETWORKS)


def test_nodes_of_a_cluster_share_no_address() -> None:
    layout = Layout("demo", ROOT)
    nodes = [layout.node(number) for number in range(1, MAX_NODES + 1)]
    assert len({node.address for node in nodes}) == len(nodes)
    ends = [(node.pods_first, node.pods_last) for node in nodes]
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))
    assert max(node.address for node in nodes) < nodes[0].pods_first
    assert all(node.pods_last in layout.pods for node in nodes)


def test_first_node_has_the_address_of_the_api_server() -> None:
    layout = Layout("demo", ROOT)
    assert layout.node(1).address == layout.address


@pytest.mark.parametrize("number", [0, -1, MAX_NODES + 1])
def test_node_number_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(ClusterError, match="nodes 1 to 15"):
        Layout("demo", ROOT).node(number)


@pytest.mark.parametrize("name", ["", "Demo", "-demo", "demo-", "a/b", "..", "a" * 33, "demo\n"])
def test_name_that_could_not_be_a_folder_and_a_node_name_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="cluster name"):
        Layout(name, ROOT)


@given(names)
def test_interface_and_socket_names_fit_the_kernels_limits(name: str) -> None:
    layout = Layout(name, Path("/var/lib/jobworker-clusters"))
    assert len(layout.host_link) <= 15
    assert len(layout.bridge) <= 15
    assert len(f"{layout.node(MAX_NODES).containerd_socket}.ttrpc") <= 107
