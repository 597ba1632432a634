"""A folder of shards, read a row group at a time; every shard is known before it is believed.

Opening checks that all files are there and of the right size; reading a shard for the first time
compares its footer with the manifest's. `validate` does the full check.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from daep_ray.errors import DataError
from daep_ray.sample import Modality
from daep_ray.shards.manifest import LENGTHS, Manifest, Shard, footer_of
from daep_ray.shards.schema import ID_COLUMNS, arrow_schema

_MOST_FOOTERS = 256  # remembered at once: a footer is some 100 kB


class ShardFolder:
    """An ingest on disk. Cheap to open, safe to send to another process."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.manifest = path, manifest
        self.modalities: dict[str, Modality] = {m.name: m for m in manifest.modalities}
        self.schema = arrow_schema(manifest.modalities, manifest.labels)
        self._footers: OrderedDict[int, pq.FileMetaData] = OrderedDict()

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a folder that an ingest wrote.

        Raises:
            DataError: no manifest, or a file that is missing, cut or of another ingest.
        """
        folder = cls(Path(path), Manifest.read(Path(path)))
        for shard in folder.manifest.shards:
            if problem := shard_problem(folder.path, shard):
                raise DataError(f"{problem}: {_ADVICE}")
        footer = _footer_or_none(folder.path / LENGTHS)
        if footer != folder.manifest.lengths_footer:
            what = "is not there or cut" if footer is None else "comes from another ingest"
            raise DataError(f"{str(folder.path / LENGTHS)!r} {what}: {_ADVICE}")
        return folder

    def rows_of(self, name: str) -> Iterator[dict[str, str]]:
        """The rows of `quarantine.parquet` or `ignored.parquet`.

        Raises:
            DataError: the file is missing or damaged.
        """
        try:
            with pq.ParquetFile(self.path / name) as file:
                for batch in file.iter_batches():
                    yield from batch.to_pylist()
        except (OSError, pa.ArrowException):
            raise DataError(
                f"{str(self.path / name)!r} is not there or damaged: {_ADVICE}"
            ) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.manifest)

    @property
    def num_bytes(self) -> int:
        """Of all lists in memory."""
        return sum(shard.raw_bytes for shard in self.manifest.shards)

    def lengths(self) -> pa.Table:
        """`lengths.parquet`: a row per sample, in the order of the shards' rows."""
        return pa.concat_tables(self.iter_lengths())

    def iter_lengths(self) -> Iterator[pa.Table]:
        """The same in parts, for a survey whose table is large."""
        with _naming(self.path / LENGTHS), pq.ParquetFile(self.path / LENGTHS) as file:
            for i in range(file.num_row_groups):
                yield file.read_row_group(i, use_threads=False)

    def labels(self) -> pa.Table:
        """`sample_id`, `object_id`, `split` and every `label.*`, in the order of `lengths`."""
        names = [*ID_COLUMNS, *(f"label.{name}" for name in self.manifest.labels)]
        return pa.concat_tables(self.read_row_group(s, g, names) for s, g in self.row_groups())

    def row_groups(self) -> Iterator[tuple[int, int]]:
        """Every (shard, row group), in order."""
        for i, shard in enumerate(self.manifest.shards):
            yield from ((i, g) for g in range(shard.row_groups))

    def read_row_group(
        self, shard: int, row_group: int, columns: list[str] | None = None
    ) -> pa.Table:
        """Some rows of a shard; a label that the shard does not have yet is null.

        Raises:
            DataError: the shard is missing, cut, damaged or of another ingest; it is named.
        """
        path = self.path / self.manifest.shards[shard].file
        footer = self._footer(shard)
        wanted = self.schema.names if columns is None else columns
        there = set(footer.schema.to_arrow_schema().names)
        # a file object per call: ParquetFile is not made for several threads
        with (
            _naming(path),
            pq.ParquetFile(path, metadata=footer, page_checksum_verification=True) as file,
        ):
            inside = [name for name in wanted if name in there]
            table = file.read_row_group(row_group, columns=inside, use_threads=False)
        if len(inside) < len(wanted):
            for name in set(wanted) - there:
                table = table.append_column(name, self._null_label(name, table.num_rows))
        return table.select(wanted)

    def _null_label(self, name: str, num_rows: int) -> pa.Array:
        if name not in self.schema.names:
            known = ", ".join(self.schema.names)
            raise DataError(f"{str(self.path)!r} has no column {name!r}: it has {known}")
        return pa.nulls(num_rows, self.schema.field(name).type)

    def _footer(self, index: int) -> pq.FileMetaData:
        """The metadata of a shard, checked against the manifest when first needed."""
        if index not in self._footers:
            shard = self.manifest.shards[index]
            if problem := shard_problem(self.path, shard, look_inside=True):
                raise DataError(f"{problem}: {_ADVICE}")
            with _naming(self.path / shard.file):
                self._footers[index] = pq.read_metadata(self.path / shard.file)
            while len(self._footers) > _MOST_FOOTERS:
                self._footers.popitem(last=False)
        return self._footers[index]

    @cached_property
    def _row_group_starts(self) -> np.ndarray:
        """(G+1,) global row number at which each row group begins, and the end."""
        counts = [rows for shard in self.manifest.shards for rows in shard.row_group_rows]
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


_ADVICE = "copy the folder again, or ingest again"


def read_rows(folder: ShardFolder, rows: np.ndarray, columns: list[str] | None = None) -> pa.Table:
    """Samples by their global row numbers (places in `lengths`), in the order given.

    Each row group is read once, whatever the order of `rows`.

    Raises:
        DataError: as `ShardFolder.read_row_group`.
    """
    starts = folder._row_group_starts
    groups = list(folder.row_groups())
    rows = np.asarray(rows, np.int64)
    assert not len(rows) or (rows.min() >= 0 and rows.max() < starts[-1]), "no such row"
    order = np.argsort(rows, kind="stable")
    place = np.searchsorted(starts, rows[order], side="right") - 1
    used, first = np.unique(place, return_index=True)
    parts = []
    for group, chosen in zip(used, np.split(order, first[1:]), strict=False):
        shard, row_group = groups[group]
        table = folder.read_row_group(shard, row_group, columns)
        parts.append(table.take(rows[chosen] - starts[group]))
    if not parts:
        return folder.read_row_group(0, 0, columns).slice(0, 0)
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return pa.concat_tables(parts).take(back)


def shard_problem(folder: Path, shard: Shard, look_inside: bool = False) -> str | None:
    """Why a file is not the shard that the manifest means, in words that name it, or None."""
    path = folder / shard.file
    try:
        size = path.stat().st_size
        footer = footer_of(path) if look_inside or size != shard.bytes else shard.footer
    except OSError as error:
        return f"shard {str(path)!r} cannot be read ({error.strerror})"
    if footer is None:
        return f"shard {str(path)!r} is cut or damaged ({size:,} of {shard.bytes:,} bytes)"
    if footer != shard.footer or size != shard.bytes:
        return f"shard {str(path)!r} comes from another ingest than this folder's manifest"
    return None


def _footer_or_none(path: Path) -> str | None:
    return footer_of(path) if path.is_file() else None


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn an error while a Parquet file is read into a DataError that names it."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{str(path)!r} cannot be read ({first}): {_ADVICE}") from error
