"""The reference `gp`: each measurement of a light curve predicted from the object's other ones.

In: batches of a survey with a modality that has a time. Out: for every measurement what a Gaussian
process (`gaussian_process.py`) through the other measurements of its sequence says, and how sure it
is. It is no code of a few floats: it reads every other point. So it answers another question than
PCA does: how well can a point be told by whoever kept the whole light curve? A model that is given
the point itself may be better; one that is far behind loses more than its bottleneck explains.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from daep_ray.errors import DataError
from daep_ray.evaluate.gaussian_process import (
    Kernel,
    Points,
    fit,
    from_the_others,
    stretches,
)
from daep_ray.evaluate.intervals import SPREAD
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.batch import PackedBatch, PackedSequence
from daep_ray.stream.bins import evaluation_batches
from daep_ray.stream.fitted import FittedRecipe

MOST_SAMPLES = 128  # of the training split, by stable hash, that the kernel is fitted on
LONGEST_FITTED = 64  # measurements of each: the middle stretch of a longer one


@dataclass(frozen=True)
class OtherPoints:
    """A Gaussian process for each modality that has a time."""

    kernels: Mapping[str, Kernel]

    def predict(self, batch: PackedBatch) -> dict[str, dict[str, np.ndarray]]:
        """`reference` (1, N) and `spread_of_reference` (1, N), its standard deviation."""
        found = {}
        for m, kernel in self.kernels.items():
            told = [from_the_others(kernel, points) for points in _sequences(batch.sequences[m])]
            mean, sd = (np.concatenate([np.zeros(0), *parts]) for parts in _apart(told))
            found[m] = {"reference": mean[None], SPREAD: sd[None]}
        return found

    def hidden(self, batch: PackedBatch) -> dict[str, np.ndarray]:
        """Every measurement is hidden from its own prediction: judged by all."""
        return {}

    def codes(self, batch: PackedBatch) -> np.ndarray:
        """(B, 0): there is no code."""
        return np.zeros((batch.num_samples, 0))


def fit_other_points(
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: tuple[str, ...],
    token_budget: int,
) -> OtherPoints:
    """The kernels of the modalities with a time, from the training split.

    Raises:
        DataError: none of them has a time.
    """
    timed = [m for m in modalities if fitted.modalities[m].is_timed]
    if not timed:
        raise DataError(
            f"none of the modalities {', '.join(modalities)} has a position in time: the Gaussian "
            "process is a reference for light curves, leave it out"
        )
    return OtherPoints({m: _kernel(m, folder, fitted, token_budget) for m in timed})


def _kernel(modality: str, folder: ShardFolder, fitted: FittedRecipe, token_budget: int) -> Kernel:
    batches = evaluation_batches(
        folder, fitted, (modality,), "train", token_budget, max_samples=MOST_SAMPLES
    )
    sequences = []
    for batch, _ in batches:
        for points in _sequences(batch.sequences[modality]):
            parts = stretches(points, LONGEST_FITTED)
            sequences.append(points.take(parts[len(parts) // 2]))
    sequences = [points for points in sequences if len(points.value)]
    categories = fitted.modalities[modality].categories
    return fit(sequences, len(categories[0].vocabulary) if categories else 1)


def _sequences(packed: PackedSequence) -> Iterator[Points]:
    """One after another, empty ones too."""
    assert packed.value is not None
    value = packed.value.double().numpy()
    error = np.zeros(len(value)) if packed.error is None else packed.error.double().numpy()
    variance = np.where(np.isfinite(error), error, 0.0) ** 2
    position, category = packed.position.double().numpy(), packed.category.numpy()
    offsets = packed.offsets.tolist()
    for low, high in pairwise(offsets):
        part = slice(low, high)
        yield Points(position[part], category[part], value[part], variance[part])


def _apart(
    pairs: list[tuple[np.ndarray, np.ndarray]],
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [one for one, _ in pairs], [other for _, other in pairs]
