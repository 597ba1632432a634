"""Whether draws are honest: coverage against what it should be, by position, and rank histograms.

Tables `metrics` and `calibration` in, drawings out; None where a study has no draws. What honest
draws would give is the target of finitely many draws (`evaluate/calibration.py`), not the level.
"""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from daep_ray.report.chosen import Chosen
from daep_ray.report.marks import Label, canvas, corner, end_labels, label_room, muted
from daep_ray.report.numbers import listing, percent
from daep_ray.report.source import Cell, Study
from daep_ray.report.style import COLOURS, on_paper
from daep_ray.report.svg import Drawing

DRAWS = "draws"
WIDE = "width_95"  # 0: all draws are the same
LEVELS = (50, 68, 90, 95)  # per cent
SHOWN = 90  # against position
HEIGHT = 2.6


def _percent_axis(ax: Axes, which: str) -> None:
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f} %"))


def coverages(study: Study, modality: str, cell: Cell) -> list[tuple[int, float, float]]:
    """(level, coverage to expect, coverage found) of a cell's draws."""
    found = []
    for level in LEVELS:
        seen = study.values(modality, f"coverage_{level}", DRAWS).get(cell.cell)
        target = study.values(modality, f"coverage_{level}_target", DRAWS).get(cell.cell)
        if seen is not None and target is not None:
            found.append((level, target, seen))
    return found


def with_draws(study: Study, modality: str, chosen: Chosen) -> list[Cell]:
    """The trained cells whose draws differ: of one that draws the same again nothing is told."""
    widths = study.values(modality, WIDE, DRAWS)
    return [c for c in chosen.trained if widths.get(c.cell, 0.0) > 0]


def _without(study: Study, modality: str, chosen: Chosen) -> str:
    """Which models are left out."""
    widths = study.values(modality, WIDE, DRAWS)
    names = [chosen.names[c.cell] for c in chosen.trained if widths.get(c.cell) == 0]
    one = "it is" if len(names) == 1 else "they are"
    return f" All draws of {listing(names)} are the same: {one} left out." if names else ""


@on_paper
def coverage_figure(name: str, study: Study, modality: str, chosen: Chosen) -> Drawing | None:
    """Coverage of the four intervals, found against expected: on the diagonal is honest."""
    known = {c.cell: coverages(study, modality, c) for c in with_draws(study, modality, chosen)}
    known = {cell: points for cell, points in known.items() if points}
    if not known:
        return None
    figure, (ax,) = canvas(HEIGHT, right=label_room([chosen.names[c] for c in known]))
    ax.plot([0, 1], [0, 1], color=COLOURS["muted"], lw=0.8, ls=(0, (4, 2)), zorder=1)
    labels, said = [], []
    for cell, points in known.items():
        style = chosen.looks[cell]
        expected, found = [p[1] for p in points], [p[2] for p in points]
        ax.plot(expected, found, color=style.colour, ls=style.trace, marker=style.marker, ms=4)
        labels.append(Label(chosen.names[cell], found[-1], style.colour))
        at = next(i for i, p in enumerate(points) if p[0] == max(q[0] for q in points))
        said.append(
            f"{chosen.names[cell]} covers {percent(found[at])} where {percent(expected[at])} are "
            "to be expected"
        )
    last = max(p[1] for points in known.values() for p in points)
    ax.set_xlim(0, min(1.0, last + 0.05))
    ax.set_ylim(0, 1)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    muted(ax, "too wide", (0.03, 0.95), va="top")
    muted(ax, "too narrow", (0.97, 0.04), ha="right")
    end_labels(ax, labels)
    _percent_axis(ax, "x")
    _percent_axis(ax, "y")
    ax.set_xlabel("to be expected of calibrated draws")
    ax.set_title("measurements inside the interval")
    levels = listing([str(p[0]) for p in next(iter(known.values()))])
    caption = (
        f"Central intervals of {levels} %. Of finitely many draws even honest ones "
        "cover less than their level: p (n \u2212 1) / (n + 1), the x-axis; dashed: equal. "
        "Against noisy data, so draws without the noise cover less."
        f"{_without(study, modality, chosen)}"
    )
    return Drawing(name, figure, f"Coverage: {listing(said)}.", caption)


def _bins(study: Study, modality: str, cell: Cell, axis: str) -> list[dict[str, Any]]:
    rows = study.rows("calibration", cell=cell.cell, modality=modality, estimate=DRAWS, axis=axis)
    return sorted(rows.to_pylist(), key=lambda r: (r["metric"], r["low"]))


@on_paper
def position_figure(
    name: str, study: Study, modality: str, chosen: Chosen, units: dict[str, str]
) -> Drawing | None:
    """Coverage and width of the 90 % interval against the first position."""
    rows = {
        c.cell: _bins(study, modality, c, "position") for c in with_draws(study, modality, chosen)
    }
    rows = {cell: found for cell, found in rows.items() if found}
    if not rows:
        return None
    room = label_room([chosen.names[c] for c in rows])
    figure, (top, bottom) = canvas(HEIGHT + 0.5, [1.0, 1.0], right=room)
    labels, said = [], []
    for cell, found in rows.items():
        style = chosen.looks[cell]
        for ax, what in ((top, "coverage"), (bottom, "width")):
            own = [r for r in found if r["metric"] == f"{what}_{SHOWN}"]
            places = [(r["low"] + r["high"]) / 2 for r in own]
            ax.plot(places, [r["value"] for r in own], color=style.colour, ls=style.trace)
            if what == "width" and own:
                labels.append(Label(chosen.names[cell], own[-1]["value"], style.colour))
            if what == "coverage" and own:
                worst = max(own, key=lambda r: abs(r["value"] - r["target"]))
                top.plot(
                    places,
                    [r["target"] for r in own],
                    color=COLOURS["muted"],
                    lw=0.8,
                    ls=(0, (4, 2)),
                )
                where = f"{worst['low']:.4g} to {worst['high']:.4g} {units['unit']}".strip()
                said.append(
                    f"{chosen.names[cell]} is furthest off at {where}: {percent(worst['value'])} "
                    f"instead of {percent(worst['target'])}"
                )
    top.set_ylim(0, 1)
    bottom.set_ylim(0, 1.25 * bottom.get_ylim()[1])  # room for the panel's name
    _percent_axis(top, "y")
    corner(bottom, f"width at {SHOWN} % (z units)")
    end_labels(bottom, labels)
    top.set_title(f"inside the {SHOWN} % interval")
    bottom.set_xlabel(units["position"])
    caption = "Dashed: to be expected of calibrated draws."
    return Drawing(name, figure, f"Coverage by position: {listing(said)}.", caption)


@on_paper
def rank_figure(name: str, study: Study, modality: str, chosen: Chosen) -> Drawing | None:
    """How many draws lie below the data: flat where draws are honest."""
    rows = {c.cell: _bins(study, modality, c, "rank") for c in with_draws(study, modality, chosen)}
    rows = {cell: found for cell, found in rows.items() if found}
    if not rows:
        return None
    figure, axes = canvas(0.72 + 0.75 * len(rows), [1.0] * len(rows), right=0.12)
    said = []
    for ax, (cell, found) in zip(axes, rows.items(), strict=True):
        style = chosen.looks[cell]
        ranks, shares = [r["low"] for r in found], [r["value"] for r in found]
        edges = [ranks[0] - 0.5, *(rank + 0.5 for rank in ranks)]
        ax.stairs(shares, edges, color=style.colour, lw=1.2)
        ax.stairs(shares, edges, color=style.colour, fill=True, alpha=0.15)
        ax.axhline(found[0]["target"], color=COLOURS["muted"], lw=0.8, ls=(0, (4, 2)))
        ax.set_ylim(0, 1.3 * max(shares))
        ax.set_xlim(edges[0], edges[-1])
        ax.yaxis.set_major_locator(MaxNLocator(3))
        _percent_axis(ax, "y")
        corner(ax, chosen.names[cell])
        outside = shares[0] + shares[-1]
        said.append(
            f"{chosen.names[cell]}: {percent(outside)} of the data lie outside all draws, "
            f"{percent(2 * found[0]['target'])} are to be expected"
        )
    axes[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes[-1].set_xlabel("draws below the measurement")
    axes[0].set_title("share of measurements")
    caption = (
        "Rank histogram. Dashed: calibrated. High ends: draws too narrow; a hump: "
        "too wide; a slope: too high or too low."
    )
    return Drawing(name, figure, f"Rank histograms. {listing(said)}.", caption)
