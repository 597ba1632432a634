"""The one figure of a study without an axis: a row per model, its error or its probe as a dot.

Evidence in, drawings out. The bar is the 95 % interval over seeds; with one seed it is the interval
over test objects (1.96 standard errors), or the standard deviation over a probe's splits. Rows are
in the order of the error, PCA last, in both figures.
"""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from daep_ray.report.evidence import Evidence
from daep_ray.report.figures import PROCESS
from daep_ray.report.marks import canvas, label_room, wrapped
from daep_ray.report.numbers import listing, percent, significant
from daep_ray.report.points import Line, Point
from daep_ray.report.source import GP
from daep_ray.report.style import COLOURS, look, on_paper, title
from daep_ray.report.svg import Drawing
from daep_ray.study.statistics import GATE_MARGIN

NORMAL = 1.96  # standard errors to either side: 95 %
LONGEST = 24  # characters of a row's name


@dataclass(frozen=True)
class Row:
    """One dot."""

    name: str
    model: str
    values: tuple[float, ...]  # one per seed
    mean: float
    low: float
    high: float


def has_no_axis(evidence: Evidence) -> bool:
    """Whether all models stand at one place, and there is more than one to compare."""
    places = {p.x for line in evidence.trained for p in line.points}
    return len(places) == 1 and len(evidence.errors) > 1


@on_paper
def error_dots(name: str, evidence: Evidence) -> Drawing:
    """The error of every model, with the region in which none has learnt."""
    rows = _rows(evidence, evidence.errors, dict(evidence.spreads), NORMAL)
    if evidence.process:
        value, error = evidence.process
        ends = (value - NORMAL * error, value + NORMAL * error)
        rows.append(Row(title(GP), GP, (value,), value, *ends))
    mean, gate = evidence.mean, evidence.gate
    axes = _canvas(rows)
    figure, ax = axes.figure, axes
    longest = max([r.high for r in rows] + ([] if mean is None else [mean]))
    ax.set_xlim(0, 1.06 * longest)
    if mean is not None and gate is not None:
        ax.axvspan(gate, 1.06 * longest, color=COLOURS["shade"], zorder=-5, lw=0)
        style = look("mean")
        ax.axvline(mean, color=style.colour, ls=style.dash, lw=1.1, zorder=1)
    _draw(ax, rows)
    ax.set_xlabel(f"{evidence.subject} (z units)")
    place = evidence.x.label(next(p.x for line in evidence.trained for p in line.points))
    caption = (
        f"Mean absolute error on test objects at {place}, in units of the training set's scatter "
        f"(z); {_bar(rows, '95 % interval over test objects')}."
    )
    if mean is not None:
        caption += (
            f" Dotted: the training mean; shaded: less than {percent(GATE_MARGIN)} below it, not "
            "trained enough."
        )
    if evidence.process:
        caption += PROCESS
    alt = f"Mean {evidence.subject} at {place}: {_said(rows)}."
    if mean is not None:
        alt += f" The training mean has {significant(mean)}."
    return Drawing(name, figure, alt, caption)  # type: ignore[arg-type]


@on_paper
def probe_dots(name: str, evidence: Evidence) -> Drawing:
    """The probe's accuracy for every model, with what always saying the largest class gives."""
    order = [r.name for r in _rows(evidence, evidence.errors, {}, 0)]
    rows = _rows(evidence, evidence.probes, dict(evidence.probe_spreads), 1.0)
    rows.sort(key=lambda r: order.index(r.name) if r.name in order else len(order))
    ax, majority = _canvas(rows), evidence.majority
    ends = [v for r in rows for v in (r.low, r.high)] + ([] if majority is None else [majority])
    room = max(0.06 * (max(ends) - min(ends)), 0.01)
    # a little beyond 100 %, so that a mark there is whole
    ax.set_xlim(max(0.0, min(ends) - room), min(1.0 + 0.3 * room, max(ends) + room))
    if majority is not None:
        style = look("mean")
        ax.axvline(majority, color=style.colour, ls=style.dash, lw=1.1, zorder=1)
    _draw(ax, rows)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f} %"))
    ax.set_xlabel("accuracy of a linear probe")
    caption = (
        "The class of an object from its code alone, by logistic regression; "
        f"{_bar(rows, 'standard deviation over ten splits by object')}."
    )
    alt = f"Probe accuracy: {_said(rows)}."
    if majority is not None:
        caption += " Dotted: always guessing the largest class."
        alt += f" Always guessing the largest class gives {percent(majority)}."
    caption += " The axis does not start at zero."
    return Drawing(name, ax.figure, alt, caption)  # type: ignore[arg-type]


def _rows(
    evidence: Evidence, lines: tuple[Line, ...], spreads: dict[str, float], factor: float
) -> list[Row]:
    found = []
    for line in lines:
        for point in line.points:
            is_shared = len(line.at(point.x)) > 1
            name = f"{line.name}, {point.shape}" if is_shared and point.shape else line.name
            found.append(Row(name, line.model, point.values, *_ends(point, spreads, factor)))
    references = {line.name for line in evidence.errors if line.is_reference}
    return sorted(found, key=lambda r: (r.name in references, r.mean))


def _ends(point: Point, spreads: dict[str, float], factor: float) -> tuple[float, float, float]:
    """Mean and the bar's ends; no bar where nobody knows a spread."""
    if point.interval.count > 1:
        return point.mean, point.interval.low, point.interval.high
    half = factor * spreads.get(point.cells[0].cell, 0.0)
    return point.mean, point.mean - half, point.mean + half


def _canvas(rows: list[Row]) -> Axes:
    names = [wrapped(r.name, LONGEST) for r in rows]
    lines = sum(name.count("\n") + 1 for name in names)
    left = label_room([r.name for r in rows], 8.0, 0.6, LONGEST)
    _, (ax,) = canvas(0.62 + 0.17 * lines + 0.06 * len(rows), left=left, right=0.14, top=0.08)
    ax.set_yticks(range(len(rows)), names)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    for label in ax.get_yticklabels():
        label.set_linespacing(1.0)
    return ax


def _draw(ax: Axes, rows: list[Row]) -> None:
    for place, row in enumerate(rows):
        style = look(row.model)
        ax.plot([row.low, row.high], [place] * 2, color=style.colour, lw=1.2, alpha=0.6)
        if len(row.values) > 1:
            for value in row.values:
                ax.plot(value, place, style.marker, color=style.colour, alpha=0.35, mew=0, ms=3.5)
        thick = 1.0 if style.marker == "x" else 0
        marker = style.marker or "|"
        thick = 1.4 if marker == "|" else thick
        ax.plot(row.mean, place, marker, color=style.colour, ms=5, mew=thick, zorder=4)


def _bar(rows: list[Row], of_one_seed: str) -> str:
    has_seeds = any(len(r.values) > 1 for r in rows)
    return "bar: 95 % interval over seeds, faint: each seed" if has_seeds else f"bar: {of_one_seed}"


def _said(rows: list[Row]) -> str:
    return listing([f"{r.name} {significant(r.mean)}" for r in rows])
