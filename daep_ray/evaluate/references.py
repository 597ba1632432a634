"""What every user asks a model to beat: PCA with the same number of floats, and the training mean.

Sequences are ragged, so both live on a resampled grid (`grid.py`: bins of position x category, all
modalities side by side). They are fitted on the training split through the models' recipe without
augmentation: a sample's value in a bin is the mean of the measurements around its centre, weighted
as in linear interpolation, bins without any are missing, and PCA is fitted with missing values
(`ppca.py`).

A sample's code is what reconstructs its measurements best: least squares through the grid's linear
interpolation, with a ridge of a tenth of the noise variance (it decides only where a sample covers
too few bins). Its error is taken at the same measurements as the models'.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from daep_ray.evaluate import ppca
from daep_ray.evaluate.grid import Grid
from daep_ray.evaluate.reconstruction import FROM
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.batch import PackedBatch, PackedSequence
from daep_ray.stream.bins import evaluation_batches
from daep_ray.stream.fitted import FittedRecipe

RIDGE = 0.1  # of the noise variance; 0.01 and 0.3 change errors by 0 to 3 %
LEAST_WEIGHT = 0.1  # of a bin's measurements: less is too far from its centre
MOST_SAMPLES = 8192  # of the training split, by stable hash: bounds memory
SAMPLES_FOR_GRID = 1024  # of them, to place the bins


@dataclass(frozen=True)
class Reference:
    """A linear model on the modalities' grids side by side."""

    modalities: tuple[str, ...]
    grids: dict[str, Grid]
    model: ppca.LinearModel

    def codes(self, batch: PackedBatch) -> np.ndarray:
        """(B, q) least-squares codes."""
        designs = {m: self._design(m, batch.sequences[m]) for m in self.modalities}
        return np.stack([self._solve(i, batch, designs) for i in range(batch.num_samples)])

    def predict(self, batch: PackedBatch) -> dict[str, dict[str, np.ndarray]]:
        """The reconstruction at the batch's measurements, `{modality: {"reference": (1, N)}}`.

        With several modalities `from_<modality>` too: by the code of that one alone.
        """
        codes = self.codes(batch)
        found = {m: {"reference": self._values(m, batch, codes)} for m in self.modalities}
        for source in self.modalities if len(self.modalities) > 1 else ():
            alone = self.codes(batch.only(source))
            for m in self.modalities:
                if m != source:
                    found[m][FROM + source] = self._values(m, batch, alone)
        return found

    def hidden(self, batch: PackedBatch) -> dict[str, np.ndarray]:
        """Nothing is shown: judged by all measurements."""
        return {}

    def _values(self, modality: str, batch: PackedBatch, codes: np.ndarray) -> np.ndarray:
        """(1, N) the model with these codes (B, q) at the batch's measurements."""
        sequence = batch.sequences[modality]
        mean, basis = self._design(modality, sequence)
        return (mean + np.einsum("nq,nq->n", basis, codes[sequence.sample_index.numpy()]))[None]

    def _design(self, modality: str, sequence: PackedSequence) -> tuple[np.ndarray, np.ndarray]:
        """The model at the sequence's measurements: mean (N,), directions (N, q)."""
        index, weight = self.grids[modality].weights(*places(sequence))
        index = index + self._start(modality)
        mean = np.einsum("nj,nj->n", self.model.mean[index], weight)
        return mean, np.einsum("njq,nj->nq", self.model.directions[index], weight)

    def _start(self, modality: str) -> int:
        before = self.modalities[: self.modalities.index(modality)]
        return sum(self.grids[m].num_bins for m in before)

    def _solve(
        self,
        i: int,
        batch: PackedBatch,
        designs: dict[str, tuple[np.ndarray, np.ndarray]],
    ) -> np.ndarray:
        """(q,) the code of sample i from all its measurements."""
        q = self.model.directions.shape[1]
        gram, target = RIDGE * self.model.variance * np.eye(q), np.zeros(q)
        for m, (mean, basis) in designs.items():
            sequence = batch.sequences[m]
            assert sequence.value is not None
            part = slice(int(sequence.offsets[i]), int(sequence.offsets[i + 1]))
            gram = gram + basis[part].T @ basis[part]
            target = target + basis[part].T @ (sequence.value[part].numpy() - mean[part])
        return np.linalg.solve(gram, target)


def fit_reference(
    num_floats: int,
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: tuple[str, ...],
    token_budget: int,
) -> Reference:
    """PCA with `num_floats` floats on the training split; 0 floats: the training mean."""

    def training(most: int) -> Iterator[PackedBatch]:
        for batch, _ in evaluation_batches(
            folder, fitted, modalities, "train", token_budget, max_samples=most
        ):
            yield batch

    grids = _grids(fitted, modalities, training(SAMPLES_FOR_GRID))
    data = np.concatenate([_gridded(batch, grids) for batch in training(MOST_SAMPLES)])
    return Reference(modalities, grids, ppca.fit(data, num_floats))


def places(sequence: PackedSequence) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, P) float64 and categories (N, C) of a packed sequence."""
    return sequence.position.numpy().astype(np.float64), sequence.category.numpy()


def _grids(
    fitted: FittedRecipe, modalities: tuple[str, ...], batches: Iterator[PackedBatch]
) -> dict[str, Grid]:
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {m: [] for m in modalities}
    for batch in batches:
        for m in modalities:
            found[m].append(places(batch.sequences[m]))
    sizes = {m: tuple(len(c.vocabulary) for c in fitted.modalities[m].categories) for m in found}
    return {
        m: Grid.fit(np.concatenate(position), np.concatenate(category), sizes[m])
        for m, parts in found.items()
        for position, category in [zip(*parts, strict=True)]
    }


def _gridded(batch: PackedBatch, grids: dict[str, Grid]) -> np.ndarray:
    """(B, G) the weighted mean of each sample's measurements around each centre, NaN for none."""
    blocks = []
    for m, grid in grids.items():
        sequence = batch.sequences[m]
        assert sequence.value is not None
        index, weight = grid.weights(*places(sequence))
        cell = sequence.sample_index.numpy()[:, None] * grid.num_bins + index
        weighted = weight * sequence.value.double().numpy()[:, None]
        size = batch.num_samples * grid.num_bins
        total = np.bincount(cell.ravel(), weight.ravel(), size)
        sums = np.bincount(cell.ravel(), weighted.ravel(), size)
        is_seen = total > LEAST_WEIGHT
        mean = np.where(is_seen, sums / np.where(is_seen, total, 1.0), np.nan)
        blocks.append(mean.reshape(batch.num_samples, grid.num_bins))
    return np.concatenate(blocks, axis=1)
