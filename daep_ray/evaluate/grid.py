"""A modality's resampled grid: what a linear model needs to see ragged sequences as vectors.

In: positions (N, P) and categories (N, C) of measurements, standardised. Out: the bins beside each
and the weights with which their values make a value there. A bin is one centre per position axis
within one combination of categories (one band, one channel). Centres are quantiles of the training
positions, so the resolution is where the data are; between two centres the grid is linear, beyond
the outermost it is constant.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

MOST_BINS = 256  # over all categories, unless that leaves fewer than FEWEST_BINS for one
BINS_WITHOUT_CATEGORIES = 128
FEWEST_BINS = 16


@dataclass(frozen=True)
class Grid:
    """Bin centres per position axis and the vocabularies' sizes."""

    centres: tuple[np.ndarray, ...]  # P arrays, increasing, standardised units
    category_sizes: tuple[int, ...]  # C sizes

    @classmethod
    def fit(cls, position: np.ndarray, category: np.ndarray, sizes: tuple[int, ...]) -> Self:
        """Centres at quantiles of training `position` (N, P); `category` (N, C): what is used."""
        num_used = len(np.unique(category, axis=0)) if category.shape[1] else 1
        num_axes = position.shape[1]
        wanted = MOST_BINS // num_used if category.shape[1] else BINS_WITHOUT_CATEGORIES
        wanted = min(max(wanted, FEWEST_BINS), BINS_WITHOUT_CATEGORIES)
        per_axis = max(2, round(wanted ** (1 / max(num_axes, 1))))
        levels = (np.arange(per_axis) + 0.5) / per_axis
        return cls(
            tuple(np.unique(np.quantile(position[:, p], levels)) for p in range(num_axes)),
            sizes,
        )

    @property
    def num_bins(self) -> int:
        return int(np.prod([len(c) for c in self.centres]) * np.prod(self.category_sizes))

    def weights(self, position: np.ndarray, category: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linear interpolation: bins (N, 2^P) and their weights (N, 2^P), which add up to 1."""
        flat = self._combination(category, len(position))[:, None]
        weight = np.ones((len(position), 1))
        for axis, centres in enumerate(self.centres):
            low, fraction = _between(centres, position[:, axis])
            high = np.minimum(low + 1, len(centres) - 1)
            corner = np.stack([low, high], axis=1)  # (N, 2)
            share = np.stack([1 - fraction, fraction], axis=1)
            size = (len(position), 2 * flat.shape[1])
            flat = (flat[:, :, None] * len(centres) + corner[:, None, :]).reshape(size)
            weight = (weight[:, :, None] * share[:, None, :]).reshape(size)
        return flat, weight

    def _combination(self, category: np.ndarray, num_points: int) -> np.ndarray:
        flat = np.zeros(num_points, dtype=np.int64)
        for axis, size in enumerate(self.category_sizes):
            flat = flat * size + category[:, axis]
        return flat


def _between(centres: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centre below a position and how far it is on the way to the next, in [0, 1]."""
    if len(centres) == 1:
        return np.zeros(len(position), dtype=np.int64), np.zeros(len(position))
    low = np.clip(np.searchsorted(centres, position, side="right") - 1, 0, len(centres) - 2)
    fraction = (position - centres[low]) / (centres[low + 1] - centres[low])
    return low, np.clip(fraction, 0.0, 1.0)
