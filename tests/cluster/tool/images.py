"""Build the project's images without a daemon, as OCI layouts in the cache that are keyed by their inputs.

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
from tests.cluster.tool.imagespec import BASE_PACKAGES, BASE_SUITE, ImageSpec, base_key, by_tag, image_key
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
KEPT_LAYOUTS = 3
KEPT_LAYERS = 150  # about ten builds of all images; more than that is some gigabytes


def build(spec: ImageSpec, progress: Progress) -> Path:
    """Build an image, and its parent before it, unless they are built from these very inputs; returns its layout.

    Raises:
        ClusterError: the build failed; the message holds its output.
    """
    layout = _layout_path(spec)
    if not layout.exists():
        if spec.parent is not None:
            build(by_tag(spec.parent), progress)
        with _lock():
            # Another process may have built it while this one waited.
            if not layout.exists():
                _build(spec, layout, progress)
    return layout


def pause_layout() -> Path:
    """The layout of the image of every pod's first process, built when missing."""
    program = bootstrap.pause()
    layout = _folder() / f"jobworker-pause-{program.parent.name}"
    if not layout.exists():
        with _lock(), tempfile.TemporaryDirectory() as context:
            shutil.copy(program, context)
            _buildah_build(PAUSE_IMAGE, DOCKERFILES / "pause.Dockerfile", Path(context), [])
            _export(PAUSE_IMAGE, layout)
    return layout


def _build(spec: ImageSpec, layout: Path, progress: Progress) -> None:
    _make_base(progress)
    arguments = {"BASE": BASE_IMAGE, "BUILD_BASE": BASE_IMAGE, **spec.parent_arguments}
    with progress.step(f"build {spec.tag}"), _pip_settings() as mounts:
        flags = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        # The others run commands in their last stage or none at all: a mount point would become part of the image.
        flags += mounts if spec.inputs else []
        _buildah_build(spec.tag, bootstrap.REPOSITORY / spec.dockerfile, bootstrap.REPOSITORY, flags)
        _export(spec.tag, layout)
    _forget_old_layouts(spec)
    _forget_old_layers()


def _layout_path(spec: ImageSpec) -> Path:
    return _folder() / f"{spec.name}-{spec.version}-{image_key(spec, bootstrap.REPOSITORY)}"


def _forget_old_layouts(spec: ImageSpec) -> None:
    # Not all but one: another checkout may use the same cache.
    layouts = _folder().glob(f"{spec.name}-{spec.version}-{'?' * len(base_key())}")
    for old in sorted(layouts, key=lambda layout: layout.stat().st_mtime, reverse=True)[KEPT_LAYOUTS:]:
        shutil.rmtree(old)


def _forget_old_layers() -> None:
    # Rarely, for the layers of the dependencies go as well, and the next build makes them anew.
    if len(processes.run([*_buildah("images"), "--all", "--quiet"]).split()) > KEPT_LAYERS:
        processes.run([*_buildah("rmi"), "--prune"])


def _make_base(progress: Progress) -> None:
    """Make the base image when the storage does not have it yet."""
    label = f"jobworker.base={base_key()}"
    if processes.run([*_buildah("images"), "--quiet", f"--filter=label={label}"]).strip():
        return
    processes.require("mmdebstrap")
    with progress.step("make the base image of Debian packages (once)"):
        kept = _folder() / f"base-{base_key()}.tar"
        with tempfile.TemporaryDirectory(dir=_folder()) as context:
            tar = Path(context) / "base.tar"
            if not kept.exists():
                _debootstrap(tar)
                tar.replace(kept)
            # A link, for a build sees no file outside of its context.
            os.link(kept, tar)
            _buildah_build(BASE_IMAGE, DOCKERFILES / "base.Dockerfile", Path(context), [f"--label={label}"])


def _debootstrap(tar: Path) -> None:
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in UNREAD]
    # Device files are the container runtime's to make.
    command = ["mmdebstrap", "--variant=apt", "--quiet", "--skip=output/dev", *excluded]
    command += [f"--include={','.join(BASE_PACKAGES)}", BASE_SUITE, str(tar)]
    processes.run(command, doing="making a root file system of Debian packages")


def _buildah(command: str) -> list[str]:
    storage = _folder() / "storage"
    return [
        "buildah",
        f"--root={storage / 'root'}",
        f"--runroot={storage / 'run'}",
        "--storage-driver=overlay",
        command,
    ]


def _buildah_build(tag: str, dockerfile: Path, context: Path, flags: list[str]) -> None:
    command = [*_buildah("bud"), "--isolation=chroot", "--network=host", "--pull-never", "--layers", "--format=docker"]
    processes.run([*command, *flags, f"--tag={tag}", f"--file={dockerfile}", str(context)], doing=f"building {tag}")


def _export(tag: str, layout: Path) -> None:
    """Write an image's layout; a crash leaves no half one under its name."""
    half = layout.with_name(f"half-{layout.name}")
    shutil.rmtree(half, ignore_errors=True)
    # Uncompressed: it is read on this machine only, and compressing would take longer than all the rest.
    processes.run([*_buildah("push"), "--disable-compression", tag, f"oci:{half}:{tag}"], doing=f"exporting {tag}")
    half.replace(layout)


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
