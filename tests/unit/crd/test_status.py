"""The status that the operator writes is one that the schema keeps.

The API server drops a field that the schema does not know, without a word; the operator would then find it missing
and write it again, for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobworker_operator.model.facts import Observation, QueueFacts, RedisFacts
from jobworker_operator.model.spec import ScalingSpec
from jobworker_operator.plan import plan
from tests.unit.operator.situations import AWAY, busy, going, idle, jobworker, observe, pending, pod, quiet

ROOT = Path(__file__).resolve().parents[3]
CRD = yaml.safe_load((ROOT / "crds/jobworkers.jobworker.dev.yaml").read_text())
STATUS = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
TYPES: Mapping[str, type[Any]] = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}

AUTO = jobworker(scaling=ScalingSpec(mode="Auto", min_replicas=1, max_replicas=9, backlog_per_replica=2))
BACKLOG = (QueueFacts("default", 7, 31.7), QueueFacts("mails", 0, 0.0, paused=True))

SITUATIONS = {
    "at rest": observe(pod("a"), pod("b"), pod("c")),
    "starting": observe(pending("a"), pending("b", scheduled=False)),
    "rolling out": observe(
        pod("a"), pod("b"), going("x"), pod("y", "old"), workers={"x": quiet(2), "y": busy(), "a": idle()}
    ),
    "scaling": observe(
        pod("a"),
        pod("b"),
        pod("c"),
        of=AUTO,
        redis=RedisFacts({"a": busy(), "b": idle(), "c": idle()}, BACKLOG),
    ),
    "without Redis": observe(pod("a"), pod("b"), pod("c"), redis=AWAY),
    "with a spec that cannot work": observe(pod("a"), of=jobworker(spec=None, problem="a sentence")),
}


def complaints(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    """What the API server would refuse, or drop."""
    kind = schema["type"]
    if not isinstance(value, TYPES[kind]) or (kind == "integer" and isinstance(value, bool)):
        yield f"{path} is {value!r}, no {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path} is {value!r}, none of {schema['enum']}"
    if kind in {"array", "string"} and len(value) > schema.get("maxItems" if kind == "array" else "maxLength", 10**9):
        yield f"{path} is too long"
    if kind == "array":
        for index, item in enumerate(value):
            yield from complaints(schema["items"], item, f"{path}[{index}]")
    if kind == "object":
        yield from (f"{path}.{name} is required" for name in schema.get("required", ()) if name not in value)
        for name, item in value.items():
            if name not in schema["properties"]:
                yield f"{path}.{name} is not in the schema"
            else:
                yield from complaints(schema["properties"][name], item, f"{path}.{name}")


@pytest.mark.parametrize("observation", [pytest.param(o, id=name) for name, o in SITUATIONS.items()])
def test_status_is_kept_as_it_is_written(observation: Observation) -> None:
    status = plan(observation).status
    assert status is not None
    assert list(complaints(STATUS, dict(status), "status")) == []


def test_situations_show_every_field_of_the_status() -> None:
    shown = {name for observation in SITUATIONS.values() for name in plan(observation).status or ()}
    assert shown == set(STATUS["properties"])


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        pytest.param({"depht": 1}, "status.depht is not in the schema", id="unknown"),
        pytest.param({"depth": 1.5}, "status.depth is 1.5, no integer", id="fraction"),
        pytest.param({"depth": True}, "status.depth is True, no integer", id="boolean"),
        pytest.param({"queues": [{}]}, "status.queues[0].name is required", id="required"),
        pytest.param({"summary": "x" * 1025}, "status.summary is too long", id="long"),
    ],
)
def test_complaints_are_made(status: dict[str, Any], complaint: str) -> None:
    assert list(complaints(STATUS, status, "status")) == [complaint]
