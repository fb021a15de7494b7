"""What a cluster can do, whatever it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """One process (or node container) of a cluster."""

    name: str
    pid: int | None
    alive: bool
    log: Path | None


@dataclass(frozen=True, slots=True)
class Status:
    """What is there of a cluster. `exists` and not `healthy`: starting, broken, or left by a crash."""

    name: str
    exists: bool
    healthy: bool
    components: tuple[ComponentStatus, ...]
    kubeconfig: Path


class Provider(Protocol):
    """A way to run a cluster. Every method raises ClusterError with a message that says what to do."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; exists while the cluster is up."""

    def up(self) -> None:
        """Bring the cluster up, with one node Ready; return at once when it is. Clears what a crash left."""

    def down(self) -> None:
        """Remove everything of the cluster; nothing happens when there is nothing."""

    def status(self) -> Status:
        """What is there."""

    def build_images(self) -> None:
        """Build those of the project's images whose sources have changed."""

    def load_images(self, given: Sequence[str]) -> None:
        """Make images available to pods: tags of the project (built first if changed) or archives' paths."""

    def add_node(self) -> str:
        """Add a node with the first one's images, wait until it is Ready and return its name."""

    def stop_node(self, name: str) -> None:
        """Stop a node's kubelet, so that the node is NotReady some 15 s later. Its containers run on."""

    def resume_node(self, name: str) -> None:
        """Undo `stop_node`."""

    def kill_node(self, name: str) -> None:
        """End a node with all of its containers at once, for good."""
