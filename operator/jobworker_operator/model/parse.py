"""JSON of the API server to values: the one door for JobWorkers and pods."""

from __future__ import annotations

from jobworker_operator.model.parse_pod import parse_pod, removal_annotation, removal_of
from jobworker_operator.model.parse_spec import parse_jobworker

__all__ = ["parse_jobworker", "parse_pod", "removal_annotation", "removal_of"]
