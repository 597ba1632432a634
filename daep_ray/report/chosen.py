"""Which trainings the examples and residuals show: one per model, at one place of the x-axis.

The place looks at no error: the middle one of the x-axis that every finished model has (the larger
of two), the first code shape there, the first seed that is done. Of more than three models the
control and the two with the lowest error there are shown, because more lines cannot be told apart.
"""

from dataclasses import dataclass
from typing import Any

from daep_ray.report.evidence import Evidence
from daep_ray.report.points import Line
from daep_ray.report.source import Cell
from daep_ray.report.style import Look, apart

MOST = 3  # trained models


@dataclass(frozen=True)
class Chosen:
    """One cell per line, at the place `x`."""

    x: Any
    names: dict[str, str]  # cell -> line's name
    cells: tuple[Cell, ...]
    looks: dict[str, Look]
    num_lines: int  # trained ones that there are to choose from

    @property
    def trained(self) -> tuple[Cell, ...]:
        return tuple(c for c in self.cells if not c.is_reference)

    @property
    def note(self) -> str:
        """Which of many models are shown."""
        number = len(self.trained)
        if number == self.num_lines:
            return ""
        return f"Of {self.num_lines} models the control and the best {number - 1} others. "


def choose(evidence: Evidence) -> Chosen | None:
    """None if no training has finished."""
    places = [{p.x for p in line.points} for line in evidence.trained]
    if not places:
        return None
    shared = set.intersection(*places) or places[0]
    ordered = [x for x in evidence.x.values if x in shared]
    x = ordered[len(ordered) // 2]
    found = [line for line in evidence.errors if line.at(x)]
    kept = [line for line in found if line.is_reference or line in _few(evidence, found, x)]
    cells = [line.at(x)[0].cells[0] for line in kept]
    return Chosen(
        x=x,
        names={c.cell: line.name for c, line in zip(cells, kept, strict=True)},
        cells=tuple(cells),
        looks=dict(zip((c.cell for c in cells), apart([c.model for c in cells]), strict=True)),
        num_lines=sum(not line.is_reference for line in found),
    )


def _few(evidence: Evidence, found: list[Line], x: Any) -> list[Line]:
    """All if they are few, else the control and the best."""
    trained = [line for line in found if not line.is_reference]
    if len(trained) <= MOST:
        return trained
    first = next((line for line in trained if line.model == evidence.control), trained[0])
    others = [line for line in trained if line is not first]
    return [first, *sorted(others, key=lambda line: line.at(x)[0].mean)[: MOST - 1]]
