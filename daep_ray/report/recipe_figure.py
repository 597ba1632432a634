"""One object before and after a recipe, for `daep-ray recipes`.

In: a folder of shards and a fitted recipe. Out: a figure file, a row per modality: on the left
what was measured, with what the recipe leaves out in grey; on the right what the model sees.
"""

import hashlib
import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from daep_ray.errors import DataError
from daep_ray.evaluate.profiles import shown_position
from daep_ray.report.marks import Label, end_labels
from daep_ray.report.overview import category_marker, figure_path, save
from daep_ray.report.style import COLOURS, on_paper
from daep_ray.sample import Axis, Modality
from daep_ray.shards.read import ShardFolder, read_rows
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import FlatSequence, read_flat
from daep_ray.stream.peak import FittedPeak
from daep_ray.stream.position_chain import DivideByOnePlus, Reference
from daep_ray.stream.value_chain import Magnitude

WIDTH, ROW, GAP = 7.1, 2.0, 0.9  # inches: a paper's page, a modality, between two
LINE_POINTS = 60  # longer sequences without categories are drawn as a line


def recipe_figure(
    folder: ShardFolder, fitted: FittedRecipe, target: Path, sample: str | None = None
) -> str:
    """Draw `sample`, or a typical one that the recipe keeps, into `target`; returns its id.

    Raises:
        ConfigError: another format. DataError: no such sample, or the recipe keeps none.
        StorageError: cannot be written.
    """
    target = figure_path(target)
    row, sample_id = _chosen(folder, fitted, sample)
    columns = ["sample_id", *fitted.columns(fitted.modalities)]
    table = read_rows(folder, np.array([row]), list(dict.fromkeys(columns)))
    before = {name: read_flat(table, m) for name, m in fitted.modalities.items()}
    after = fitted.apply(table, fitted.modalities)
    save(_draw(fitted, before, after, sample_id), target)
    return sample_id


def _chosen(folder: ShardFolder, fitted: FittedRecipe, sample: str | None) -> tuple[int, str]:
    """The row to draw: the one asked for, else by hash among those of typical length or more."""
    lengths = fitted.lengths(folder)
    ids = lengths.column("sample_id")
    if sample is not None:
        found = np.flatnonzero(np.asarray(ids.to_pylist(), dtype=object) == sample)
        if not len(found):
            raise DataError(
                f"there is no sample {sample!r} in these data: give an id such as "
                f"{ids[0].as_py()!r}"
            )
        return int(found[0]), sample
    kept = np.stack([lengths.column(f"{m}.length").to_numpy() for m in fitted.modalities])
    # one that has as many of the modalities as any has
    num_present = (kept > 0).sum(axis=0)
    rows = np.flatnonzero(num_present == max(num_present.max(initial=0), 1))
    if not len(rows):
        raise DataError("the recipe keeps no measurement of any sample: there is nothing to draw")
    typical = kept[:, rows].sum(axis=0)
    rows = rows[typical >= np.median(typical)][:500]
    names = [ids[int(row)].as_py() for row in rows]
    digests = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names]
    first = min(range(len(rows)), key=digests.__getitem__)
    return int(rows[first]), names[first]


@on_paper
def _draw(
    fitted: FittedRecipe,
    before: dict[str, FlatSequence],
    after: dict[str, FlatSequence],
    sample_id: str,
) -> Figure:
    num = len(fitted.modalities)
    figure = Figure(figsize=(WIDTH, 0.2 + num * ROW + (num - 1) * GAP + 0.75))
    height = figure.get_size_inches()[1]
    longest = max((len(w) for name in after for w in _words_of(fitted, name, after)), default=0)
    grid = figure.add_gridspec(
        num, 2, left=0.085, right=1 - (0.15 + 0.065 * longest) / WIDTH, top=1 - 0.5 / height,
        bottom=0.45 / height, hspace=GAP / ROW, wspace=0.32,
    )  # fmt: skip
    figure.text(0.008, 1 - 0.14 / height, sample_id, va="center", color=COLOURS["muted"])
    for i, (name, modality) in enumerate(fitted.modalities.items()):
        left, right = (figure.add_subplot(grid[i, j]) for j in range(2))
        _draw_before(left, modality, before[name], after[name])
        _draw_after(right, fitted, name, after[name], before[name])
    return figure


def _draw_before(ax: Axes, modality: Modality, raw: FlatSequence, kept: FlatSequence) -> None:
    """What was measured; times from the first measurement."""
    axis = modality.positions[0]
    start = raw.position[:, 0].min(initial=np.inf) if axis.is_time else 0.0
    is_kept = np.zeros(len(raw.value), dtype=bool)
    is_kept[kept.kept] = True
    lost = raw.where(~is_kept)
    ax.plot(
        lost.position[:, 0] - start, lost.value, "x", ms=2.5, mew=0.6, color=COLOURS["mean"],
        zorder=1,
    )  # fmt: skip
    shown = raw.where(is_kept)
    _draw_values(ax, modality, shown.position[:, 0] - start, shown)
    ax.set_title(f"{modality.name} as measured: {len(shown.value):,} of {len(raw.value):,} kept")
    ax.set_ylabel(_words(modality.value))
    frame = f", {axis.frame} frame" if axis.frame and not axis.is_time else ""
    since = " since the first" if axis.is_time else ""
    ax.set_xlabel(_words(axis, since) + frame)
    if modality.value.unit == "mag":
        ax.invert_yaxis()


def _draw_after(
    ax: Axes, fitted: FittedRecipe, name: str, flat: FlatSequence, raw: FlatSequence
) -> None:
    """What the model sees: values in units of the training set's spread."""
    modality, part = fitted.modalities[name], fitted.recipe.modalities[name]
    axis = modality.positions[0]
    position = shown_position(fitted, name, flat.position[:, 0])
    _draw_values(ax, modality, position, flat)
    said = [
        f"{m.name} {raw.metadata[m.name][0]:.4g} {m.unit}".rstrip()
        for m in modality.continuous_metadata
        if m.name in part.metadata
    ]
    ax.set_title(", ".join(["as the model sees it", *said]))
    steps = [s.kind.replace("_", " ") for s in (*part.factors, *part.value)] or ["value"]
    ax.set_ylabel(textwrap.fill(", ".join([*steps, "z-score"]), 34))
    taken = part.positions.get(axis.name, ())
    since = " since the peak" if any(_is_peak(step) for step in taken) else ""
    at_rest = axis.frame == "rest" or any(isinstance(step, DivideByOnePlus) for step in taken)
    frame = "rest" if at_rest else "" if axis.is_time else axis.frame
    ax.set_xlabel(_words(axis, since) + (f", {frame} frame" if frame else ""))
    if modality.value.unit == "mag" or any(isinstance(step, Magnitude) for step in part.value):
        ax.invert_yaxis()
    _name_categories(ax, modality, position, flat)


def _is_peak(step: object) -> bool:
    return isinstance(step, FittedPeak) or (isinstance(step, Reference) and step.at != "first")


def _draw_values(ax: Axes, modality: Modality, position: np.ndarray, flat: FlatSequence) -> None:
    """A line for a long sequence of one kind, else points with errors, a mark per category."""
    order = np.argsort(position, kind="stable")
    if not modality.categories and len(order) > LINE_POINTS:
        ax.plot(position[order], flat.value[order], color=COLOURS["data"], lw=0.6, zorder=2)
    else:
        _draw_points(ax, modality, position, flat)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_locator(MaxNLocator(5))


def _draw_points(ax: Axes, modality: Modality, position: np.ndarray, flat: FlatSequence) -> None:
    codes = flat.category[:, 0] if modality.categories else np.zeros(len(position), dtype=int)
    for rank, code in enumerate(np.unique(codes)):
        own = codes == code
        error = np.zeros(own.sum()) if flat.error is None else np.nan_to_num(flat.error[own])
        ax.errorbar(
            position[own], flat.value[own], error, fmt=category_marker(code), ms=3, mew=0,
            elinewidth=0.5, color=_colour(rank, codes), zorder=2,
        )  # fmt: skip


def _name_categories(
    ax: Axes, modality: Modality, position: np.ndarray, flat: FlatSequence
) -> None:
    """Each category's word at its last point's height."""
    if not modality.categories:
        return
    codes, labels = flat.category[:, 0], []
    for rank, code in enumerate(np.unique(codes)):
        own = codes == code
        last = float(flat.value[own][np.argmax(position[own])])
        labels.append(Label(modality.categories[0].vocabulary[code], last, _colour(rank, codes)))
    end_labels(ax, labels, 7.0)


def _words_of(fitted: FittedRecipe, name: str, flats: dict[str, FlatSequence]) -> list[str]:
    """The words of the first category that the model sees."""
    categories = fitted.modalities[name].categories
    if not categories:
        return []
    return [categories[0].vocabulary[code] for code in np.unique(flats[name].category[:, 0])]


def _colour(rank: int, codes: np.ndarray) -> Any:
    """By the category's place among those that are there, dark to light."""
    last = max(len(np.unique(codes)) - 1, 1)
    return mpl.colormaps["plasma"](0.05 + 0.8 * rank / last)


def _words(axis: Axis, since: str = "") -> str:
    unit = {"Angstrom": "Å"}.get(axis.unit, axis.unit)
    return f"{axis.name}{since}" + (f" ({unit})" if unit else "")
