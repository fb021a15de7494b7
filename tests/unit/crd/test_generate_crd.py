"""scripts/generate-crd: the committed files are what it writes, and a schema of Kubernetes becomes a structural one."""

from __future__ import annotations

import importlib.util
import json
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


def load_script() -> ModuleType:
    loader = SourceFileLoader("generate_crd", str(ROOT / "scripts/generate-crd"))
    spec = importlib.util.spec_from_loader("generate_crd", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


script = load_script()


def definition(name: str, **schema: Any) -> dict[str, Any]:
    return {f"io.k8s.api.core.v1.{name}": {"type": "object", "description": "long", **schema}}


def reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name if '.' in name else f'io.k8s.api.core.v1.{name}'}"}


def test_committed_files_are_what_the_source_gives() -> None:
    source = yaml.safe_load(script.SOURCE.read_text())
    committed = script.CRD.read_text()
    generated = script.generated(source, script.pod_spec_of(yaml.safe_load(committed)), None)
    assert generated == committed, "run scripts/generate-crd"
    assert script.CHART_COPY.read_text() == script.chart_copy(committed), "run scripts/generate-crd"


def test_pod_schema_is_that_of_the_pinned_kubernetes() -> None:
    path = script.openapi_in_module_cache()
    if path is None:
        pytest.skip(f"the Go module k8s.io/kubernetes {script.KUBERNETES} is not in the module cache")
    source = yaml.safe_load(script.SOURCE.read_text())
    assert script.generated(source, None, json.loads(path.read_bytes())) == script.CRD.read_text()


def test_references_are_inlined_and_descriptions_left_out() -> None:
    schemas = {
        **definition("Probe", properties={"port": reference("io.k8s.apimachinery.pkg.util.intstr.IntOrString")}),
        **definition(
            "Container",
            required=["name"],
            properties={
                "name": {"type": "string", "default": "", "description": "long"},
                "probe": {"allOf": [reference("Probe")], "default": {}, "description": "long"},
                "limits": {
                    "type": "object",
                    "additionalProperties": reference("io.k8s.apimachinery.pkg.api.resource.Quantity"),
                    "x-kubernetes-patch-strategy": "merge",
                },
            },
        ),
    }
    quantity = {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": script.QUANTITY,
        "x-kubernetes-int-or-string": True,
    }
    port = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
    assert script.structural(schemas, "io.k8s.api.core.v1.Container") == {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "probe": {"type": "object", "properties": {"port": port}},
            "limits": {"type": "object", "additionalProperties": quantity},
        },
    }


def test_keys_of_a_list_map_keep_their_default() -> None:
    schemas = {
        **definition(
            "Port",
            required=["number"],
            properties={
                "number": {"type": "integer", "default": 0},
                "protocol": {"type": "string", "default": "TCP"},
                "name": {"type": "string", "default": "x"},
            },
        ),
        **definition(
            "Ports",
            properties={
                "ports": {
                    "type": "array",
                    "items": {"allOf": [reference("Port")], "default": {}},
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["number", "protocol"],
                }
            },
        ),
    }
    item = script.structural(schemas, "io.k8s.api.core.v1.Ports")["properties"]["ports"]["items"]
    assert item["properties"] == {
        "number": {"type": "integer"},
        "protocol": {"type": "string", "default": "TCP"},
        "name": {"type": "string"},
    }


def test_ephemeral_containers_are_left_out_of_a_pod() -> None:
    schemas = definition(
        "PodSpec", properties={"hostname": {"type": "string"}, "ephemeralContainers": {"type": "array"}}
    )
    assert set(script.structural(schemas, "io.k8s.api.core.v1.PodSpec")["properties"]) == {"hostname"}


def test_too_large_a_definition_is_refused() -> None:
    source = yaml.safe_load(script.SOURCE.read_text())
    huge = {"type": "object", "description": "x" * 300_000, "properties": {}}
    source_without_description = json.loads(json.dumps(source))
    del script.marked(source_without_description)["description"]
    with pytest.raises(script.CannotGenerate, match="kubectl apply takes less than 262144"):
        script.generated(source_without_description, huge, None)


def test_a_source_without_a_place_for_the_pod_is_refused() -> None:
    with pytest.raises(script.CannotGenerate, match="has no place"):
        script.marked({"spec": {"versions": [{"schema": {}}]}})


def test_without_a_pod_schema_it_says_what_to_give() -> None:
    with pytest.raises(script.CannotGenerate, match="--openapi FILE"):
        script.generated(yaml.safe_load(script.SOURCE.read_text()), None, None)
