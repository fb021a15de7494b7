"""The examples of the page about exports, on a real storage."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jobworker.iteration.exports.failures import _RIGHTS
from jobworker.testing import capture, simulate_drain_sync
from tests.s3_server import BUCKET, S3Server

PAGE = (Path(__file__).parents[4] / "docs" / "how-to" / "export.md").read_text()


def example(name: str) -> Any:
    """One of the page's files."""
    (block,) = re.findall(rf"^```python\n(# {name}\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    module = ModuleType(name)
    exec(compile(block, name, "exec"), module.__dict__)  # noqa: S102  # our own page
    return module


@pytest.fixture
def exports() -> Any:
    module = example("exports.py")
    module.orders.metadata.create_all(module.engine)
    with module.engine.begin() as connection:
        rows = [{"month": "2026-11", "total": n} for n in (1, 2)] + [{"month": "2026-12", "total": 3}]
        connection.execute(module.orders.insert(), rows)
    yield module
    module.engine.dispose()


def test_export_is_written_and_its_link_sent(s3: S3Server, exports: Any) -> None:
    with capture(exports.app) as jobs:
        exports.ExportOrders.enqueue_sync("2026-11", "ada@example.com")
        jobs.run_sync()
    assert s3.objects() == {"exports/orders-2026-11.csv": 29}
    with urllib.request.urlopen(exports.mails[0], timeout=20) as answer:  # noqa: S310  # our own server
        assert answer.read() == b"order,total\r\n1,1.00\r\n2,2.00\r\n"


def test_export_bears_a_deploy_and_a_kill_anywhere(s3: S3Server, exports: Any) -> None:
    def effects() -> bytes:
        return s3.read("exports/orders-2026-11.csv")

    simulate_drain_sync(exports.ExportOrders, "2026-11", "a@example.com", reset=s3.empty, effects=effects, crash=True)


def test_imports_bear_a_deploy_anywhere(s3: S3Server) -> None:
    module = example("imports.py")
    s3.client.put_object(Bucket=BUCKET, Key="users.csv", Body=b"name\nada\nbob\neve\n")
    for job in (module.ImportUsers, module.ImportInBatches):
        simulate_drain_sync(job, "users.csv", reset=module.imported.clear, effects=module.imported.copy)
        assert module.imported == ["ada", "bob", "eve"]


def test_rules_of_the_page_are_what_the_api_takes(s3: S3Server) -> None:
    from botocore.validate import validate_parameters  # type: ignore[import-untyped]  # noqa: PLC0415  # only here

    (block,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    operation = s3.client.meta.service_model.operation_model("PutBucketLifecycleConfiguration")
    validate_parameters({"Bucket": BUCKET, "LifecycleConfiguration": json.loads(block)}, operation.input_shape)


def test_page_names_the_rights_that_errors_ask_for() -> None:
    assert _RIGHTS in " ".join(PAGE.split())
