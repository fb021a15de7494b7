"""Several images as one stream for containerd, with the layers that they share in it once.

Each image is a folder in the OCI image layout. The stream is the layout of all of them together, as a tar.
"""

from __future__ import annotations

import io
import json
import tarfile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# The name under which containerd keeps an image that it imports.
CONTAINERD_NAME = "io.containerd.image.name"


def write_stream(layouts: Mapping[str, Path], output: IO[bytes]) -> None:
    """Write the images (tag → folder) to `output` as one archive."""
    blobs: dict[str, Path] = {}
    manifests: list[dict[str, object]] = []
    for tag, folder in layouts.items():
        descriptors = json.loads((folder / "index.json").read_text())["manifests"]
        manifests += [descriptor | {"annotations": {CONTAINERD_NAME: tag}} for descriptor in descriptors]
        for blob in (folder / "blobs" / "sha256").iterdir():
            blobs[blob.name] = blob
    index = {"schemaVersion": 2, "manifests": manifests}
    with tarfile.open(fileobj=output, mode="w|") as archive:
        _add_json(archive, "oci-layout", {"imageLayoutVersion": "1.0.0"})
        _add_json(archive, "index.json", index)
        for digest, blob in sorted(blobs.items()):
            archive.add(blob, arcname=f"blobs/sha256/{digest}")


def _add_json(archive: tarfile.TarFile, name: str, content: object) -> None:
    data = json.dumps(content).encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
