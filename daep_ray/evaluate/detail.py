"""High frequencies: how much of the detail at each scale a reconstruction gets right.

In: measurements with their reconstruction, z units. Out: power of the detail per sample and scale,
and ratios over objects. A sequence is taken on its own grid: its measurements in the order of the
first position, each category (band) by itself, scales in measurements.

The detail at scale s is the coefficient of the orthonormal Haar wavelet over 2 s neighbours (D. B.
Percival and A. T. Walden, Wavelet Methods for Time Series Analysis, 2000, chapter 4),

    d = (sum of the first s - sum of the next s) / sqrt(2 s)

over consecutive blocks from the sequence's first measurement; what does not fill a block is left
out. The coefficients of all scales 1, 2, 4, ... and the mean keep the sum of squares, so the power
at a scale, the mean of d^2, is the variance that the scale holds; white noise has its variance at
every scale.

`residual_power` is the power of reconstruction - truth over that of the truth: 0 where the detail
is right, 1 where there is none (a smooth curve), 2 where it is as strong as the truth's but has
nothing to do with it (a draw, where the code says nothing; noise in the data counts as truth).
`power` is the reconstruction's over the truth's: 1 where the detail has the right strength.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from daep_ray.evaluate.over_objects import OverObjects
from daep_ray.evaluate.reconstruction import COPIED, DRAWS_FROM
from daep_ray.stream.flat import FlatSequence, spread

SCALES = (1, 2, 4, 8, 16, 32)  # measurements
FINEST = SCALES[0]
TRUTH = "truth"


def powers(
    flat: FlatSequence, estimates: Mapping[str, np.ndarray]
) -> dict[tuple[str, str], np.ndarray]:
    """(B,) by (estimate, what): the mean power over draws and blocks; 0 without a whole block."""
    order, segment, sample = _grid(flat)
    told = {
        name: np.asarray(values, dtype=np.float64)[:, order]
        for name, values in estimates.items()
        if name != COPIED and not name.startswith(DRAWS_FROM)
    }
    truth, found = flat.value[order], {}
    for scale in SCALES:
        blocks = _whole_blocks(segment, 2 * scale)
        of_block = sample[blocks[:: 2 * scale]]
        count = np.maximum(np.bincount(of_block, minlength=flat.num_samples), 1)
        signals = {(TRUTH, f"power {scale}"): truth[None]}
        for name, values in told.items():
            signals[name, f"power {scale}"] = values
            signals[name, f"residual {scale}"] = values - truth
        for key, values in signals.items():
            squares = _details(values.take(blocks, axis=1), scale).ravel() ** 2
            # summed one after another, so that the packing does not show in the last digit
            sums = np.bincount(np.tile(of_block, len(values)), squares, flat.num_samples)
            found[key] = sums / (count * len(values))
    return found


def _grid(flat: FlatSequence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measurements in order of sample, category and position; their segment and sample, (N,)."""
    sample = spread(np.arange(flat.num_samples), flat.offsets)
    category = flat.category[:, 0] if flat.category.shape[1] else np.zeros(len(sample), np.int64)
    order = np.lexsort((flat.position[:, 0], category, sample))
    is_new = np.diff(sample[order], prepend=-1) != 0
    is_new |= np.diff(category[order], prepend=-1) != 0
    return order, np.cumsum(is_new) - 1, sample[order]


def _whole_blocks(segment: np.ndarray, size: int) -> np.ndarray:
    """Places, in order, of the measurements of blocks of `size` that fit into their segment."""
    lengths = np.bincount(segment) if len(segment) else np.zeros(0, np.int64)
    within = np.arange(len(segment)) - (np.cumsum(lengths) - lengths)[segment]
    return np.flatnonzero(within < (lengths // size * size)[segment])


def _details(values: np.ndarray, scale: int) -> np.ndarray:
    """(K, blocks) Haar coefficients of (K, blocks x 2 scale)."""
    halves = values.reshape(len(values), -1, 2, scale).sum(3)
    return (halves[:, :, 0] - halves[:, :, 1]) / np.sqrt(2 * scale)


def scale_rows(details: OverObjects) -> Iterable[dict[str, Any]]:
    """Rows of the table `calibration` by scale: power of all objects over the truth's."""
    for (estimate, what), power in details.columns.items():
        kind, scale = what.split()
        truth = details.columns[TRUTH, f"power {scale}"]
        if estimate != TRUTH and truth.total > 0:
            yield {
                "estimate": estimate,
                "metric": "residual_power" if kind == "residual" else "power",
                "axis": "scale",
                "low": float(scale),
                "high": float(scale),
                "value": power.total / truth.total,
                "target": None if kind == "residual" else 1.0,
                "count": truth.num_positive,
            }


def finest(rows: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Of such rows those of the finest scale, for the table `metrics`."""
    for row in rows:
        if row["low"] == FINEST:
            metric = f"fine_{row['metric']}"
            yield {**{k: row[k] for k in ("estimate", "value", "count")}, "metric": metric}
