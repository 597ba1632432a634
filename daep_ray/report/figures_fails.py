"""For whom it fails and at which scale: errors by class and signal to noise, power of the residual.

Tables `groups` and `calibration` in, drawings out; None where a study has none of them.
"""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from daep_ray.report.chosen import Chosen
from daep_ray.report.marks import (
    KEY_ROW,
    Label,
    canvas,
    end_labels,
    key,
    key_rows,
    label_room,
    wrapped,
)
from daep_ray.report.numbers import listing, percent, significant, whole
from daep_ray.report.source import Cell, Study
from daep_ray.report.style import COLOURS, on_paper
from daep_ray.report.svg import Drawing

CENTRAL = ("mean_of_draws", "reference")
METRIC = "absolute_error"
NORMAL = 1.96


def group_rows(study: Study, modality: str, cell: Cell, axis: str) -> list[dict[str, Any]]:
    """A cell's errors by group, in order."""
    rows = study.rows("groups", cell=cell.cell, modality=modality, axis=axis, metric=METRIC)
    found = [r for r in rows.to_pylist() if r["estimate"] in CENTRAL]
    return sorted(found, key=lambda r: (r["low"] or 0.0, r["name"] or ""))


def group_name(row: dict[str, Any]) -> str:
    """`Ia`, `S/N 3 to 10`, `S/N above 100`."""
    if row["axis"] == "class":
        return str(row["name"])
    low = f"{row['low']:g}"
    return f"S/N above {low}" if row["high"] is None else f"S/N {low} to {row['high']:g}"


@on_paper
def group_figure(name: str, study: Study, modality: str, chosen: Chosen) -> Drawing | None:
    """A row per class and per bin of signal to noise, a dot per model."""
    known = {
        c.cell: [r for axis in ("class", "signal_to_noise") for r in group_rows(*where, axis)]
        for c in chosen.cells
        for where in [(study, modality, c)]
    }
    known = {cell: rows for cell, rows in known.items() if rows}
    counts: dict[str, int] = {}
    for rows in known.values():
        counts |= {group_name(r): r["count"] for r in rows}
    if not counts:
        return None
    looks = {cell: chosen.looks[cell] for cell in known}
    entries = key_rows([(chosen.names[c], look.colour, "") for c, look in looks.items()])
    head = 0.2 + KEY_ROW * len(entries)
    words = [f"{group} ({whole(count)})" for group, count in counts.items()]
    height = 0.5 + head + 0.22 * len(words)
    figure, (ax,) = canvas(height, left=label_room(words, 8.0, 0.6, 22), right=0.14, top=head)
    key(figure, entries, height - 0.13)
    places = {group: i for i, group in enumerate(counts)}
    highest = 0.0
    for rank, (cell, rows) in enumerate(known.items()):
        style, aside = looks[cell], 0.14 * (rank - (len(known) - 1) / 2)
        for row in rows:
            place = places[group_name(row)] + aside
            half = NORMAL * (row["sd"] or 0.0) / row["count"] ** 0.5
            value = row["value"]
            ends = [max(value - half, 0.0), value + half]
            ax.plot(ends, [place] * 2, color=style.colour, lw=0.8, alpha=0.6)
            thick = 0.9 if style.marker == "x" else 0
            ax.plot(value, place, style.marker, color=style.colour, ms=3.6, mew=thick)
            highest = max(highest, value + half)
    ax.set_yticks(range(len(words)), [wrapped(w, 22) for w in words])
    ax.set_ylim(len(words) - 0.4, -0.6)
    ax.set_xlim(0, 1.04 * highest)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel("reconstruction error (z units)")
    caption = "Mean absolute error by group of test objects (how many); bars: 95 % over objects."
    if any(r["axis"] == "signal_to_noise" for rows in known.values() for r in rows):
        caption += " S/N: an object's median |value| / error."
    return Drawing(
        name, figure, f"Error by group: {'; '.join(group_words(known, chosen))}.", caption
    )


def group_words(known: dict[str, list[dict[str, Any]]], chosen: Chosen) -> list[str]:
    """Per trained model where it is best and worst."""
    said = []
    for cell in chosen.trained:
        rows = known.get(cell.cell, [])
        for axis, word in (("class", "class"), ("signal_to_noise", "bin")):
            own = [r for r in rows if r["axis"] == axis]
            if len(own) == 1:
                name = chosen.names[cell.cell]
                said.append(f"{name} {significant(own[0]['value'])} for {group_name(own[0])}")
            if len(own) < 2:
                continue
            low, high = (f(own, key=lambda r: r["value"]) for f in (min, max))
            said.append(
                f"{chosen.names[cell.cell]}'s easiest {word} is {group_name(low)} "
                f"({significant(low['value'])}), its hardest {group_name(high)} "
                f"({significant(high['value'])})"
            )
    return said


@on_paper
def scale_figure(name: str, study: Study, modality: str, chosen: Chosen) -> Drawing | None:
    """Power of the residual over that of the data, by scale: 1 is a curve without the detail."""
    known = {c.cell: _scales(study, modality, c) for c in chosen.cells}
    known = {cell: rows for cell, rows in known.items() if len(rows) > 1}
    if not known:
        return None
    figure, (ax,) = canvas(2.6, right=label_room([chosen.names[c] for c in known]))
    ax.axhline(1, color=COLOURS["muted"], lw=0.8, ls=(0, (4, 2)))
    labels, said = [], []
    for cell, rows in known.items():
        style = chosen.looks[cell]
        scales, ratios = [r["low"] for r in rows], [r["value"] for r in rows]
        ax.plot(scales, ratios, color=style.colour, ls=style.trace, marker=style.marker, ms=3.6)
        labels.append(Label(chosen.names[cell], ratios[-1], style.colour))
        said.append(
            f"{chosen.names[cell]} {percent(ratios[0])} at {scales[0]:g} and {percent(ratios[-1])} "
            f"at {scales[-1]:g} measurements"
        )
    _scale_axis(ax, sorted({r["low"] for rows in known.values() for r in rows}))
    ax.set_ylim(0, None)
    end_labels(ax, labels)
    ax.set_title("power of the residual / power of the data")
    caption = (
        "Haar detail of test objects at each scale, in measurements. 0: the detail "
        "is right; 1 (dashed): none of it is there; noise in the data counts as detail."
    )
    return Drawing(name, figure, f"Residual power by scale: {listing(said)}.", caption)


def _scales(study: Study, modality: str, cell: Cell) -> list[dict[str, Any]]:
    where = {"cell": cell.cell, "modality": modality, "axis": "scale", "metric": "residual_power"}
    found = [r for r in study.rows("calibration", **where).to_pylist() if r["estimate"] in CENTRAL]
    return sorted(found, key=lambda r: r["low"])


def _scale_axis(ax: Axes, scales: list[float]) -> None:
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator(scales))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    ax.set_xlabel("scale (measurements)")
