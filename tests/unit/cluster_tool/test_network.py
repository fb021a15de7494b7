from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cluster.tool import network, processes
from tests.cluster.tool.errors import ClusterError
from tests.cluster.tool.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout("dev", tmp_path)


def test_a_link_that_the_kernel_removes_first_is_no_failure(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    links = [{"ifname": layout.host_link}]

    def ip(command: Sequence[str]) -> str:
        if "delete" not in command:
            return json.dumps(links)
        links.clear()  # its other end's namespace has just ended
        raise ClusterError(f"Cannot find device {layout.host_link}")

    monkeypatch.setattr(processes, "run", ip)
    network.remove_link(layout)


def test_a_link_that_stays_is_told(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def ip(command: Sequence[str]) -> str:
        if "delete" not in command:
            return json.dumps([{"ifname": layout.host_link}])
        raise ClusterError("Operation not permitted")

    monkeypatch.setattr(processes, "run", ip)
    with pytest.raises(ClusterError, match="not permitted"):
        network.remove_link(layout)
