"""The code of every sample of a survey, as Parquet: what `daep-ray embed` writes.

In: a trained model and a folder of shards. Out: `codes.parquet`, a row per sample that has the
model's modality: sample id, object id, split, labels, and the code as `length * width` floats, row
by row of the bottleneck (its shape is in the file's metadata). Memory is flat in the survey's size.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from daep_ray.errors import DataError
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.split import SPLITS
from daep_ray.stream.bins import evaluation_batches
from daep_ray.train.checkpoint import Trained

CODES = "codes.parquet"


def embed_folder(trained: Trained, folder: ShardFolder, out: Path) -> tuple[Path, int]:
    """Write `out/codes.parquet`; returns its path and the number of rows.

    Raises:
        DataError: the survey lacks the model's modality, or has no measurement of it.
        OSError: `out` cannot be written.
    """
    modalities = trained.config.modalities
    missing = [m for m in modalities if m not in folder.modalities]
    if missing:
        raise DataError(
            f"{str(folder.path)!r} has no modality {missing[0]!r}, which the model reads: it has "
            f"{', '.join(folder.modalities)}"
        )
    out.mkdir(parents=True, exist_ok=True)
    path, partial = out / CODES, out / f".{CODES}.partial"
    num_rows = 0
    try:
        with pq.ParquetWriter(partial, _schema(trained, folder), compression="zstd") as writer:
            for split in _splits(folder):
                num_rows += _write_split(trained, folder, split, writer)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path, num_rows


def _splits(folder: ShardFolder) -> list[str]:
    counts = folder.manifest.counts
    return [split for split in SPLITS if split in counts and counts[split].num_samples]


@torch.inference_mode()
def _write_split(
    trained: Trained, folder: ShardFolder, split: str, writer: pq.ParquetWriter
) -> int:
    num_rows = 0
    for batch, rows in evaluation_batches(
        folder,
        trained.fitted,
        trained.config.modalities,
        split,
        trained.config.evaluation.token_budget,
    ):
        codes = trained.objective.encode(batch).point.flatten(1).cpu().numpy()
        writer.write_table(_table(rows, codes, writer.schema))
        num_rows += len(codes)
    return num_rows


def _schema(trained: Trained, folder: ShardFolder) -> pa.Schema:
    bottleneck = trained.config.model.bottleneck
    shape = f"{bottleneck.length}x{bottleneck.width}"
    names = [n for n in folder.schema.names if n.startswith("label.")]
    return pa.schema(
        [
            *(pa.field(n, pa.string()) for n in ("sample_id", "object_id", "split")),
            *(folder.schema.field(n) for n in names),
            pa.field("code", pa.list_(pa.float32(), bottleneck.length * bottleneck.width)),
        ],
        metadata={"code_shape": shape},
    )


def _table(rows: pa.Table, codes: np.ndarray, schema: pa.Schema) -> pa.Table:
    flat = pa.array(codes.astype(np.float32).ravel())
    column = pa.FixedSizeListArray.from_arrays(flat, codes.shape[1])
    kept = [rows.column(name) for name in schema.names if name != "code"]
    return pa.table([*kept, column], schema=schema)
