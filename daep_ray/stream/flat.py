"""FlatSequence: one modality of many samples as flat arrays, samples end to end.

In: a table of shard rows. Out: numpy arrays with offsets, float64 inside; every function here
returns new arrays. Shape letters as in `stream/batch.py`.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daep_ray.sample import Axis, Category, Modality


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """(B,) lengths -> (B+1,) int64 offsets."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def spread(per_sample: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(B, ...) -> (N, ...): each sample's entry repeated for its measurements."""
    return np.repeat(per_sample, np.diff(offsets), axis=0)


def index_within(offsets: np.ndarray) -> np.ndarray:
    """(N,) int64: each measurement's place within its own sample."""
    return np.arange(offsets[-1]) - spread(offsets[:-1], offsets)


def reduce_samples(ufunc: np.ufunc, values: np.ndarray, offsets: np.ndarray, empty: float):
    """(B,) a reduction over each sample's stretch of `values`; `empty` where it has none."""
    reduced = np.full(len(offsets) - 1, empty, dtype=values.dtype)
    filled = np.flatnonzero(np.diff(offsets))
    if len(filled):
        reduced[filled] = ufunc.reduceat(values, offsets[filled])
    return reduced


@dataclass(frozen=True)
class FlatSequence:
    """One modality of B samples with N measurements in all.

    `kept` indexes the table's raw flat values, so that other columns (errors, noiseless truth) can
    be lined up with what the recipe kept. `reference`, `one_plus_redshift` and `log_scale` are
    what the position and value chains took per sample, `factor` what the known factors were: the
    inverse needs them.
    """

    value: np.ndarray  # (N,) float64
    error: np.ndarray | None  # (N,) float64, NaN where one measurement's error is unknown
    position: np.ndarray  # (N, P) float64
    category: np.ndarray  # (N, C) int64
    offsets: np.ndarray  # (B+1,) int64
    kept: np.ndarray  # (N,) int64
    raw_start: np.ndarray  # (B,) int64: where each sample's raw values begin
    metadata: dict[str, np.ndarray]  # declared name -> (B,) float64 (NaN missing) or int64 codes
    reference: np.ndarray  # (B, P) float64
    one_plus_redshift: np.ndarray  # (B, P) float64
    log_scale: np.ndarray  # (B,) float64, decimal logarithm
    factor: np.ndarray | None = None  # (N,) float64 that raw values were multiplied by, None for 1

    @property
    def num_samples(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    @property
    def raw_index(self) -> np.ndarray:
        """(N,) place within the raw sequence: the key of augmentations."""
        return self.kept - spread(self.raw_start, self.offsets)

    def where(self, is_kept: np.ndarray) -> "FlatSequence":
        """The measurements for which `is_kept` (N,) is True."""
        if is_kept.all():
            return self
        return self.take(np.flatnonzero(is_kept), _count(is_kept, self.offsets))

    def take(self, index: np.ndarray, lengths: np.ndarray) -> "FlatSequence":
        """Measurements `index`, sample by sample in order, `lengths` (B,) of them per sample."""
        return replace(
            self,
            value=self.value[index],
            error=None if self.error is None else self.error[index],
            position=self.position[index],
            category=self.category[index],
            kept=self.kept[index],
            factor=None if self.factor is None else self.factor[index],
            offsets=offsets_of(lengths),
        )


def _count(is_kept: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(B,) how many measurements of each sample are kept."""
    return np.diff(np.concatenate([[0], np.cumsum(is_kept)])[offsets])


def read_flat(table: pa.Table, modality: Modality) -> FlatSequence:
    """The raw measurements of one modality; absent samples, and an absent column, have length 0."""
    name = modality.name
    lengths = list_lengths(table, f"{name}.value")
    offsets = offsets_of(lengths)
    num = int(offsets[-1])
    positions = [list_values(table, f"{name}.{axis.name}") for axis in modality.positions]
    categories = [list_values(table, f"{name}.{c.name}") for c in modality.categories]
    for values in (*positions, *categories):
        assert len(values) == num, f"{name}: a column has {len(values)} of {num} measurements"
    return FlatSequence(
        value=list_values(table, f"{name}.value").astype(np.float64),
        error=_read_error(table, modality, lengths),
        position=_columns(positions, num, np.float64),
        category=_columns(categories, num, np.int64),
        offsets=offsets,
        kept=np.arange(num),
        raw_start=offsets[:-1],
        metadata={m.name: _read_metadata(table, name, m) for m in modality.metadata},
        reference=np.zeros((len(lengths), len(positions))),
        one_plus_redshift=np.ones((len(lengths), len(positions))),
        log_scale=np.zeros(len(lengths)),
    )


def _columns(arrays: list[np.ndarray], num: int, dtype: type) -> np.ndarray:
    stacked: np.ndarray = np.empty((num, len(arrays)), dtype=dtype)
    for place, values in enumerate(arrays):
        stacked[:, place] = values
    return stacked


def _read_error(table: pa.Table, modality: Modality, lengths: np.ndarray) -> np.ndarray | None:
    """Errors; NaN for a whole sequence that has none while others of the survey do."""
    if not modality.has_error:
        return None
    column = f"{modality.name}.error"
    values = list_values(table, column).astype(np.float64)
    known = list_lengths(table, column)
    if np.array_equal(known, lengths):
        return values
    error = np.full(int(lengths.sum()), np.nan)
    error[np.repeat(known > 0, lengths)] = values
    return error


def _read_metadata(table: pa.Table, modality: str, entry: Axis | Category) -> np.ndarray:
    """(B,) float64 with NaN for missing, or int64 codes with 0 for missing and unknown words."""
    column = f"{modality}.{entry.name}"
    is_category = isinstance(entry, Category)
    if column not in table.column_names:
        return np.zeros(len(table), np.int64) if is_category else np.full(len(table), np.nan)
    array = table.column(column)
    if not isinstance(entry, Category):
        return pc.fill_null(array.cast(pa.float64()), np.nan).to_numpy()
    if pa.types.is_integer(array.type):
        return pc.fill_null(array, 0).to_numpy().astype(np.int64)
    codes = pc.index_in(array, value_set=pa.array(entry.vocabulary))
    return pc.fill_null(codes, 0).to_numpy().astype(np.int64)


def list_lengths(table: pa.Table, column: str) -> np.ndarray:
    """(B,) int64 lengths of a list column; 0 for null and for a column that is not there."""
    if column not in table.column_names:
        return np.zeros(len(table), dtype=np.int64)
    lengths = pc.fill_null(pc.list_value_length(table.column(column)), 0)
    return lengths.to_numpy().astype(np.int64)


def list_values(table: pa.Table, column: str) -> np.ndarray:
    """(N,) all values of a list column end to end; null inside a list is NaN."""
    if column not in table.column_names:
        return np.zeros(0)
    return pc.list_flatten(table.column(column)).to_numpy()
