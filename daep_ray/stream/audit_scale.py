"""Columns of held-out objects on another scale than training: nm for Angstrom, mag for flux.

Of every object one sequence per modality is described by two numbers per column, its median and
its spread (between the quartiles); a scalar column by its value. Held-out and training objects are
compared by the two-sample Kolmogorov-Smirnov distance of these numbers: robust, and blind to any
monotone rescaling of the axis, so nothing need be known about a column.

The splits are drawn by a hash, so on clean data the objects are exchangeable and a distance of D or
more comes by chance with p <= 2 exp(-2 D^2 n m / (n + m)) for n and m objects. The bound is held
against FALSE_ALARMS / number of comparisons: at most one clean ingest in a thousand is accused,
whatever its size. A survey that gives its own splits may draw them from other populations: then a
finding says so. With less than about 6 held-out objects no distance is beyond chance, and nothing
is said. A distance below MIN_DISTANCE is a difference of populations, not of units: it is not told.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from daep_ray.shards.flat import Flat
from daep_ray.shards.manifest import Manifest
from daep_ray.shards.split import hash_of
from daep_ray.stream.audit_finding import Finding

FALSE_ALARMS = 1e-3  # of a whole audit
MIN_DISTANCE = 0.4  # a factor of 10 on fluxes that scatter by a factor of 6 gives 0.5
MOST_OBJECTS = 5000  # per split, chosen by a hash of the id
_HELD_OUT = ("validation", "test")


@dataclass
class _Column:
    """Per split, one number per object and kind."""

    numbers: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # kind -> split

    def add(self, kind: str, split: str, number: float) -> None:
        if math.isfinite(number):
            self.numbers.setdefault(kind, {}).setdefault(split, []).append(number)


@dataclass(frozen=True)
class _Comparison:
    column: str
    kind: str  # median, spread or value
    split: str
    held_out: np.ndarray
    training: np.ndarray
    distance: float
    chance: float

    @classmethod
    def of(
        cls, column: str, kind: str, split: str, held_out: list[float], training: list[float]
    ) -> "_Comparison":
        a, b = np.sort(np.array(held_out)), np.sort(np.array(training))
        distance = ks_distance(a, b)
        return cls(column, kind, split, a, b, distance, chance_of(distance, len(a), len(b)))

    def __str__(self) -> str:
        return (
            f"{self.column} of {self.split} is on another scale than of train: the objects' "
            f"{self.kind}s are about {np.median(self.held_out):.4g} in {self.split} and "
            f"{np.median(self.training):.4g} in train ({len(self.held_out)} and "
            f"{len(self.training)} objects, Kolmogorov-Smirnov distance {self.distance:.2f})"
        )


def ks_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest distance of two sorted samples' cumulative distributions."""
    both = np.concatenate([a, b])
    in_a = np.searchsorted(a, both, side="right") / len(a)
    in_b = np.searchsorted(b, both, side="right") / len(b)
    return float(np.abs(in_a - in_b).max())


def chance_of(distance: float, num_a: int, num_b: int) -> float:
    """A bound on the probability of such a distance between samples of one population."""
    return min(1.0, 2 * math.exp(-2 * distance**2 * num_a * num_b / (num_a + num_b)))


class Scales:
    """The numbers of at most MOST_OBJECTS objects per split."""

    def __init__(self, manifest: Manifest) -> None:
        self._share = {
            split: MOST_OBJECTS / max(counts.num_objects, 1)
            for split, counts in manifest.counts.items()
        }
        self._seen: dict[str, set[str]] = {m.name: set() for m in manifest.modalities}
        self._columns: dict[str, _Column] = {}

    def add(self, object_ids: list[str], splits: list[str], flats: list[Flat]) -> None:
        """Take in the rows of a row group: the first of each chosen object."""
        is_chosen = {
            i: hash_of(f"audit:{i}") / 2**64 < self._share.get(split, 0)
            for i, split in zip(object_ids, splits, strict=True)
        }
        for flat in flats:
            seen = self._seen[flat.modality.name]
            for row in np.flatnonzero(flat.lengths > 0).tolist():
                object_id = object_ids[row]
                if is_chosen[object_id] and object_id not in seen:
                    seen.add(object_id)
                    self._describe(flat, row, splits[row])

    def _describe(self, flat: Flat, row: int, split: str) -> None:
        name, cut = flat.modality.name, slice(flat.offsets[row], flat.offsets[row + 1])
        for column, values in flat.columns.items():
            if values.dtype.kind == "f":
                median, spread = _median_and_spread(values[cut])
                described = self._columns.setdefault(f"{name}.{column}", _Column())
                described.add("median", split, median)
                described.add("spread", split, spread)
        for axis in flat.modality.continuous_metadata:
            described = self._columns.setdefault(f"{name}.{axis.name}", _Column())
            described.add("value", split, float(flat.metadata[axis.name][row]))

    def findings(self) -> Iterator[Finding]:
        """One finding per column and held-out split at most, the more distant kind."""
        comparisons = list(self._comparisons())
        threshold = FALSE_ALARMS / max(len(comparisons), 1)
        found: dict[tuple[str, str], _Comparison] = {}
        for c in comparisons:
            if c.chance <= threshold and c.distance >= MIN_DISTANCE:
                before = found.setdefault((c.column, c.split), c)
                if c.distance > before.distance:
                    found[c.column, c.split] = c
        yield from (Finding("scale", str(c)) for c in found.values())

    def _comparisons(self) -> Iterator[_Comparison]:
        for name, column in self._columns.items():
            for kind, by_split in column.numbers.items():
                for split in _HELD_OUT:
                    if split in by_split and "train" in by_split:
                        yield _Comparison.of(name, kind, split, by_split[split], by_split["train"])


def _median_and_spread(values: np.ndarray) -> tuple[float, float]:
    """Of the finite values; NaN where there is none."""
    values = np.sort(values[np.isfinite(values)])
    num = len(values)
    if not num:
        return math.nan, math.nan
    return float(values[num // 2]), float(values[3 * num // 4]) - float(values[num // 4])
