"""A table file -> its objects, whole, a batch of rows at a time.

In: a file and its mapping. Out: `Group`s: Arrow tables that begin and end between two objects.

Rows that stand together by object are streamed: memory is that of a batch and the longest object.
A first pass over the id's column tells whether they do. If not, the file is sorted in memory up to
`MAX_SORTED_ROWS` rows; above, it is `Malformed` and says what to do.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daep_ray.surveys.source import LargeFile, RawFile
from daep_ray.surveys.table_columns import texts
from daep_ray.surveys.table_files import Layout, Malformed, OnShortRow, read_batches
from daep_ray.surveys.table_mapping import Mapping

MAX_SORTED_ROWS = 5_000_000  # about 300 MB of text columns


@dataclass(frozen=True)
class Group:
    """Whole objects: object k has the id `names[k]` and the rows `starts[k]` to `starts[k + 1]`."""

    table: pa.Table
    names: list[str]  # "" for rows without an id
    starts: np.ndarray  # (num_objects + 1,)


def layout_of(mapping: Mapping) -> Layout:
    """How the mapping's measurements are written."""
    return Layout(mapping.layout, mapping.delimiter, mapping.header)


def read_groups(
    file: RawFile | LargeFile, mapping: Mapping, stem: str, on_short_row: OnShortRow
) -> Iterator[Group]:
    """The file's objects; `stem` is the object's name where each file is one object.

    Raises:
        Malformed: no such table, or too many rows that are not together by object.
    """
    layout, columns = layout_of(mapping), mapping.row_columns()
    if not mapping.object:
        tables = list(read_batches(file, layout, columns, on_short_row))
        if tables:
            table = pa.concat_tables(tables)
            yield Group(table, [stem], np.array([0, table.num_rows]))
        return
    batches = read_batches(file, layout, columns, on_short_row)
    if not _is_grouped(file, mapping):
        batches = iter([_sorted(batches, mapping)])
    for table in _between_objects(batches, mapping):
        ids, starts = _runs(table, mapping)
        yield Group(table, ids.take(pa.array(starts[:-1])).to_pylist(), starts)


def _runs(table: pa.Table, mapping: Mapping) -> tuple[pa.Array, np.ndarray]:
    """Every row's id, and where another one begins, the number of rows at the end."""
    ids = pc.fill_null(texts(table[mapping.object]), "")
    is_new = np.asarray(pc.not_equal(ids[1:], ids[:-1]))
    return ids, np.concatenate([[0], np.flatnonzero(is_new) + 1, [len(ids)]])


def _between_objects(batches: Iterable[pa.Table], mapping: Mapping) -> Iterator[pa.Table]:
    """The same rows, cut where an object ends."""
    rest: pa.Table | None = None
    for batch in batches:
        table = batch if rest is None else pa.concat_tables([rest, batch])
        if table.num_rows == 0:
            continue
        last = int(_runs(table, mapping)[1][-2])  # the last object may go on in the next batch
        if last:
            yield table.slice(0, last)
        rest = table.slice(last)
    if rest is not None and rest.num_rows:
        yield rest


def _is_grouped(file: RawFile | LargeFile, mapping: Mapping) -> bool:
    """Whether every id's rows stand together."""
    seen: set[int] = set()
    previous = ""
    columns = (mapping.object,)
    for table in read_batches(file, layout_of(mapping), columns, lambda first, why: None):
        if table.num_rows == 0:
            continue
        ids, starts = _runs(table, mapping)
        for name in ids.take(pa.array(starts[:-1])).to_pylist():
            if name != previous and hash(name) in seen:
                return False
            seen.add(hash(name))
            previous = name
    return True


def _sorted(batches: Iterable[pa.Table], mapping: Mapping) -> pa.Table:
    """All rows in the order of their ids; rows of one id stay in the file's order."""
    tables, num_rows = [], 0
    for table in batches:
        tables.append(table)
        num_rows += table.num_rows
        if num_rows > MAX_SORTED_ROWS:
            raise Malformed(
                f"the rows of one object do not stand together and there are more than "
                f"{MAX_SORTED_ROWS:,}: sort the table by {mapping.object!r}"
            )
    table = pa.concat_tables(tables)
    return table.take(pc.sort_indices(texts(table[mapping.object])))
