"""Every sample's code as one Parquet file: what `daep-ray embed` writes.

In: a trained model and rows of shards. Out: a row per sample, in the shards' order: `sample_id`,
`object_id`, `split`, the labels, and `code`, list<float32> of length x width floats, row-major;
where an objective has a code per modality, `code.<modality>` too, null where the sample lacks it;
`flag`, why there is no code (then null), or what of the sample the training has not seen. The
schema's metadata key `daep_ray` (JSON) says shape and modalities.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from daep_ray.evaluate.answer import Read, flags, read, read_batch
from daep_ray.evaluate.parts import Job, run_here
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import ID_COLUMNS
from daep_ray.train.checkpoint import Trained

FILE = "codes.parquet"


def embed_folder(trained: Trained, folder: ShardFolder, out: Path) -> tuple[Path, int]:
    """Write `out/codes.parquet` and return its path and number of rows; memory stays flat.

    The file appears whole or not at all; an earlier one is replaced.

    Raises:
        DataError: the data do not fit the model, or hold nothing that it reads.
        StorageError: `out` cannot be written.
    """
    done = run_here(trained, folder, Job(FILE, out, code_tables))
    return done.path, done.num_rows


@torch.inference_mode()
def code_tables(
    trained: Trained, rows: pa.Table, source: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The rows' codes, a table per batch, one at least; `source`: the modalities that are read,
    None for all."""
    ids = [n for n in rows.column_names if n in ID_COLUMNS or n.startswith("label.")]
    budget, names = trained.config.evaluation.token_budget, trained.config.modalities
    asked = tuple(names if source is None else source)
    nothing = () if rows.num_rows else (read_batch(trained, rows, asked),)
    for part in itertools.chain(read(trained, rows, asked, budget), nothing):
        refusals, table = dict(part.refusals), part.rows.select(ids)
        for name, (codes, is_known) in encoded(trained, part).items():
            if name != "code" and name.removeprefix("code.") not in asked:
                continue
            is_finite = np.isfinite(codes).all((1, 2))
            for i in np.flatnonzero(~is_finite & is_known):
                refusals[int(i)] = NOT_FINITE
            table = table.append_column(name, _lists(codes, is_known & is_finite))
        told = flags(part.rows.num_rows, refusals, part.remarks)
        table = table.append_column("flag", pa.array(told, pa.string()))
        bottleneck = trained.config.model.bottleneck
        shape = [bottleneck.length, bottleneck.width]
        about = {"shape": shape, "modalities": list(trained.config.modalities)}
        yield table.replace_schema_metadata({"daep_ray": json.dumps(about)})


NOT_FINITE = (
    "has a code that is not finite: its values lie far outside those of the training; "
    "check their unit"
)


def encoded(trained: Trained, part: Read) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """`code` and, where there are several, `code.<modality>`: (B, M, Z), and whether it means
    anything (B,)."""
    bottleneck = trained.config.model.bottleneck
    shape = (part.rows.num_rows, bottleneck.length, bottleneck.width)
    is_read = np.zeros(part.rows.num_rows, bool)
    is_read[part.usable] = True
    # of no sample at all too, so that every batch has the same columns
    code = trained.objective.encode(part.batch)
    points, present = {"code": code.point.float().cpu().numpy()}, {"code": is_read}
    for m, alone in (code.by_modality or {}).items():
        points[f"code.{m}"] = alone.float().cpu().numpy()
        present[f"code.{m}"] = is_read.copy()
        present[f"code.{m}"][part.usable] = part.flats[m].lengths > 0
    found = {}
    for name, point in points.items():
        full = np.zeros(shape, np.float32)
        full[part.usable] = point
        found[name] = (full, present[name])
    return found


def _lists(codes: np.ndarray, is_known: np.ndarray) -> pa.Array:
    """(B, M, Z) as list<float32> of M x Z floats, null where not `is_known` (B,)."""
    flat = codes.reshape(len(codes), codes.shape[1] * codes.shape[2])
    offsets = pa.array(range(0, flat.size + 1, flat.shape[1]), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(flat.ravel()), mask=pa.array(~is_known))
