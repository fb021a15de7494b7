"""The images of this project: what each is built from, and the key that tells when it must be built again.

Pure but for reading the input files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.cluster.tool.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Debian's packages in the base image; apt is in there too, for the Redis image is made with it.
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv", "tzdata")
BASE_SUITE = "bookworm"

# What a build leaves in source folders; never part of an image.
IGNORED_NAMES = frozenset({"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"})
IGNORED_SUFFIXES = (".pyc", ".egg-info")


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """One image. `inputs` are files and folders relative to the repository, beside the Dockerfile.

    `parent` is the tag of the image that it starts from; the Dockerfile gets it as the argument `parent_argument`.
    """

    name: str
    dockerfile: str
    inputs: tuple[str, ...] = ()
    parent: str | None = None
    parent_argument: str = ""
    version: str = "dev"

    @property
    def parent_arguments(self) -> dict[str, str]:
        """The build argument that names the parent, if there is one."""
        return {self.parent_argument: self.parent} if self.parent else {}

    @property
    def tag(self) -> str:
        """The name that pods use."""
        return f"localhost/{self.name}:{self.version}"


WORKER = ImageSpec("jobworker", "worker/Dockerfile", ("requirements/worker.txt", "worker"))
OPERATOR = ImageSpec("jobworker-operator", "operator/Dockerfile", ("requirements/operator.txt", "worker", "operator"))
EXAMPLES = ImageSpec(
    "jobworker-examples",
    "examples/Dockerfile",
    ("requirements/examples.txt", "examples/jobs"),
    parent=WORKER.tag,
    parent_argument="WORKER_IMAGE",
)
EXAMPLES_V2 = ImageSpec(
    "jobworker-examples",
    "tests/cluster/images/examples-v2.Dockerfile",
    parent=EXAMPLES.tag,
    parent_argument="EXAMPLES_IMAGE",
    version="dev-v2",
)
REDIS = ImageSpec("jobworker-redis", "tests/cluster/images/redis.Dockerfile")

# Parents before children.
IMAGES = (REDIS, WORKER, OPERATOR, EXAMPLES, EXAMPLES_V2)


def by_tag(tag: str) -> ImageSpec:
    """The image with this tag; its short name will do.

    Raises:
        ClusterError: it is none of the project's.
    """
    for spec in IMAGES:
        if tag in {spec.tag, spec.tag.removeprefix("localhost/"), f"docker.io/{spec.tag}"}:
            return spec
    known = ", ".join(spec.tag for spec in IMAGES)
    raise ClusterError(f"{tag} is neither an image archive nor an image of this project ({known})")


def base_key() -> str:
    """Changes when the base image would be another."""
    return _hash([BASE_SUITE.encode(), *(package.encode() for package in BASE_PACKAGES)])


def image_key(spec: ImageSpec, repository: Path) -> str:
    """Changes when anything that an image is built from changes: content, names, parent, base.

    Raises:
        ClusterError: an input is missing.
    """
    parts = [spec.tag.encode(), base_key().encode()]
    if spec.parent is not None:
        parts.append(image_key(by_tag(spec.parent), repository).encode())
    for given in (spec.dockerfile, *spec.inputs):
        for file in _files(repository / given):
            executable = b"x" if file.stat().st_mode & 0o100 else b"-"
            parts += [str(file.relative_to(repository)).encode(), executable, file.read_bytes()]
    return _hash(parts)


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise ClusterError(f"{path} is missing, and an image is built from it")
    for child in sorted(path.iterdir()):
        if child.name in IGNORED_NAMES or child.name.endswith(IGNORED_SUFFIXES):
            continue
        yield from _files(child)


def _hash(parts: list[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        # The length keeps ("ab", "c") from ("a", "bc").
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.hexdigest()[:16]
