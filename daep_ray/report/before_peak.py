"""What a model tells wrongly before the peak of a light curve, and whether a larger code helps.

In: the objects' mean signed residuals before the peak (`evaluate/before_peak.py`), z units;
positive is too large: too bright for a flux, too faint for a magnitude. Out: sentences. Each bias
is compared with 0 over the objects and seeds, widened by the luck of trainings; Holm's correction
over all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from daep_ray.report.evidence import LEVEL, Errors, Evidence, by_seed, configurations
from daep_ray.report.numbers import NARROW, fixed, listing
from daep_ray.report.points import Line, Point
from daep_ray.report.source import Study
from daep_ray.study.statistics import Difference, Luck, holm, luck_of_seeds, paired_difference

METRIC = "bias_before_peak"  # named here, because who names it there imports torch
PLACES = 3  # decimals of a bias, z units


@dataclass(frozen=True, eq=False)
class Bias:
    """Of a line at a place; `difference` is to 0."""

    line: Line
    point: Point
    difference: Difference
    p: float

    @property
    def is_seen(self) -> bool:
        d = self.difference
        return self.p < LEVEL and not d.low <= 0 <= d.high


def biases(study: Study, evidence: Evidence) -> list[Bias]:
    """Of every trained configuration that has one."""
    errors = study.object_errors(evidence.modality, METRIC)
    measured = [p for p in configurations(evidence.trained) if by_seed(p, errors)]
    luck = luck_of_seeds([by_seed(p, errors) for p in measured])
    found = [
        Bias(line, point, _against_zero(point, errors, luck), 1.0)
        for line in evidence.trained
        for point in line.configurations
        if by_seed(point, errors)
    ]
    corrected = holm([b.difference.p for b in found])
    return [replace(b, p=p) for b, p in zip(found, corrected, strict=True)]


def _against_zero(point: Point, errors: Errors, luck: Luck | None) -> Difference:
    own = by_seed(point, errors)
    return paired_difference(own, dict.fromkeys(own, 0.0), luck=luck)


def sentences(study: Study, evidence: Evidence) -> list[str]:
    """One per model; none where no light curve has a peak."""
    found = biases(study, evidence)
    errors = study.object_errors(evidence.modality, METRIC)
    luck = luck_of_seeds([by_seed(b.point, errors) for b in found])
    groups: dict[str, list[Bias]] = {}
    for bias in found:
        groups.setdefault(bias.line.name, []).append(bias)
    return [
        f"Before the peak {_said(evidence, own)}{_change(evidence, own, errors, luck)}."
        for own in groups.values()
    ]


def _said(evidence: Evidence, own: Sequence[Bias]) -> str:
    name, seen = own[0].line.name, [b for b in own if b.is_seen]
    if seen:
        each = [f"{_amount(b)} at {evidence.x.label(b.point.x)}" for b in seen]
        return f"{name}'s values are {listing(each)}"
    most = max(own, key=lambda b: abs(b.difference.mean))
    where = f" at {evidence.x.label(most.point.x)}" if len(own) > 1 else ""
    return f"no bias of {name}'s values is told from 0 (at most {_signed(most.difference)}{where})"


def _amount(bias: Bias) -> str:
    word = "large" if bias.difference.mean > 0 else "small"
    return f"too {word} by {_signed(bias.difference)}"


def _signed(d: Difference) -> str:
    low, high = (fixed(v, PLACES, sign=True) for v in (d.low, d.high))
    return f"{fixed(d.mean, PLACES, sign=True)} z (95{NARROW}% interval {low} to {high})"


def _change(evidence: Evidence, own: Sequence[Bias], errors: Errors, luck: Luck | None) -> str:
    """From the first place of the axis to the last."""
    first, last = own[0].point, own[-1].point
    if first.x == last.x:
        return ""
    of_difference = None if luck is None else luck.of_difference()
    d = paired_difference(by_seed(last, errors), by_seed(first, errors), luck=of_difference)
    places = f"from {evidence.x.label(first.x)} to {evidence.x.label(last.x)}"
    if d.low <= 0 <= d.high:
        return f"; no change is seen {places} ({_signed(d)})"
    return f"; {places} it changes by {_signed(d)}"
