"""Example reconstructions: data in black, each model's mean and 90 % band, residuals below.

Rows of the table `examples` in, one drawing per example out. A modality with a category (a band, a
channel) has a panel per category, the fullest first six.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from daep_ray.report.chosen import Chosen
from daep_ray.report.marks import (
    KEY_ROW,
    canvas,
    corner,
    in_power,
    key,
    key_rows,
    thousands,
)
from daep_ray.report.numbers import listing, power_of, significant
from daep_ray.report.source import Cell, Study
from daep_ray.report.style import COLOURS, COLUMN, on_paper
from daep_ray.report.svg import Drawing

MOST_PANELS = 6
RESIDUAL = 0.75  # inches
MANY = 250  # measurements, from which errors are drawn as a band instead of bars


@dataclass(frozen=True)
class Example:
    """One sample as every chosen cell reconstructs it; columns sorted by category and position."""

    sample_id: str
    object_id: str
    label: str | None
    percentile: int
    by_cell: dict[str, dict[str, np.ndarray]]
    vocabulary: tuple[str, ...] = ()

    @property
    def data(self) -> dict[str, np.ndarray]:
        return next(iter(self.by_cell.values()))

    @property
    def categories(self) -> list[str]:
        """The six with most measurements, in the vocabulary's order."""
        words, counts = np.unique(self.data["category"].astype(str), return_counts=True)
        fullest = words[np.argsort(-counts, kind="stable")][:MOST_PANELS].tolist()
        return sorted(fullest, key=lambda w: (w not in self.vocabulary, self._place(w), w))

    def _place(self, word: str) -> int:
        return self.vocabulary.index(word) if word in self.vocabulary else 0


def examples(study: Study, modality: str, chosen: Chosen) -> list[Example]:
    """The samples that every chosen cell shows, by percentile."""
    tables = {c.cell: study.rows("examples", cell=c.cell, modality=modality) for c in chosen.cells}
    tables = {cell: table for cell, table in tables.items() if table.num_rows}
    declared = study.declaration(modality).get("categories") or [{}]
    vocabulary = declared[0].get("vocabulary", ())
    found = []
    kinds: dict[str, int] = {}
    for table in tables.values():
        kinds |= dict(
            zip(*(table[c].to_pylist() for c in ("sample_id", "percentile")), strict=True)
        )
    for sample in sorted(kinds, key=lambda s: (kinds[s], s)):
        by_cell = {}
        head: dict[str, Any] = {}
        for cell, table in tables.items():
            columns = table.filter(np.array(table["sample_id"].to_pylist()) == sample).to_pydict()
            if columns["sample_id"]:
                head = {k: columns[k][0] for k in ("object_id", "label")}
                by_cell[cell] = _arrays(columns)
        named = (sample, head["object_id"], head["label"], kinds[sample])
        found.append(Example(*named, by_cell, tuple(vocabulary)))
    return found


def _arrays(columns: dict[str, list[Any]]) -> dict[str, np.ndarray]:
    numbers = ("position", "truth", "error", "noiseless", "mean", "low", "high")
    arrays = {k: np.array(columns[k], dtype=float) for k in numbers}
    return {**arrays, "category": np.array([c or "" for c in columns["category"]])}


@on_paper
def example_figure(name: str, example: Example, chosen: Chosen, units: dict[str, str]) -> Drawing:
    """One example."""
    panels = example.categories
    each = 2.1 if len(panels) == 1 else 0.62
    cells = [c for c in chosen.cells if c.cell in example.by_cell]
    looks = [(chosen.names[c.cell], chosen.looks[c.cell]) for c in cells]
    entries = key_rows(
        [("data", COLOURS["data"], ""), *((name, own.colour, own.trace) for name, own in looks)]
    )
    head = 0.48 + KEY_ROW * (len(entries) - 1)
    height = each * len(panels) + RESIDUAL + 0.54 + head
    figure, axes = canvas(height, [*([each] * len(panels)), RESIDUAL], top=head)
    for ax, category in zip(axes, panels, strict=False):
        _panel(ax, example, cells, category, chosen)
    _residuals(axes[-1], example, cells, panels, chosen)
    axes[-1].set_xlabel(units["position"])
    power = power_of(max(abs(e) for ax in axes[:-1] for e in ax.get_ylim()), least=1e-2)
    for ax in axes:
        ax.yaxis.set_major_formatter(thousands(power))
    value = in_power(units["value"], power)
    middles = {value: 0.5 + RESIDUAL / 2 / height, "residual": _middle(axes[-1])}
    for words, middle in middles.items():
        figure.text(0.01, middle, words, rotation=90, va="center")
    label = f", {example.label}" if example.label else ""
    top = height - 0.1
    figure.text(
        0.12 / COLUMN, top / height, f"{example.object_id}{label}", va="center", weight="bold"
    )
    rank = f"{example.percentile}th percentile"
    figure.text(0.98, top / height, rank, va="center", ha="right", color=COLOURS["muted"])
    key(figure, entries, height - 0.31)
    return Drawing(name, figure, _alt(example, chosen, cells, label), "")


def _middle(ax: Axes) -> float:
    """The height of the axes' middle, as a share of the figure's."""
    box = ax.get_position()
    return float(box.y0 + box.y1) / 2


def _alt(example: Example, chosen: Chosen, cells: list[Cell], label: str) -> str:
    names = listing([chosen.names[c.cell] for c in cells])
    errors = listing([f"{chosen.names[c.cell]} {significant(_rms(example, c))}" for c in cells])
    return (
        f"{example.object_id}{label}, {len(example.data['truth'])} measurements, and its "
        f"reconstruction by {names}; root mean square of the residuals: {errors}."
    )


def _panel(ax: Axes, example: Example, cells: list[Cell], category: str, chosen: Chosen) -> None:
    _draw_data(ax, _select(example.data, category))
    for cell in cells:
        rows, style = _select(example.by_cell[cell.cell], category), chosen.looks[cell.cell]
        x, low, high = rows["position"], rows["low"], rows["high"]
        if np.isfinite(low).all() and (high > low).any():
            ax.fill_between(x, low, high, color=style.colour, alpha=0.2, lw=0, zorder=2)
        ax.plot(x, rows["mean"], color=style.colour, ls=style.trace, lw=1.2, zorder=4)
    if category:
        corner(ax, category)
    ax.set_ylim(*_limits(example, cells, category))
    if category:
        ax.yaxis.set_major_locator(MaxNLocator(3))


def _draw_data(ax: Axes, data: dict[str, np.ndarray]) -> None:
    x, truth, black = data["position"], data["truth"], COLOURS["data"]
    error = np.where(np.isfinite(data["error"]), data["error"], 0.0)
    if np.isfinite(data["noiseless"]).all():
        ax.plot(x, data["noiseless"], color=COLOURS["muted"], lw=0.8, ls=(0, (1, 1)), zorder=1)
    if len(truth) >= MANY:
        ax.fill_between(x, truth - error, truth + error, color=black, alpha=0.15, lw=0)
        ax.plot(x, truth, color=black, lw=0.5, zorder=3)
        return
    ax.errorbar(x, truth, error, fmt="o", ms=1.8, mew=0, color=black, elinewidth=0.4, zorder=3)


def _residuals(
    ax: Axes, example: Example, cells: list[Cell], panels: list[str], chosen: Chosen
) -> None:
    """Reconstruction minus data, all panels' measurements together, in the value's unit."""
    ax.axhline(0, color=COLOURS["data"], lw=0.6, zorder=1)
    spread = []
    for cell in cells:
        style = chosen.looks[cell.cell]
        for category in panels:
            rows = _select(example.by_cell[cell.cell], category)
            spread.append(rows["mean"] - rows["truth"])
            if len(panels) == 1:
                drawn: dict[str, Any] = {"lw": 0.9, "ls": style.trace}
            else:
                thick = 0.6 if style.marker == "x" else 0
                drawn = {"ls": "", "marker": style.marker, "ms": 2.4, "mew": thick}
            ax.plot(rows["position"], spread[-1], color=style.colour, zorder=3, **drawn)
    high = 1.1 * float(np.quantile(np.abs(np.concatenate(spread)), 0.99)) or 1.0
    ax.set_ylim(-high, high)
    ax.yaxis.set_major_locator(MaxNLocator(3, symmetric=True))


def _limits(example: Example, cells: list[Cell], category: str) -> tuple[float, float]:
    """Data and means fit in; a band may leave the panel, an outlying draw must not squeeze it."""
    data = _select(example.data, category)
    shown = [data["truth"], *(_select(example.by_cell[c.cell], category)["mean"] for c in cells)]
    low, high = (f(np.concatenate(shown)) for f in (np.min, np.max))
    room = 0.08 * (high - low) or 1.0
    return float(low - room), float(high + room)


def _select(columns: dict[str, np.ndarray], category: str) -> dict[str, np.ndarray]:
    inside = np.flatnonzero(columns["category"].astype(str) == category)
    inside = inside[np.argsort(columns["position"][inside], kind="stable")]
    return {k: v[inside] for k, v in columns.items()}


def _rms(example: Example, cell: Cell) -> float:
    rows = example.by_cell[cell.cell]
    return float(np.sqrt(np.mean((rows["mean"] - rows["truth"]) ** 2)))


def caption(place: str, found: list[Example], chosen: Chosen | None = None) -> str:
    """What the row of examples shows, and how they were chosen."""
    noiseless = "dotted: the survey's noiseless value; " if has_noiseless(found) else ""
    *first, last = [f"{e.percentile}th" for e in found] or ["50th"]
    ranks = f"{', '.join(first)} and {last}" if first else last
    return (
        f"With {place}. {chosen.note if chosen else ''}Points: data with errors; {noiseless}"
        "lines: mean of each model's draws; bands: 90 % of the draws. Below: reconstruction minus "
        "data. Chosen by rule, not by model: "
        f"the test objects at the {ranks} percentile of the error that the training "
        "mean makes on them, the same for every model."
    )


def has_noiseless(found: list[Example]) -> bool:
    """Whether the survey knows the truth of any example."""
    return any(np.isfinite(e.data["noiseless"]).all() for e in found)
