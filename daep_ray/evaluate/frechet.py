"""The Frechet distance between two sets of features, and what it is between two real sets.

In: features (S, F) of real objects and of generated ones. Out: squared distances
|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of the Gaussians with their means and covariances
(Dowson & Landau 1982, equation 4; of images: Heusel et al. 2017, section 2).

From few objects the distance is too large, by an amount that goes as 1/S and depends on what is
compared (Binkowski et al. 2018, appendix D; Chong & Forsyth 2020, section 3). So every distance
here is between sets of the same size, and stands beside the null, the distance between two real
sets of that size: a generator without fault has the null's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from daep_ray.errors import DataError

NULL = "real"  # the name of the real objects among what is compared


@dataclass(frozen=True)
class Distance:
    """Of one set of generated features, over the halvings."""

    name: str
    mean: float
    low: float  # 2.5 % of the halvings
    high: float  # 97.5 %
    excess: float  # over the null, halving by halving
    size: int  # objects on each side


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The squared distance between two sets of features (S, F), each with its own S."""
    means = [x.mean(0) for x in (one, other)]
    first, second = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (one, other))
    root = _root(first)
    # C1 C2 and C1^(1/2) C2 C1^(1/2) have the same eigenvalues, and the latter is symmetric
    cross = np.linalg.eigvalsh(root @ second @ root).clip(min=0)
    squared = np.square(means[0] - means[1]).sum()
    return float(squared + np.trace(first) + np.trace(second) - 2 * np.sqrt(cross).sum())


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric root of a covariance; rounding may have made an eigenvalue negative."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def halvings(num_objects: int, num: int, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`num` times two disjoint halves (S // 2,) of S objects, drawn at random."""
    rng, half = np.random.default_rng(seed), num_objects // 2
    for _ in range(num):
        order = rng.permutation(num_objects)
        yield order[:half], order[half : 2 * half]


def check_size(num_objects: int, num_features: int) -> None:
    """Raise DataError where half the objects are too few for a covariance of the features."""
    if num_objects // 2 <= num_features:
        raise DataError(
            f"{num_objects} objects are too few for a Frechet distance in {num_features} features: "
            f"at least {2 * num_features + 2} are needed"
        )


def distances(
    real: np.ndarray, generated: Mapping[str, np.ndarray], num_halvings: int = 50, seed: int = 0
) -> list[Distance]:
    """The null first, then every generated set against real objects.

    Row i of every set is at the places of real object i. The real objects are halved; one half of
    them is compared with the generated objects at the places of the other. So both sets of places
    are real, none is on both sides (which would make a generator closer to the real objects than
    they are to each other), and the null is the same comparison with real objects in the
    generator's place.

    Raises:
        DataError: too few objects for the covariance of so many features.
    """
    num_objects, num_features = real.shape
    check_size(num_objects, num_features)
    sets = {NULL: real, **generated}
    assert all(len(x) == num_objects for x in sets.values())
    found = {name: np.zeros(num_halvings) for name in sets}
    for i, (one, other) in enumerate(halvings(num_objects, num_halvings, seed)):
        for name, features in sets.items():
            pair = [(one, other), (other, one)]
            found[name][i] = np.mean([frechet_distance(features[a], real[b]) for a, b in pair])
    return [_distance(name, d, found[NULL], num_objects // 2) for name, d in found.items()]


def _distance(name: str, values: np.ndarray, null: np.ndarray, size: int) -> Distance:
    low, high = np.quantile(values, [0.025, 0.975])
    excess = float((values - null).mean())
    return Distance(name, float(values.mean()), float(low), float(high), excess, size)
