"""Numbers per sample as a table, whatever is measured: parts of a large survey, on disk.

In: errors per sample of every kind. Out: one table of a fixed schema, a row per kind and sample,
and back again, bit by bit. Names of columns are in the schema's metadata, so a new metric or a new
kind changes nothing here.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daep_ray.evaluate.over_objects import Kind
from daep_ray.evaluate.reconstruction import SortedErrors
from daep_ray.stream.keyed import stream_keys, string_keys

SCHEMA = pa.schema(
    {
        "kind": pa.string(),  # JSON of a `Kind`
        "sample_id": pa.string(),
        "object_id": pa.string(),
        "length": pa.int64(),
        "amplitude": pa.float64(),
        "values": pa.list_(pa.float64()),
        "numbers": pa.list_(pa.float64()),  # about the sample
        "words": pa.list_(pa.string()),
    }
)
_KEY = b"daep_ray"


def to_table(samples: Mapping[Kind, SortedErrors]) -> pa.Table:
    """All kinds, one after the other."""
    names, parts = {}, [SCHEMA.empty_table()]
    for kind, errors in samples.items():
        name, num = json.dumps(kind), len(errors.sample_ids)
        is_word = {n: v.dtype.kind == "U" for n, v in errors.about.items()}
        numbers, words = ([n for n in is_word if is_word[n] == want] for want in (False, True))
        names[name] = {"values": list(errors.columns), "numbers": numbers, "words": words}
        columns: dict[str, Any] = {
            "kind": pa.repeat(name, num),
            "sample_id": pa.array(errors.sample_ids, pa.string()),
            "object_id": pa.array(errors.object_ids, pa.string()),
            "length": errors.lengths.astype(np.int64),
            "amplitude": errors.amplitudes.astype(np.float64),
            "values": _lists(list(errors.columns.values()), num, pa.float64()),
            "numbers": _lists([errors.about[n] for n in numbers], num, pa.float64()),
            "words": _lists([errors.about[n] for n in words], num, pa.string()),
        }
        parts.append(pa.table(columns, schema=SCHEMA))
    return pa.concat_tables(parts).replace_schema_metadata({_KEY: json.dumps(names)})


def from_tables(tables: Iterable[pa.Table]) -> dict[Kind, SortedErrors]:
    """The samples of all tables together, sorted by sample id."""
    names: dict[str, dict[str, list[Any]]] = {}
    parts = []
    for table in tables:
        _learn(names, table.schema)
        parts.append(table.replace_schema_metadata(None))
    whole = pa.concat_tables(parts)
    found = {}
    for name in pc.unique(whole["kind"]).to_pylist():
        what, modality, source = json.loads(name)
        rows = whole.filter(pc.equal(whole["kind"], name))
        found[what, modality, source] = _errors(rows.combine_chunks(), names[name])
    return found


def joined_metadata(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The schema of many parts' rows: what any of them says of its kinds."""
    names: dict[str, dict[str, list[Any]]] = {}
    for schema in schemas:
        _learn(names, schema)
    return SCHEMA.with_metadata({_KEY: json.dumps(names)})


def share_of(table: pa.Table, num_shares: int) -> np.ndarray:
    """(rows,) which of `num_shares` shares of the objects a row is in, by a stable hash."""
    keys = stream_keys(string_keys(table["object_id"]), 0, 0, "share")
    return (keys % np.uint64(num_shares)).astype(np.int64)


def _learn(names: dict[str, dict[str, list[Any]]], schema: pa.Schema) -> None:
    """Add what a part says of its kinds."""
    for kind, own in json.loads((schema.metadata or {}).get(_KEY, b"{}")).items():
        assert names.setdefault(kind, own) == own, f"{kind} has other columns in other batches"


def _errors(rows: pa.Table, names: Mapping[str, list[Any]]) -> SortedErrors:
    ids = _strings(rows["sample_id"])
    order = np.argsort(ids, kind="stable")
    values = _matrix(rows["values"], len(ids))[order]
    numbers = _matrix(rows["numbers"], len(ids))[order]
    words = _strings(pc.list_flatten(rows["words"])).reshape(len(ids), -1)[order]
    about = {name: numbers[:, i].copy() for i, name in enumerate(names["numbers"])}
    about |= {name: words[:, i].copy() for i, name in enumerate(names["words"])}
    columns = {(e, m): values[:, i].copy() for i, (e, m) in enumerate(names["values"])}
    return SortedErrors(
        ids[order],
        _strings(rows["object_id"])[order],
        rows["length"].to_numpy()[order],
        rows["amplitude"].to_numpy()[order],
        columns,
        about,
    )


def _strings(column: pa.ChunkedArray) -> np.ndarray:
    return np.array(column.to_pylist(), dtype=str)


def _matrix(column: pa.ChunkedArray, num_rows: int) -> np.ndarray:
    return np.asarray(pc.list_flatten(column).to_numpy()).reshape(num_rows, -1)


def _lists(columns: list[np.ndarray], num_rows: int, kind: pa.DataType) -> pa.Array:
    """(num_rows,) lists of one entry per column."""
    flat = pa.array(np.stack(columns, axis=1).ravel() if columns else [], kind)
    offsets = pa.array(np.arange(num_rows + 1) * len(columns), pa.int32())
    return pa.ListArray.from_arrays(offsets, flat)
