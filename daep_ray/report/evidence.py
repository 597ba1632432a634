"""Tables in, what may be claimed out: errors, the learning gate, paired comparisons.

Everything that the page says in words, draws in its one figure or prints in its tables comes from
one `Evidence`, so that the three cannot disagree.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from daep_ray.report.points import Abscissa, Line, Point, abscissa, flat, lines
from daep_ray.report.source import GP, MEAN, PCA, Study
from daep_ray.study.statistics import (
    FEWEST_OBJECTS,
    GATE_MARGIN,
    Difference,
    Luck,
    holm,
    luck_of_seeds,
    paired_difference,
    passes_gate,
    repeat_over_seeds,
)

METRIC = "absolute_error"
LEVEL = 0.05  # of the corrected p-values

Errors = Mapping[str, Mapping[str, float]]  # cell -> object -> error


@dataclass(frozen=True)
class Comparison:
    """One line against another at one configuration; negative: the first is better."""

    first: Line
    second: Line
    x: Any
    shape: str
    difference: Difference
    base: float  # the second's mean error over the compared seeds and objects
    p: float  # corrected over all comparisons of the page
    is_ranked: bool  # both have passed the learning gate

    @property
    def is_flat(self) -> bool:
        """Both do without the axis: what is said at one place holds at every other."""
        return self.first.is_flat and self.second.is_flat

    @property
    def relative(self) -> tuple[float, float, float]:
        """Difference and its interval as a share of the second's error."""
        d = self.difference
        return d.mean / self.base, d.low / self.base, d.high / self.base

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `tie`, or `unranked`; a tie unless interval and corrected p agree."""
        d = self.difference
        if not self.is_ranked or math.isnan(d.mean):
            return "unranked"
        if self.p >= LEVEL or d.low <= 0 <= d.high:
            return "tie"
        return "better" if d.mean < 0 else "worse"


@dataclass(frozen=True)
class Evidence:
    """One modality's."""

    modality: str
    x: Abscissa
    errors: tuple[Line, ...]  # trained models, then PCA
    mean: float | None  # error of the training mean
    probes: tuple[Line, ...]
    majority: float | None  # accuracy of always guessing the largest class
    comparisons: tuple[Comparison, ...]
    process: tuple[float, float] | None = None  # error of a Gaussian process, its standard error
    told: str = ""  # "" or the one modality that everything is told from
    control: str = ""  # the model that others are compared with
    spreads: Mapping[str, float] = field(default_factory=dict)  # cell -> standard error, objects
    probe_spreads: Mapping[str, float] = field(default_factory=dict)  # cell -> sd over splits

    @property
    def trained(self) -> list[Line]:
        return [line for line in self.errors if not line.is_reference]

    @property
    def subject(self) -> str:
        """What the errors are of."""
        return f"error told from {self.told} alone" if self.told else "reconstruction error"

    @property
    def gate(self) -> float | None:
        """The error that a model must reach to be ranked."""
        return None if self.mean is None else (1 - GATE_MARGIN) * self.mean

    def has_learnt(self, point: Point) -> bool:
        """The learning gate; without a training mean nobody can tell, so nobody passes."""
        return self.mean is not None and passes_gate(point.mean, self.mean)

    def below_mean(self, point: Point) -> float:
        """By which share a point is below the training mean's error."""
        assert self.mean is not None
        return 1 - point.mean / self.mean


def gather(study: Study, modality: str) -> Evidence:
    """Everything that the study says about a modality."""
    x = abscissa(study)
    values = study.values(modality, METRIC)
    found = [line for line in lines(study, x, values) if line.model != MEAN]
    spreads = study.standard_errors(modality, METRIC)
    coded = study.coded(modality)
    probes = study.values(coded, "probe_accuracy")
    evidence = Evidence(
        modality=modality,
        x=x,
        errors=tuple(found),
        mean=flat(study, x, values, MEAN),
        probes=tuple(line for line in lines(study, x, probes) if line.model != MEAN),
        majority=_majority(study, coded),
        comparisons=(),
        process=_process(study, values, spreads),
        control=study.spec.get("control", ""),
        spreads=spreads,
        probe_spreads=_probe_spreads(study, coded),
    )
    control = evidence.control
    made = _comparisons(evidence, control, study.object_errors(modality, METRIC))
    return replace(evidence, comparisons=tuple(made))


FROM = "from_"


def sources(study: Study, modality: str) -> list[str]:
    """The modalities that this one is told from alone."""
    estimates = study.rows("metrics", modality=modality, metric=METRIC)["estimate"].to_pylist()
    return sorted({e.removeprefix(FROM) for e in estimates if e.startswith(FROM)})


def across(study: Study, evidence: Evidence, source: str) -> Evidence:
    """The errors of the same models told from one other modality; nothing is compared."""
    modality, estimate, x = evidence.modality, FROM + source, evidence.x
    values = study.values(modality, METRIC, estimate)
    found = tuple(line for line in lines(study, x, values) if line.model != MEAN)
    return replace(
        evidence,
        errors=found,
        mean=flat(study, x, values, MEAN),
        comparisons=(),
        process=None,
        told=source,
        spreads=study.standard_errors(modality, METRIC, estimate),
    )


def _process(
    study: Study, values: Mapping[str, float], spreads: Mapping[str, float]
) -> tuple[float, float] | None:
    """It has no code, so it stands at no place of the x-axis."""
    found = [c.cell for c in study.cells if c.model == GP and c.cell in values]
    return (values[found[0]], spreads.get(found[0], 0.0)) if found else None


def _probe_spreads(study: Study, coded: str) -> dict[str, float]:
    rows = study.rows("metrics", modality=coded, metric="probe_accuracy", estimate="probe")
    return {r["cell"]: r["sd"] for r in rows.to_pylist() if r["sd"] is not None}


def _majority(study: Study, modality: str) -> float | None:
    found = study.values(modality, "probe_majority_accuracy").values()
    return sum(found) / len(found) if found else None


def _comparisons(evidence: Evidence, control: str, errors: Errors) -> list[Comparison]:
    """The control with every other line, and every other model with PCA, at each configuration."""
    pca = [line for line in evidence.errors if line.model == PCA]
    models = sorted(evidence.trained, key=lambda line: line.model != control)  # control first
    own = [line for line in models if line.model == models[0].model]
    others = [line for line in models if line not in own]
    pairs = [(a, b) for a in own for b in others if _goes_with(a, b)]
    pairs += [(a, b) for i, a in enumerate(own) for b in own[i + 1 :]]
    pairs += [(a, b) for a in models for b in pca]
    luck = luck_of_seeds([by_seed(point, errors) for point in configurations(models)])
    found = [
        comparison
        for first, second in pairs
        for point in _distinct(first, second)
        if (comparison := _compare(evidence, first, second, point, errors, luck)) is not None
    ]
    corrected = holm([c.difference.p for c in found])
    return [replace(c, p=p) for c, p in zip(found, corrected, strict=True)]


def _goes_with(a: Line, b: Line) -> bool:
    """The same variant, or a model that does without what tells variants apart."""
    return a.variant == b.variant or not a.variant or not b.variant


def _distinct(first: Line, second: Line) -> Iterator[Point]:
    """Points of the first to compare: where both lines are flat, one says it all."""
    seen = set()
    for point in first.points:
        others = [q.cells for q in second.at(point.x)]
        key = tuple(c.cell for cells in (point.cells, *others) for c in cells)
        if key not in seen:
            seen.add(key)
            yield point


def configurations(found: list[Line]) -> list[Point]:
    """One point per configuration: one that stands at several places has its luck once."""
    return list({tuple(c.cell for c in p.cells): p for line in found for p in line.points}.values())


def _compare(
    evidence: Evidence,
    first: Line,
    second: Line,
    point: Point,
    errors: Errors,
    luck: Luck | None,
) -> Comparison | None:
    """None where the second has nothing at this place, or only one object to be paired by."""
    others = [q for q in second.at(point.x) if second.is_reference or q.shape == point.shape]
    if not others:
        return None
    other = others[0]
    a = by_seed(point, errors)
    seeds = [c.seed for c in point.cells if c.seed is not None]
    if second.is_reference:
        b = repeat_over_seeds(errors.get(other.cells[0].cell, {}), seeds)
    else:
        b = by_seed(other, errors)
    common = a.keys() & b.keys()
    if len({object_id for _, object_id in common}) < FEWEST_OBJECTS:
        return None
    return Comparison(
        first=first,
        second=second,
        x=point.x,
        shape=point.shape,
        difference=paired_difference(a, b, luck=_of_difference(luck, second)),
        base=sum(b[key] for key in sorted(common)) / len(common),
        p=math.nan,
        is_ranked=evidence.has_learnt(point)
        and (second.is_reference or evidence.has_learnt(other)),
    )


def _of_difference(luck: Luck | None, second: Line) -> Luck | None:
    """A reference has no luck; two trainings of different models share none of theirs."""
    return luck if luck is None or second.is_reference else luck.of_difference()


def by_seed(point: Point, errors: Errors) -> dict[tuple[int, str], float]:
    """A configuration's numbers by seed and object."""
    return {
        (cell.seed, object_id): error
        for cell in point.cells
        if cell.seed is not None
        for object_id, error in errors.get(cell.cell, {}).items()
    }
