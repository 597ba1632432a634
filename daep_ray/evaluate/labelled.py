"""One packed sequence per object with its class, held in memory: what a classifier learns from.

In: shards, a fitted recipe, one modality and a split. Out: `Labelled`, which can be cut, repeated
and joined, so that generated objects stand beside real ones. Small surveys: everything is packed
once, without augmentation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from daep_ray.errors import DataError
from daep_ray.evaluate.askable import labelled_rows
from daep_ray.objectives.mmvae import picked
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.batch import PackedBatch, PackedSequence
from daep_ray.stream.bins import Blocks
from daep_ray.stream.fitted import FittedRecipe

MOST_OBJECTS = 200_000  # with a class, of a split, by stable hash: bounds memory and time
TOKEN_BUDGET = 8192


@dataclass(frozen=True)
class Labelled:
    """S objects, each with one sequence of `modality` and a class."""

    modality: str
    sample_ids: tuple[str, ...]
    classes: np.ndarray  # (S,) str
    sequence: PackedSequence

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def batch(self) -> PackedBatch:
        return PackedBatch(self.sample_ids, {self.modality: self.sequence})

    def take(self, which: np.ndarray) -> "Labelled":
        """These objects in this order, repeated or left out: (P,) indices or (S,) bool."""
        rows = np.flatnonzero(which) if which.dtype == bool else which
        return Labelled(
            self.modality,
            tuple(self.sample_ids[i] for i in rows),
            self.classes[rows],
            picked(self.sequence, torch.from_numpy(rows)),
        )

    def parts(self, size: int) -> Iterable["Labelled"]:
        """All objects, at most `size` at a time."""
        for start in range(0, len(self), size):
            yield self.take(np.arange(start, min(start + size, len(self))))

    def named(self, sample_ids: Iterable[str]) -> "Labelled":
        """The same objects under other names, which key their noise."""
        return replace(self, sample_ids=tuple(sample_ids))

    def with_values(self, values: Tensor) -> "Labelled":
        """The same places with other values (N,), of which no error is known."""
        return replace(self, sequence=replace(self.sequence, value=values, error=None))


def joined(parts: Sequence[Labelled]) -> Labelled:
    """All objects of all parts, one part after the other; errors are kept where all have them."""
    sequences = [part.sequence for part in parts]
    ends = torch.cat([s.lengths.long() for s in sequences]).cumsum(0)
    sequence = PackedSequence(
        value=_joined([s.value for s in sequences]),
        error=_joined([s.error for s in sequences]),
        position=torch.cat([s.position for s in sequences]),
        category=torch.cat([s.category for s in sequences]),
        metadata=torch.cat([s.metadata for s in sequences]),
        metadata_is_known=torch.cat([s.metadata_is_known for s in sequences]),
        metadata_category=torch.cat([s.metadata_category for s in sequences]),
        offsets=torch.cat([ends.new_zeros(1), ends]).to(torch.int32),
        max_length=max(s.max_length for s in sequences),
    )
    ids = tuple(name for part in parts for name in part.sample_ids)
    classes = np.concatenate([part.classes for part in parts])
    return Labelled(parts[0].modality, ids, classes, sequence)


def _joined(columns: Sequence[Tensor | None]) -> Tensor | None:
    known = [column for column in columns if column is not None]
    return torch.cat(known) if len(known) == len(columns) else None


def labelled(
    shards: ShardFolder,
    fitted: FittedRecipe,
    modality: str,
    split: str,
    label: str = "class",
    num_objects: int = MOST_OBJECTS,
) -> Labelled:
    """The split's objects that have the label and a sequence; the first sample of each, by id.

    Raises:
        DataError: the survey has no such label, the split no object with it, or no such modality.
    """
    if shards.manifest.labels.get(label) != "string":
        known = ", ".join(n for n, kind in shards.manifest.labels.items() if kind == "string")
        raise DataError(
            f"{str(shards.path)!r} has no classes {label!r}: its labels in words are "
            f"{known or 'none'}"
        )
    rows = labelled_rows(shards, fitted, (modality,), [split], [label], num_objects)[label, split]
    if not len(rows):
        raise DataError(f"no {split} object of {str(shards.path)!r} has {modality} and a {label}")
    parts: list[Labelled] = []
    objects: list[str] = []
    blocks = Blocks.of(shards, fitted, (modality,), split, TOKEN_BUDGET).only(rows)
    for batch, table in (pair for number in range(len(blocks)) for pair in blocks.batches(number)):
        classes = np.array(table[f"label.{label}"].to_pylist(), dtype=str)
        parts.append(Labelled(modality, batch.sample_ids, classes, batch.sequences[modality]))
        objects += table["object_id"].to_pylist()
    found = joined(parts)
    # sorted by sample id, so that the choice hangs on neither packing nor what else is in the data
    order = np.argsort(found.sample_ids)
    _, first = np.unique(np.array(objects, dtype=str)[order], return_index=True)
    return found.take(order[first])
