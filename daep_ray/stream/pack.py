"""Raw rows -> PackedBatch: the recipe's flat arrays as tensors. No loop over samples."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from daep_ray.stream.batch import Layout, PackedBatch, PackedSequence
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import FlatSequence


def layouts(fitted: FittedRecipe, modalities: Iterable[str]) -> dict[str, Layout]:
    """What a model must know of each modality."""
    numbers = fitted.layouts()
    return {m: Layout.from_json(numbers[m]) for m in fitted.check(modalities)}


def pack(
    fitted: FittedRecipe,
    table: pa.Table,
    modalities: Iterable[str],
    *,
    seed: int = 0,
    epoch: int | None = None,
) -> PackedBatch:
    """The table's rows, in order. With an `epoch`, augmented for (seed, epoch, sample id)."""
    flats = fitted.apply(table, modalities, seed=seed, epoch=epoch)
    sample_ids = tuple(table.column("sample_id").to_pylist())
    has_objects = "object_id" in table.column_names
    object_ids = tuple(table.column("object_id").to_pylist()) if has_objects else ()
    return from_flats(fitted, sample_ids, flats, object_ids)


def from_flats(
    fitted: FittedRecipe,
    sample_ids: tuple[str, ...],
    flats: dict[str, FlatSequence],
    object_ids: tuple[str, ...] = (),
) -> PackedBatch:
    """A batch of what `FittedRecipe.apply` returned; keep the flats to invert results."""
    sequences = {m: _sequence(fitted, m, flat) for m, flat in flats.items()}
    return PackedBatch(sample_ids, sequences, object_ids)


def _sequence(fitted: FittedRecipe, name: str, flat: FlatSequence) -> PackedSequence:
    continuous = [flat.metadata[n] for n in fitted.continuous_metadata(name)]
    categorical = [flat.metadata[n] for n in fitted.categorical_metadata(name)]
    metadata = _side_by_side(continuous, flat.num_samples, np.float64)
    is_known = np.isfinite(metadata)
    return PackedSequence(
        value=_float32(flat.value),
        error=None if flat.error is None else _float32(flat.error),
        position=_float32(flat.position),
        category=torch.from_numpy(flat.category),
        offsets=torch.from_numpy(flat.offsets.astype(np.int32)),
        max_length=int(flat.lengths.max(initial=0)),
        metadata=_float32(np.where(is_known, metadata, 0.0)),
        metadata_is_known=torch.from_numpy(is_known),
        metadata_category=torch.from_numpy(_side_by_side(categorical, flat.num_samples, np.int64)),
    )


def _float32(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _side_by_side(columns: list[np.ndarray], num: int, dtype: type) -> np.ndarray:
    """(B, number of columns)"""
    return np.stack(columns, axis=1).astype(dtype) if columns else np.zeros((num, 0), dtype)
