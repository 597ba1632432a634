"""Probabilistic PCA on vectors with missing values (Tipping & Bishop 1999; Ilin & Raiko 2010).

In: (S, G) float with NaN where nothing was measured. Out: `LinearModel`: mean, principal
directions, noise variance. The fit is EM: the E step gives every sample's posterior over its q
scores from the bins that it covers, the M step solves one regression per bin over the samples that
cover it. Deterministic; vectorised over samples in chunks, so that memory stays flat.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

CHUNK = 256  # samples whose (q, q) posteriors are held together
MOST_ITERATIONS = 100
TOLERANCE = 3e-4  # relative gain of the residual's rms in one iteration at which EM stops
RIDGE = 1e-2  # prior precision of a direction in one bin, in samples: holds bins that few cover


@dataclass(frozen=True)
class LinearModel:
    """x = mean + directions @ scores + noise; directions are orthogonal, the largest first."""

    mean: np.ndarray  # (G,)
    directions: np.ndarray  # (G, q), scaled so that scores have unit variance
    variance: float  # of the noise


def fit(data: np.ndarray, num_floats: int) -> LinearModel:
    """PPCA with `num_floats` directions on `data` (S, G), NaN = missing.

    A bin that no sample covers gets mean 0 (the training mean in standardised units) and
    directions 0. More directions than bins are zeros.
    """
    observed = ~np.isnan(data)
    filled = np.where(observed, data, 0.0)
    mean = filled.sum(0) / np.maximum(observed.sum(0), 1)
    model = _leading(np.where(observed, data - mean, 0.0), mean, num_floats)
    previous = np.inf
    for _ in range(MOST_ITERATIONS if num_floats else 0):
        model, rms = _step(filled, observed, model)
        if previous - rms < TOLERANCE * rms:
            break
        previous = rms
    return _canonical(model)


def _leading(centred: np.ndarray, mean: np.ndarray, num_floats: int) -> LinearModel:
    """Where EM starts: plain PCA with the mean in place of what is missing."""
    values, vectors = np.linalg.eigh(centred.T @ centred / max(len(centred), 1))
    values, vectors = np.maximum(values[::-1], 1e-12), vectors[:, ::-1]
    keep = min(num_floats, len(values))
    variance = max(float(values[keep:].sum()) / len(values), 1e-6)
    directions = np.zeros((len(values), num_floats))
    directions[:, :keep] = vectors[:, :keep] * np.sqrt(values[:keep])
    return LinearModel(mean, directions, variance)


@dataclass(frozen=True)
class _Moments:
    """What one chunk adds to the M step, scores extended by a constant 1 (for the mean)."""

    second: np.ndarray  # (G, (q+1)^2): sum over covering samples of E[s s']
    cross: np.ndarray  # (G, q+1): sum of x E[s]
    residual: float  # sum of squares of x - mean - directions @ E[scores]
    spread: float  # sum of the variance that the scores' posterior leaves


def _step(
    filled: np.ndarray, observed: np.ndarray, model: LinearModel
) -> tuple[LinearModel, float]:
    """One EM iteration; also the rms residual of the model that came in."""
    num_bins, q = model.directions.shape
    second, cross = np.zeros((num_bins, (q + 1) ** 2)), np.zeros((num_bins, q + 1))
    residual = spread = 0.0
    for part in _chunks(filled, observed, model):
        second += part.second
        cross += part.cross
        residual += part.residual
        spread += part.spread
    system = second.reshape(num_bins, q + 1, q + 1) + RIDGE * np.eye(q + 1)
    solved = np.linalg.solve(system, cross[:, :, None])[:, :, 0]
    count = max(int(observed.sum()), 1)
    variance = max((residual + spread) / count, 1e-8)
    return LinearModel(solved[:, q], solved[:, :q], variance), (residual / count) ** 0.5


def _chunks(filled: np.ndarray, observed: np.ndarray, model: LinearModel) -> Iterator[_Moments]:
    """The E step, CHUNK samples at a time."""
    q = model.directions.shape[1]
    outer = _outer(model.directions)  # (G, q^2)
    for start in range(0, len(filled), CHUNK):
        value = filled[start : start + CHUNK]  # (c, G), 0 where missing
        seen = observed[start : start + CHUNK].astype(float)
        centred = (value - model.mean) * seen
        precision = (seen @ outer).reshape(-1, q, q) + model.variance * np.eye(q)
        inverse = np.linalg.inv(precision)
        score = np.einsum("sqr,sr->sq", inverse, centred @ model.directions)
        covariance = model.variance * inverse
        extended = np.concatenate([score, np.ones((len(score), 1))], axis=1)
        moments = extended[:, :, None] * extended[:, None, :]
        moments[:, :q, :q] += covariance
        yield _Moments(
            second=seen.T @ moments.reshape(len(value), -1),
            cross=value.T @ extended,
            residual=float((((centred - score @ model.directions.T) * seen) ** 2).sum()),
            spread=float(((seen @ outer) * covariance.reshape(len(value), -1)).sum()),
        )


def _outer(directions: np.ndarray) -> np.ndarray:
    return (directions[:, :, None] * directions[:, None, :]).reshape(len(directions), -1)


def _canonical(model: LinearModel) -> LinearModel:
    """Rotate to orthogonal directions, the largest first, each one's largest entry positive."""
    left, scale, _ = np.linalg.svd(model.directions, full_matrices=False)
    turned = np.zeros_like(model.directions)
    turned[:, : len(scale)] = left * scale
    largest = turned[np.abs(turned).argmax(0), np.arange(turned.shape[1])]
    return LinearModel(model.mean, turned * np.where(largest < 0, -1.0, 1.0), model.variance)
