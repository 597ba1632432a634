"""The answer of a study of many models: who is best, and who is better or worse than the control.

Evidence in, sentences out. The best is named with its paired difference to the control; being the
best of many is not by itself significant, so what is said of it rests on the corrected p-values.
"""

from dataclasses import dataclass

from daep_ray.report.evidence import Comparison, Evidence
from daep_ray.report.numbers import NARROW, listing, percent, percent_range, significant
from daep_ray.report.points import Line
from daep_ray.study.statistics import GATE_MARGIN

MANY = 3  # models beside the control, from which sentences are put together


@dataclass(frozen=True)
class Ranking:
    """`kind` as of an answer."""

    kind: str
    sentence: str
    more: tuple[str, ...]


def rank(evidence: Evidence, against: list[tuple[Line, Line]]) -> Ranking | None:
    """Of pairs that all begin with the control; None unless each has one place."""
    control = against[0][0]
    found = [c for c in evidence.comparisons if (c.first, c.second) in against]
    if len(against) < MANY or len(found) != len(against):
        return None
    if any(pair[0] is not control for pair in against):
        return None
    own = control.at(found[0].x)[0]
    if not evidence.has_learnt(own):
        return Ranking("untrained", _unlearnt(evidence, control, own.mean), ())
    return Ranking(*_best(evidence, control, found), tuple(_groups(control, found)))


def _unlearnt(evidence: Evidence, control: Line, error: float) -> str:
    assert evidence.mean is not None
    gain = 1 - error / evidence.mean
    how = f"{percent(abs(gain))} {'below' if gain >= 0 else 'above'} it"
    return (
        f"Not trained enough to compare: {control.name}, the control, does not beat the training "
        f"mean by {percent(GATE_MARGIN)} (it is {how})."
    )


def _best(evidence: Evidence, control: Line, found: list[Comparison]) -> tuple[str, str]:
    """The kind of the answer and its sentence."""
    ranked = [c for c in found if c.is_ranked]
    errors = {c.second.name: c.second.at(c.x)[0].mean for c in ranked}
    own = control.at(found[0].x)[0].mean
    place = evidence.x.label(found[0].x)
    number = len(ranked) + 1
    if not errors or own <= min(errors.values()):
        near = [c.second.name for c in ranked if c.verdict == "tie"]
        told = f"; not told apart from it: {listing(near)}" if near else ""
        sentence = (
            f"{control.name}, the control, has the lowest error of {number} models at {place}: "
            f"{significant(own)} z units{told}."
        )
        return ("tie" if near else "winner"), sentence
    best = min(ranked, key=lambda c: errors[c.second.name])
    by = f"{percent(_below(best)[0])} (95{NARROW}% interval {percent_range(*_below(best)[1:])})"
    other = f"that of {control.name}, the control"
    head = f"{best.second.name} has the lowest error of {number} models at {place}"
    if best.verdict == "worse":  # the control is the first of the pair
        return "winner", f"{head}: it is {by} below {other}."
    return "tie", f"{head}, but cannot be told apart from {control.name}, the control: {by} lower."


def _below(c: Comparison) -> tuple[float, float, float]:
    """By which share of the control's error the second's is below it, with its interval."""
    d = c.difference
    own = c.base + d.mean  # the control is the first
    return d.mean / own, d.low / own, d.high / own


def _groups(control: Line, found: list[Comparison]) -> list[str]:
    """Better, not told apart, worse, each with its share."""
    said = []
    for verdict, words in (
        ("worse", f"Better than {control.name}"),
        ("tie", f"Not told apart from {control.name}"),
        ("better", f"Worse than {control.name}"),
    ):
        own = sorted((c for c in found if c.verdict == verdict), key=lambda c: -_below(c)[0])
        parts = [f"{c.second.name} ({percent(-_below(c)[0], sign=True)})" for c in own]
        said += [f"{words}: {'; '.join(parts)}."] if parts else []
    return said
