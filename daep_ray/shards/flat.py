"""One modality of many samples as flat arrays: the vectorised form between samples and Parquet.

Samples go in (`flatten`) or a table of a shard (`Flat.from_table`); Arrow columns and content
hashes come out. Offsets cut the flat arrays into samples; an absent sequence has length 0.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from daep_ray.sample import Axis, Category, Modality, Sample, Sequence

_MISSING_CODE = -1  # in memory only: Parquet has null


def column_types(modality: Modality) -> dict[str, np.dtype]:
    """The columns with one entry per measurement (names without `<modality>.`) and their types.

    Times need float64: float32 is wrong by up to 337 s at MJD 59,000.
    """
    types: dict[str, np.dtype] = {"value": np.dtype(np.float32)}
    if modality.has_error:
        types["error"] = np.dtype(np.float32)
    for axis in (*modality.positions, *modality.extras):
        types[axis.name] = np.dtype(np.float64 if axis.is_time else np.float32)
    for category in modality.categories:
        types[category.name] = np.dtype(np.int16)
    return types


def bytes_per_measurement(modality: Modality) -> int:
    return sum(dtype.itemsize for dtype in column_types(modality).values())


@dataclass(frozen=True)
class Flat:
    """B samples' sequences in one modality, end to end: N measurements.

    `columns` has the names of `column_types`; an unknown error is NaN. A category code outside its
    vocabulary is -1. `metadata` holds float64 (NaN = missing) or int16 codes (-1 = missing).
    """

    modality: Modality
    offsets: np.ndarray  # (B+1,) int64
    columns: Mapping[str, np.ndarray]  # each (N,)
    metadata: Mapping[str, np.ndarray]  # each (B,)

    @property
    def lengths(self) -> np.ndarray:
        """(B,) measurements per sample."""
        return np.diff(self.offsets)

    @classmethod
    def from_table(cls, table: pa.Table, modality: Modality) -> "Flat":
        """From the columns `<modality>.*` of a shard; columns that were not read are left out."""
        columns, offsets = {}, np.zeros(table.num_rows + 1, np.int64)
        for name in column_types(modality):
            if f"{modality.name}.{name}" in table.column_names:
                column = table[f"{modality.name}.{name}"]
                columns[name], offsets = _flat_list(column)
        metadata = {
            m.name: _scalars(table[f"{modality.name}.{m.name}"], m)
            for m in modality.metadata
            if f"{modality.name}.{m.name}" in table.column_names
        }
        return cls(modality, offsets, columns, metadata)

    def to_arrow(self) -> dict[str, pa.Array]:
        """Arrow columns by full name; the lists of an absent sequence are null."""
        name, num_samples = self.modality.name, len(self.offsets) - 1
        offsets = pa.array(self.offsets, pa.int32())
        is_absent = pa.array(self.lengths == 0)
        arrays = {
            f"{name}.{column}": pa.ListArray.from_arrays(offsets, pa.array(flat), mask=is_absent)
            for column, flat in self.columns.items()
        }
        if not self.modality.has_error:
            arrays[f"{name}.error"] = pa.nulls(num_samples, pa.list_(pa.float32()))
        for column, values in self.metadata.items():
            missing = np.isnan(values) if values.dtype.kind == "f" else values == _MISSING_CODE
            arrays[f"{name}.{column}"] = pa.array(values, mask=missing | (self.lengths == 0))
        return arrays

    def is_finite(self) -> np.ndarray:
        """(N,) bool: value and every position are finite, so the measurement can be used."""
        usable = np.isfinite(self.columns["value"])
        for axis in self.modality.positions:
            usable &= np.isfinite(self.columns[axis.name])
        return usable

    def keep(self, is_kept: np.ndarray) -> "Flat":
        """Without the measurements where `is_kept` (N,) is False."""
        if is_kept.all():
            return self
        before = np.concatenate([[0], np.cumsum(is_kept)])
        columns = {name: flat[is_kept] for name, flat in self.columns.items()}
        return replace(self, offsets=before[self.offsets], columns=columns)

    def select(self, is_kept: np.ndarray) -> "Flat":
        """Only the samples where `is_kept` (B,) is True."""
        lengths = self.lengths
        columns = {n: flat[np.repeat(is_kept, lengths)] for n, flat in self.columns.items()}
        metadata = {n: values[is_kept] for n, values in self.metadata.items()}
        offsets = np.concatenate([[0], np.cumsum(lengths[is_kept])])
        return Flat(self.modality, offsets, columns, metadata)

    def bad_codes(self) -> dict[int, str]:
        """In words, by sample: a category code outside its vocabulary."""
        found: dict[int, str] = {}
        for category in self.modality.categories:
            codes, size = self.columns[category.name], len(category.vocabulary)
            places = np.flatnonzero((codes < 0) | (codes >= size))
            for i in np.unique(np.searchsorted(self.offsets, places, side="right") - 1):
                found[int(i)] = (
                    f"{self.modality.name}: {category.name} has a code outside "
                    f"its vocabulary of {size}"
                )
        return found

    def hashes(self) -> np.ndarray:
        """(B,) int64 of each sequence's content (not its extras): equal for a shared sequence.

        An absent sequence has 0.
        """
        extras = {axis.name for axis in self.modality.extras}
        views = [
            (np.ascontiguousarray(flat).data.cast("B"), flat.dtype.itemsize)
            for name, flat in self.columns.items()
            if name not in extras and len(flat)
        ]
        metadata = [values.astype(np.float64) for values in self.metadata.values()]
        digests = np.zeros(len(self.offsets) - 1, np.int64)
        bounds = self.offsets.tolist()
        for i, (start, stop) in enumerate(pairwise(bounds)):
            if start == stop:
                continue
            digest = hashlib.blake2b(digest_size=8)
            for view, size in views:
                digest.update(view[start * size : stop * size])
            for values in metadata:
                digest.update(values[i].tobytes())
            digests[i] = int.from_bytes(digest.digest(), "little", signed=True)
        return digests


def flatten(samples: list[Sample], modality: Modality) -> Flat:
    """The samples' sequences end to end, in their types on disk.

    A non-positive or non-finite error becomes NaN: the error is unknown, the value may be good.
    The samples must have passed `checks.defect_of`.
    """
    sequences = [sample.sequences.get(modality.name) for sample in samples]
    present = [s for s in sequences if s is not None and len(s)]
    offsets = np.zeros(len(samples) + 1, np.int64)
    np.cumsum([0 if s is None else len(s) for s in sequences], out=offsets[1:])

    positions, extras = modality.positions, modality.extras
    columns = {
        "value": _gather((s.value for s in present), np.float32),
        **{a.name: _gather((s.positions[a.name] for s in present), _float(a)) for a in positions},
        **{a.name: _gather((_extra(s, a.name) for s in present), _float(a)) for a in extras},
        **{c.name: _gather_codes(present, c) for c in modality.categories},
    }
    if modality.has_error:
        columns["error"] = _gather_errors(present)
    # the order of `column_types` is part of the content hash
    columns = {name: columns[name] for name in column_types(modality)}
    metadata = {m.name: _gather_metadata(sequences, m) for m in modality.metadata}
    return Flat(modality, offsets, columns, metadata)


def _float(axis: Axis) -> type[np.floating[Any]]:
    return np.float64 if axis.is_time else np.float32


def _gather(parts: Iterable[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):  # too large for float32: inf, dropped later
        found = list(parts)
        if not found:
            return np.empty(0, dtype)
        return np.concatenate(found, dtype=dtype, casting="unsafe")


def _extra(sequence: Sequence, name: str) -> np.ndarray:
    return sequence.extras[name] if name in sequence.extras else _nans(sequence)


def _nans(sequence: Sequence) -> np.ndarray:
    return np.full(len(sequence), np.nan, np.float32)


def _gather_errors(sequences: list[Sequence]) -> np.ndarray:
    error = _gather((_nans(s) if s.error is None else s.error for s in sequences), np.float32)
    return np.where((error > 0) & np.isfinite(error), error, np.float32(np.nan))


def _gather_codes(sequences: list[Sequence], category: Category) -> np.ndarray:
    codes = _gather((s.categories[category.name] for s in sequences), np.int64)
    is_known = (codes >= 0) & (codes < len(category.vocabulary))
    return np.where(is_known, codes, _MISSING_CODE).astype(np.int16)


def _gather_metadata(sequences: list[Sequence | None], entry: Axis | Category) -> np.ndarray:
    found = [None if s is None else s.metadata.get(entry.name) for s in sequences]
    if isinstance(entry, Category):
        codes = [_MISSING_CODE if word is None else entry.code(str(word)) for word in found]
        return np.array(codes, np.int16)
    values = np.array([np.nan if v is None else float(v) for v in found], np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _flat_list(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """A list column's values end to end and its offsets from 0, null lists as length 0."""
    chunks = column.chunks
    # `.values` ignores slicing and null rows, `.flatten()` does not
    flats = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in chunks]
    lengths = [chunk.value_lengths().fill_null(0).to_numpy() for chunk in chunks]
    empty = np.empty(0, column.type.value_type.to_pandas_dtype())
    flat = flats[0] if len(flats) == 1 else np.concatenate([empty, *flats])
    return flat, np.cumsum(np.concatenate([[0], *lengths]), dtype=np.int64)


def _scalars(column: pa.ChunkedArray, entry: Axis | Category) -> np.ndarray:
    missing = _MISSING_CODE if isinstance(entry, Category) else np.nan
    return column.fill_null(pa.scalar(missing, column.type)).to_numpy()
