"""Build the project's images without a daemon, as archives in the cache that are keyed by their inputs.

buildah runs the project's own Dockerfiles. The machine's pip settings and certificates are mounted for the build only:
nothing of them is in an image.
"""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.tool import bootstrap, processes
from tests.cluster.tool.errors import ClusterError
from tests.cluster.tool.imagespec import BASE_PACKAGES, BASE_SUITE, IMAGES, ImageSpec, base_key, by_tag, image_key
from tests.cluster.tool.node import PAUSE_IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.tool.progress import Progress

BASE_IMAGE = "localhost/jobworker-base:dev"
DOCKERFILES = bootstrap.REPOSITORY / "tests" / "cluster" / "images"

# pip's settings that say where packages come from; the others are the user's taste.
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "cert", "proxy")
# Parts of Debian packages which nobody reads in a container.
UNREAD = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
KEPT_ARCHIVES = 3


def build_all(progress: Progress) -> list[Path]:
    """Build what has changed, parents first; returns the archives of all images."""
    archives = []
    for spec in IMAGES:
        archive = _archive_path(spec)
        if not archive.exists():
            with _lock():
                if not archive.exists():
                    _build(spec, archive, progress)
        archives.append(archive)
    return archives


def archive_of(image: str) -> Path:
    """The archive to load for a tag of the project or for a path.

    Raises:
        ClusterError: it is neither, or the image has not been built since its sources changed.
    """
    if Path(image).is_file():
        return Path(image)
    archive = _archive_path(by_tag(image))
    if not archive.exists():
        raise ClusterError(
            f"{image} is not built, or its sources have changed: run `python -m tests.cluster.tool build-images`"
        )
    return archive


def pause_archive() -> Path:
    """The archive of the image of every pod's first process, built when missing."""
    program = bootstrap.pause()
    archive = _folder() / f"jobworker-pause-{program.parent.name}.tar"
    if not archive.exists():
        with _lock(), tempfile.TemporaryDirectory() as context:
            shutil.copy(program, context)
            _buildah_build(PAUSE_IMAGE, DOCKERFILES / "pause.Dockerfile", Path(context), [])
            _export(PAUSE_IMAGE, archive)
    return archive


def _build(spec: ImageSpec, archive: Path, progress: Progress) -> None:
    with progress.step(f"make the base image of Debian packages, {base_key()}"):
        _make_base()
    arguments = {"BASE": BASE_IMAGE, "BUILD_BASE": BASE_IMAGE, **spec.arguments}
    if spec.parent is not None:
        arguments["WORKER_IMAGE"] = spec.parent
    with progress.step(f"build {spec.tag}"), _pip_settings() as mounts:
        flags = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        # Redis is made with apt alone, in its last stage: a mount point there would be part of the image.
        flags += mounts if spec.inputs else []
        _buildah_build(spec.tag, bootstrap.REPOSITORY / spec.dockerfile, bootstrap.REPOSITORY, flags)
        _export(spec.tag, archive)
    _forget_old_archives(spec)


def _archive_path(spec: ImageSpec) -> Path:
    return _folder() / f"{spec.name}-{spec.version}-{image_key(spec, bootstrap.REPOSITORY)}.tar"


def _forget_old_archives(spec: ImageSpec) -> None:
    # Not all but one: another checkout may use the same cache.
    key_length = len(base_key())
    archives = _folder().glob(f"{spec.name}-{spec.version}-{'?' * key_length}.tar")
    for old in sorted(archives, key=lambda file: file.stat().st_mtime, reverse=True)[KEPT_ARCHIVES:]:
        old.unlink()


def _make_base() -> None:
    """Make the base image when the storage does not have it yet."""
    label = f"jobworker.base={base_key()}"
    if processes.run([*_buildah("images"), "--quiet", f"--filter=label={label}"]).strip():
        return
    processes.require("mmdebstrap")
    with tempfile.TemporaryDirectory(dir=_folder()) as context:
        tar = Path(context) / "base.tar"
        if not (kept := _folder() / f"base-{base_key()}.tar").exists():
            excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in UNREAD]
            packages = ",".join(BASE_PACKAGES)
            processes.run(
                # Device files are the runtime's to make.
                ["mmdebstrap", "--variant=apt", "--quiet", "--skip=output/dev", *excluded]
                + [f"--include={packages}", BASE_SUITE, str(tar)],
                doing="making a root file system of Debian packages",
            )
            tar.replace(kept)
        os.link(kept, tar)
        _buildah_build(BASE_IMAGE, DOCKERFILES / "base.Dockerfile", Path(context), [f"--label={label}"])


def _buildah(command: str) -> list[str]:
    storage = _folder() / "storage"
    return ["buildah", f"--root={storage / 'root'}", f"--runroot={storage / 'run'}", "--storage-driver=overlay", command]


def _buildah_build(tag: str, dockerfile: Path, context: Path, flags: list[str]) -> None:
    command = [*_buildah("bud"), "--isolation=chroot", "--network=host", "--pull-never", "--layers", "--format=docker"]
    processes.run([*command, *flags, f"--tag={tag}", f"--file={dockerfile}", str(context)], doing=f"building {tag}")


def _export(tag: str, archive: Path) -> None:
    """Write an image to an archive; a crash leaves no half one under its name."""
    half = archive.with_suffix(".half")
    half.unlink(missing_ok=True)
    processes.run([*_buildah("push"), tag, f"docker-archive:{half}:{tag}"], doing=f"exporting {tag}")
    half.replace(archive)


def _folder() -> Path:
    folder = bootstrap.where("cache") / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """One build at a time: two would fill the same storage with the same layers."""
    with (_folder() / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _pip_settings() -> Iterator[list[str]]:
    """Flags that mount the machine's certificates and package index settings into a build."""
    merged = configparser.RawConfigParser()
    configured = os.environ.get("PIP_CONFIG_FILE")
    home = Path.home()
    merged.read([f for f in ("/etc/pip.conf", home / ".pip/pip.conf", home / ".config/pip/pip.conf", configured) if f])
    if not merged.has_section("global"):
        merged.add_section("global")
    for setting in PIP_SETTINGS:
        if value := os.environ.get(f"PIP_{setting.upper().replace('-', '_')}"):
            merged.set("global", setting, value)
    mounts = []
    certificates = Path("/etc/ssl/certs")
    if certificates.is_dir():
        mounts.append(f"--volume={certificates}:{certificates}:ro")
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        merged.write(file)
        file.flush()
        Path(file.name).chmod(0o644)
        yield [*mounts, f"--volume={file.name}:/etc/pip.conf:ro"]
