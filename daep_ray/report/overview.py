"""What a survey looks like, in one figure: examples of each class, lengths, coverage.

A folder of shards in, a figure file out, for `daep-ray inspect`. Examples and coverage come from a
few thousand samples at most, so a large survey costs little more than a small one.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator

from daep_ray.errors import ConfigError, storage_error
from daep_ray.report.marks import Label, corner, end_labels
from daep_ray.report.numbers import whole
from daep_ray.report.style import COLOURS, on_paper, paper
from daep_ray.sample import Modality
from daep_ray.shards.flat import Flat, column_types
from daep_ray.shards.read import ShardFolder, read_rows

FORMATS = (".png", ".svg", ".pdf")
NUM_EXAMPLES = 3  # per class
MOST_CLASSES = 4
MOST_CATEGORIES = 6
MOST_SAMPLES = 3000  # for coverage
WIDTH = 7.1  # inches: a paper's page
ROW = 0.72

NO_DATE: dict[str, dict[str, Any]] = {
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
    ".png": {"Software": None},
}


@dataclass(frozen=True)
class Sequence:
    """One sample's measurements, sorted by position; times count from the first."""

    label: str
    position: np.ndarray
    value: np.ndarray
    error: np.ndarray  # NaN where unknown
    category: np.ndarray  # int codes, 0 without categories


def overview_figure(folder: Path, target: Path) -> Path:
    """Draw the survey in `folder` into `target` (.png, .svg or .pdf); returns `target`.

    Raises:
        DataError: no survey there. ConfigError: another format. StorageError: cannot be written.
    """
    target = figure_path(target)
    return save(_draw(ShardFolder.open(folder)), target)


def figure_path(target: Path) -> Path:
    """The file to draw into, refused before any work is done for it.

    Raises:
        ConfigError: not a format that can be drawn.
    """
    target = Path(target)
    if target.suffix not in FORMATS:
        raise ConfigError(
            f"cannot draw {str(target)!r}: end the name of the figure with "
            f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        )
    return target


def save(figure: Figure, target: Path) -> Path:
    """Write the figure, the same bytes every time; returns `target`.

    Raises:
        StorageError: cannot be written.
    """
    with paper():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(target, dpi=200, facecolor="white", metadata=NO_DATE[target.suffix])
        except OSError as error:
            raise storage_error(error, target) from error
    return target


@on_paper
def _draw(folder: ShardFolder) -> Figure:
    lengths = folder.lengths()
    labels = _labels(folder)
    classes = _classes(labels)
    modalities = list(folder.modalities.values())
    rows = max(2, len(classes))
    figure = Figure(figsize=(WIDTH, 0.35 + len(modalities) * (ROW * rows + 0.75)))
    height = figure.get_size_inches()[1]
    grid = figure.add_gridspec(
        len(modalities), 2, width_ratios=[3, 2.1], left=0.075, right=0.945,
        top=1 - 0.55 / height, bottom=0.42 / height, hspace=0.75 / (ROW * rows), wspace=0.2,
    )  # fmt: skip
    figure.text(0.008, 1 - 0.14 / height, _headline(folder), va="center", color=COLOURS["muted"])
    for i, modality in enumerate(modalities):
        own = lengths[f"{modality.name}.length"].to_numpy()
        _draw_examples(figure, grid[i, 0], folder, modality, own, labels, classes)
        _draw_summary(figure, grid[i, 1], folder, modality, own)
    return figure


def _headline(folder: ShardFolder) -> str:
    manifest = folder.manifest
    counts = manifest.counts.values()
    samples, objects = sum(c.num_samples for c in counts), sum(c.num_objects for c in counts)
    source = manifest.source.get("format", "survey")
    return f"{source}: {whole(objects)} objects, {whole(samples)} samples, manifest {manifest.hash}"


def _labels(folder: ShardFolder) -> np.ndarray:
    """(S,) each sample's class, "" where it has none."""
    if "class" not in folder.manifest.labels:
        return np.full(folder.lengths().num_rows, "", dtype=object)
    words = folder.labels()["label.class"].to_pylist()
    return np.array([w or "" for w in words], dtype=object)


def _classes(labels: np.ndarray) -> list[str]:
    """The commonest, at most four."""
    words, counts = np.unique(labels.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [str(words[i]) for i in order][:MOST_CLASSES]


def _some(rows: np.ndarray, number: int) -> np.ndarray:
    """At most `number` of the rows, evenly among them, whatever the survey's size."""
    if len(rows) <= number:
        return rows
    return rows[np.linspace(0, len(rows) - 1, number).astype(int)]


def _draw_examples(
    figure: Figure,
    place: SubplotSpec,
    folder: ShardFolder,
    modality: Modality,
    lengths: np.ndarray,
    labels: np.ndarray,
    classes: list[str],
) -> None:
    """A row per class, three samples each: not the shortest ones, chosen by hash."""
    inner = place.subgridspec(len(classes), NUM_EXAMPLES, hspace=0.38, wspace=0.36)
    typical = np.median(lengths[lengths > 0]) if (lengths > 0).any() else 0
    for i, name in enumerate(classes):
        fit = np.flatnonzero((labels == name) & (lengths >= max(typical / 2, 1)))
        chosen = _by_hash(folder, modality, _some(fit, 60))
        for j, sequence in enumerate(chosen):
            ax = figure.add_subplot(inner[i, j])
            _draw_sequence(ax, sequence, modality)
            if j == 0 and i == 0:
                ax.set_title(f"{modality.name}: {modality.value.name}")
            if i == len(classes) - 1 and j == NUM_EXAMPLES // 2:
                ax.set_xlabel(_position(modality))


def _by_hash(folder: ShardFolder, modality: Modality, rows: np.ndarray) -> list[Sequence]:
    """The first few by a hash of the sample id: neighbours in a file are alike."""
    if not len(rows):
        return []
    columns = ["sample_id", *_columns(folder, modality)]
    table = read_rows(folder, rows, columns)
    ids = table["sample_id"].to_pylist()
    order = np.argsort([hashlib.blake2b(i.encode(), digest_size=8).hexdigest() for i in ids])
    return list(_sequences(table.take(order[:NUM_EXAMPLES]), folder, modality))


def _columns(folder: ShardFolder, modality: Modality) -> list[str]:
    label = ["label.class"] if "class" in folder.manifest.labels else []
    return [*label, *(f"{modality.name}.{name}" for name in column_types(modality))]


def _sequences(table: Any, folder: ShardFolder, modality: Modality) -> Iterator[Sequence]:
    flat = Flat.from_table(table, modality)
    has_label = "label.class" in table.column_names
    labels = table["label.class"].to_pylist() if has_label else [""] * table.num_rows
    position, value = flat.columns[modality.positions[0].name], flat.columns["value"]
    error = flat.columns.get("error", np.full(len(value), np.nan))
    codes = _codes(flat)
    for i, label in enumerate(labels):
        inside = np.arange(flat.offsets[i], flat.offsets[i + 1])
        inside = inside[np.argsort(position[inside], kind="stable")]
        x = position[inside] - (position[inside[0]] if modality.positions[0].is_time else 0)
        yield Sequence(label or "", x, value[inside], error[inside], codes[inside])


def _codes(flat: Flat) -> np.ndarray:
    declared = flat.modality.categories
    return flat.columns[declared[0].name] if declared else np.zeros(len(flat.columns["value"]), int)


def _draw_sequence(ax: Axes, sequence: Sequence, modality: Modality) -> None:
    """Points in the categories' colours; a long one-category sequence as a line."""
    if not modality.categories and len(sequence.value) > 40:
        ax.plot(sequence.position, sequence.value, color=COLOURS["data"], lw=0.5)
    else:
        for code in np.unique(sequence.category):
            own = sequence.category == code
            error = np.where(np.isfinite(sequence.error[own]), sequence.error[own], 0)
            ax.errorbar(
                sequence.position[own], sequence.value[own], error, fmt=category_marker(code), ms=2,
                mew=0, elinewidth=0.4, color=_colour(code, modality),
            )  # fmt: skip
    corner(ax, sequence.label)
    ax.yaxis.set_major_locator(MaxNLocator(2))
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.tick_params(labelsize=6)


def _colour(code: int, modality: Modality) -> Any:
    """By the category's place in the vocabulary, dark to light."""
    if not modality.categories:
        return COLOURS["data"]
    last = max(len(modality.categories[0].vocabulary) - 1, 2)
    return mpl.colormaps["plasma"](0.05 + 0.8 * (max(int(code), 1) - 1) / (last - 1))


def category_marker(code: int) -> str:
    """Never colour alone."""
    return "osD^vP"[int(code) % 6]


def _draw_summary(
    figure: Figure, place: SubplotSpec, folder: ShardFolder, modality: Modality, lengths: np.ndarray
) -> None:
    """Histogram of lengths above, coverage of the position below."""
    inner = place.subgridspec(2, 1, hspace=0.75)
    top, bottom = figure.add_subplot(inner[0]), figure.add_subplot(inner[1])
    present = lengths[lengths > 0]
    shortest, longest = (int(f(present)) if len(present) else 1 for f in (np.min, np.max))
    step = max(1, -(-(longest - shortest) // 40))  # whole numbers: no bin holds more of them
    bins = list(range(shortest, longest + step + 1, step))
    top.hist(present, bins=bins, color=COLOURS["share-b"])
    absent = int((lengths == 0).sum())
    top.set_title("measurements per sample" + (f", {whole(absent)} have none" if absent else ""))
    rows = _some(np.flatnonzero(lengths > 0), MOST_SAMPLES)
    _draw_coverage(bottom, folder, modality, rows)
    bottom.set_xlabel(_position(modality, is_absolute=True))
    for ax in (top, bottom):
        ax.yaxis.set_major_locator(MaxNLocator(3))


def _draw_coverage(ax: Axes, folder: ShardFolder, modality: Modality, rows: np.ndarray) -> None:
    """Measurements against position, by category."""
    parts = [
        Flat.from_table(read_rows(folder, block, _columns(folder, modality)), modality)
        for block in np.array_split(rows, max(1, len(rows) // 500))
        if len(block)
    ]
    name = modality.positions[0].name
    position = np.concatenate([np.empty(0), *(p.columns[name] for p in parts)])
    codes = np.concatenate([np.empty(0, int), *(_codes(p) for p in parts)])
    some = f" ({whole(len(rows))} samples)" if len(rows) == MOST_SAMPLES else ""
    ax.set_title(f"measurements by {name}{some}")
    if not len(position):
        return
    edges = np.linspace(position.min(), position.max(), 49)
    found, counts = np.unique(codes, return_counts=True)
    fullest = sorted(found[np.argsort(-counts, kind="stable")][:MOST_CATEGORIES])
    labels = []
    for code in fullest:
        height, _ = np.histogram(position[codes == code], edges)
        colour = _colour(code, modality)
        ax.stairs(height, edges, color=colour, lw=1.0)
        if modality.categories:
            labels.append(Label(modality.categories[0].vocabulary[code], height[-1], colour))
    ax.set_ylim(0, None)
    end_labels(ax, labels, 7.0)


def _position(modality: Modality, is_absolute: bool = False) -> str:
    axis = modality.positions[0]
    since = "" if is_absolute or not axis.is_time else " since first point"
    unit = {"Angstrom": "Å"}.get(axis.unit, axis.unit)
    return f"{axis.name}{since}" + (f" ({unit})" if unit else "")
