"""Parts of an evaluation -> its tables, in memory that does not grow with the objects.

In: a finished folder of parts (`blocks.py`). Out: `objects.parquet` on disk, all other tables in
memory: they are small. With many samples their numbers are first sorted into shares of the objects
by a stable hash of the object id; shares are summed up one after another.
"""

import math
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from daep_ray.errors import StorageError, storage_error
from daep_ray.evaluate.blocks import Started, join_counted, read_answer
from daep_ray.evaluate.over_objects import Kind
from daep_ray.evaluate.reconstruction import SortedErrors, object_table
from daep_ray.evaluate.run import QUESTIONS
from daep_ray.evaluate.sample_table import from_tables, joined_metadata, share_of
from daep_ray.evaluate.summary import Summary, in_order
from daep_ray.evaluate.tables import SCHEMAS, Tables, table

SAMPLES_PER_SHARE = 2**16  # summed up at once; examples are chosen from the first share
_MOST_SHARES = 512  # files open at once


@torch.inference_mode()
def gather(started: Started) -> Tables:
    """Join all parts, remove them; every table but `objects`, which is in `out`.

    Raises:
        StorageError: `out` cannot be written, or workers wrote to another one.
    """
    job, run = started.job, started.run
    if missing := started.missing():
        raise StorageError(
            f"{len(missing)} of the parts that workers wrote are not in {str(job.parts)!r}: "
            "--out must be a folder that every machine sees"
        )
    sums = run.sums(started.prepared)
    for item in started.measured:
        join_counted(sums, job.sums(item))
    summary, examples = Summary({}, {}), table("examples", [])
    staged = job.parts / "objects.parquet"
    try:
        with pq.ParquetWriter(staged, SCHEMAS["objects"], compression="zstd") as writer:
            for share, samples in enumerate(_shares(started)):
                if share == 0:
                    examples = table("examples", run.examples(started.model, samples))
                summary = summary.joined(Summary.of(samples))
                for kind in in_order(samples, run.modalities):
                    if (rows := object_table(kind[1], samples[kind])).num_rows:
                        writer.write_table(rows)
        os.replace(staged, job.out / "objects.parquet")
        answers = [read_answer(job.answer(question)) for question in QUESTIONS]
        found = {**run.tables(sums, summary, answers), "examples": examples}
    except OSError as error:
        raise storage_error(error, job.out) from error
    shutil.rmtree(job.parts, ignore_errors=True)
    return found


def _shares(started: Started) -> Iterator[dict[Kind, SortedErrors]]:
    """All samples of some objects at a time; the first is a fair choice of them."""
    paths = [started.job.samples(item) for item in started.measured]
    num_samples = started.num_samples
    num_shares = min(_MOST_SHARES, math.ceil(num_samples / SAMPLES_PER_SHARE))
    if num_shares <= 1:
        yield from_tables(pq.read_table(path) for path in paths)
        return
    for path in _sorted_into_shares(started.job.parts, paths, num_shares):
        with pa.ipc.open_stream(path) as stream:
            yield from_tables([stream.read_all()])
        path.unlink()


def _sorted_into_shares(folder: Path, parts: list[Path], num_shares: int) -> list[Path]:
    """A stream of Arrow record batches per share, its rows in the order of the parts."""
    schema = joined_metadata(pq.read_schema(path) for path in parts)
    paths = [folder / f"share-{i:04d}.arrow" for i in range(num_shares)]
    with ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_stream(path, schema)) for path in paths]
        for rows in _together(parts):
            share = share_of(rows, num_shares)
            for i in np.unique(share):
                writers[i].write_table(rows.filter(pa.array(share == i)).cast(schema))
    return paths


def _together(parts: list[Path]) -> Iterator[pa.Table]:
    """The rows of several parts at once: many small batches would be slow to read."""
    waiting: list[pa.Table] = []
    for path in parts:
        waiting.append(pq.read_table(path).replace_schema_metadata(None))
        if sum(rows.num_rows for rows in waiting) >= SAMPLES_PER_SHARE:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)
