from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.cluster.tool.errors import ClusterError
from tests.cluster.tool.imagespec import EXAMPLES, EXAMPLES_V2, IMAGES, OPERATOR, WORKER, by_tag, image_key
from tests.cluster.tool.ocilayout import CONTAINERD_NAME, write_stream


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for file in (
        "worker/Dockerfile",
        "worker/jobworker/__init__.py",
        "operator/Dockerfile",
        "operator/jobworker_operator/__init__.py",
        "examples/Dockerfile",
        "examples/jobs/shop/__init__.py",
        "tests/cluster/images/examples-v2.Dockerfile",
        "requirements/worker.txt",
        "requirements/operator.txt",
        "requirements/examples.txt",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(f"# {file}\n")
    return tmp_path


def test_key_stays_while_nothing_changes(repository: Path) -> None:
    assert image_key(WORKER, repository) == image_key(WORKER, repository)


@pytest.mark.parametrize("file", ["worker/Dockerfile", "worker/jobworker/__init__.py", "requirements/worker.txt"])
def test_key_changes_with_every_input(repository: Path, file: str) -> None:
    before = image_key(WORKER, repository)
    (repository / file).write_text("# changed\n")
    assert image_key(WORKER, repository) != before


def test_key_changes_when_a_file_is_renamed_or_made_executable(repository: Path) -> None:
    file = repository / "worker/jobworker/__init__.py"
    keys = {image_key(WORKER, repository)}
    file.chmod(0o755)
    keys.add(image_key(WORKER, repository))
    file.rename(file.with_name("app.py"))
    keys.add(image_key(WORKER, repository))
    assert len(keys) == 3


def test_key_does_not_change_with_what_python_leaves_behind(repository: Path) -> None:
    before = image_key(WORKER, repository)
    cache = repository / "worker/jobworker/__pycache__"
    cache.mkdir()
    (cache / "app.cpython-313.pyc").write_bytes(b"\x00")
    (repository / "worker/jobworker.egg-info").mkdir()
    assert image_key(WORKER, repository) == before


def test_key_of_a_child_changes_with_its_parents_sources(repository: Path) -> None:
    before = image_key(EXAMPLES, repository)
    (repository / "worker/jobworker/__init__.py").write_text("# changed\n")
    assert image_key(EXAMPLES, repository) != before


def test_change_of_the_examples_leaves_the_other_images_alone(repository: Path) -> None:
    before = [image_key(spec, repository) for spec in (WORKER, OPERATOR)]
    (repository / "examples/jobs/shop/__init__.py").write_text("# changed\n")
    assert [image_key(spec, repository) for spec in (WORKER, OPERATOR)] == before


def test_two_versions_of_the_same_sources_have_different_keys(repository: Path) -> None:
    assert image_key(EXAMPLES, repository) != image_key(EXAMPLES_V2, repository)


def test_missing_input_is_named(repository: Path) -> None:
    (repository / "requirements/worker.txt").unlink()
    with pytest.raises(ClusterError, match=r"requirements/worker\.txt is missing"):
        image_key(WORKER, repository)


@pytest.mark.parametrize("spec", IMAGES, ids=lambda spec: spec.tag)
def test_image_is_found_by_its_tag_and_without_localhost(spec: object) -> None:
    tag = getattr(spec, "tag", "")
    assert by_tag(tag) is spec
    assert by_tag(tag.removeprefix("localhost/")) is spec


def test_unknown_image_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ClusterError, match="localhost/jobworker:dev"):
        by_tag("nginx")


def test_parents_are_built_before_their_children() -> None:
    tags = [spec.tag for spec in IMAGES]
    assert all(spec.parent is None or spec.parent in tags[: tags.index(spec.tag)] for spec in IMAGES)


def make_layout(folder: Path, manifest: str, *blobs: str) -> Path:
    (folder / "blobs" / "sha256").mkdir(parents=True)
    for blob in (manifest, *blobs):
        (folder / "blobs" / "sha256" / blob).write_text(blob)
    (folder / "index.json").write_text(json.dumps({"manifests": [{"digest": f"sha256:{manifest}", "size": 1}]}))
    return folder


def test_layer_that_images_share_is_sent_once_and_each_image_keeps_its_name(tmp_path: Path) -> None:
    layouts = {
        "localhost/one:dev": make_layout(tmp_path / "one", "m1", "base", "layer1"),
        "localhost/two:dev": make_layout(tmp_path / "two", "m2", "base"),
    }
    stream = io.BytesIO()
    write_stream(layouts, stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        blobs = [name for name in archive.getnames() if name.startswith("blobs/")]
        index = archive.extractfile("index.json")
        assert index is not None
        manifests = json.load(index)["manifests"]
    assert sorted(blobs) == [f"blobs/sha256/{blob}" for blob in ("base", "layer1", "m1", "m2")]
    assert {entry["annotations"][CONTAINERD_NAME]: entry["digest"] for entry in manifests} == {
        "localhost/one:dev": "sha256:m1",
        "localhost/two:dev": "sha256:m2",
    }
