"""One cluster for all cluster tests, with the operator installed by its chart; a namespace for each test."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.cluster.platform import OPERATOR_NAMESPACE, REPOSITORY, Platform, Shop
from tests.cluster.tool.cluster import Cluster
from tests.cluster.tool.errors import ClusterError
from tests.cluster.tool.progress import Progress

SECRETS_NAMESPACE = "shop-with-secrets"

Measured = Callable[[str], None]

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/cluster/" in str(item.path):
            item.add_marker(pytest.mark.cluster)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Platform]:
    """A cluster with the project's images. JOBWORKER_KEEP_CLUSTER=1 leaves it up for the next run."""
    # Of this checkout: two runs in one cluster would take it away from each other.
    checkout = hashlib.sha256(str(REPOSITORY).encode()).hexdigest()[:6]
    name = os.environ.get("JOBWORKER_TEST_CLUSTER", f"test-{checkout}")
    running = Cluster(name, progress=Progress())
    try:
        running.up(images=True)
    except ClusterError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no cluster here: {error}")
    platform = Platform(running)
    try:
        yield platform
    finally:
        platform.close()
        if not os.environ.get("JOBWORKER_KEEP_CLUSTER"):
            running.down()


@pytest.fixture(scope="session")
def platform(cluster: Platform) -> Platform:
    """The cluster with the operator installed."""
    # The chart's Role for Secrets needs its namespace to be there.
    Shop(cluster, SECRETS_NAMESPACE).create_namespace()
    cluster.install_operator(f"secretNamespaces={{{SECRETS_NAMESPACE}}}")
    return cluster


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Tell a figure; all of them stand at the end of the run, also when it is quiet."""
    return lambda sentence: record_property("measured", sentence)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    figures = [value for report in reports for name, value in report.user_properties if name == "measured"]
    if figures:
        terminalreporter.section("measured")
        for figure in figures:
            terminalreporter.write_line(str(figure))


@pytest.fixture
def shop(platform: Platform, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A namespace of the test's own with a Redis in it."""
    named = request.node.get_closest_marker("namespace")
    opened = Shop(platform, named.args[0] if named else f"shop-{next(_numbers)}")
    try:
        yield opened
    finally:
        failed = getattr(request.node, "rep_call", None)
        if failed is not None and failed.failed:
            _tell(platform, opened)
        opened.close()


@pytest.fixture
def shop_redis(shop: Shop) -> Iterator[redis.Redis]:
    """The shop's Redis, reached from outside of the cluster."""
    with shop.open() as client:
        yield client


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call":
        item.rep_call = report  # type: ignore[attr-defined]


def _tell(platform: Platform, shop: Shop) -> None:
    """What a person would look at first; pytest shows it with the failure."""
    for arguments in (
        ("get", "jobworkers,pods", "-n", shop.namespace, "-o", "wide"),
        ("describe", "jobworkers", "-n", shop.namespace),
        ("get", "events", "-n", shop.namespace, "--sort-by=.lastTimestamp"),
        ("logs", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/name=jobworker", "--tail=60"),
    ):
        print(f"--- kubectl {' '.join(arguments)}")  # noqa: T201
        print(platform.kubectl(*arguments).stdout[-6000:])  # noqa: T201
