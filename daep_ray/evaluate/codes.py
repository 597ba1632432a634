"""Codes of some samples: what the probe reads. See `askable.py` for which samples are asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from daep_ray.errors import ConfigError
from daep_ray.evaluate.askable import Askable
from daep_ray.evaluate.probe import Coded
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.bins import Blocks
from daep_ray.stream.fitted import FittedRecipe

Encode = Callable[[PackedBatch], np.ndarray]  # (B, F)


@dataclass(frozen=True)
class Encoded:
    """Samples with their codes, sorted by sample id."""

    sample_ids: np.ndarray  # (S,) str
    codes: np.ndarray  # (S, F)

    def of_classes(self, asked: Askable) -> Coded:
        """The samples that are asked for a class, sorted by sample id."""
        return Coded(asked.sample_ids, asked.object_ids, asked.labels, self._of(asked))

    def of_numbers(self, asked: Askable) -> tuple[Coded, np.ndarray]:
        """Those that are asked for a number, and the numbers (S,); all of one class."""
        classes = np.full(len(asked.sample_ids), "", dtype=str)
        return Coded(asked.sample_ids, asked.object_ids, classes, self._of(asked)), asked.labels

    def _of(self, asked: Askable) -> np.ndarray:
        """(S, F); all of them have been encoded."""
        place = np.searchsorted(self.sample_ids, asked.sample_ids)
        assert (self.sample_ids[place] == asked.sample_ids).all(), "a sample without a code"
        return self.codes[place]


def encoded_samples(
    encode: Encode,
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: tuple[str, ...],
    rows: Mapping[str, np.ndarray],
    token_budget: int,
) -> Encoded:
    """Codes of some of the splits' samples, by their global rows.

    Raises:
        ConfigError: a sample's code is not finite.
    """
    ids: list[str] = []
    codes: list[np.ndarray] = []
    for split, chosen in rows.items():
        blocks = Blocks.of(folder, fitted, modalities, split, token_budget).only(chosen)
        for batch, _ in (pair for i in range(len(blocks)) for pair in blocks.batches(i)):
            ids += batch.sample_ids
            codes.append(encode(batch))
            if not (is_good := np.isfinite(codes[-1]).all(1)).all():
                lost = batch.sample_ids[int(np.argmin(is_good))]
                raise ConfigError(
                    f"the code of sample {lost!r} is not finite: train with a smaller rate, or "
                    "leave out samples that lie far outside the others"
                )
    order = np.argsort(np.array(ids, dtype=str))
    return Encoded(np.array(ids, dtype=str)[order], np.concatenate(codes)[order])
