"""What the contestants need, installed at first use into a cache outside the repository, and instant after that."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
_INSTALL_SECONDS = 600


class Missing(Exception):
    """A contestant cannot take part; the message says why."""


class Environment(ABC):
    """Where a contestant's programs run."""

    @abstractmethod
    def prepare(self) -> None:
        """Install what is not there.

        Raises:
            Missing: it cannot be installed here.
        """

    @abstractmethod
    def program(self, name: str) -> str:
        """The path of a program of this environment."""

    @property
    def folder(self) -> Path:
        """Where the programs are started."""
        return PEERS / "python"

    @property
    def variables(self) -> dict[str, str]:
        """What the programs find in their environment beside the bench's own."""
        return {}


@dataclass(frozen=True, slots=True)
class Checkout(Environment):
    """This repository's own .venv."""

    def prepare(self) -> None:
        """Nothing to do: the bench itself runs in it."""
        if not (ROOT / ".venv/bin/jobworker").exists():
            raise Missing("there is no .venv/bin/jobworker: run `make bootstrap-python`")

    def program(self, name: str) -> str:
        """In .venv."""
        return str(ROOT / ".venv/bin" / name)


@dataclass(frozen=True, slots=True)
class PythonEnvironment(Environment):
    """A virtual environment with the versions and hashes of ``requirements/<name>.txt``."""

    name: str

    def prepare(self) -> None:
        """Make it with the uv of scripts/bootstrap."""
        marker = self._home / ".bench"
        if marker.exists():
            return
        shutil.rmtree(self._home, ignore_errors=True)
        python = str(ROOT / ".venv/bin/python")
        _run([_uv(), "venv", "-q", "--python", python, str(self._home)])
        target = str(self._home / "bin/python")
        _run([_uv(), "pip", "sync", "-q", "--require-hashes", "--python", target, str(self._requirements)])
        marker.touch()

    def program(self, name: str) -> str:
        """In the virtual environment."""
        return str(self._home / "bin" / name)

    @property
    def _requirements(self) -> Path:
        return PEERS / f"python/requirements/{self.name}.txt"

    @property
    def _home(self) -> Path:
        return _cache() / f"{self.name}-{_digest(self._requirements)}"


@dataclass(frozen=True, slots=True)
class NodeEnvironment(Environment):
    """Node's packages, pinned in package.json; the programs are copied beside them, since node looks for them there."""

    def prepare(self) -> None:
        """Install with npm, without scripts of packages."""
        if shutil.which("node") is None or shutil.which("npm") is None:
            raise Missing("node and npm are not installed (Debian: apt install nodejs npm)")
        if not (self.folder / "node_modules/.bench").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            shutil.copy(PEERS / "node/package.json", self.folder)
            _run(["npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"], self.folder)
            (self.folder / "node_modules/.bench").touch()
        for program in (PEERS / "node").glob("*.mjs"):
            shutil.copy(program, self.folder)

    def program(self, name: str) -> str:
        """On the PATH."""
        return shutil.which(name) or name

    @property
    def folder(self) -> Path:
        """In the cache."""
        return _cache() / f"node-{_digest(PEERS / 'node/package.json')}"


@dataclass(frozen=True, slots=True)
class DebianEnvironment(Environment):
    """Debian's packages, and programs in ``subfolder`` of the peers'."""

    packages: tuple[str, ...]
    subfolder: str

    def prepare(self) -> None:
        """Install with apt-get, as root."""
        if all(self._installed(package) for package in self.packages):
            return
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            raise Missing(f"needs Debian's {' '.join(self.packages)}, which only root can install")
        _run(["apt-get", "update", "-qq"], must=False)
        options = ["-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
        _run(["apt-get", "install", *options, *self.packages])

    def program(self, name: str) -> str:
        """On the PATH."""
        return shutil.which(name) or name

    @property
    def folder(self) -> Path:
        """The programs beside this module."""
        return PEERS / self.subfolder

    @staticmethod
    def _installed(package: str) -> bool:
        asked = subprocess.run(
            ["dpkg-query", "-W", "-f=${db:Status-Status}", package], capture_output=True, text=True, check=False
        )
        return asked.stdout == "installed"


def _cache() -> Path:
    asked = _run([str(ROOT / "scripts/bootstrap"), "where", "cache"])
    return Path(asked.strip()) / "bench"


def _uv() -> str:
    found = sorted(_cache().parent.glob("uv-*/bin/uv"))
    if not found:
        raise Missing("uv is not in the cache: run `make bootstrap-python`")
    return str(found[-1])


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise Missing(f"{path.name} cannot be read: {error}") from error


def _run(command: Sequence[str], folder: Path | None = None, *, must: bool = True) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    environment.pop("VIRTUAL_ENV", None)
    try:
        ran = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{command[0]} failed: {error}") from error
    if ran.returncode != 0 and must:
        said = (ran.stderr or ran.stdout).strip().splitlines()
        raise Missing(f"`{' '.join(command[:3])} …` failed: {' / '.join(said[-3:])}")
    return ran.stdout
