"""The demo's live view says what a pod is at."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from examples.demo.screen import pods_table


def pod(name: str, *, ready: bool = True, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": name, "creationTimestamp": name, **metadata},
        "spec": {"containers": [{"image": "localhost/shop:dev"}]},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


@pytest.mark.parametrize(
    ("shown", "jobs", "state"),
    [
        (pod("a"), 2, "working"),
        (pod("a"), 0, "idle"),
        (pod("a", ready=False), 0, "starting"),
        (pod("a", annotations={"jobworker.dev/removal": "{}"}), 1, "quiet, finishing"),
        (pod("a", deletionTimestamp="now"), 1, "going"),
    ],
)
def test_pod_is_shown_as_what_it_is_at(shown: dict[str, Any], jobs: int, state: str) -> None:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(pods_table([shown], {"a": jobs}))
    [line] = capture.get().splitlines()[1:]
    assert state in line
    assert line.count("■") == jobs
