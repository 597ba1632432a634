"""Every sample's code as one Parquet file: what `daep-ray embed` writes.

In: a trained model and a folder of shards. Out: `codes.parquet`, a row per sample that has any of
the model's modalities, in the shards' order: `sample_id`, `object_id`, `split`, the labels, and
`code`, list<float32> of length x width floats, row-major; where an objective has a code per
modality, `code.<modality>` too, null where the sample lacks it. The schema's metadata key
`daep_ray` (JSON) says shape, modalities and the data's manifest hash.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from daep_ray.errors import DataError, storage_error
from daep_ray.evaluate.run import check_fits
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import ID_COLUMNS
from daep_ray.stream.pack import pack
from daep_ray.stream.plan import cut_by_tokens
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
    """The rows of each row group that the model can read, with their codes, in file order."""
    modalities = trained.config.modalities
    labels = [f"label.{name}" for name in folder.manifest.labels]
    names = [*ID_COLUMNS, *labels]
    inputs = [n for n in trained.fitted.columns(modalities) if n not in names]
    is_empty = True
    for shard, group in folder.row_groups():
        rows, lengths = _readable(trained, folder.read_row_group(shard, group, [*names, *inputs]))
        if not rows.num_rows:
            continue
        tokens = np.sum(list(lengths.values()), axis=0)
        codes = _codes(trained, rows, tokens)
        table = rows.select(names)
        for name, array in codes.items():
            present = lengths.get(name.removeprefix("code."), tokens) > 0
            table = table.append_column(name, _lists(array, present))
        about = {
            "shape": list(codes["code"].shape[1:]),
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


def _readable(trained: Trained, rows: pa.Table) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """The rows with any measurement after the recipe's selection, and how many by modality."""
    flats = trained.fitted.apply(rows, trained.config.modalities)
    is_readable = np.any([flat.lengths > 0 for flat in flats.values()], axis=0)
    lengths = {m: flat.lengths[is_readable] for m, flat in flats.items()}
    return rows.filter(pa.array(is_readable)), lengths


def _codes(trained: Trained, rows: pa.Table, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """`code` and, where there are several, `code.<modality>`: (B, M, Z) each."""
    device = next(trained.objective.parameters()).device
    found: dict[str, list[np.ndarray]] = {}
    for cut in cut_by_tokens(tokens, trained.config.evaluation.token_budget):
        part = rows.slice(cut.start, cut.stop - cut.start)
        batch = pack(trained.fitted, part, trained.config.modalities)
        code = trained.objective.encode(batch.to(device))
        several = {f"code.{m}": point for m, point in (code.by_modality or {}).items()}
        for name, point in {"code": code.point, **several}.items():
            found.setdefault(name, []).append(point.float().cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _lists(codes: np.ndarray, is_known: np.ndarray) -> pa.Array:
    """(B, M, Z) as list<float32> of M x Z floats, null where not `is_known` (B,)."""
    flat = codes.reshape(len(codes), -1)
    offsets = pa.array(range(0, flat.size + 1, flat.shape[1]), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(flat.ravel()), mask=pa.array(~is_known))
