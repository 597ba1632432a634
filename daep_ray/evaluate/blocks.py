"""An evaluation in parts: the sums of some batches are a part on disk, and parts join to tables.

In: a trained model, a folder of shards and the settings. Out: the tables of `run.py`, the same
numbers whoever computed the parts and in whatever order. Batches are those of the
evaluation in one piece, so up to `SAMPLES_PER_SHARE` samples every table is the same bit by bit;
beyond, means are taken of shares of the objects and joined, which differs by rounding.

A part appears whole or not at all under `OUT/.evaluation.parts/`, so what was interrupted computes
the missing ones when it is started again. Memory holds one block's rows while a part is computed,
one share of the objects while they are joined (`gather.py`).
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from daep_ray.config import EvaluationConfig
from daep_ray.errors import DataError, storage_error
from daep_ray.evaluate.model import Model
from daep_ray.evaluate.over_objects import Kind
from daep_ray.evaluate.parts import keep_parts_of, model_hash
from daep_ray.evaluate.run import QUESTIONS, Prepared, Rows, Run
from daep_ray.evaluate.sample_table import to_table
from daep_ray.evaluate.sums import Sums
from daep_ray.objectives import ObjectiveConfig
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.bins import Blocks
from daep_ray.train.checkpoint import Trained, with_inference

Load = Callable[[str], Trained]
Item = str  # "7-64": of block 7 the batches from 64 on; or one of QUESTIONS

BATCHES_PER_PART = 64  # what is lost with a worker


@dataclass(frozen=True)
class BlockJob:
    """What is measured, of `evaluation.split`, with these settings of inference."""

    out: Path
    evaluation: EvaluationConfig
    objective: ObjectiveConfig
    batches_per_part: int = BATCHES_PER_PART

    @property
    def parts(self) -> Path:
        return self.out / ".evaluation.parts"

    def samples(self, item: Item) -> Path:
        return self.parts / f"{item}.parquet"

    def sums(self, item: Item) -> Path:
        """Written after `samples`: what is there is whole."""
        return self.parts / f"{item}.npz"

    def answer(self, question: Item) -> Path:
        return self.parts / f"{question}.json"

    def has(self, item: Item) -> bool:
        """Whether the part is there."""
        return (self.answer(item) if item in QUESTIONS else self.sums(item)).exists()


@dataclass(frozen=True)
class Started:
    """A job whose bad input has been refused."""

    job: BlockJob
    run: Run
    model: Model
    prepared: Prepared
    blocks: Blocks
    num_threads: int  # of each worker, as in training: sums of another number round otherwise

    @property
    def num_samples(self) -> int:
        """That are measured."""
        return min(self.job.evaluation.max_objects, self.blocks.num_samples)

    @cached_property
    def measured(self) -> list[Item]:
        """The parts that are summed, in order."""
        return [
            f"{number}-{first}"
            for number in range(len(self.blocks))
            for first in range(0, self.blocks.num_batches(number), self.job.batches_per_part)
        ]

    def missing(self) -> list[Item]:
        """Long questions first."""
        return [item for item in (*QUESTIONS, *self.measured) if not self.job.has(item)]


def start(trained: Trained, folder: ShardFolder, job: BlockJob) -> Started:
    """Settle what is the same for all parts; parts of another job are removed.

    Raises:
        DataError: the data do not fit the model, or have no sample of the split.
        StorageError: `out` cannot be written.
    """
    split = job.evaluation.split
    if split not in folder.manifest.counts:
        known = ", ".join(folder.manifest.counts)
        raise DataError(f"{str(folder.path)!r} has no split {split!r}: it has {known}")
    run, model = _measured(trained, folder, job)
    blocks, prepared = run.blocks(), run.prepare(model)
    keep_parts_of(
        job.parts,
        {
            "model": model_hash(trained),
            "data": folder.manifest.hash,
            "evaluation": job.evaluation.model_dump(mode="json"),
            "objective": job.objective.model_dump(mode="json"),
            "batches_per_part": job.batches_per_part,
        },
    )
    return Started(job, run, model, prepared, blocks, trained.config.runtime.num_threads)


def _measured(trained: Trained, folder: ShardFolder, job: BlockJob) -> tuple[Run, Model]:
    asked = with_inference(trained, job.objective)
    on_gpu = torch.cuda.is_available() and trained.config.runtime.device != "cpu"
    objective = asked.objective.to("cuda" if on_gpu else "cpu")
    return Run.of(asked, folder, job.evaluation), Model(objective, job.evaluation)


def compute_here(started: Started, on_part: Callable[[int, int], None] | None = None) -> None:
    """The missing parts, in this process.

    Raises:
        DataError: a damaged shard. StorageError: a part cannot be written.
    """
    missing = started.missing()
    for done, item in enumerate(missing, start=1):
        write_part(started, item)
        if on_part:
            on_part(done, len(missing))


class PartWriter:
    """What a worker holds: the model, and the data's plan."""

    def __init__(self, load: Load, run: str, data: Path, job: BlockJob, prepared: Prepared) -> None:
        trained, folder = load(run), ShardFolder.open(data)
        num_threads = trained.config.runtime.num_threads
        torch.set_num_threads(num_threads)
        measured, model = _measured(trained, folder, job)
        self.started = Started(job, measured, model, prepared, measured.blocks(), num_threads)

    def __call__(self, item: Item) -> None:
        if not self.started.job.has(item):  # else a worker died after it
            write_part(self.started, item)


@torch.inference_mode()
def write_part(started: Started, item: Item) -> None:
    """Measure some batches, or answer a question, and put its part in place, whole.

    Raises:
        DataError: a damaged shard. StorageError: the part cannot be written.
    """
    job = started.job
    if item in QUESTIONS:
        answer = QUESTIONS[item](started.run, started.model)
        told = json.dumps(answer, default=lambda number: number.item())  # numpy's numbers
        _put(job.answer(item), lambda path: path.write_text(told))
        return
    sums = started.run.sums(started.prepared)
    number, first = map(int, item.split("-"))
    part = slice(first, first + job.batches_per_part)
    for batch, rows in started.blocks.batches(number, part):
        started.run.add(sums, started.model, batch, rows)
    samples = to_table(sums.sorted())
    _put(job.samples(item), lambda path: pq.write_table(samples, path, compression="zstd"))
    _put(job.sums(item), lambda path: _write_counted(path, sums.arrays()))


def _put(path: Path, write: Callable[[Path], object]) -> None:
    staged = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        write(staged)
        os.replace(staged, path)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        staged.unlink(missing_ok=True)


def _write_counted(path: Path, counted: Mapping[Kind, Mapping[str, np.ndarray]]) -> None:
    arrays: dict[str, Any] = {"kinds": np.array(json.dumps(list(counted)))}
    for i, own in enumerate(counted.values()):
        arrays |= {f"{i}.{name}": array for name, array in own.items()}
    with path.open("wb") as file:  # given a path, numpy would add to its name
        np.savez_compressed(file, **arrays)


def join_counted(sums: Sums, path: Path) -> None:
    """Add a part's bins to `sums`."""
    with np.load(path, allow_pickle=False) as arrays:
        for i, (what, modality, name) in enumerate(json.loads(str(arrays["kinds"]))):
            own = {n.partition(".")[2]: arrays[n] for n in arrays.files if n.startswith(f"{i}.")}
            sums.counter((what, modality, name)).join(own)


def read_answer(path: Path) -> Rows:
    """Rows by table, as QUESTIONS gave them."""
    return dict(json.loads(path.read_text()))
