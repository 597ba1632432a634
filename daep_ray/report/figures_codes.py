"""What the code knows: a map of the codes by class, and what the probe takes for what.

Tables `codes` and `confusion` in, drawings out; None where a study has none of them.
"""

from collections import Counter
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from daep_ray.report.marks import KEY_ROW, wrapped
from daep_ray.report.numbers import listing, percent, whole
from daep_ray.report.source import Study
from daep_ray.report.style import CLASS_LOOKS, COLOURS, COLUMN, on_paper, paper
from daep_ray.report.svg import Drawing

OTHER = "other"
MOST_CLASSES = 10  # of a confusion that is drawn; a larger one is a table alone
PANEL = 1.62  # inches
FEW = 150  # objects, below which points are drawn larger
SPLITS = {"train": "training"}


@on_paper
def map_figure(
    name: str, study: Study, coded: str, cell: str, title: str, split: str
) -> Drawing | None:
    """A model's codes in a plane, the training objects beside the evaluated ones."""
    rows = study.rows("codes", cell=cell, modality=coded).to_pylist()
    if not rows:
        return None
    looks = _class_looks([r["class"] for r in rows])
    names = [s for s in ("train", split) if any(r["split"] == s for r in rows)]
    entries = list(looks.items())
    num_rows = -(-len(entries) // 4) if len(entries) > 1 else 0
    height = PANEL + 0.42 + KEY_ROW * num_rows
    with paper():
        figure = Figure(figsize=(COLUMN, height))
    where: dict[str, Any] = {"va": "center", "weight": "bold"}
    figure.text(0.06 / COLUMN, 1 - 0.1 / height, title, **where)
    for i, part in enumerate(names):
        left = 0.06 + i * (COLUMN / 2)
        ax = figure.add_axes((left / COLUMN, 0.04 / height, PANEL / COLUMN, PANEL / height))
        own = [r for r in rows if r["split"] == part]
        _scatter(ax, own, looks)
        ax.set_title(f"{SPLITS.get(part, part)} ({whole(len(own))} objects)", fontsize=7.5)
    for i, (word, (colour, marker)) in enumerate(entries if num_rows else []):
        row, column = divmod(i, 4)
        x, y = 0.12 + column * 0.86, height - 0.26 - KEY_ROW * row
        at: dict[str, Any] = {"transform": figure.transFigure, "ls": "", "ms": 3.4, "mew": 0}
        point = Line2D([x / COLUMN], [y / height], marker=marker, color=colour, **at)
        figure.add_artist(point)
        figure.text((x + 0.08) / COLUMN, y / height, word[:14], va="center", fontsize=7.5)
    counts = Counter(r["split"] for r in rows)
    alt = (
        f"t-SNE map of the codes of {title}: "
        + listing([f"{whole(counts[s])} objects of the {s} split" for s in names])
        + (f", in classes {listing([w for w, _ in entries])}." if num_rows else ".")
    )
    return Drawing(name, figure, alt, "")


def _class_looks(classes: list[str | None]) -> dict[str, tuple[str, str]]:
    """Colour and marker of the six largest classes by name, and of all others together."""
    counts = Counter(c for c in classes if c is not None)
    largest = sorted(c for c, _ in sorted(counts.items(), key=lambda e: (-e[1], e[0]))[:6])
    looks = {
        name: (COLOURS[f"class-{letter}"], marker)
        for name, (letter, marker) in zip(largest, CLASS_LOOKS, strict=False)
    }
    if any(c not in looks for c in classes):
        looks[OTHER if looks else "no class"] = (COLOURS["class-g"], "X")
    return looks


def _scatter(ax: Axes, rows: list[dict[str, Any]], looks: dict[str, tuple[str, str]]) -> None:
    rest, size = list(looks)[-1], 3.2 if len(rows) < FEW else 2.2
    for name, (colour, marker) in reversed(looks.items()):
        own = [r for r in rows if (r["class"] if r["class"] in looks else rest) == name]
        x, y = ([r[k] for r in own] for k in ("x", "y"))
        ax.plot(x, y, marker, color=colour, ms=size, mew=0, alpha=0.8)
    ax.set_xlim(-1.06, 1.06)
    ax.set_ylim(-1.06, 1.06)
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ("top", "right", "left", "bottom"):
        ax.spines[side].set_visible(True)
        ax.spines[side].set_color(COLOURS["grid"])


@on_paper
def confusion_figure(name: str, study: Study, coded: str, cell: str, title: str) -> Drawing | None:
    """Rows: the true class; columns: what the probe says; shares of the true class."""
    rows = study.rows("confusion", cell=cell, modality=coded).to_pylist()
    names = sorted({r["truth"] for r in rows})
    if not names or len(names) > MOST_CLASSES:
        return None
    shares = {(r["truth"], r["said"]): r["value"] for r in rows}
    counts = {r["truth"]: r["count"] for r in rows}
    number = len(names)
    left = min(1.2, 0.22 + 0.066 * max(len(n) for n in names))
    side = min(0.42, (COLUMN - left - 0.1) / number)
    top, width = 0.54, side * number
    height = top + width + 0.06
    figure = Figure(figsize=(COLUMN, height))
    ax = figure.add_axes((left / COLUMN, 0.04 / height, width / COLUMN, width / height))
    for i, true in enumerate(names):
        for j, said in enumerate(names):
            share = shares.get((true, said), 0.0)
            ax.fill_between([j, j + 1], i, i + 1, color=COLOURS["vae"], alpha=0.75 * share, lw=0)
            words = f"{100 * share:.0f}"
            ax.text(
                j + 0.5, i + 0.5, words, ha="center", va="center", fontsize=7, color=COLOURS["data"]
            )
    ax.set_xlim(0, number)
    ax.set_ylim(number, 0)
    ax.grid(visible=False)
    ax.set_xticks(np.arange(number) + 0.5, [wrapped(n, 8)[:9] for n in names])
    ax.set_yticks(np.arange(number) + 0.5, [n[:14] for n in names])
    ax.xaxis.tick_top()
    ax.tick_params(length=0, labelsize=7)
    for spine in ax.spines.values():
        spine.set_visible(False)
    at: dict[str, Any] = {"transform": figure.transFigure, "va": "center"}
    figure.text(0.06 / COLUMN, 1 - 0.1 / height, title, weight="bold", **at)
    words = "said by the probe (% of the true class)"
    figure.text(left / COLUMN, 1 - 0.27 / height, words, fontsize=7, color=COLOURS["muted"], **at)
    right = [f"{n} {percent(shares.get((n, n), 0.0))} of {whole(counts[n])}" for n in names]
    alt = f"Confusion of the probe on codes of {title}; told rightly: {listing(right)}."
    return Drawing(name, figure, alt, "")
