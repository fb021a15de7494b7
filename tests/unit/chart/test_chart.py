"""What the chart renders, by values. Needs helm: HELM, the one that scripts/bootstrap built, or the PATH's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "helm/jobworker"

Manifest = dict[str, Any]
Render = Callable[..., dict[tuple[str, str, str], Manifest]]


@pytest.fixture(scope="module")
def helm() -> str:
    """The helm program; a missing one is a skip on a laptop and a failure in CI."""
    cached = subprocess.run(
        [str(ROOT / "scripts/bootstrap"), "where", "helm"], capture_output=True, text=True, check=True
    )
    for candidate in (os.environ.get("HELM"), cached.stdout.strip(), "helm"):
        if candidate and (found := shutil.which(candidate)):
            return found
    message = "no helm: run scripts/bootstrap cluster, or set HELM"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")
def template(helm: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(**values: Any) -> subprocess.CompletedProcess[str]:
        command = [helm, "template", "test", str(CHART), "--namespace=system", "--kube-version=1.34.0", "--values=-"]
        return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="module")
def render(template: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    """Renders with values; the objects by kind, namespace and name."""

    def run(**values: Any) -> dict[tuple[str, str, str], Manifest]:
        process = template(**values)
        assert process.returncode == 0, process.stderr
        objects = [document for document in yaml.safe_load_all(process.stdout) if document]
        keys = [(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in objects]
        assert len(set(keys)) == len(keys), "an object is rendered twice"
        return dict(zip(keys, objects, strict=True))

    return run


def operator(objects: dict[tuple[str, str, str], Manifest]) -> Manifest:
    pod: Manifest = objects["Deployment", "system", "test-jobworker"]["spec"]["template"]["spec"]
    return pod


def verbs(role: Manifest) -> dict[str, set[str]]:
    """What a role allows: resource with its group → verbs."""
    return {
        f"{resource}.{group}".rstrip("."): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


OPERATORS = {
    "jobworkers.jobworker.dev": {"get", "list", "watch", "patch"},
    "jobworkers/status.jobworker.dev": {"patch"},
    "jobworkers/finalizers.jobworker.dev": {"update"},
    "pods": {"get", "list", "watch", "create", "patch", "delete"},
    "events": {"create", "patch"},
}


def test_lints(helm: str) -> None:
    process = subprocess.run([helm, "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout


def test_operator_runs_once_and_is_never_doubled_by_an_upgrade(render: Render) -> None:
    spec = render()["Deployment", "system", "test-jobworker"]["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_operator_watches_everything_by_default(render: Render) -> None:
    container = operator(render())["containers"][0]
    assert container["image"] == "localhost/jobworker-operator:dev"
    assert container["args"] == ["run", "--all-namespaces", "--log-format=json", "--http-port=8080"]


def test_values_become_the_operators_arguments(render: Render) -> None:
    objects = render(
        watchNamespaces=["shop", "bank"],
        image={"tag": "1.2.3"},
        operator={"logFormat": "text", "verbose": True, "env": [{"name": "JOBWORKER_OPERATOR_X", "value": "1"}]},
    )
    container = operator(objects)["containers"][0]
    assert container["image"] == "localhost/jobworker-operator:1.2.3"
    assert container["args"] == [
        *("run", "--namespace=shop", "--namespace=bank"),
        *("--log-format=text", "--http-port=8080", "--verbose"),
    ]
    assert container["env"] == [{"name": "JOBWORKER_OPERATOR_X", "value": "1"}]


def test_probes_ask_the_port_that_the_operator_opens(render: Render) -> None:
    container = operator(render())["containers"][0]
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]
    paths = {kind: container[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {
        "startupProbe": {"path": "/livez", "port": "http"},
        "livenessProbe": {"path": "/livez", "port": "http"},
        "readinessProbe": {"path": "/readyz", "port": "http"},
    }


def test_operator_passes_pod_security_restricted(render: Render) -> None:
    pod = operator(render())
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_rights_cluster_wide_by_default(render: Render) -> None:
    objects = render()
    assert verbs(objects["ClusterRole", "", "test-jobworker"]) == OPERATORS
    binding = objects["ClusterRoleBinding", "", "test-jobworker"]
    assert binding["roleRef"]["name"] == "test-jobworker"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "test-jobworker", "namespace": "system"}]
    assert ("ServiceAccount", "system", "test-jobworker") in objects


def test_rights_in_the_watched_namespaces_alone(render: Render) -> None:
    objects = render(watchNamespaces=["shop", "bank"])
    for namespace in ("shop", "bank"):
        assert verbs(objects["Role", namespace, "test-jobworker"]) == OPERATORS
        binding = objects["RoleBinding", namespace, "test-jobworker"]
        assert binding["roleRef"] == {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": "test-jobworker",
        }
        assert binding["subjects"][0]["namespace"] == "system"
    assert ("ClusterRole", "", "test-jobworker") not in objects
    assert ("ClusterRoleBinding", "", "test-jobworker") not in objects


@pytest.mark.parametrize(
    ("values", "namespaces"),
    [
        pytest.param({}, {"system"}, id="the release's own by default"),
        pytest.param({"secretNamespaces": ["shop", "bank"]}, {"shop", "bank"}, id="those named"),
        pytest.param({"watchNamespaces": ["shop"]}, {"system"}, id="watching gives no right to Secrets"),
    ],
)
def test_secrets_are_read_by_name_in_named_namespaces(render: Render, values: Manifest, namespaces: set[str]) -> None:
    objects = render(**values)
    allowed = {key: role for key, role in objects.items() if "secrets" in str(role.get("rules", ""))}
    assert {key[1] for key in allowed} == namespaces
    for (kind, namespace, name), role in allowed.items():
        assert kind == "Role"
        assert verbs(role) == {"secrets": {"get"}}
        assert objects["RoleBinding", namespace, name]["roleRef"]["name"] == name


def test_default_roles_of_the_cluster_learn_the_kind(render: Render) -> None:
    objects = render()
    view, edit = objects["ClusterRole", "", "test-jobworker-view"], objects["ClusterRole", "", "test-jobworker-edit"]
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert verbs(view)["jobworkers.jobworker.dev"] == {"get", "list", "watch"}
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert "jobworkers/status.jobworker.dev" not in verbs(edit)
    without = render(rbac={"aggregateToDefaultRoles": False})
    assert ("ClusterRole", "", "test-jobworker-view") not in without


def test_without_rbac_no_role_is_rendered(render: Render) -> None:
    assert not [key for key in render(rbac={"create": False}) if "Role" in key[0]]


def test_foreign_service_account_is_used_and_not_made(render: Render) -> None:
    objects = render(serviceAccount={"create": False, "name": "theirs"})
    assert operator(objects)["serviceAccountName"] == "theirs"
    assert objects["ClusterRoleBinding", "", "test-jobworker"]["subjects"][0]["name"] == "theirs"
    assert not [key for key in objects if key[0] == "ServiceAccount"]


CRD_KEY = ("CustomResourceDefinition", "", "jobworkers.jobworker.dev")


def test_definition_is_the_repositorys_and_survives_an_uninstall(render: Render) -> None:
    rendered = render()[CRD_KEY]
    committed = yaml.safe_load((ROOT / "crds/jobworkers.jobworker.dev.yaml").read_text())
    assert rendered["spec"] == committed["spec"]
    assert rendered["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_definition_can_be_left_out_annotated_or_dropped_with_the_release(render: Render) -> None:
    assert CRD_KEY not in render(crds={"install": False})
    assert "annotations" not in render(crds={"keep": False})[CRD_KEY]["metadata"]
    assert render(crds={"annotations": {"a": "b"}})[CRD_KEY]["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep",
        "a": "b",
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"watchNamespace": ["shop"]}, "watchNamespace", id="misspelt"),
        pytest.param({"operator": {"loglevel": "debug"}}, "loglevel", id="misspelt inside"),
        pytest.param({"operator": {"logFormat": "xml"}}, "logFormat", id="unknown format"),
        pytest.param({"watchNamespaces": "shop"}, "watchNamespaces", id="a string for a list"),
        pytest.param({"serviceAccount": {"create": False}}, "serviceAccount", id="no service account at all"),
    ],
)
def test_wrong_values_are_refused_by_name(
    template: Callable[..., subprocess.CompletedProcess[str]], values: Manifest, message: str
) -> None:
    process = template(**values)
    assert process.returncode != 0
    assert message in process.stderr


def test_each_value_is_in_the_schema_and_each_part_of_the_schema_has_a_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    assert set(values) == set(schema) - {"global"}
    for name, part in schema.items():
        if "properties" in part:
            assert set(values[name]) == set(part["properties"]), name


def test_descriptions_hold_nothing_that_helm_would_read_as_a_template() -> None:
    assert "{{" not in (ROOT / "crds/jobworkers.jobworker.dev.yaml").read_text()


def test_notes_tell_the_next_command(helm: str, tmp_path: Path) -> None:
    # helm renders notes only where it can reach a cluster: here they are a value of an object instead.
    chart = shutil.copytree(CHART, tmp_path / "jobworker")
    templates = chart / "templates"
    notes = (templates / "NOTES.txt").rename(templates / "_notes.tpl")
    notes.write_text('{{ define "notes" }}' + notes.read_text() + "{{ end }}")
    (templates / "notes.yaml").write_text('notes: {{ include "notes" . | quote }}')
    command = [helm, "template", "test", str(chart), "--namespace=system", "--kube-version=1.34.0"]
    process = subprocess.run(
        [*command, "--show-only=templates/notes.yaml"], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    text = yaml.safe_load(process.stdout)["notes"]
    assert "kubectl -n system rollout status deployment/test-jobworker" in text
    assert "kubectl explain jobworker.spec" in text
    assert "looks after the JobWorkers of all namespaces." in text
    assert "that is allowed in: system (secretNamespaces)" in text
