"""Errors by group of objects: by class, and by signal to noise.

In: errors per sample, and raw rows for the class and the signal to noise of each. Out: rows of the
table `groups`: mean and standard deviation over the objects of a group; an object's samples in it
are averaged first.

The signal to noise of a sample is the median of |value| / error over its raw measurements; of
magnitudes 1.0857 / error, the same to first order. Its bins are fixed, so that studies agree.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from daep_ray.evaluate.calibration import LEVELS
from daep_ray.evaluate.reconstruction import CENTRAL, SortedErrors
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import list_lengths, list_values

EDGES = (0.0, 3.0, 10.0, 30.0, 100.0, np.inf)  # of signal to noise; a bin holds its lower edge
FEWEST = 3  # objects in a group, below which it says nothing
MOST_CLASSES = 12  # the largest
POGSON = 2.5 / np.log(10)  # magnitudes per relative error
BY_GROUP = ("absolute_error", "squared_error", "crps", *(f"coverage_{p}" for p in LEVELS))


class Groups:
    """Class and signal to noise of every sample, growing batch by batch."""

    def __init__(self, fitted: FittedRecipe, modalities: tuple[str, ...], label: str | None):
        self.fitted, self.modalities, self.label = fitted, modalities, label
        self.classes: dict[str, str] = {}
        self.ratios: dict[str, dict[str, float]] = {m: {} for m in modalities}

    def add(self, rows: pa.Table) -> None:
        """A batch's raw rows."""
        ids, column = rows["sample_id"].to_pylist(), f"label.{self.label}"
        if column in rows.column_names:
            words = zip(ids, rows[column].to_pylist(), strict=True)
            self.classes |= {i: str(word) for i, word in words if word is not None}
        for m in self.modalities:
            is_magnitude = self.fitted.modalities[m].value.unit.startswith("mag")
            found = signal_to_noise(rows, m, is_magnitude)
            known = zip(ids, found.tolist(), strict=True)
            self.ratios[m] |= {i: ratio for i, ratio in known if np.isfinite(ratio)}

    def rows(self, modality: str, errors: SortedErrors) -> Iterator[dict[str, Any]]:
        """Rows of one modality, without its name and the split."""
        ids = errors.sample_ids.tolist()
        words = np.array([self.classes.get(i, "") for i in ids], dtype=str)
        for name in _largest(words, errors.object_ids):
            yield from _group(errors, words == name, {"axis": "class", "name": name})
        ratios = np.array([self.ratios[modality].get(i, np.nan) for i in ids])
        for low, high in itertools.pairwise(EDGES):
            place = {"axis": "signal_to_noise", "low": low, "high": high if high < np.inf else None}
            yield from _group(errors, (ratios >= low) & (ratios < high), place)


def _largest(words: np.ndarray, object_ids: np.ndarray) -> list[str]:
    """The classes of most objects, by name; none where all are of one."""
    sizes = {w: len(np.unique(object_ids[words == w])) for w in np.unique(words) if w}
    kept = sorted((w for w in sizes if sizes[w] >= FEWEST), key=lambda w: (-sizes[w], w))
    return sorted(str(w) for w in kept[:MOST_CLASSES]) if len(sizes) > 1 else []


def _group(
    errors: SortedErrors, is_inside: np.ndarray, place: dict[str, Any]
) -> Iterable[dict[str, Any]]:
    inside = errors.where(is_inside)
    objects, means = inside.per_object()
    if len(objects) < FEWEST:
        return
    for (estimate, metric), values in means.items():
        if metric in BY_GROUP and estimate in (*CENTRAL, "draws"):
            sd = float(values.std(ddof=1))
            told = {"value": float(values.mean()), "sd": sd, "count": len(objects)}
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
