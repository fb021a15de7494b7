"""The manifests in examples/: what they promise to those who copy them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from jobworker_operator.model.parse_spec import parse_jobworker
from shop import app

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
DOCUMENTS: list[tuple[str, dict[str, Any]]] = [
    (path.name, document)
    for path in sorted(EXAMPLES.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]
JOBWORKERS = [pytest.param(d, id=name) for name, d in DOCUMENTS if d["kind"] == "JobWorker"]


def test_shop_has_the_jobs_that_the_docs_name() -> None:
    assert {name: app.jobs.get(name).queue for name in ("ImportCities", "LongReport", "SendMail")} == {
        "ImportCities": "imports",
        "LongReport": "reports",
        "SendMail": "mails",
    }


@pytest.mark.parametrize("document", JOBWORKERS)
def test_operator_can_read_it(document: dict[str, Any]) -> None:
    server = {"namespace": "shop", "uid": "u", "generation": 1, "resourceVersion": "1"}
    parsed = parse_jobworker({**document, "metadata": {**server, **document["metadata"]}})
    assert parsed.problem == ""
    assert parsed.spec is not None
    queues = {queue.name for queue in parsed.spec.worker.queues}
    assert queues <= {app.jobs.get(name).queue for name in ("ImportCities", "LongReport", "SendMail")}


def test_jobworker_finds_the_redis_of_the_other_file() -> None:
    service = next(d for name, d in DOCUMENTS if name == "redis.yaml" and d["kind"] == "Service")
    address = f"redis://{service['metadata']['name']}.{service['metadata']['namespace']}.svc:6379/0"
    for document in (param.values[0] for param in JOBWORKERS):
        assert isinstance(document, dict)
        assert document["spec"]["redis"]["url"] == address


@pytest.mark.parametrize("name", ["redis.yaml", "jobworker.yaml"])
def test_pods_pass_pod_security_restricted(name: str) -> None:
    templates = [d["spec"]["template"] for file, d in DOCUMENTS if file == name and "template" in d.get("spec", {})]
    assert templates
    for template in templates:
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
