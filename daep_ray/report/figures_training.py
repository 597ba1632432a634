"""How it got there: validation error and training loss against objects seen."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from daep_ray.report.evidence import Evidence
from daep_ray.report.marks import Label, canvas, end_labels, label_room, thousands
from daep_ray.report.numbers import listing, percent, percent_range, significant
from daep_ray.report.points import Line, Point
from daep_ray.report.source import Study
from daep_ray.report.style import COLOURS, apart, look, on_paper
from daep_ray.report.svg import Drawing

ERROR, LOSS = "validation/absolute_error", "train/loss"
HEIGHT = 2.75
RIGHT = 0.82
MOST_LABELS = 12
MOST_LINES = 5  # more cannot be told apart


@dataclass(frozen=True)
class Curve:
    """A quantity against objects seen."""

    seen: np.ndarray
    value: np.ndarray


def curves(study: Study, name: str) -> dict[str, Curve]:
    """By training; what is not finite is left out."""
    rows = study.rows("curves", name=name)
    found: dict[str, list[tuple[int, float]]] = {}
    if rows.num_rows:
        columns = (rows[c].to_pylist() for c in ("training", "num_objects", "value"))
        for training, seen, value in zip(*columns, strict=True):
            if value is not None and np.isfinite(value):
                found.setdefault(training, []).append((seen, value))
    return {t: Curve(*np.array(sorted(points), dtype=float).T) for t, points in found.items()}


def _of(point: Point, found: dict[str, Curve]) -> list[Curve]:
    return [found[c.training] for c in point.cells if c.training in found]


@on_paper
def learning_figure(
    name: str, study: Study, evidence: Evidence, names: Collection[str]
) -> Drawing | None:
    """Validation error of every training, of many models those of `names` in colour; None where
    nobody measured it."""
    found = curves(study, ERROR)
    if not found:
        return None
    shown = [line for line in evidence.trained if any(_of(p, found) for p in line.points)]
    if not shown:
        return None
    few = [line for line in shown if line.name in names] if len(shown) > MOST_LINES else shown
    looks = dict(zip([line.name for line in few], apart([a.model for a in few]), strict=True))
    words = {line.name: _labelled(evidence, line) for line in few}
    room = [words[line.name](p) for line in few for p in line.configurations]
    figure, (ax,) = canvas(HEIGHT, right=label_room(room, 7.0, RIGHT))
    labels, said = [], []
    for line in shown:
        style = looks.get(line.name)
        for point in line.configurations:
            own = _of(point, found)
            if not own:
                continue
            mean = _average(own)
            end = float(mean.value[-1])
            at = "" if line.is_flat else f" at {evidence.x.label(point.x)}"
            said.append(f"{line.name}{at} ends at {significant(end)}")
            if style is None:
                ax.plot(mean.seen, mean.value, color=COLOURS["mean"], lw=0.6, zorder=1)
                continue
            for curve in own if len(own) > 1 else []:
                ax.plot(curve.seen, curve.value, color=style.colour, alpha=0.35, lw=0.7)
            ax.plot(mean.seen, mean.value, color=style.colour, ls=style.trace, lw=1.3)
            labels.append(Label(words[line.name](point), end, style.colour))
    ax.set_ylim(0, None)
    end_labels(ax, labels if len(labels) <= MOST_LABELS else _fewer(labels), 7.0)
    _seen_axis(ax)
    ax.set_title("error on validation objects (z units)")
    caption = (
        "Thin: each training; thick: mean over seeds. Measured with one cheap decoding per object, "
        "so not the test error."
    )
    if len(few) < len(shown):
        caption += f" Grey: {len(shown) - len(few)} further models."
    return Drawing(name, figure, f"Validation error: {listing(said)}.", caption)


def _labelled(evidence: Evidence, line: Line) -> Callable[[Point], str]:
    """A line's words at a point: the place is left out where there is only one, or none."""
    if line.is_flat or (len(evidence.x.values) == 1 and len(line.points) == 1):
        return lambda point: line.name
    return lambda point: f"{line.name} {_short(line, point)}"


@on_paper
def loss_figure(
    name: str, study: Study, evidence: Evidence, names: Collection[str]
) -> Drawing | None:
    """Training loss, a panel per model: losses of different objectives are not comparable."""
    found = curves(study, LOSS)
    shown = [line for line in evidence.trained if any(_of(p, found) for p in line.points)]
    if not shown:
        return None
    if len(shown) > MOST_LINES:
        shown = [line for line in shown if line.name in names] or shown[:MOST_LINES]
    room = [f"{line.name} {_short(line, p)}" for line in shown for p in line.points]
    right = label_room(room, 7.0, RIGHT)
    figure, axes = canvas(max(HEIGHT, 0.95 * len(shown) + 0.7), [1.0] * len(shown), right=right)
    for ax, line in zip(axes, shown, strict=True):
        labels, style = [], look(line.model)
        for point in line.configurations:
            for curve in _of(point, found):
                ax.plot(curve.seen, curve.value, color=style.colour, alpha=0.8, lw=0.8)
            ends = [curve.value[-1] for curve in _of(point, found)]
            if ends:
                words = _labelled(evidence, line)(point)
                labels.append(Label(words, float(np.mean(ends)), style.colour))
        _leave_out_the_start(ax, [c.value for p in line.points for c in _of(p, found)])
        end_labels(ax, labels, 7.0)
    _seen_axis(axes[-1])
    axes[0].set_title("training loss (each objective's own)")
    alt = f"Training loss against objects seen for {listing([line.name for line in shown])}."
    return Drawing(name, figure, alt, "Losses of different objectives cannot be compared.")


def still_falling(study: Study, evidence: Evidence) -> str:
    """What the last quarter of the budget did to the validation error; "" if nobody knows."""
    found = curves(study, ERROR)
    changes: dict[str, float] = {}
    for line in evidence.trained:
        own = [c for p in line.points for c in _of(p, found) if len(c.seen) >= 4]
        each = [c.value[-1] / np.interp(0.75 * c.seen[-1], c.seen, c.value) - 1 for c in own]
        if each:
            changes[line.name] = float(np.mean(each))
    if not changes:
        return ""
    if len(changes) > MOST_LINES:
        parts = _together(changes)
    else:
        parts = [f"{_verb(v)} by {percent(abs(v))} for {name}" for name, v in changes.items()]
    return f"Over the last quarter of the budget the validation error {listing(parts)}."


def _verb(change: float) -> str:
    return "fell" if change < 0 else "rose"


def _together(changes: dict[str, float]) -> list[str]:
    """Of many models the range of what fell, and of what rose."""
    parts = []
    for verb in ("fell", "rose"):
        own = sorted(abs(v) for v in changes.values() if _verb(v) == verb)
        if own:
            number = "one model" if len(own) == 1 else f"{len(own)} models"
            by = percent(own[0]) if len(own) == 1 else percent_range(own[0], own[-1])
            parts.append(f"{verb} by {by} for {number}")
    return parts


def _short(line: Line, point: Point) -> str:
    """The place; the code's shape where several share it."""
    is_shared = len(line.at(point.x)) > 1
    return point.shape if is_shared and point.shape else str(point.x)


def _fewer(labels: list[Label]) -> list[Label]:
    """First and last of each colour."""
    by_colour: dict[str, list[Label]] = {}
    for label in labels:
        by_colour.setdefault(label.colour, []).append(label)
    return [label for own in by_colour.values() for label in dict.fromkeys((own[0], own[-1]))]


def _average(found: list[Curve]) -> Curve:
    """Mean over seeds, as far as the shortest goes."""
    shortest = min(len(curve.seen) for curve in found)
    mean = np.mean([curve.value[:shortest] for curve in found], axis=0)
    return Curve(found[0].seen[:shortest], mean)


def _leave_out_the_start(ax: Axes, values: list[np.ndarray]) -> None:
    """The first point of a loss must not squeeze the rest."""
    everything = np.concatenate([v[1:] if len(v) > 4 else v for v in values])
    low, high = float(everything.min()), float(everything.max())
    room = 0.08 * (high - low) or 0.1
    ax.set_ylim(low - room, high + room)
    ax.yaxis.set_major_locator(MaxNLocator(4))


def _seen_axis(ax: Axes) -> None:
    ax.set_xlim(0, None)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.xaxis.set_major_formatter(thousands())
    ax.set_xlabel("objects seen")
