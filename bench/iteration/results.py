"""What a run has found: samples by name and round."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.iteration.measures.checkpoints import Iterations, OneCheckpoint
from bench.iteration.measures.memory import Memory
from bench.iteration.measures.rows import Rows
from bench.iteration.plan import Plan
from bench.iteration.variants import Kind


@dataclass(slots=True)
class Results:
    """Everything, by what was measured.

    ``iterations`` are by body and kind of function, ``rows`` by source, ``first_items`` are ms by the walk's name and
    ``handovers`` are ms. ``missing`` says by name why something could not be measured, ``failed`` which rounds gave
    nothing. ``others_percent`` is the part of the machine that somebody else used meanwhile.
    """

    plan: Plan
    iterations: dict[tuple[str, Kind], list[Iterations]] = field(default_factory=dict)
    one_checkpoint: dict[Kind, list[OneCheckpoint]] = field(default_factory=dict)
    rows: dict[str, list[Rows]] = field(default_factory=dict)
    first_items: dict[str, list[float]] = field(default_factory=dict)
    handovers: list[float] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    others_percent: float | None = None
    missing: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
