"""The committed CustomResourceDefinition, without an API server: tests/cluster/test_crd.py has the server's word."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobworker_operator.model.parse_spec import parse_jobworker
from jobworker_operator.model.spec import (
    DrainSpec,
    JobWorkerSpec,
    QueueSpec,
    RedisSpec,
    RolloutSpec,
    ScalingSpec,
    WorkerSpec,
)

ROOT = Path(__file__).resolve().parents[3]
CRD = yaml.safe_load((ROOT / "crds/jobworkers.jobworker.dev.yaml").read_text())
VERSION = CRD["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
POD = "spec.template.spec"

ALLOWED = {
    *("type", "format", "description", "default", "enum", "required", "properties", "additionalProperties", "items"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "pattern", "anyOf"),
    *("x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"),
    "x-kubernetes-validations",
}


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node of the schema with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from fields(child, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from fields(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from fields(schema["additionalProperties"], f"{path}{{}}")


def own_fields() -> list[tuple[str, dict[str, Any]]]:
    """Fields that are written here, not Kubernetes' own inside the pod template."""
    return [(path, schema) for path, schema in fields(SCHEMA) if not path.startswith((f"{POD}.", f"{POD}["))]


def at(path: str) -> dict[str, Any] | None:
    """The schema at a JSON path such as .status.queues, or None."""
    found: dict[str, Any] | None = SCHEMA
    for part in path.strip(".").split("."):
        found = (found or {}).get("properties", {}).get(part)
    return found


def test_is_small_enough_for_kubectl_apply_with_room_to_grow() -> None:
    # kubectl apply keeps the object in an annotation; all annotations together may have 256 KiB.
    assert len(json.dumps(CRD, separators=(",", ":"))) < 128 * 1024


def test_names_are_those_that_people_type() -> None:
    assert CRD["metadata"]["name"] == "jobworkers.jobworker.dev"
    assert CRD["spec"]["scope"] == "Namespaced"
    assert CRD["spec"]["names"]["shortNames"] == ["jw"]
    # Not `all`: kubectl delete all is meant for pods and the like.
    assert CRD["spec"]["names"]["categories"] == ["jobworker"]


def test_schema_has_only_what_a_structural_schema_may_have() -> None:
    for path, schema in fields(SCHEMA):
        assert set(schema) <= ALLOWED, path
        assert schema.get("x-kubernetes-int-or-string") or schema["type"], path
        assert not ("additionalProperties" in schema and "properties" in schema), path


def test_keys_of_list_maps_are_required_or_have_a_default() -> None:
    checked = 0
    for path, schema in fields(SCHEMA):
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            item = schema["items"]
            assert key in item.get("required", ()) or "default" in item["properties"][key], f"{path}: {key}"
            checked += 1
    assert checked > 20


def test_pod_template_refuses_unknown_fields() -> None:
    for path, schema in fields(SCHEMA):
        assert "x-kubernetes-preserve-unknown-fields" not in schema, path
    container = at(f"{POD}.containers")
    assert container is not None
    assert {"image", "envFrom", "livenessProbe", "securityContext"} <= set(container["items"]["properties"])


@pytest.mark.parametrize(("path", "schema"), [pytest.param(p, s, id=p or "JobWorker") for p, s in own_fields()])
def test_field_is_described(path: str, schema: dict[str, Any]) -> None:
    if path.endswith(("[]", "{}")) or path == "metadata":
        return  # explained by what holds them
    assert schema["description"].endswith("."), path


def test_rules_say_what_to_do_and_where() -> None:
    rules = [(path, rule) for path, schema in fields(SCHEMA) for rule in schema.get("x-kubernetes-validations", ())]
    assert len(rules) >= 12
    for path, rule in rules:
        assert len(rule["message"].split()) >= 5, path
        for name in re.findall(r"\.(\w+)", rule.get("fieldPath", "")):
            assert at(f"{path}.{name}") is not None, f"{path}: {rule['fieldPath']}"


def test_strings_and_lists_that_rules_read_are_bounded() -> None:
    for path, schema in own_fields():
        if "x-kubernetes-validations" in schema and schema.get("type") != "object":
            bound = "maxItems" if schema.get("type") == "array" else "maxLength"
            assert bound in schema, path


def test_columns_and_subresources_point_at_fields() -> None:
    scale = VERSION["subresources"]["scale"]
    columns = {column["name"]: column["jsonPath"] for column in VERSION["additionalPrinterColumns"]}
    assert list(columns) == ["Desired", "Ready", "Busy", "Draining", "Depth", "Latency", "Revision", "Status", "Age"]
    del columns["Age"]  # creationTimestamp is every object's
    for path in [*columns.values(), *scale.values()]:
        assert at(path) is not None, path


def test_columns_have_the_type_of_their_field() -> None:
    for column in VERSION["additionalPrinterColumns"]:
        field = at(column["jsonPath"])
        if field is not None:
            assert column["type"] == field["type"], column["name"]


# ── defaults ─────────────────────────────────────────────────────────────────


def with_defaults(schema: dict[str, Any], value: Any) -> Any:
    """What the API server makes of a value: defaults filled in where a field is missing."""
    if isinstance(value, list):
        return [with_defaults(schema["items"], item) for item in value]
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for name, child in schema.get("properties", {}).items():
        if name not in filled and "default" in child:
            filled[name] = child["default"]
        if name in filled:
            filled[name] = with_defaults(child, filled[name])
    return filled


SMALLEST = {
    "apiVersion": "jobworker.dev/v1alpha1",
    "kind": "JobWorker",
    "metadata": {"name": "sample", "namespace": "shop", "uid": "u", "generation": 1, "resourceVersion": "1"},
    "spec": {
        "worker": {"queues": [{"name": "default"}]},
        "redis": {"url": "redis://redis:6379/0"},
        "template": {"spec": {"containers": [{"name": "worker", "image": "shop:1"}]}},
    },
}


def test_operator_reads_the_same_spec_with_and_without_the_servers_defaults() -> None:
    bare, filled = parse_jobworker(SMALLEST), parse_jobworker(with_defaults(SCHEMA, SMALLEST))
    assert filled.problem == ""
    assert filled.spec == bare.spec


def test_defaults_are_those_of_the_operators_model() -> None:
    assert parse_jobworker(with_defaults(SCHEMA, SMALLEST)).spec == JobWorkerSpec(
        replicas=1,
        worker=WorkerSpec(queues=(QueueSpec("default"),)),
        redis=RedisSpec(url="redis://redis:6379/0"),
        template=SMALLEST["spec"]["template"],  # type: ignore[index]
        rollout=RolloutSpec(),
        drain=DrainSpec(),
        scaling=ScalingSpec(),
    )


def test_default_of_an_object_holds_the_defaults_of_its_fields() -> None:
    for path, schema in own_fields():
        if schema.get("type") == "object" and "default" in schema:
            # The server checks an object's default against the rules as it stands.
            assert with_defaults(schema, {}) == schema["default"], path
