"""Where scripts/bootstrap puts things. The script alone knows; this asks it."""

from __future__ import annotations

import functools
from pathlib import Path

from tests.cluster.tool import processes
from tests.cluster.tool.errors import MissingProgramError

REPOSITORY = Path(__file__).resolve().parents[3]


@functools.cache
def where(what: str) -> Path:
    """Path of `cache`, `kubernetes`, `helm` or `pause`; it need not exist."""
    return Path(processes.run([str(REPOSITORY / "scripts" / "bootstrap"), "where", what]).strip())


def kubernetes_programs() -> Path:
    """The folder with kube-apiserver, kubelet, kubectl and the others.

    Raises:
        MissingProgramError: they were not built yet.
    """
    folder = where("kubernetes")
    if not (folder / "coredns").exists():
        raise MissingProgramError(
            "Kubernetes is not built yet: run `scripts/bootstrap cluster` (about 4 minutes, once)"
        )
    return folder


def helm() -> Path:
    """The helm program.

    Raises:
        MissingProgramError: it was not built yet.
    """
    program = where("helm")
    if not program.exists():
        raise MissingProgramError("helm is not built yet: run `scripts/bootstrap cluster` (about a minute, once)")
    return program


def pause() -> Path:
    """The program that is the first process of every pod.

    Raises:
        MissingProgramError: it was not built yet.
    """
    program = where("pause")
    if not program.exists():
        raise MissingProgramError("the pause program is not built yet: run `scripts/bootstrap cluster`")
    return program
