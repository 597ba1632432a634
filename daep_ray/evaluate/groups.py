"""Errors by group of objects: by class, and by signal to noise.

In: errors per sample, and raw rows for the class and the signal to noise of each. Out: rows of the
table `groups`: mean and standard deviation over the objects of a group; an object's samples in it
are averaged first.

The signal to noise of a sample is the median of |value| / error over its raw measurements; of
magnitudes 1.0857 / error, the same to first order. Its bins are fixed, so that studies agree.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from daep_ray.evaluate.calibration import LEVELS
from daep_ray.evaluate.over_objects import OverObjects
from daep_ray.evaluate.reconstruction import CENTRAL, SortedErrors
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import list_lengths, list_values

EDGES = (0.0, 3.0, 10.0, 30.0, 100.0, np.inf)  # of signal to noise; a bin holds its lower edge
FEWEST = 3  # objects in a group, below which it says nothing
MOST_CLASSES = 12  # the largest
POGSON = 2.5 / np.log(10)  # magnitudes per relative error
Group = tuple[str, float | str]  # axis, and the class or the lower edge
CLASS, RATIO = "class", "signal_to_noise"  # axes
BY_GROUP = ("absolute_error", "squared_error", "crps", *(f"coverage_{p}" for p in LEVELS))


def about(
    fitted: FittedRecipe, rows: pa.Table, modality: str, label: str | None
) -> dict[str, np.ndarray]:
    """(B,) class ("" where unknown) and signal to noise (NaN) of raw rows."""
    column, words = f"label.{label}", [""] * rows.num_rows
    if column in rows.column_names:
        words = ["" if word is None else str(word) for word in rows[column].to_pylist()]
    is_magnitude = fitted.modalities[modality].value.unit.startswith("mag")
    ratios = signal_to_noise(rows, modality, is_magnitude)
    return {CLASS: np.array(words, dtype=str), RATIO: ratios}


def by_group(errors: SortedErrors) -> dict[Group, OverObjects]:
    """Over the objects of every class and every bin of signal to noise."""
    found: dict[Group, OverObjects] = {}
    words, ratios = (errors.about.get(axis, np.empty(0)) for axis in (CLASS, RATIO))
    for word in np.unique(words).tolist():
        if word:
            found[CLASS, word] = errors.where(words == word).over_objects()
    for low, high in itertools.pairwise(EDGES) if len(ratios) else ():
        inside = errors.where((ratios >= low) & (ratios < high))
        if len(inside.sample_ids):
            found[RATIO, low] = inside.over_objects()
    return found


def group_rows(found: Mapping[Group, OverObjects]) -> Iterator[dict[str, Any]]:
    """Rows of one modality, without its name and the split, of what `by_group` found."""
    for name in _largest({w: over.num_objects for (a, w), over in found.items() if a == CLASS}):
        yield from _rows(found[CLASS, name], {"axis": CLASS, "name": name})
    for low, high in itertools.pairwise(EDGES):
        if (RATIO, low) in found:
            place = {"axis": RATIO, "low": low, "high": high if high < np.inf else None}
            yield from _rows(found[RATIO, low], place)


def _largest(sizes: Mapping[float | str, int]) -> list[float | str]:
    """The classes of most objects, by name; none where all are of one."""
    kept = sorted((w for w in sizes if sizes[w] >= FEWEST), key=lambda w: (-sizes[w], w))
    return sorted(kept[:MOST_CLASSES]) if len(sizes) > 1 else []


def _rows(over: OverObjects, place: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if over.num_objects < FEWEST:
        return
    for (estimate, metric), moments in over.columns.items():
        if metric in BY_GROUP and estimate in (*CENTRAL, "draws"):
            told = {"value": moments.mean, "sd": moments.sd, "count": moments.count}
            yield {"estimate": estimate, "metric": metric, **place, **told}


def signal_to_noise(rows: pa.Table, modality: str, is_magnitude: bool = False) -> np.ndarray:
    """(B,) medians of raw rows; NaN where nobody knows an error."""
    found = np.full(rows.num_rows, np.nan)
    lengths = list_lengths(rows, f"{modality}.value")
    told = list_lengths(rows, f"{modality}.error")
    values = list_values(rows, f"{modality}.value")
    errors = np.full(int(lengths.sum()), np.nan)
    errors[np.repeat(told > 0, lengths)] = list_values(rows, f"{modality}.error")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (POGSON if is_magnitude else np.abs(values)) / errors
    ratio[~(errors > 0)] = np.nan
    start = 0
    for i, length in enumerate(lengths.tolist()):
        known = ratio[start : start + length]
        known = known[np.isfinite(known)]
        found[i] = np.median(known) if len(known) else np.nan
        start += length
    return found
