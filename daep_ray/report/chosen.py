"""Which trainings the examples and residuals show: one per model, at one place of the x-axis.

The rule looks at no error: the middle place of the x-axis that every finished model has (the larger
of two), the first code shape there, the first seed that is done.
"""

from dataclasses import dataclass
from typing import Any

from daep_ray.report.evidence import Evidence
from daep_ray.report.source import Cell


@dataclass(frozen=True)
class Chosen:
    """One cell per line, at the place `x`."""

    x: Any
    names: dict[str, str]  # cell -> line's name
    cells: tuple[Cell, ...]


def choose(evidence: Evidence) -> Chosen | None:
    """None if no training has finished."""
    places = [{p.x for p in line.points} for line in evidence.trained]
    if not places:
        return None
    shared = set.intersection(*places) or places[0]
    ordered = [x for x in evidence.x.values if x in shared]
    x = ordered[len(ordered) // 2]
    points = [(line, line.at(x)) for line in evidence.errors if line.at(x)]
    cells = {line.name: found[0].cells[0] for line, found in points}
    return Chosen(x, {c.cell: name for name, c in cells.items()}, tuple(cells.values()))
