"""Makes `shop` importable as it is in the examples' image, where examples/jobs is on the PYTHONPATH."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples/jobs"))
