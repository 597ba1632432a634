"""A job over shards of any size: a part per row group, joined to one Parquet file at the end.

In: a trained model, a folder of shards and what to compute of a table of rows. Out: one file, its
rows in the shards' order, the same bytes whoever computed the parts. A part appears whole or not at
all under `.<file>.parts/`, so a job that was interrupted computes the missing ones when it is
started again; the file itself appears at the end, and the parts go. Memory holds one row group.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from daep_ray.errors import DataError, storage_error
from daep_ray.evaluate.fits import check_fits
from daep_ray.settings import canonical_hash
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import ID_COLUMNS
from daep_ray.train.checkpoint import Trained

Compute = Callable[[Trained, pa.Table], Iterator[pa.Table]]

_GROUP_BYTES = 16 * 2**20  # in memory, of a row group that is written
_MARK = "job.json"


@dataclass(frozen=True)
class Job:
    """`file` is written to `out`; `compute` answers rows; `about` tells jobs apart."""

    file: str
    out: Path
    compute: Compute
    split: str | None = None  # None: all
    about: str = ""

    @property
    def parts(self) -> Path:
        return self.out / f".{self.file}.parts"


@dataclass(frozen=True)
class Done:
    """A finished job."""

    path: Path
    num_rows: int
    num_flagged: int


def run_here(
    trained: Trained,
    folder: ShardFolder,
    job: Job,
    on_part: Callable[[int, int], None] | None = None,
) -> Done:
    """Compute the missing parts in this process and join them.

    Raises:
        DataError: the data do not fit the model, or hold nothing that it reads.
        StorageError: `out` cannot be written.
    """
    missing = start(trained, folder, job)
    groups = list(folder.row_groups())
    for number in missing:
        write_part(trained, folder, job, number)
        if on_part:
            on_part(number, len(groups))
    return join(folder, job)


def start(trained: Trained, folder: ShardFolder, job: Job) -> list[int]:
    """The numbers of the row groups that have no part yet; parts of another job are removed.

    Raises:
        DataError: the data do not fit the model, or have no such split.
        StorageError: `out` cannot be written.
    """
    check_fits(folder, trained.fitted, trained.config.modalities)
    if job.split is not None and job.split not in folder.manifest.counts:
        known = ", ".join(folder.manifest.counts)
        raise DataError(f"{str(folder.path)!r} has no split {job.split!r}: it has {known}")
    identity = {
        "model": model_hash(trained),
        "data": folder.manifest.hash,
        "split": job.split,
        "about": job.about,
    }
    keep_parts_of(job.parts, identity)
    return [i for i, _ in enumerate(folder.row_groups()) if not part_path(job, i).exists()]


def keep_parts_of(parts: Path, identity: dict[str, Any]) -> None:
    """Make the folder of a job's parts; those of a job with another identity are removed.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        if _mark(parts) != identity:
            shutil.rmtree(parts, ignore_errors=True)
            parts.mkdir(parents=True)
            (parts / _MARK).write_text(json.dumps(identity))
        for stale in parts.glob("*.partial"):
            stale.unlink()
    except OSError as error:
        raise storage_error(error, parts.parent) from error


def _mark(parts: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((parts / _MARK).read_text()))
    except (OSError, ValueError):
        return None


def model_hash(trained: Trained) -> str:
    """16 hexadecimal digits of weights, statistics and settings."""
    digest = hashlib.sha256()
    for name, tensor in sorted(trained.objective.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    config = trained.config.model_dump(mode="json")
    return canonical_hash([digest.hexdigest(), trained.fitted.to_json(), config])


def part_path(job: Job, number: int) -> Path:
    return job.parts / f"{number:06d}.parquet"


def write_part(trained: Trained, folder: ShardFolder, job: Job, number: int) -> None:
    """Answer one row group and put its part in place, whole.

    Raises:
        DataError: a damaged shard. StorageError: the part cannot be written.
    """
    shard, group = list(folder.row_groups())[number]
    labels = [f"label.{name}" for name in folder.manifest.labels]
    names = list(
        dict.fromkeys([*ID_COLUMNS, *labels, *trained.fitted.columns(trained.config.modalities)])
    )
    rows = folder.read_row_group(shard, group, names)
    if job.split is not None:
        rows = rows.filter(pc.equal(rows["split"], job.split))
    path = part_path(job, number)
    staged = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        _write(staged, job.compute(trained, rows))
        os.replace(staged, path)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        staged.unlink(missing_ok=True)


def _write(path: Path, tables: Iterator[pa.Table]) -> int:
    """Write the tables one after another; their number of rows. Without a table an empty file."""
    writer, num_rows = None, 0
    for table in _grouped(tables):
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
        num_rows += table.num_rows
    if writer is None:
        path.touch()
    else:
        writer.close()
    return num_rows


def _grouped(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Consecutive tables put together to row groups of a good size."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(t.nbytes for t in waiting) >= _GROUP_BYTES:
            yield pa.concat_tables(waiting, promote_options="default").combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting, promote_options="default").combine_chunks()


def join(folder: ShardFolder, job: Job) -> Done:
    """All parts as one file, in order; the parts are removed.

    Raises:
        DataError: nothing in the data could be answered. StorageError: as above.
    """
    paths = [part_path(job, i) for i, _ in enumerate(folder.row_groups())]
    paths = [path for path in paths if path.stat().st_size]
    # a code per modality is missing from a part in which no row could be read
    schemas = [pq.read_schema(path) for path in paths]
    if not schemas:
        raise DataError(f"no sample of {str(folder.path)!r} is in the split asked for")
    wanted = _with_data(max(schemas, key=len), folder.manifest.hash)
    staged = job.out / f".{job.file}.{os.getpid()}.partial"
    answered, flagged, num_rows = 0, 0, 0
    try:
        with pq.ParquetWriter(staged, wanted, compression="zstd") as writer:
            for table in (t for path in paths for t in _row_groups(path)):
                writer.write_table(_completed(table, wanted))
                is_flagged = pc.not_equal(table["flag"], "")
                flagged += pc.sum(is_flagged).as_py() or 0
                answered += int(_has_answer(table))
                num_rows += table.num_rows
        if not answered:
            why = next(t["flag"][0].as_py() for p in paths for t in _row_groups(p))
            shutil.rmtree(job.parts, ignore_errors=True)
            raise DataError(
                f"no sample of {str(folder.path)!r} has an answer (the first {why}): give data of "
                "the kind that the model was trained on"
            )
        path = job.out / job.file
        os.replace(staged, path)
    except OSError as error:
        raise storage_error(error, job.out / job.file) from error
    finally:
        staged.unlink(missing_ok=True)
    shutil.rmtree(job.parts, ignore_errors=True)
    return Done(path, num_rows, flagged)


def _with_data(schema: pa.Schema, manifest_hash: str) -> pa.Schema:
    """The metadata key `daep_ray` says which data were answered."""
    told = json.loads((schema.metadata or {}).get(b"daep_ray", b"{}"))
    text = json.dumps({**told, "data": manifest_hash}, sort_keys=True)
    return schema.with_metadata({"daep_ray": text})


def _row_groups(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for i in range(file.num_row_groups):
            yield file.read_row_group(i, use_threads=False)


def _completed(table: pa.Table, wanted: pa.Schema) -> pa.Table:
    for field in wanted:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(wanted.names).cast(wanted)


def _has_answer(table: pa.Table) -> bool:
    told = [n for n in table.column_names if n == "code" or n.endswith(".mean")]
    return any(table[n].null_count < table.num_rows for n in told)
