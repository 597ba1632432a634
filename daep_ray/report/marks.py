"""Small things that several figures draw: axes, line-end labels that do not overlap, bands."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from daep_ray.report.numbers import MINUS, ten_to
from daep_ray.report.points import Abscissa
from daep_ray.report.style import COLOURS, COLUMN, paper

WIDEST = 18  # characters of a label's line
KEY_ROW = 0.16  # inches


@dataclass(frozen=True)
class Label:
    """Words at the end of a line."""

    text: str
    height: float  # in data units
    colour: str


def _thousands(value: float) -> str:
    """`96k`, `1.5M`: a tick that leaves room for its axis' name."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or (abs(value) >= size and letter == "M"):
            return f"{value / size:g}{letter}".replace("-", MINUS)
    return f"{value:.10g}".replace("-", MINUS)


def thousands(power: int = 0) -> FuncFormatter:
    """A formatter of its own for every axis (matplotlib binds it to one), in 10^`power`."""
    return FuncFormatter(lambda value, _: _thousands(value / 10.0**power))


def in_power(name: str, power: int) -> str:
    """An axis' name with what its ticks leave to it: `flux (10\u00b9\u00b2 \u00b5Jy)`."""
    if not power:
        return name
    head, bracket, unit = name.partition(" (")
    return f"{head} ({ten_to(power)} {unit}" if bracket else f"{head} ({ten_to(power)})"


def canvas(
    height: float, rows: Sequence[float] = (1.0,), /, **margins: float
) -> tuple[Figure, list[Axes]]:
    """A figure one column wide with axes below each other, margins in inches."""
    inch = {"left": 0.52, "right": 0.1, "bottom": 0.42, "top": 0.26, **margins}
    with paper():
        figure = Figure(figsize=(COLUMN, height))
        grid = figure.add_gridspec(
            len(rows),
            1,
            height_ratios=list(rows),
            left=inch["left"] / COLUMN,
            right=1 - inch["right"] / COLUMN,
            bottom=inch["bottom"] / height,
            top=1 - inch["top"] / height,
            hspace=0.12,
        )
        axes: list[Axes] = []
        for i in range(len(rows)):
            axes.append(figure.add_subplot(grid[i], sharex=axes[0] if axes else None))
            axes[i].yaxis.set_major_locator(MaxNLocator(5))
        for above in axes[:-1]:
            above.tick_params(labelbottom=False)
    return figure, axes


def set_abscissa(ax: Axes, x: Abscissa) -> None:
    """Ticks at the study's own values, nothing between."""
    places = [x.place(v) for v in x.values]
    if x.is_log:
        ax.set_xscale("log", base=2)
        low, high = places[0] / 1.25, places[-1] * 1.25
    else:
        room = 0.08 * (places[-1] - places[0]) or 1.0
        low, high = places[0] - room, places[-1] + room
    ax.set_xlim(low, high)
    ax.xaxis.set_major_locator(FixedLocator(places))
    ax.xaxis.set_minor_locator(NullLocator())
    names = {p: str(v) for p, v in zip(places, x.values, strict=True)}
    ax.xaxis.set_major_formatter(FuncFormatter(lambda place, _: names.get(place, "")))
    ax.set_xlabel(x.title)


def end_labels(ax: Axes, labels: list[Label], size: float = 8.0) -> None:
    """Write labels right of the axes at their lines' heights, moved apart where they touch."""
    if not labels:
        return
    points = ax.get_window_extent().height * 72 / ax.figure.dpi  # the axes' height
    low, high = ax.get_ylim()
    wanted = [(label.height - low) / (high - low) * points for label in labels]
    texts = [wrapped(label.text) for label in labels]
    gap = size * 1.25 * max(text.count("\n") + 1 for text in texts)
    places = spread(wanted, gap, points)
    for label, text, place in zip(labels, texts, places, strict=True):
        ax.annotate(
            text,
            xy=(1, place / points),
            xycoords="axes fraction",
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            ha="left",
            fontsize=size,
            linespacing=1.05,
            color=label.colour,
            annotation_clip=False,
        )


def wrapped(name: str, width: int = WIDEST) -> str:
    """A name in lines of about `width` characters."""
    return "\n".join(textwrap.wrap(name, width)) or name


def label_room(
    names: Sequence[str], size: float = 8.0, least: float = 0.5, width: int = WIDEST
) -> float:
    """Inches that labels beside an axis take, in lines of about `width` characters."""
    lines = [line for name in names for line in wrapped(name, width).split("\n")]
    longest = max((len(line) for line in lines), default=0)
    return max(least, 0.1 + longest * size * 0.0083)


def spread(wanted: list[float], gap: float, top: float) -> list[float]:
    """Places as near as possible to the wanted ones, at least `gap` apart, within [0, top].

    Neighbours that would touch are joined into a block around their common centre, until none do.
    """
    blocks: list[list[int]] = []
    for i in sorted(range(len(wanted)), key=lambda i: wanted[i]):
        blocks.append([i])
        while len(blocks) > 1:
            before, last = blocks[-2:]
            start = _start(before, wanted, gap, top)
            if _start(last, wanted, gap, top) >= start + gap * len(before):
                break
            blocks[-2:] = [before + last]
    places = [0.0] * len(wanted)
    for block in blocks:
        for rank, i in enumerate(block):
            places[i] = _start(block, wanted, gap, top) + rank * gap
    return places


def _start(block: list[int], wanted: list[float], gap: float, top: float) -> float:
    """Where a block of labels begins: around its members' centre, but inside."""
    height = gap * (len(block) - 1)
    centre = sum(wanted[i] for i in block) / len(block)
    return min(max(centre - height / 2, 0.0), max(top - height, 0.0))


def corner(ax: Axes, words: str) -> None:
    """A panel's name, in its upper right corner."""
    ax.text(0.99, 0.98, words, transform=ax.transAxes, ha="right", va="top", weight="bold")


def muted(ax: Axes, text: str, xy: tuple[float, float], **kwargs: object) -> None:
    """A small grey note in axes fractions."""
    ax.text(*xy, text, transform=ax.transAxes, color=COLOURS["muted"], fontsize=7, **kwargs)  # type: ignore[arg-type]


Entry = tuple[str, str, Any]  # name, colour, dash; no dash: dots


def key_rows(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries of a key in as many rows as a column's width needs."""
    rows: list[list[Entry]] = [[]]
    place = 0.12
    for entry in entries:
        if rows[-1] and place + _key_width(entry[0]) > COLUMN + 0.1:
            rows.append([])
            place = 0.12
        rows[-1].append(entry)
        place += _key_width(entry[0])
    return rows


def _key_width(name: str) -> float:
    """Inches."""
    return 0.41 + 0.068 * len(name)


def key(figure: Figure, rows: Sequence[Sequence[Entry]], height: float) -> None:
    """Names with a sample of their line; the first row at `height` inches."""
    for number, entries in enumerate(rows):
        place, at = 0.12, (height - number * KEY_ROW) / figure.get_size_inches()[1]
        for name, colour, dash in entries:
            ends = [place / COLUMN, (place + 0.2) / COLUMN]
            drawn: dict[str, Any] = {"ls": dash, "lw": 1.4}
            if not dash:
                ends, drawn = ends[1:], {"ls": "", "marker": "o", "ms": 2.2, "mew": 0}
            heights = [at] * len(ends)
            sample = Line2D(ends, heights, color=colour, transform=figure.transFigure, **drawn)
            figure.add_artist(sample)
            where = ((place + 0.25) / COLUMN, at)
            figure.text(*where, name, color=colour, va="center_baseline", fontsize=7.5)
            place += _key_width(name)
