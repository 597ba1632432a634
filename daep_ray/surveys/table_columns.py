"""Arrow columns as files hold them -> numpy: numbers, hours, places of words.

In: one column of a batch: bytes or text, or numbers of any kind. Out: arrays of its length, and
which entries are faults (text where a number must stand, bytes that are no UTF-8). Vectorised; only
a column that holds a fault is looked at entry by entry.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daep_ray.surveys.table_mapping import Number

_ABSENT = ("", "na", "n/a", "null", "none", "--", "-")  # not measured, in small letters


@dataclass(frozen=True)
class Entries:
    """A column of N entries; `is_fault` (N,) bool, or None where there is no fault at all."""

    values: np.ndarray  # (N,) float64, NaN where not measured
    is_fault: np.ndarray | None = None


def texts(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The column as text without blanks around; bytes that are no UTF-8 become U+FFFD."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_floating(array.type):
        # 730.0 and 730 are one id: pandas makes floats of integers beside a missing one
        array = _whole_numbers(array)
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        # text of a Parquet file is not checked by its reader, but by the cast from bytes
        array = array.cast(pa.large_binary())
    try:
        text = array.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        text = pa.array([_as_text(entry) for entry in array.to_pylist()], pa.string())
    return pc.utf8_trim_whitespace(text)


def _as_text(entry: object) -> str | None:
    if isinstance(entry, bytes):
        return entry.decode("utf-8", "replace")
    return None if entry is None else str(entry)


def _whole_numbers(array: pa.Array) -> pa.Array:
    try:
        return array.cast(pa.int64())
    except pa.ArrowInvalid:
        return array


def numbers(column: pa.ChunkedArray) -> Entries:
    """The column as float64."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return Entries(_floats(column.cast(pa.float64(), safe=False)))
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return Entries(_floats(column.cast(pa.float64())))
    text = texts(column)
    is_absent = pc.is_in(pc.utf8_lower(text), value_set=pa.array(_ABSENT))
    text = pc.if_else(is_absent, pa.scalar(None, pa.string()), text)
    try:
        return Entries(_floats(text.cast(pa.float64())))
    except pa.ArrowInvalid:
        return _one_by_one(text.to_pylist())


def _floats(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """(N,) float64, null as NaN."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(pc.fill_null(array, np.nan))


def _one_by_one(entries: list[str | None]) -> Entries:
    values = np.full(len(entries), np.nan)
    is_fault = np.zeros(len(entries), bool)
    for i, entry in enumerate(entries):
        if entry is not None:
            try:
                values[i] = float(entry)
                is_fault[i] = "_" in entry  # Python's 1_000
            except ValueError:
                is_fault[i] = True
    return Entries(values, is_fault if is_fault.any() else None)


def hours(column: pa.ChunkedArray) -> Entries:
    """`hh:mm`, hh of any length, as hours."""
    text = texts(column)
    parts = pc.extract_regex(text, r"^(?P<hours>\d+):(?P<minutes>[0-5]\d)$")
    hour, minute = (
        _floats(pc.struct_field(parts, name).cast(pa.float64())) for name in ("hours", "minutes")
    )
    is_fault = np.isnan(hour)
    return Entries(hour + minute / 60, is_fault if is_fault.any() else None)


def measured(entries: Entries, number: Number) -> np.ndarray:
    """(N,) float64 in the mapping's unit, NaN where the entry is no measurement."""
    values = entries.values
    is_valid = np.isfinite(values) & (values >= number.low) & (values <= number.high)
    for sentinel in number.missing:
        is_valid &= values != np.float64(sentinel)
        is_valid &= values != np.float32(sentinel)  # -999.9 in a column of float32
    return np.where(is_valid, values * number.factor + number.offset, np.nan)


def places(column: pa.ChunkedArray, words: tuple[str, ...]) -> np.ndarray:
    """(N,) int64: where in `words` an entry stands, -1 if it does not."""
    place = pc.index_in(texts(column), value_set=pa.array(words, pa.string()))
    return np.asarray(pc.fill_null(place, -1)).astype(np.int64)
