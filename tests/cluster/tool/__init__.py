"""Kubernetes clusters for tests and the demo: kind where Docker is, plain processes where it is not.

    python -m tests.cluster.tool up --name demo

or, as an API, `Cluster("demo").up()`.
"""

from tests.cluster.tool.cluster import Cluster
from tests.cluster.tool.errors import ClusterError
from tests.cluster.tool.provider import ComponentStatus, Status

__all__ = ["Cluster", "ClusterError", "ComponentStatus", "Status"]
