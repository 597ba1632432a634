"""The one figure: reconstruction error, and probe accuracy, against the study's x-axis.

Lines of `points.py` in, drawings out. Every seed is a faint point, the band is the 95 % interval
over seeds, labels stand at the ends of the lines.
"""

from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import ScaledTranslation

from daep_ray.report.evidence import Evidence
from daep_ray.report.marks import Label, canvas, end_labels, label_room, muted, set_abscissa
from daep_ray.report.numbers import listing, percent, significant
from daep_ray.report.points import Abscissa, Line, Point, by_place
from daep_ray.report.source import GP, MEAN
from daep_ray.report.style import COLOURS, VARIANT_DASHES, Look, look, on_paper, title
from daep_ray.report.svg import Drawing
from daep_ray.study.statistics import GATE_MARGIN

PROCESS = " GP: a Gaussian process that tells every point from the object's other points."
HEIGHT = 2.75
RIGHT = 0.82  # inches for the labels at the ends, at least


@on_paper
def error_figure(name: str, evidence: Evidence) -> Drawing:
    """Error against the x-axis; the region in which a model has not learnt is shaded."""
    lines, x, mean, gate = evidence.errors, evidence.x, evidence.mean, evidence.gate
    figure, (ax,) = canvas(HEIGHT, right=_room(lines, *_levels(evidence)))
    set_abscissa(ax, x)
    top, bottom, is_cut = _error_range(lines, [mean, evidence.process and evidence.process[0]])
    ax.set_ylim(bottom, top)
    labels = _draw_lines(ax, lines, x)
    if evidence.process:
        labels.append(_draw_level(ax, evidence.process[0], GP))
    if mean is not None and gate is not None:
        labels.append(_draw_level(ax, mean, "mean"))
        ax.axhspan(max(gate, bottom), top, color=COLOURS["shade"], zorder=-5, lw=0)
        if bottom < gate < top:
            muted(ax, "not trained enough", (0.015, 0.985), va="top")
    end_labels(ax, labels)
    ax.set_title(f"{evidence.subject} (z units)")
    caption = "Mean absolute error on test objects, in units of the training set's scatter (z)."
    if any(len(p.values) > 1 for line in lines for p in line.points):
        num_seeds = max(len(p.values) for line in lines for p in line.points)
        drawn = "band" if num_seeds > 2 else "bar"
        caption += f" Faint: each seed; {drawn}: 95 % interval over seeds (Student's t)."
        if num_seeds == 2:
            caption += " Two seeds can only give a wide one."
    if mean is not None:
        caption += f" Shaded: less than {percent(GATE_MARGIN)} below the training mean."
    if evidence.process:
        caption += PROCESS
    if _has_shapes(lines):
        caption += " Where several code shapes have equal floats, the line is their mean."
    if is_cut:
        caption += " The error axis does not start at zero."
    return Drawing(name, figure, _alt(_capital(evidence.subject), lines, x, mean), caption)


@on_paper
def probe_figure(name: str, evidence: Evidence) -> Drawing:
    """Probe accuracy against the x-axis, with what always guessing the largest class gives."""
    lines, x, majority = evidence.probes, evidence.x, evidence.majority
    figure, (ax,) = canvas(HEIGHT, right=_room(lines, "majority class" if majority else ""))
    set_abscissa(ax, x)
    heights = [v for line in lines for p in line.points for v in p.values]
    lowest = min([*heights, *([] if majority is None else [majority])])
    highest = max([*heights, *([] if majority is None else [majority])])
    room = max(0.15 * (highest - lowest), 0.02)
    ax.set_ylim(max(0.0, lowest - room), min(1.0, highest + room))
    labels = _draw_lines(ax, lines, x)
    if majority is not None:
        labels.append(_draw_level(ax, majority, "mean", "majority class"))
    end_labels(ax, labels)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f} %"))
    ax.set_title("accuracy of a linear probe")
    alt = _alt("Probe accuracy", lines, x, None)
    if majority is not None:
        alt += f" Always guessing the largest class gives {percent(majority)}."
    caption = (
        "The class of an object from its code alone, by logistic regression; mean over ten splits "
        "by object. The axis does not start at zero."
    )
    return Drawing(name, figure, alt, caption)


def _room(lines: tuple[Line, ...], *levels: str) -> float:
    """Inches for the labels at the ends."""
    return label_room([*levels, *(line.name for line in lines)], least=RIGHT)


def _levels(evidence: Evidence) -> list[str]:
    """The names of what is drawn as a level."""
    return [title(m) for m, v in ((MEAN, evidence.mean), (GP, evidence.process)) if v is not None]


def _draw_lines(ax: Axes, lines: tuple[Line, ...], x: Abscissa) -> list[Label]:
    labels = []
    variants: dict[str, int] = {}
    for rank, line in enumerate(lines):
        style = look(line.model)
        number = variants[style.colour] = variants.get(style.colour, -1) + 1
        dash = style.dash if number == 0 else VARIANT_DASHES[number % len(VARIANT_DASHES)]
        dodge = 2.5 * (rank - (len(lines) - 1) / 2)  # points: bars must not hide each other
        _draw_band(ax, line, x, style.colour, dodge)
        places, heights = by_place(line, x, lambda p: p.mean)
        width = 1.5 if style.dash == "-" else 1.0
        ls = dash if x.is_numeric else ""
        ax.plot(places, heights, color=style.colour, ls=ls, lw=width, zorder=3)
        for point in line.points:
            _draw_point(ax, x.place(point.x), point, style)
        labels.append(Label(line.name, heights[-1], style.colour))
    return labels


def _draw_point(ax: Axes, place: float, point: Point, style: Look) -> None:
    """Every seed faintly, and their mean."""
    if len(point.values) > 1:
        for value in point.values:
            ax.plot(place, value, style.marker, color=style.colour, alpha=0.35, mew=0, ms=3.5)
    thick = 1.0 if style.marker == "x" else 0
    ax.plot(place, point.mean, style.marker, color=style.colour, ms=4.2, mew=thick, zorder=4)


def _draw_band(ax: Axes, line: Line, x: Abscissa, colour: str, dodge: float) -> None:
    """The interval over seeds: a band between neighbours that both have one, else a bar.

    Two seeds give an interval 13 standard errors wide: a bar, because bands would hide the lines.
    """
    points = tuple(p for p in line.points if p.interval.count > 1)
    line = replace(line, points=points)
    _, low = by_place(line, x, lambda p: p.interval.low)
    places, high = by_place(line, x, lambda p: p.interval.high)
    has_band = x.is_numeric and all(p.interval.count > 2 for p in points)
    order = [x.place(v) for v in x.values]
    ranks = [order.index(place) for place in places]
    for i, rank in enumerate(ranks):
        if has_band and i + 1 < len(ranks) and ranks[i + 1] == rank + 1:
            both = slice(i, i + 2)
            ax.fill_between(
                places[both], low[both], high[both], color=colour, alpha=0.14, lw=0, zorder=1
            )
        elif not (has_band and rank - 1 in ranks):
            aside = ax.transData + ScaledTranslation(dodge / 72, 0, ax.figure.dpi_scale_trans)
            bar = [places[i]] * 2
            ax.plot(bar, [low[i], high[i]], color=colour, alpha=0.5, lw=1.0, transform=aside)


def _draw_level(ax: Axes, value: float, model: str, words: str = "") -> Label:
    style = look(model)
    ax.axhline(value, color=style.colour, ls=style.dash, lw=1.1, zorder=1)
    return Label(words or style.title, value, COLOURS["muted"])


def _error_range(lines: tuple[Line, ...], levels: list[float | None]) -> tuple[float, float, bool]:
    """Top, bottom, and whether the axis is cut: zero is shown unless that hides the effect."""
    heights = [v for line in lines for p in line.points for v in p.values]
    everything = [*heights, *(level for level in levels if level is not None)]
    if not everything:
        return 1.0, 0.0, False
    top, bottom = max(everything), min(everything)
    if top - bottom >= 0.12 * top:
        return 1.09 * top, 0.0, False
    room = 0.25 * (top - bottom) or 0.05 * top
    return top + room, bottom - room, True


def _has_shapes(lines: tuple[Line, ...]) -> bool:
    return any(len({p.x for p in line.points}) < len(line.points) for line in lines)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _alt(what: str, lines: tuple[Line, ...], x: Abscissa, mean: float | None) -> str:
    """The figure in a sentence: each line's first and last value."""
    parts = []
    for line in lines:
        first, last = line.points[0], line.points[-1]
        if line.is_flat:
            parts.append(f"{line.name} {significant(first.mean)} throughout")
            continue
        parts.append(
            f"{line.name} {significant(first.mean)} at {x.label(first.x)}"
            + (f" to {significant(last.mean)} at {x.label(last.x)}" if last is not first else "")
        )
    sentence = (
        f"{what} against {x.title}: {listing(parts)}."
        if parts
        else f"{what}: no finished training."
    )
    return sentence + (f" The training mean has {significant(mean)}." if mean is not None else "")
