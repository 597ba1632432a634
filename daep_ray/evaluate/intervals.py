"""Intervals that are not made of draws: what they cover and how wide they are.

In: for each measurement the ends of central intervals, from a normal distribution (a Gaussian
process) or symmetric about a point (`conformal.py`). Out: numbers per measurement, and their means
per bin of position. Such an interval has no finite number of draws behind it, so calibrated ones
cover just what they promise: that is the `target`.

Sums are whole numbers, so the order of batches does not matter; memory holds the bins alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from daep_ray.evaluate.calibration import LEVELS, QUANTUM, whole
from daep_ray.evaluate.profiles import FEWEST, bin_of, shown_position
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import FlatSequence

SPREAD = "spread_of_reference"  # (1, N) the standard deviation of the estimate `reference`
# names of estimates in tables: the normal distribution; `conformal_from_<modality>` too
PREDICTIVE, CONFORMAL = "predictive", "conformal"

ByPoint = dict[str, np.ndarray]  # (N,) by metric; the mean of each is the metric


def normal(mean: np.ndarray, sd: np.ndarray, truth: np.ndarray) -> ByPoint:
    """Of a normal distribution at each measurement, (N,) each.

    CRPS: sd (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), z = (truth - mean) / sd (T. Gneiting and
    A. E. Raftery 2007, doi:10.1198/016214506000001437, eq. 21).
    """
    off = (truth - mean) / sd
    halves = {level: ndtri(0.5 + level / 200) * sd for level in LEVELS}
    density = np.exp(-0.5 * off**2) / np.sqrt(2 * np.pi)
    crps = sd * (off * (2 * ndtr(off) - 1) + 2 * density - 1 / np.sqrt(np.pi))
    return symmetric(mean, halves, truth) | {"crps": crps}


def symmetric(
    centre: np.ndarray, halves: Mapping[int, np.ndarray | float], truth: np.ndarray
) -> ByPoint:
    """Of intervals centre +- half, half (N,) or one number, by level in per cent."""
    found: ByPoint = {}
    for level, half in halves.items():
        found[f"coverage_{level}"] = (np.abs(truth - centre) <= half).astype(np.float64)
        found[f"width_{level}"] = np.broadcast_to(2.0 * np.asarray(half), truth.shape)
    return found


def is_of_intervals(estimate: str) -> bool:
    """Whether the coverage of this estimate is that of such intervals, not of draws."""
    return estimate == PREDICTIVE or estimate.startswith(CONFORMAL)


class IntervalSums:
    """Sums over measurements per bin of the first position axis, of one modality and estimate."""

    def __init__(self, edges: np.ndarray) -> None:
        """`edges` (E+1,) of position, increasing, z units; what lies beyond counts in the outer."""
        self.edges = edges
        self.counts = np.zeros(len(edges) - 1, np.int64)
        self.sums: dict[str, np.ndarray] = {}  # (E,) of QUANTUM, by metric
        self.first, self.last = edges[0], edges[-1]

    def add(self, flat: FlatSequence, by_point: ByPoint, chosen: np.ndarray | None = None) -> None:
        """Count the measurements, the `chosen` (N,) bool ones alone."""
        some = np.ones(len(flat.value), bool) if chosen is None else chosen
        position = flat.position[some, 0]
        if not len(position):
            return
        self.first, self.last = min(self.first, position.min()), max(self.last, position.max())
        bins = bin_of(self.edges, position)
        np.add.at(self.counts, bins, 1)
        for metric, values in by_point.items():
            sums = self.sums.setdefault(metric, np.zeros_like(self.counts))
            np.add.at(sums, bins, whole(values[some]))

    def arrays(self) -> dict[str, np.ndarray]:
        """All that was counted."""
        ends = {"first": np.asarray(self.first), "last": np.asarray(self.last)}
        return {"counts": self.counts, **ends, **{f"of {m}": s for m, s in self.sums.items()}}

    def join(self, other: Mapping[str, np.ndarray]) -> None:
        """Add the `arrays` of other measurements in the same bins."""
        self.counts += other["counts"]
        self.first = min(self.first, other["first"][()])
        self.last = max(self.last, other["last"][()])
        for name, sums in other.items():
            if name.startswith("of "):
                metric = name.removeprefix("of ")
                self.sums[metric] = self.sums.get(metric, np.zeros_like(sums)) + sums

    def position_rows(self, fitted: FittedRecipe, modality: str) -> Iterable[dict[str, Any]]:
        """Rows by bin; those with fewer than FEWEST measurements are left out."""
        edges = np.concatenate([[self.first], self.edges[1:-1], [self.last]])
        shown = shown_position(fitted, modality, edges)
        for place in np.flatnonzero(self.counts >= FEWEST).tolist():
            for metric, sums in self.sums.items():
                yield {
                    "metric": metric,
                    "axis": "position",
                    "low": shown[place],
                    "high": shown[place + 1],
                    "value": float(sums[place] * QUANTUM / self.counts[place]),
                    "target": promised(metric),
                    "count": int(self.counts[place]),
                }

    def summary(self) -> Iterator[dict[str, Any]]:
        """What is promised, for the table `metrics`: rows of metric, value and count."""
        for metric in self.sums:
            if (share := promised(metric)) is not None:
                count = int(self.counts.sum())
                yield {"metric": f"{metric}_target", "value": share, "count": count}


def promised(metric: str) -> float | None:
    """The share that `coverage_<level>` should be, None for another metric."""
    name, _, level = metric.rpartition("_")
    return int(level) / 100 if name == "coverage" else None
