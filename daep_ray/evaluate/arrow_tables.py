"""A user's own Arrow table as shard rows: the columns that the model reads, in their types.

In: any table. Out: the same rows, with lists and numbers as in a shard (`shards/schema.py`), or one
sentence. Shards on disk were checked when they were made; a table in a notebook was made by hand.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daep_ray.errors import DataError
from daep_ray.sample import Modality
from daep_ray.shards.flat import Flat, column_types
from daep_ray.shards.schema import arrow_schema


def checked(table: pa.Table, modalities: Mapping[str, Modality], needed: list[str]) -> pa.Table:
    """The rows with the columns `needed` as in a shard; other columns stay as they are.

    Raises:
        DataError: a column that is missing, twice there or of another kind; a sample without an id;
            lists of a sample that differ in length; a code that no word of a category has.
    """
    missing = [n for n in needed if n not in table.column_names]
    if missing:
        raise DataError(f"the table lacks {', '.join(missing)}: read those columns too")
    for name in needed:
        if table.column_names.count(name) > 1:
            raise DataError(f"the table has the column {name!r} twice: leave one out")
    types = arrow_schema(tuple(modalities.values()), {})
    table = table.combine_chunks()
    for place, name in enumerate(table.column_names):
        if name in needed:
            table = table.set_column(place, name, _as(table[name], name, types.field(name).type))
    if table["sample_id"].null_count:
        raise DataError("the table has a row without a sample_id: give each row one")
    for modality in modalities.values():
        _check_lists(table, modality)
    return table


def _as(column: pa.ChunkedArray, name: str, wanted: pa.DataType) -> pa.ChunkedArray:
    try:
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        raise DataError(
            f"the table's column {name!r} holds {column.type}, but this model reads {wanted}: "
            "convert it (words of a category are codes in a table)"
        ) from None


def _check_lists(table: pa.Table, modality: Modality) -> None:
    """All lists of a sample are as long as its values (errors may be null), and codes are known."""
    lengths = _lengths(table, f"{modality.name}.value")
    for entry in ("error", *column_types(modality)):
        name = f"{modality.name}.{entry}"
        if name not in table.column_names or not pa.types.is_list(table[name].type):
            continue
        is_bad = _lengths(table, name) != lengths
        if entry == "error":
            is_bad &= np.asarray(table[name].is_valid())
        for i in np.flatnonzero(is_bad):
            raise DataError(
                f"sample {table['sample_id'][int(i)].as_py()!r} has a {name} of another length "
                f"than {modality.name}.value: make them equal"
            )
    for place, defect in Flat.from_table(table, modality).bad_codes().items():
        raise DataError(f"sample {table['sample_id'][place].as_py()!r} cannot be used: {defect}")


def _lengths(table: pa.Table, name: str) -> np.ndarray:
    """(S,) a null counts none."""
    return np.asarray(pc.fill_null(pc.list_value_length(table[name]), 0))
