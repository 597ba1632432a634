"""Each model along the study's axis: every value against the one that the study declares.

In: the lines of a modality. Out: paired differences to the axis' control (`Axis.control`) of the
error, of what is told from other modalities alone and of the CRPS, corrected together; a table of
them, and a sentence for each line and measure. Settings of one training share its luck, which then
is no part of their difference.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from daep_ray.report.evidence import (
    FROM,
    LEVEL,
    METRIC,
    Errors,
    Evidence,
    across,
    by_seed,
    configurations,
    sources,
)
from daep_ray.report.grid import (
    Column,
    Grid,
    percent_entry,
    range_decimals,
    range_entry,
    text_column,
)
from daep_ray.report.numbers import listing, percent
from daep_ray.report.points import Line, Point, lines
from daep_ray.report.results import p_entry
from daep_ray.report.source import REFERENCES, Study
from daep_ray.report.svg import slug
from daep_ray.study.statistics import Difference, Luck, holm, luck_of_seeds, paired_difference

NEGLIGIBLE = 0.0005  # of the control's: what prints as 0.0 %
WORDS = {
    "equal": "the same to 0.1 %",
    "tie": "not told apart",
    "unranked": "not trained enough to rank",
}


@dataclass(frozen=True)
class Measure:
    """Something that every object has a number of; smaller is better."""

    words: str
    lines: Sequence[Line]
    errors: Errors
    has_learnt: Callable[[Point], bool]


@dataclass(frozen=True, eq=False)
class Step:
    """A line at one value of the axis against the same line at the control."""

    measure: Measure
    line: Line
    point: Point
    difference: Difference
    base: float  # at the control, over the compared seeds and objects
    p: float  # corrected over all steps of a modality
    is_ranked: bool

    @property
    def relative(self) -> float:
        return self.difference.mean / self.base

    @property
    def verdict(self) -> str:
        """`lower`, `higher`, `tie`, `equal` or `unranked`; a tie unless interval and corrected p
        agree."""
        d = self.difference
        if not self.is_ranked or math.isnan(d.mean):
            return "unranked"
        if self.p >= LEVEL or d.low <= 0 <= d.high:
            return "tie"
        if abs(self.relative) < NEGLIGIBLE:
            return "equal"
        return "lower" if d.mean < 0 else "higher"


def control(study: Study, evidence: Evidence) -> Any:
    """The declared value of the page's x-axis; None if the study declares none."""
    axes = study.spec.get("axes", [])
    return next((a.get("control") for a in axes if a["path"] == evidence.x.path), None)


def steps(study: Study, evidence: Evidence) -> list[Step]:
    """Every line's values against its control; none where the study declares no control."""
    declared = control(study, evidence)
    if declared is None:
        return []
    found = [
        step
        for measure in _measures(study, evidence)
        for line in measure.lines
        if not line.is_flat
        for step in of_line(measure, line, declared)
    ]
    corrected = holm([step.difference.p for step in found])
    return [replace(step, p=p) for step, p in zip(found, corrected, strict=True)]


def _measures(study: Study, evidence: Evidence) -> Iterator[Measure]:
    name = evidence.modality
    plain = study.object_errors(name, METRIC)
    yield Measure("error", evidence.trained, plain, evidence.has_learnt)
    for source in sources(study, name):
        told = across(study, evidence, source)
        errors = study.object_errors(name, METRIC, FROM + source)
        yield Measure(f"error told from {source} alone", told.trained, errors, told.has_learnt)
    learnt = {p.cells for line in evidence.trained for p in line.points if evidence.has_learnt(p)}
    drawn = lines(study, evidence.x, study.values(name, "crps", "draws"))
    errors = study.object_errors(name, "crps", "draws")
    own = [a for a in drawn if a.model not in REFERENCES and _draws(a, errors, plain)]
    yield Measure("CRPS", own, errors, lambda p: p.cells in learnt)


def _draws(line: Line, crps: Errors, plain: Errors) -> bool:
    """The CRPS of a model that does not draw is its error, said already."""
    pairs = (
        (value, plain.get(c.cell, {}).get(name, math.nan))
        for point in line.points
        for c in point.cells
        for name, value in crps.get(c.cell, {}).items()
    )
    return any(not math.isclose(a, b, rel_tol=1e-9) for a, b in pairs)


def of_line(measure: Measure, line: Line, declared: Any) -> Iterator[Step]:
    """The line at its other values against `declared`."""
    luck = luck_of_seeds([by_seed(p, measure.errors) for p in configurations(list(measure.lines))])
    for base in line.at(declared):
        for point in line.points:
            if point.x != declared and point.shape == base.shape:
                yield _step(measure, line, point, base, luck)


def _step(measure: Measure, line: Line, point: Point, base: Point, luck: Luck | None) -> Step:
    a, b = by_seed(point, measure.errors), by_seed(base, measure.errors)
    common = a.keys() & b.keys()
    trainings = [{(c.seed, c.training) for c in p.cells} for p in (point, base)]
    of_difference = None if luck is None or trainings[0] == trainings[1] else luck.of_difference()
    return Step(
        measure=measure,
        line=line,
        point=point,
        difference=paired_difference(a, b, luck=of_difference),
        base=sum(b[key] for key in sorted(common)) / len(common) if common else math.nan,
        p=math.nan,
        # one model with itself: where one of the two has learnt, the other may show what it costs
        is_ranked=measure.has_learnt(point) or measure.has_learnt(base),
    )


def sentences(study: Study, evidence: Evidence, found: Sequence[Step]) -> list[str]:
    """One per line and measure: `Against modality drop 0.0, daep's error told from photometry
    alone is 24 % lower at 0.1 and 22 % lower at 0.5; not told apart at 0.2 (−18 %).`"""
    groups: dict[tuple[str, str], list[Step]] = {}
    for step in found:
        groups.setdefault((step.line.name, step.measure.words), []).append(step)
    place = evidence.x.label(control(study, evidence))
    return [
        f"Against {place}, {name}'s {words} is {_outcome(own)}."
        for (name, words), own in groups.items()
    ]


def _outcome(own: Sequence[Step]) -> str:
    said = []
    for verdict in ("lower", "higher"):
        told = [s for s in own if s.verdict == verdict]
        by = [f"{percent(abs(s.relative))} {verdict} at {s.point.x}" for s in told]
        said += [listing(by)] if by else []
    for verdict, words in WORDS.items():
        told = [s for s in own if s.verdict == verdict]
        at = [_at(s, with_size=verdict != "equal") for s in told]
        said += [f"{words} at {listing(at)}"] if told else []
    return "; ".join(said)


def _at(step: Step, with_size: bool) -> str:
    size = f" ({percent(step.relative, sign=True)})" if with_size else ""
    return f"{step.point.x}{size}"


def grid(study: Study, evidence: Evidence, found: Sequence[Step]) -> Grid:
    """Every step with its interval."""
    digits = range_decimals(s.difference for s in found)
    place = evidence.x.label(control(study, evidence))
    ranges = tuple(
        range_entry(d.mean, d.low, d.high, digits, s.verdict in ("lower", "higher"))
        for s, d in ((s, s.difference) for s in found)
    )
    columns = (
        text_column("model", "model", [s.line.name for s in found]),
        text_column("of", "of", [s.measure.words for s in found]),
        text_column("x", evidence.x.title, [str(s.point.x) for s in found], "number"),
        Column("difference", "difference", ranges, "z", "number"),
        Column(
            "relative",
            "relative",
            tuple(percent_entry(s.relative, sign=True) for s in found),
            "",
            "number",
        ),
        Column("p", "corrected p", tuple(p_entry(s.p) for s in found), "", "number"),
        text_column("verdict", "it is", [WORDS.get(s.verdict, s.verdict) for s in found]),
    )
    return Grid(
        f"along-{slug(evidence.modality)}",
        f"Against {place}, paired by object and seed, {evidence.modality}; negative: lower",
        columns,
    )
