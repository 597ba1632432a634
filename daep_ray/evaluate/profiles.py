"""Where a model fails: the residual's median and 16-84 % against position, per category.

What is told from everything is in the table `profiles`; what is told from one modality alone, and
both near a phase, are in `calibration` (`residual_16`, `residual_50`, `residual_84`).

Residuals are counted in a fixed histogram per bin of position, so memory does not grow with the
number of measurements and the order of batches does not matter. Its cells are fine near 0 (0.0001)
and about 1 % of the residual's size beyond, and quantiles interpolate within a cell.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import FlatSequence
from daep_ray.stream.position_chain import Log

NUM_BINS = 24
RESIDUALS = {"residual_16": "low", "residual_50": "median", "residual_84": "high"}  # metrics
FEWEST = 20  # measurements in a bin, below which quantiles say nothing
_HALF = 1000
# odd number of cells, so that a residual of exactly 0 lies in the middle of one
EDGES = np.sinh(np.linspace(-1, 1, 2 * _HALF) * np.arcsinh(20 / 0.01)) * 0.01  # z units, +-20


class Profile:
    """Residuals of one modality against its first position axis."""

    def __init__(self, edges: np.ndarray, num_categories: int) -> None:
        """`edges` (E+1,) of position, increasing, z units; what lies beyond counts in the outer."""
        self.edges = edges
        num_cells = len(EDGES) + 1
        self.counts = np.zeros((max(num_categories, 1), len(edges) - 1, num_cells), np.int64)
        self.first, self.last = edges[0], edges[-1]

    def add(
        self, flat: FlatSequence, residual: np.ndarray, chosen: np.ndarray | None = None
    ) -> None:
        """Count (N,) residuals in z units, of the `chosen` (N,) bool measurements."""
        position = flat.position[:, 0]
        category = flat.category[:, 0] if flat.category.shape[1] else np.zeros(len(position), int)
        if chosen is not None:
            position, category, residual = position[chosen], category[chosen], residual[chosen]
        if not len(residual):
            return
        self.first, self.last = min(self.first, position.min()), max(self.last, position.max())
        bins = bin_of(self.edges, position)
        np.add.at(self.counts, (category, bins, np.searchsorted(EDGES, residual)), 1)

    def arrays(self) -> dict[str, np.ndarray]:
        """All that was counted."""
        return {name: np.asarray(getattr(self, name)) for name in ("counts", "first", "last")}

    def join(self, other: Mapping[str, np.ndarray]) -> None:
        """Add the `arrays` of other measurements in the same bins."""
        self.counts += other["counts"]
        self.first = min(self.first, other["first"][()])
        self.last = max(self.last, other["last"][()])

    def rows(self, fitted: FittedRecipe, modality: str) -> Iterable[dict[str, Any]]:
        """Rows of the table `profiles`; bins with fewer than FEWEST measurements are left out."""
        declared = fitted.modalities[modality].categories
        edges = np.concatenate([[self.first], self.edges[1:-1], [self.last]])
        shown = shown_position(fitted, modality, edges)
        for code, place in np.argwhere(self.counts.sum(2) >= FEWEST).tolist():
            low, median, high = quantiles(self.counts[code, place], (0.16, 0.5, 0.84))
            yield {
                "modality": modality,
                "category": declared[0].vocabulary[code] if declared else None,
                "position_low": shown[place],
                "position_high": shown[place + 1],
                "median": median,
                "low": low,
                "high": high,
                "count": int(self.counts[code, place].sum()),
            }

    def calibration_rows(self, fitted: FittedRecipe, modality: str) -> Iterable[dict[str, Any]]:
        """The same as rows of the table `calibration`, the category named by the axis."""
        for row in self.rows(fitted, modality):
            within = "" if row["category"] is None else f" in {row['category']}"
            for metric, column in RESIDUALS.items():
                yield {
                    "metric": metric,
                    "axis": f"position{within}",
                    "low": row["position_low"],
                    "high": row["position_high"],
                    "value": row[column],
                    "count": row["count"],
                }


def edges_of(position: np.ndarray) -> np.ndarray:
    """Bin edges at quantiles of (n,) positions, so that every bin holds about as many."""
    if not len(position):
        return np.array([0.0, 1.0])
    edges = np.unique(np.quantile(position, np.linspace(0, 1, NUM_BINS + 1)))
    return edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1.0])


def bin_of(edges: np.ndarray, position: np.ndarray) -> np.ndarray:
    """(N,) the bin of each position; what lies beyond `edges` (E+1,) is in the outermost."""
    return np.clip(np.searchsorted(edges, position, "right") - 1, 0, len(edges) - 2)


def quantiles(counts: np.ndarray, levels: tuple[float, ...]) -> list[float]:
    """Quantiles of a histogram over EDGES, linear within a cell; beyond the ends, the end."""
    below = np.concatenate([[0], np.cumsum(counts)])
    bounds = np.concatenate([[EDGES[0]], EDGES, [EDGES[-1]]])
    found = []
    for level in levels:
        wanted = level * below[-1]
        cell = min(int(np.searchsorted(below, wanted, "left")), len(counts)) - 1
        cell = max(cell, 0)
        inside = (wanted - below[cell]) / max(counts[cell], 1)
        found.append(float(bounds[cell] + inside * (bounds[cell + 1] - bounds[cell])))
    return found


def shown_position(fitted: FittedRecipe, modality: str, position: np.ndarray) -> np.ndarray:
    """Standardised first positions as a reader knows them: Angstrom, days from the reference.

    Undone are the z-score and a final logarithm, not what depends on the sample (reference,
    redshift).
    """
    name = fitted.modalities[modality].positions[0].name
    scale = fitted.statistics[modality].positions[0]
    shown = np.asarray(position, dtype=np.float64) * scale.sd + scale.mean
    for step in reversed(fitted.recipe.modalities[modality].positions.get(name, ())):
        if not isinstance(step, Log):
            break
        shown = np.exp(shown)
    return shown
