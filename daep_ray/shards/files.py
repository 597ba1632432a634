"""Parquet files while they are written: shards of limited size, and the small tables beside."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from daep_ray.sample import Modality
from daep_ray.shards.manifest import Shard, footer_of
from daep_ray.shards.schema import ID_COLUMNS

QUARANTINE_SCHEMA = pa.schema(dict.fromkeys(("file", "unit", "reason"), pa.string()))
IGNORED_SCHEMA = pa.schema({"file": pa.string()})
_ROWS = 16384  # of the small tables, between two writes


def lengths_schema(modalities: tuple[Modality, ...]) -> pa.Schema:
    """What `lengths.parquet` says of every sample, in the order of the shards' rows."""
    types = dict.fromkeys(ID_COLUMNS, pa.string())
    types |= dict.fromkeys(("shard", "row_group", "row"), pa.int32())
    for modality in modalities:
        types |= {f"{modality.name}.length": pa.int32(), f"{modality.name}.hash": pa.int64()}
    return pa.schema(types)


class Log:
    """A small table written as it grows, `_ROWS` rows at a time."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema = path, schema
        self._rows: list[dict[str, str]] = []
        self._tables: list[pa.Table] = []
        self._num_waiting = 0
        self._writer: pq.ParquetWriter | None = None

    def add(self, row: dict[str, str]) -> None:
        # a file's name may hold bytes that are no UTF-8 (surrogates in Python)
        texts = {k: v.encode("utf-8", "backslashreplace").decode() for k, v in row.items()}
        self._rows.append(texts)
        if len(self._rows) >= _ROWS:
            self._take_rows()

    def extend(self, table: pa.Table) -> None:
        self._tables.append(table)
        self._num_waiting += table.num_rows
        if self._num_waiting >= _ROWS:
            self._write()

    def close(self) -> None:
        """Write what waits and the footer: the file is there even if it has no rows."""
        self._take_rows()
        self._write()
        assert self._writer is not None
        self._writer.close()

    def abandon(self) -> None:
        """Let go of the file, whatever state it is in."""
        if self._writer is not None:
            _abandon(self._writer)

    def _take_rows(self) -> None:
        rows, self._rows = self._rows, []
        self.extend(pa.Table.from_pylist(rows, self.schema))

    def _write(self) -> None:
        tables, self._tables, self._num_waiting = self._tables, [], 0
        if self._writer is None:
            # each column of a writer keeps a compressor: zstd's takes megabytes, snappy's does not
            self._writer = pq.ParquetWriter(
                self.path, self.schema, compression="snappy", use_dictionary=["split", "reason"]
            )
        if any(table.num_rows for table in tables):
            self._writer.write_table(pa.concat_tables(tables).combine_chunks())


class _HashingFile:
    """A file for writing that hashes what passes, so that no shard is read again for it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self.sha256, self.size = hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.size += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    @property
    def closed(self) -> bool:
        return self._file.closed


class ShardFiles:
    """`part-00000.parquet`, `part-00001.parquet`, ...: one row group per table given."""

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        self.folder, self.shard_bytes = folder, shard_bytes
        self.shards: list[Shard] = []
        self._schema: pa.Schema | None = None
        self._rows: list[int] = []  # of each row group of the open shard
        self._raw_bytes = 0
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table, raw_bytes: int) -> tuple[int, int]:
        """Append a row group; its shard and its place in it."""
        is_full = self._writer is not None and self._raw_bytes + raw_bytes > self.shard_bytes
        if is_full or self._schema != table.schema:  # a label that is new widens the schema
            self.close()
            self._open(table.schema)
        assert self._writer is not None
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._rows.append(table.num_rows)
        self._raw_bytes += raw_bytes
        return len(self.shards), len(self._rows) - 1

    def _open(self, schema: pa.Schema) -> None:
        self._schema, self._rows, self._raw_bytes = schema, [], 0
        self._path = self.folder / f"part-{len(self.shards):05d}.parquet"
        self._file = _HashingFile(self._path)
        self._writer = pq.ParquetWriter(self._file, schema, **_encoding(schema))

    def close(self) -> None:
        """Finish the shard that is open, if any."""
        if self._writer is None:
            return
        self._writer.close()
        self._file.close()
        self._writer = None
        footer = footer_of(self._path)
        assert footer is not None, f"{self._path} was written without a footer"
        self.shards.append(
            Shard(
                self._path.name,
                bytes=self._file.size,
                raw_bytes=self._raw_bytes,
                sha256=self._file.sha256.hexdigest(),
                footer=footer,
                row_group_rows=tuple(self._rows),
            )
        )

    def abandon(self) -> None:
        """Let go of the file, whatever state it is in."""
        if self._writer is not None:
            _abandon(self._writer)
            with suppress(OSError):
                self._file.close()


def _abandon(writer: pq.ParquetWriter) -> None:
    # the folder is thrown away, and the error that led here is on its way up
    with suppress(OSError, pa.ArrowException):
        writer.close()
    writer.is_open = False  # its destructor would try again, and complain on standard error


def _encoding(schema: pa.Schema) -> dict[str, Any]:
    """Byte-stream split makes floats a sixth smaller and a fifth faster to read than plain ones."""
    lists = {f.name: f.type.value_type for f in schema if pa.types.is_list(f.type)}
    floats = [f"{n}.list.element" for n, t in lists.items() if pa.types.is_floating(t)]
    codes = [f"{n}.list.element" for n, t in lists.items() if pa.types.is_integer(t)]
    words = [f.name for f in schema if pa.types.is_string(f.type)]
    return {
        "compression": "zstd",
        "use_dictionary": [*codes, *(name for name in words if not name.endswith("_id"))],
        "use_byte_stream_split": floats,
        "write_statistics": words,
        "write_page_checksum": True,
    }
