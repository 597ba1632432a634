"""Cells and metrics in, lines of a figure out: one point per configuration, replicates gathered.

A *configuration* is a model with the axes' values; its cells differ in the seed alone. The common
x-axis is the number of code floats when the study varies it, else the study's first axis.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from daep_ray.report.numbers import listing
from daep_ray.report.source import REFERENCES, Cell, Study
from daep_ray.report.style import title
from daep_ray.study.statistics import Interval, seed_interval

FLOATS = "num_floats"
TIMES = "\u00d7"
CODE_PATHS = ("model.bottleneck.length", "model.bottleneck.width")


@dataclass(frozen=True)
class Abscissa:
    """The x-axis that every figure of the page shares."""

    path: str  # FLOATS, or an axis' dotted path
    title: str
    values: tuple[Any, ...]  # as in the cells, in order

    @property
    def is_numeric(self) -> bool:
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.values)

    @property
    def is_log(self) -> bool:
        """Logarithmic where the values are powers, or span a factor of eight."""
        return self.is_numeric and min(self.values) > 0 and max(self.values) >= 8 * min(self.values)

    def of(self, cell: Cell) -> Any:
        """The cell's place, None where it has none."""
        return cell.num_floats if self.path == FLOATS else _value(cell, self.path)

    def place(self, value: Any) -> float:
        """Where a value is drawn: itself, or its rank if it is a word."""
        return float(value) if self.is_numeric else float(self.values.index(value))

    def label(self, value: Any) -> str:
        """A place in words: `16 floats`, `width 64`."""
        return self.labels([value])

    def labels(self, values: list[Any]) -> str:
        """Places in words: `4, 16 and 64 floats`."""
        words = listing([str(v) for v in values])
        return f"{words} floats" if self.path == FLOATS else f"{self.title} {words}"


@dataclass(frozen=True, eq=False)
class Point:
    """One configuration: its replicates' values of one metric, and their interval."""

    x: Any
    shape: str  # "4 × 4", "" if the study does not vary the code's shape
    cells: tuple[Cell, ...]
    values: tuple[float, ...]  # one per seed
    interval: Interval

    @property
    def mean(self) -> float:
        return self.interval.mean


@dataclass(frozen=True, eq=False)
class Line:
    """A model, or a model's variant where the study has further axes."""

    model: str
    variant: str
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        return f"{title(self.model)}, {self.variant}" if self.variant else title(self.model)

    @property
    def is_reference(self) -> bool:
        return self.model in REFERENCES

    @property
    def is_flat(self) -> bool:
        """One configuration at several places: the model does without the axis."""
        return len(self.points) > 1 and len({p.cells for p in self.points}) == 1

    @property
    def configurations(self) -> tuple[Point, ...]:
        """Its points, each configuration once."""
        return self.points[:1] if self.is_flat else self.points

    def at(self, x: Any) -> list[Point]:
        return [p for p in self.points if p.x == x]


def abscissa(study: Study) -> Abscissa:
    """The study's x-axis."""
    floats = sorted({c.num_floats for c in study.trained if c.num_floats is not None})
    if len(floats) < 2:
        for path in (axis["path"] for axis in study.spec.get("axes", [])):
            values = {_value(c, path) for c in study.trained} - {None}
            if path != "objective.kind" and len(values) > 1:
                return Abscissa(path, _last(path), _ordered(values))
    return Abscissa(FLOATS, "code floats", tuple(floats))


def _value(cell: Cell, path: str) -> Any:
    """An axis' value; a list as its text, because places are compared and sorted."""
    value = cell.settings.get(path)
    return json.dumps(value) if isinstance(value, list | dict) else value


def _last(path: str) -> str:
    """In words: `model.position_scale` -> `position scale`, `sampler.kind` -> `sampler`."""
    parts = path.removesuffix(".kind").split(".")
    return parts[-1].replace("_", " ")


def _ordered(values: set[Any]) -> tuple[Any, ...]:
    return tuple(sorted(values, key=lambda v: (isinstance(v, str), v)))


def variant(cell: Cell, x: Abscissa, study: Study) -> str:
    """What tells this cell from others of its model and x: the further axes, in words."""
    told = {x.path, "objective.kind", *(CODE_PATHS if x.path == FLOATS else ())}
    for axis in study.spec.get("axes", []):
        if axis["path"] in told:
            told |= set(axis.get("tied_to", ()))  # goes in step with what is told
    further = [path for path in varied(study) if path not in told and path in cell.settings]
    return ", ".join(f"{_last(path)} {_value(cell, path)}" for path in further)


def varied(study: Study) -> list[str]:
    """Dotted paths with more than one value among the trainings, `seed` left out."""
    seen: dict[str, set[str]] = {}
    for cell in study.trained:
        for path, value in cell.settings.items():
            seen.setdefault(path, set()).add(repr(value))
    return [path for path, values in seen.items() if len(values) > 1 and path != "seed"]


def shape(cell: Cell) -> str:
    """The code's length and width: `4 × 4`."""
    found = [_setting(cell, path) for path in CODE_PATHS]
    return f"{found[0]} {TIMES} {found[1]}" if None not in found and not cell.is_reference else ""


def _setting(cell: Cell, path: str) -> Any:
    if path in cell.settings:
        return cell.settings[path]
    node: Any = cell.config
    for part in path.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def lines(study: Study, x: Abscissa, values: dict[str, float]) -> list[Line]:
    """One line per model and variant through its configurations, control and references last."""
    groups: dict[tuple[str, str], dict[tuple[Any, str], list[Cell]]] = {}
    for cell in study.cells:
        name = "" if cell.is_reference else variant(cell, x, study)
        for place in _places(cell, x, study) if cell.cell in values else ():
            line = groups.setdefault((cell.model, name), {})
            line.setdefault((place, shape(cell)), []).append(cell)
    found = []
    for (model, name), configurations in groups.items():
        points = [
            _point(place, kind, cells, values) for (place, kind), cells in configurations.items()
        ]
        points.sort(key=lambda p: (x.place(p.x), p.shape))
        found.append(Line(model, name, tuple(points)))
    order = model_order(study)
    return sorted(found, key=lambda line: (order.index(line.model), line.variant))


def _places(cell: Cell, x: Abscissa, study: Study) -> list[Any]:
    """Where a cell stands: PCA everywhere that a model has as many floats, a model that does
    without the axis (`Axis.is_conditional`) everywhere."""
    if x.of(cell) is not None or cell.num_floats is None:
        return [] if x.of(cell) is None else [x.of(cell)]
    if not cell.is_reference:
        return list(x.values)
    alike = {x.of(c) for c in study.trained if c.num_floats == cell.num_floats}
    return [value for value in x.values if value in alike]


def _point(place: Any, kind: str, cells: list[Cell], values: dict[str, float]) -> Point:
    cells = sorted(cells, key=lambda c: (c.seed is not None, c.seed or 0))
    numbers = tuple(values[c.cell] for c in cells)
    return Point(place, kind, tuple(cells), numbers, seed_interval(numbers))


def model_order(study: Study) -> list[str]:
    """Trained models as the study lists them, then PCA, then the mean."""
    listed = [*study.spec.get("models", {}), *(c.model for c in study.cells)]
    return [m for m in dict.fromkeys(listed) if m not in REFERENCES] + list(REFERENCES)


def flat(study: Study, x: Abscissa, values: dict[str, float], model: str) -> float | None:
    """A reference's one value where it does not depend on x (the training mean)."""
    found = [
        values[c.cell]
        for c in study.cells
        if c.model == model and c.cell in values and x.of(c) is None
    ]
    return found[0] if found else None


def by_place(
    line: Line, x: Abscissa, choose: Callable[[Point], float]
) -> tuple[list[float], list[float]]:
    """The line itself: places, and the mean over the configurations that share one."""
    places = sorted({x.place(p.x) for p in line.points})
    heights = [fmean(choose(p) for p in line.points if x.place(p.x) == q) for q in places]
    return places, heights
