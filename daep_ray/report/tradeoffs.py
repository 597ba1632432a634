"""Which configurations are worth having, and which axes matter.

Study and evidence in; out a figure of error against seconds with the configurations that no other
one beats, their table, and the table of the axes' importance. Nothing for a study of few cells or
of one axis: there it says no more than the one figure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from matplotlib.ticker import LogLocator, NullLocator

from daep_ray.report.evidence import METRIC, Evidence
from daep_ray.report.grid import Column, Entry, Grid, number_column, text_column
from daep_ray.report.marks import Label, canvas, end_labels, label_room, thousands
from daep_ray.report.numbers import p_value, percent, significant
from daep_ray.report.points import CODE_PATHS, FLOATS, Line, Point, varied
from daep_ray.report.source import Cell, Study
from daep_ray.report.style import COLOURS, look, on_paper
from daep_ray.report.svg import Drawing, slug
from daep_ray.study.tradeoffs import Importance, axis_importance, pareto_front

FEWEST_CELLS = 4
FEWEST_CONFIGURATIONS = 4


@dataclass(frozen=True, eq=False)
class Choice:
    """One configuration of a trained model with what it costs."""

    line: Line
    point: Point
    name: str
    seconds: float
    floats: int
    is_on_front: bool


def seconds_of(study: Study) -> tuple[str, str]:
    """The column of the cost that the study varies, and its words: of evaluations where several of
    them share a training."""
    done = [c for c in study.trained if c.state == "done"]
    if len({c.training for c in done}) < len(done):
        return "seconds_evaluation", "seconds of evaluation"
    return "seconds_training", "seconds of training"


def choices(study: Study, evidence: Evidence) -> list[Choice]:
    """Every configuration that has learnt, with its cost; none if there are too few."""
    clock, _ = seconds_of(study)
    found = []
    seen = set()
    for line in evidence.trained:
        for point in line.points:
            spent = [getattr(c, clock) for c in point.cells]
            floats, key = point.cells[0].num_floats, tuple(c.cell for c in point.cells)
            is_new = key not in seen and evidence.has_learnt(point)
            if not is_new or None in spent or floats is None:
                continue
            seen.add(key)
            shape = f" ({point.shape})" if len(line.at(point.x)) > 1 and point.shape else ""
            is_alone = len(evidence.x.values) == 1 or line.is_flat
            name = line.name if is_alone else f"{line.name}, {evidence.x.label(point.x)}"
            found.append((line, point, name + shape, fmean(spent), floats))
    if len(found) < FEWEST_CONFIGURATIONS:
        return []
    front = pareto_front([(point.mean, floats, s) for _, point, _, s, floats in found])
    return [Choice(*choice, i in front) for i, choice in enumerate(found)]


@on_paper
def figure(name: str, study: Study, found: list[Choice]) -> Drawing:
    """Error against seconds; what nothing beats is filled."""
    _, words = seconds_of(study)
    front = [c for c in found if c.is_on_front]
    named = sorted(front, key=lambda c: c.point.mean)[:6]
    drawn, (ax,) = canvas(2.75, right=label_room([c.name for c in named], 7.0, 0.7))
    for choice in found:
        style = look(choice.line.model)
        face = style.colour if choice.is_on_front else COLOURS["paper"]
        edge: dict[str, Any] = {"mec": style.colour, "mfc": face, "mew": 0.8, "ms": 5}
        marker = "o" if style.marker == "x" else style.marker
        ax.plot(choice.seconds, choice.point.mean, marker, **edge, zorder=3)
    labels = [Label(c.name, c.point.mean, look(c.line.model).colour) for c in named]
    ax.set_ylim(0, 1.08 * max(c.point.mean for c in found))
    times = [c.seconds for c in found]
    if min(times) > 0 and max(times) > 5 * min(times):
        ax.set_xscale("log")
        span = max(times) / min(times)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 200 else (1,)))
        ax.xaxis.set_major_formatter(thousands())
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        ax.set_xlim(0, 1.08 * max(times))
    end_labels(ax, labels, 7.0)
    ax.set_xlabel(words)
    ax.set_title("reconstruction error (z units)")
    floats = len({c.floats for c in found}) > 1
    cost = "error, floats and seconds" if floats else "error and seconds"
    caption = (
        f"Every configuration that has passed the learning gate. Filled and named: no other one "
        f"is at least as good in {cost}."
    )
    if len(front) > len(named):
        caption += f" Of {len(front)} such the {len(named)} with the lowest error are named."
    best = named[0]
    alt = (
        f"Error against {words} of {len(found)} configurations, {len(front)} of them beaten by "
        f"none; the lowest error, {significant(best.point.mean)}, takes "
        f"{significant(best.seconds)} s ({best.name})."
    )
    return Drawing(name, drawn, alt, caption)


def front_grid(study: Study, modality: str, found: list[Choice]) -> Grid:
    """The configurations that nothing beats, the lowest error first."""
    front = sorted((c for c in found if c.is_on_front), key=lambda c: c.point.mean)
    clock = seconds_of(study)[1].removeprefix("seconds of ")
    columns = (
        text_column("configuration", "configuration", [c.name for c in front]),
        number_column("error", "error", [c.point.mean for c in front], "z"),
        number_column("floats", "code floats", [c.floats for c in front], num_decimals=0),
        number_column("seconds", clock, [c.seconds for c in front], "s"),
    )
    return Grid(
        f"tradeoffs-{slug(modality)}",
        f"{len(front)} of {len(found)} configurations that no other one beats, {modality}",
        columns,
        ("Means over seeds. Beaten: another is at least as good in error, floats and seconds.",),
    )


def importance(study: Study, evidence: Evidence) -> list[Importance]:
    """Of the axes for the error; none with one axis, or few cells."""
    values = study.values(evidence.modality, METRIC)
    cells = [c for c in study.trained if c.cell in values]
    further = [p for p in varied(study) if p not in CODE_PATHS and p != "objective.kind"]
    settings = [(_settings(c, further, cells), values[c.cell]) for c in cells]
    found = axis_importance(settings) if len(cells) >= FEWEST_CELLS else []
    return found if len(found) > 1 else []


def _settings(cell: Cell, further: list[str], cells: list[Cell]) -> Mapping[str, Any]:
    """What the cell was set to: the code's size in one, the axes, model and seed."""
    found: dict[str, Any] = {"model": cell.model, FLOATS: cell.num_floats}
    found |= {path: cell.settings[path] for path in further if path in cell.settings}
    return {**found, "seed": cell.seed} if len({c.seed for c in cells}) > 1 else found


def importance_grid(modality: str, found: list[Importance]) -> Grid:
    """How much of the errors' variance each axis explains."""
    names = {FLOATS: "code floats"}
    columns = (
        text_column(
            "axis",
            "axis",
            [names.get(i.path, i.path.split(".")[-1].replace("_", " ")) for i in found],
        ),
        _percents("share", "share of the variance", [i.share for i in found]),
        _percents("by_chance", "by chance", [i.by_chance for i in found]),
        Column("p", "p", tuple(Entry(p_value(i.p), i.p) for i in found), kind="number"),
        text_column("values", "values", [str(i.num_values) for i in found], "number"),
        text_column("cells", "cells", [str(i.num_cells) for i in found], "number"),
    )
    return Grid(
        f"importance-{slug(modality)}",
        f"What the error depends on, {modality}",
        columns,
        (
            "Share of the variance of the error over cells that lies between an axis' means; by "
            "chance: with its values shuffled among cells that agree in all else; p: of such a "
            "share, or more, by chance.",
        ),
    )


def _named(path: str) -> str:
    return "code floats" if path == FLOATS else path.split(".")[-1].replace("_", " ")


def _percents(key: str, title: str, values: list[float]) -> Column:
    return Column(key, title, tuple(Entry(percent(v), v) for v in values), kind="number")


def finding(found: list[Importance]) -> str:
    """The sentence on what matters."""
    sure = [i for i in found if i.p < 0.05]
    if not sure:
        return ""
    first = sure[0]
    return (
        f"Of the axes, {_named(first.path)} explains most of the error's variance, "
        f"{percent(first.share)} (by chance {percent(first.by_chance)}, p {p_value(first.p)})."
    )
