"""Every sample's code as one Parquet file: what `daep-ray embed` writes.

In: a trained model and a folder of shards. Out: `codes.parquet`, a row per sample that has the
model's modalities (a light curve that several samples of an object share has one row): `sample_id`,
`object_id`, `split`, the labels, and `code`, list<float32> of length x width floats, row-major;
where an objective has a code per modality, `code.<modality>` too. The schema's metadata key
`daep_ray` (JSON) says shape, modalities and the data's manifest hash.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from daep_ray.errors import DataError, storage_error
from daep_ray.evaluate.run import check_fits
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import ID_COLUMNS
from daep_ray.shards.split import SPLITS
from daep_ray.stream.bins import evaluation_batches
from daep_ray.train.checkpoint import Trained

FILE = "codes.parquet"


def embed_folder(trained: Trained, folder: ShardFolder, out: Path) -> tuple[Path, int]:
    """Write `out/codes.parquet` and return its path and number of rows; memory stays flat.

    The file appears whole or not at all; an earlier one is replaced.

    Raises:
        DataError: the data do not fit the model, or hold nothing that it reads.
        StorageError: `out` cannot be written.
    """
    check_fits(folder, trained.fitted, trained.config.modalities)
    path = out / FILE
    partial = out / f".{FILE}.{os.getpid()}.partial"
    try:
        out.mkdir(parents=True, exist_ok=True)
        num_rows = _write(partial, _tables(trained, folder))
        os.replace(partial, path)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        partial.unlink(missing_ok=True)
    return path, num_rows


def _write(path: Path, tables: Iterator[pa.Table]) -> int:
    """Write the tables one after another; their number of rows."""
    first = next(tables)
    num_rows = first.num_rows
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
            num_rows += table.num_rows
    return num_rows


@torch.inference_mode()
def _tables(trained: Trained, folder: ShardFolder) -> Iterator[pa.Table]:
    """Rows of each batch, split by split."""
    modalities = trained.config.modalities
    budget = trained.config.evaluation.token_budget
    device = next(trained.objective.parameters()).device
    names = [*ID_COLUMNS, *(f"label.{name}" for name in folder.manifest.labels)]
    is_empty = True
    for split in SPLITS:
        if not _has(folder, trained, split):
            continue
        for batch, rows in evaluation_batches(folder, trained.fitted, modalities, split, budget):
            code = trained.objective.encode(batch.to(device))
            table = rows.select(names).append_column("code", _lists(code.point))
            for name, point in (code.by_modality or {}).items():
                table = table.append_column(f"code.{name}", _lists(point))
            about = {
                "shape": list(code.point.shape[1:]),
                "modalities": list(modalities),
                "data": folder.manifest.hash,
            }
            is_empty = False
            yield table.replace_schema_metadata({"daep_ray": json.dumps(about)})
    if is_empty:
        raise DataError(
            f"no sample of {str(folder.path)!r} has {' or '.join(modalities)} left after the "
            "model's selection: give data of that kind"
        )


def _has(folder: ShardFolder, trained: Trained, split: str) -> bool:
    """Whether the split holds anything that the model reads."""
    lengths = trained.fitted.lengths(folder)
    here = lengths.filter(pc.equal(lengths["split"], split))
    sums = [pc.sum(here[f"{m}.length"]).as_py() for m in trained.config.modalities]
    return any(sums)


def _lists(point: Tensor) -> pa.Array:
    """(B, M, Z) as list<float32> of M x Z floats."""
    flat = point.flatten(1).float().cpu().numpy()
    offsets = pa.array(range(0, flat.size + 1, flat.shape[1]), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(flat.ravel()))
