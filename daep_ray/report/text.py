"""The page's sentences, made from the evidence: the answer, and what the statistics say.

Nothing is ranked that has not passed the learning gate, and nothing is called better unless its
interval and its corrected p-value say so.
"""

from collections.abc import Sequence
from typing import Any

from daep_ray.report import along_axis, before_peak
from daep_ray.report.box import Answer
from daep_ray.report.evidence import LEVEL, Comparison, Evidence
from daep_ray.report.numbers import (
    NARROW,
    listing,
    p_value,
    percent,
    percent_range,
    significant,
    whole,
)
from daep_ray.report.points import FLOATS, Line, Point
from daep_ray.report.ranking import MANY, rank
from daep_ray.report.source import PCA, Study
from daep_ray.study.statistics import GATE_MARGIN

INTERVAL = f"95{NARROW}% interval"


def answer(study: Study, evidence: Evidence, along: Sequence[along_axis.Step] = ()) -> Answer:
    """The answer to the study's question, from its tables: the models against each other, or the
    control model along the axis, where the study declares which value the others are to beat, or
    the bias before the peak, where it asks for that. `along`: all steps along the axis."""
    ranked = _of_models(study, evidence)
    asks_for_bias = study.spec.get("asks") == before_peak.METRIC and ranked.kind != "none"
    if asks_for_bias and (biases := before_peak.sentences(study, evidence)):
        first, *others = biases
        return Answer.short("mixed", first, (*others, ranked.sentence, *ranked.more, *ranked.rest))
    steps = [s for s in along if s.line.model == evidence.control]
    if not steps or ranked.kind == "none":
        return ranked
    first, *others = along_axis.sentences(study, evidence, steps)
    kind = "winner" if any(s.verdict in ("lower", "higher") for s in steps) else "tie"
    return Answer.short(kind, first, (*others, ranked.sentence, *ranked.more, *ranked.rest))


def _of_models(study: Study, evidence: Evidence) -> Answer:
    if not evidence.trained:
        return Answer("none", f"No answer yet: {_states(study)}.")
    if evidence.mean is None:
        return Answer(
            "none",
            "Not ranked: the study has no training mean, so nobody can say whether its models have "
            "learnt anything.",
        )
    learnt = [line for line in evidence.trained if any(map(evidence.has_learnt, line.points))]
    if not learnt:
        return Answer("untrained", _untrained(evidence))
    pairs = _pairs(evidence)
    against = [(a, b) for a, b in pairs if b.model != PCA] or pairs[:1]
    if not against:
        return Answer("none", _alone(evidence, learnt[0]))
    more = _pca(evidence) if against[0][1].model != PCA else []
    ranking = rank(evidence, against)
    if ranking is not None:
        more = [*ranking.more, *more, *_unlearnt(evidence)]
        return Answer.short(_judged(evidence, ranking.kind), ranking.sentence, more)
    found = [_pair(evidence, a, b) for a, b in against]
    cost = "" if found[0].kind == "untrained" else _cost(study, *against[0])
    sentence = f"{found[0].sentence}{cost}."
    more = [*more, *_unlearnt(evidence), *(f"{other.sentence}." for other in found[1:])]
    return Answer.short(_judged(evidence, found[0].kind), sentence, more)


def _judged(evidence: Evidence, kind: str) -> str:
    """A winner that PCA beats somewhere is no good news."""
    return "mixed" if kind == "winner" and _is_beaten_by_pca(evidence) else kind


def findings(evidence: Evidence, estimates: list[str]) -> list[str]:
    """Three to five sentences of statistics; `estimates` is the one on kinds of estimates."""
    said = [s for s in [_size(evidence)] if s]
    said += [s for a, b in _first(evidence) if (s := _objects(evidence, a, b))]
    said += [s for s in [_probe(evidence)] if s]
    return said + estimates


def _first(evidence: Evidence) -> list[tuple[Line, Line]]:
    """Two pairs to tell of: the first ones, of many the best model's with the control and PCA."""
    pairs = _pairs(evidence)
    if len(evidence.trained) <= MANY:
        return pairs[:2]
    best, _ = _best(evidence.trained)
    return [pair for pair in pairs if best in pair][:2]


def _states(study: Study) -> str:
    states = [c.state for c in study.trained]
    if not states:
        return "the study has no trainings"
    if "done" not in states:
        failed, missing, stopped = (states.count(s) for s in ("failed", "missing", "stopped"))
        early = f", {stopped} stopped early" if stopped else ""
        return (
            f"no training has finished ({failed} failed, {missing} missing{early}; reasons below)"
        )
    return "no finished training has an error in the tables"


def _untrained(evidence: Evidence) -> str:
    line, point = _best(evidence.trained)
    gain = evidence.below_mean(point)
    how = f"is {percent(gain)} below it" if gain > 0 else f"is {percent(-gain)} above it"
    return (
        f"Not trained enough: no model beats the training mean by {percent(GATE_MARGIN)}; the "
        f"best, {line.name} at {evidence.x.label(point.x)}, {how}."
    )


def _best(found: list[Line]) -> tuple[Line, Point]:
    return min(((a, p) for a in found for p in a.points), key=lambda pair: pair[1].mean)


def _alone(evidence: Evidence, line: Line) -> str:
    points = [p for p in line.points if evidence.has_learnt(p)]
    ends = " and ".join(
        f"{significant(p.mean)} at {evidence.x.label(p.x)}"
        for p in dict.fromkeys((points[0], points[-1]))
    )
    return f"{line.name} has an error of {ends}; the study has nothing to compare it with."


def _pairs(evidence: Evidence) -> list[tuple[Line, Line]]:
    return list(dict.fromkeys((c.first, c.second) for c in evidence.comparisons))


def _of(evidence: Evidence, first: Line, second: Line) -> list[Comparison]:
    return [c for c in evidence.comparisons if (c.first, c.second) == (first, second)]


def _pair(evidence: Evidence, first: Line, second: Line) -> Answer:
    """Who is better where, and by how much."""
    ranked = [c for c in _of(evidence, first, second) if c.verdict != "unranked"]
    wins = [c for c in ranked if c.verdict == "better"]
    losses = [c for c in ranked if c.verdict == "worse"]
    ties = [c for c in ranked if c.verdict == "tie"]
    if not ranked:
        return Answer("untrained", _incomparable(evidence, first, second))
    if len(ties) == len(ranked):
        return Answer("tie", _tie(evidence, first, second, ties))
    if len(wins) == len(ranked) or len(losses) == len(ranked):
        return Answer("winner", _winner(evidence, first, second, wins or losses))
    parts = [
        _range(evidence, first, second, wins, "lower"),
        _range(evidence, first, second, losses, "higher"),
    ]
    if ties:
        parts.append(f"no difference is seen at {_places(evidence, ties)}")
    said = [p for p in parts if p]
    return Answer("mixed", f"It depends on the {_axis(evidence)}: {'; '.join(said)}")


def _incomparable(evidence: Evidence, first: Line, second: Line) -> str:
    """Why two models are not ranked anywhere."""
    gate = percent(GATE_MARGIN)
    neither = [a for a in (first, second) if not any(map(evidence.has_learnt, a.points))]
    if not neither or second.is_reference:
        why = f"at no {_axis(evidence)} do both beat the training mean by {gate}"
    else:
        do = "does" if len(neither) == 1 else "do"
        names = listing([a.name for a in neither])
        why = f"{names} {do} not beat the training mean by {gate} at any {_axis(evidence)}"
    return f"Not trained enough to compare {first.name} with {second.name}: {why}"


def _winner(evidence: Evidence, first: Line, second: Line, all_: list[Comparison]) -> str:
    """In the winner's words; its relative gain is measured on the loser's error."""
    is_first = all_[0].verdict == "better"
    winner, loser = (first, second) if is_first else (second, first)
    gains = [_gain(c, is_first) for c in all_]
    each = [f"{percent(g)} ({INTERVAL} {percent_range(lo, hi)})" for g, lo, hi in gains]
    if len(all_) == 1:
        return (
            f"{winner.name} reconstructs better than {loser.name} at "
            f"{_places(evidence, all_)}: its error is {each[0]} lower"
        )
    by = " and by ".join(f"{each[i]} at {_place(evidence, all_[i])}" for i in (0, -1))
    # unranked sizes are not among `all_`
    is_everywhere = len(all_) == max(len(first.points), len(second.points))
    number = "both" if len(all_) == 2 else f"all {len(all_)}"
    where = f"{number} {_axis(evidence, plural=True)}" if is_everywhere else _places(evidence, all_)
    claim = f"{winner.name} reconstructs better than {loser.name} at {where}"
    return f"{claim}: its error is lower by {by}"


def _gain(c: Comparison, is_first: bool) -> tuple[float, float, float]:
    """By which share the winner's error is below the loser's, with its interval."""
    if is_first:
        mean, low, high = c.relative
        return -mean, -high, -low
    d, own = c.difference, c.base + c.difference.mean  # the loser is the first
    return d.mean / own, d.low / own, d.high / own


def _tie(evidence: Evidence, first: Line, second: Line, ties: list[Comparison]) -> str:
    largest = max(ties, key=lambda c: abs(c.relative[0]))
    mean, low, high = largest.relative
    at = f" at {_place(evidence, largest)}" if len(ties) > 1 else ""
    most = "the largest is" if len(ties) > 1 else "it is"
    return (
        f"No difference seen between {first.name} and {second.name} at {_places(evidence, ties)}: "
        f"{most} {percent(mean, sign=True)}{at} ({INTERVAL} {percent_range(low, high)}"
        f"{_after_correction(largest)})"
    )


def _after_correction(c: Comparison) -> str:
    """Why an interval without 0 shows no difference: it is one of several comparisons."""
    d = c.difference
    return "" if d.low <= 0 <= d.high else f"; corrected p {p_value(c.p)}"


def _range(
    evidence: Evidence, first: Line, second: Line, found: list[Comparison], word: str
) -> str:
    if not found:
        return ""
    largest = max(found, key=lambda c: abs(c.relative[0]))
    low, mean, high = sorted(abs(v) for v in largest.relative)
    by = f"{percent(mean)} ({INTERVAL} {percent_range(low, high)})"
    up_to = f"up to {by}" if len(found) > 1 else by
    return (
        f"{first.name}'s error is {up_to} {word} than {second.name}'s at {_places(evidence, found)}"
    )


def _place(evidence: Evidence, c: Comparison) -> str:
    """The place, with the code's shape where several share it."""
    if c.is_flat:
        return _places(evidence, [c])
    same = [d for d in _of(evidence, c.first, c.second) if d.x == c.x]
    return evidence.x.label(c.x) + (f" ({c.shape})" if len(same) > 1 and c.shape else "")


def _places(evidence: Evidence, found: list[Comparison]) -> str:
    if all(c.is_flat for c in found):
        return f"any {evidence.x.title}"
    values: list[Any] = list(dict.fromkeys(c.x for c in found))
    return evidence.x.labels(values)


def _axis(evidence: Evidence, plural: bool = False) -> str:
    """What the places are: sizes, shapes where several have as many floats, or the axis' values."""
    number = "s" if plural else ""
    if evidence.x.path != FLOATS:
        return f"value{number} of {evidence.x.title}"
    shared = any(len(line.at(p.x)) > 1 for line in evidence.trained for p in line.points)
    return f"code shape{number}" if shared else f"code size{number}"


def _cost(study: Study, first: Line, second: Line) -> str:
    """What the difference costs in training time."""
    seconds = [_seconds(line) for line in (first, second)]
    if second.is_reference or None in seconds:
        return ""
    ratio = seconds[0] / seconds[1]  # type: ignore[operator]
    if 0.95 < ratio < 1.05:
        return ", at the same training time"
    slow, times = (first, ratio) if ratio > 1 else (second, 1 / ratio)
    return f"; training {slow.name} takes {significant(times)} times as long"


def _seconds(line: Line) -> float | None:
    found = [c.seconds_training for p in line.points for c in p.cells if c.seconds_training]
    return sum(found) / len(found) if found else None


def _pca(evidence: Evidence) -> list[str]:
    """How the models stand against PCA with as many floats."""
    said: dict[str, list[str]] = {}  # what is said -> of which models
    for first, second in _pairs(evidence):
        if second.model != PCA:
            continue
        parts = []
        for verdict, words in (("better", "better"), ("worse", "worse"), ("tie", "not told apart")):
            found = [c for c in _of(evidence, first, second) if c.verdict == verdict]
            parts += [f"{words} at {_places(evidence, found)}"] if found else []
        if parts:
            said.setdefault(listing(parts), []).append(first.name)
    number = len([line for line in evidence.trained if any(map(evidence.has_learnt, line.points))])
    parts = [
        f"{_together(names, number)} {'is' if len(names) == 1 else 'are'} {words}"
        for words, names in said.items()
    ]
    return [f"Against PCA with as many floats: {'; '.join(parts)}."] if parts else []


def _together(names: list[str], number: int) -> str:
    """The names, or that it is all of them."""
    return f"all {number} models" if len(names) == number > MANY else listing(names)


def _is_beaten_by_pca(evidence: Evidence) -> bool:
    return any(c.second.model == PCA and c.verdict == "worse" for c in evidence.comparisons)


def _unlearnt(evidence: Evidence) -> list[str]:
    """Models that are left out of the ranking, and why."""
    said = []
    for line in evidence.trained:
        failing = [p for p in line.points if not evidence.has_learnt(p)]
        if failing:
            places = evidence.x.labels(list(dict.fromkeys(p.x for p in failing)))
            best = max(evidence.below_mean(p) for p in failing)
            how = f"{percent(best)} below" if best >= 0 else f"{percent(-best)} above"
            at = "" if line.is_flat else f" at {places}"
            said.append(f"{line.name}{at} (at best {how} the training mean)")
    return [f"Not trained enough, and not ranked: {'; '.join(said)}."] if said else []


def _size(evidence: Evidence) -> str:
    """What the x-axis does to each model."""
    if not evidence.x.is_numeric:
        return ""
    parts = []
    for line in evidence.trained:
        first, last = line.points[0], line.points[-1]
        if line.is_flat:
            parts.append(f"{line.name}'s error is {significant(first.mean)}")
        elif first.x != last.x:
            parts.append(
                f"{line.name}'s error goes from {significant(first.mean)} at {first.x} to "
                f"{significant(last.mean)} at {evidence.x.label(last.x)}"
            )
    return f"{'; '.join(parts)} (z units)." if parts else ""


def _objects(evidence: Evidence, first: Line, second: Line) -> str:
    """The paired comparison at the place with the most floats where both are ranked."""
    ranked = [c for c in _of(evidence, first, second) if c.verdict != "unranked"]
    if not ranked:
        return ""
    c = ranked[-1]
    d = c.difference
    seen = "" if c.verdict != "tie" else ": not told apart"
    return (
        f"At {_place(evidence, c)}, {first.name} is better than {second.name} for "
        f"{percent(d.share_better)} of {whole(d.num_objects)} test objects; the mean difference is "
        f"{significant(d.mean)} z units ({INTERVAL} {significant(d.low)} to "
        f"{significant(d.high)}, corrected p {p_value(c.p)}){seen}."
    )


def _probe(evidence: Evidence) -> str:
    found = [line for line in evidence.probes if not line.is_reference]
    if not found or evidence.majority is None:
        return ""
    best = {line.name: max(p.mean for p in line.points) for line in evidence.probes}
    if len(found) > MANY:
        names = sorted((line.name for line in found), key=lambda n: -best[n])
        pca = [line.name for line in evidence.probes if line.is_reference]
        shown = [names[0], names[-1], *pca]
    else:
        shown = list(best)
    ends = [f"{percent(best[name])} from {name}" for name in shown]
    among = "; best and worst model" + (" and PCA" if len(shown) > 2 else "")
    return (
        f"A linear probe names the class at best in {listing(ends)}"
        f"{among if len(found) > MANY else ''}; always guessing the largest class is right in "
        f"{percent(evidence.majority)}."
    )


def seeds_note(evidence: Evidence) -> str:
    """What the intervals cover."""
    most = max((d.difference.num_seeds for d in evidence.comparisons), default=0)
    if most == 1:
        return (
            "One seed per configuration: intervals cover the choice of test objects, not the luck "
            "of a training."
        )
    return (
        "Intervals of differences: paired bootstrap over test objects, widened by the luck of "
        "trainings, which is pooled over all configurations (Student's t). p-values are "
        f"corrected by Holm's method over all comparisons; better or worse is said below {LEVEL}."
    )
