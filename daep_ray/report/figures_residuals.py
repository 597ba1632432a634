"""Where it fails: residuals against position, median and 16-84 %, one line per chosen training."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from daep_ray.report.chosen import Chosen
from daep_ray.report.evidence import FROM
from daep_ray.report.marks import Label, canvas, corner, end_labels, label_room
from daep_ray.report.numbers import MINUS, significant
from daep_ray.report.source import Cell, Study
from daep_ray.report.style import COLOURS, on_paper
from daep_ray.report.svg import Drawing

MOST_PANELS = 6
POSITION, AT_PHASE, IN_BAND = "position", " at phase ", " in "  # of the table's axes
PARTS = {"residual_16": "low", "residual_50": "median", "residual_84": "high"}
Rows = list[dict[str, Any]]


@on_paper
def residual_figure(
    name: str, rows: Rows, chosen: Chosen, units: dict[str, str], what: str
) -> Drawing | None:
    """A panel per category of the rows; None without rows. `what` begins the caption."""
    if not rows:
        return None
    panels = list(dict.fromkeys(row["category"] or "" for row in rows))[:MOST_PANELS]
    each = 2.2 if len(panels) == 1 else 0.8
    right = label_room(list(chosen.names.values()))
    figure, axes = canvas(each * len(panels) + 0.72, [1.0] * len(panels), right=right)
    high = 1.08 * max(max(abs(r["low"]), abs(r["high"])) for r in rows)
    for ax, category in zip(axes, panels, strict=True):
        ax.set_ylim(-high, high)
        own = [r for r in rows if (r["category"] or "") == category]
        labels = [_draw(ax, chosen, cell, own) for cell in chosen.cells]
        ax.axhline(0, color=COLOURS["data"], lw=0.6, zorder=1)
        if ax is axes[0]:
            end_labels(ax, [label for label in labels if label])
        if category:
            corner(ax, category)
    axes[0].set_title(f"reconstruction {MINUS} data (z units)")
    axes[-1].set_xlabel(units["position"])
    caption = f"{what}. Thick: median residual of the test measurements; thin: 16 and 84 %."
    alt = " ".join([caption, *words(rows, chosen, units)])
    return Drawing(name, figure, alt, caption)


def _draw(ax: Axes, chosen: Chosen, cell: Cell, rows: Rows) -> Label | None:
    """A model's median and its 16-84 % range; the label stands where the upper edge ends."""
    own = sorted((r for r in rows if r["cell"] == cell.cell), key=lambda r: r["position_low"])
    if not own:
        return None
    style = chosen.looks[cell.cell]
    place = [(r["position_low"] + r["position_high"]) / 2 for r in own]
    median, low, high = ([r[k] for r in own] for k in ("median", "low", "high"))
    alone = style.marker if len(place) == 1 else ""  # one bin has no line
    for edge in (low, high):
        ax.plot(place, edge, color=style.colour, ls=style.trace, marker=alone, lw=0.8, ms=2)
    if not cell.is_reference:
        ax.fill_between(place, low, high, color=style.colour, alpha=0.07, lw=0, zorder=1)
        ax.plot(place, median, color=style.colour, ls=style.trace, lw=1.6, zorder=3)
    return Label(chosen.names[cell.cell], high[-1], style.colour)


def profile_rows(study: Study, modality: str, chosen: Chosen) -> Rows:
    """The profiles of the chosen trainings."""
    return [
        row
        for cell in chosen.cells
        for row in study.rows("profiles", cell=cell.cell, modality=modality).to_pylist()
    ]


def told_rows(study: Study, modality: str, source: str, chosen: Chosen) -> Rows:
    """The same of what is told from another modality alone.

    The categories are the phases of the object where they are known (the paper's Fig. 10), else the
    bands, else there is one for all.
    """
    found: dict[str, dict[tuple[str, float, float], dict[str, Any]]] = {}
    for cell in chosen.cells:
        told = study.rows("calibration", cell=cell.cell, modality=modality, estimate=FROM + source)
        for row in told.to_pylist():
            if (part := PARTS.get(row["metric"])) and row["axis"].startswith(POSITION):
                bins = found.setdefault(row["axis"].removeprefix(POSITION), {})
                here = bins.setdefault((cell.cell, row["low"], row["high"]), {})
                here |= {"cell": cell.cell, part: row["value"]}
                here |= {"position_low": row["low"], "position_high": row["high"]}
    of_phases = sorted((a for a in found if a.startswith(AT_PHASE)), key=_phase)
    of_bands = [a for a in found if a.startswith(IN_BAND)]
    return [
        {**row, "category": _category(axis)}
        for axis in of_phases or of_bands or found
        for row in found[axis].values()
    ]


def _phase(axis: str) -> float:
    return float(axis.removeprefix(AT_PHASE))


def _category(axis: str) -> str:
    if axis.startswith(AT_PHASE):
        return f"{_phase(axis):g} day".replace("-", MINUS)
    return axis.removeprefix(IN_BAND)


def words(rows: Rows, chosen: Chosen, units: dict[str, str]) -> list[str]:
    """A sentence per trained model: where its residuals are widest, where most off centre."""
    said = []
    for cell in chosen.cells:
        own = [r for r in rows if r["cell"] == cell.cell]
        if cell.is_reference or not own:
            continue
        widest = max(own, key=lambda r: r["high"] - r["low"])
        typical = float(np.median([(r["high"] - r["low"]) / 2 for r in own]))
        off = max(own, key=lambda r: abs(r["median"]))
        said.append(
            f"{chosen.names[cell.cell]}: two thirds of the residuals lie within \u00b1"
            f"{significant(typical)} z of their centre; the range is widest, \u00b1"
            f"{significant((widest['high'] - widest['low']) / 2)}, at {_where(widest, units)}, and "
            f"the median is furthest from 0, {significant(off['median'])}, at {_where(off, units)}."
        )
    return said


def _where(row: dict[str, Any], units: dict[str, str]) -> str:
    """A bin: `3600 to 3850 Å`, `63 to 72 day in g`."""
    digits = 0 if abs(row["position_high"]) >= 1000 else 1
    places = " to ".join(f"{row[k]:.{digits}f}" for k in ("position_low", "position_high"))
    places = places.replace("-", MINUS)
    places += f" {units['unit']}" if units["unit"] else ""
    category = row["category"] or ""
    joint = " at " if category.endswith(" day") else " in "
    return places + (joint + category if category else "")
