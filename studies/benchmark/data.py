"""The stream against a bare scan, packing, and peak memory at ten times the samples.

In: a scratch folder, `quick`. Out: rows. The survey is the built-in one.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from benchmark.measure import Row
from daep_ray.shards.ingest import ingest
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.bins import Bin, bins_in_memory, bins_plain
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.pack import pack
from daep_ray.stream.plan import Plan
from daep_ray.stream.ray_stream import bins_from_dataset, dataset_name, rank_datasets
from daep_ray.stream.recipe import default_recipe
from daep_ray.stream.statistics import fit_recipe
from daep_ray.study.session import temporary_folder

MODALITY = "spectrum"  # the longer of the two
BUDGET = 8192  # tokens of a step
STREAM: dict[str, Any] = {"split": "train", "seed": 0, "token_budget": BUDGET}
NUM_EPOCHS = 6  # of the Ray stream
# a window is some 100 MB, and several are on their way: with 200 MB Ray spills to disk, 6 x slower
OBJECT_STORE_BYTES = 2**30
MOST_MEMORY = 1.1  # times, at ten times the samples


def path_of(scratch: Path, num_objects: int) -> Path:
    return scratch / f"synthetic-{num_objects}"


@dataclass(frozen=True)
class Survey:
    """An ingest of the built-in survey and its fitted recipe."""

    path: Path

    @classmethod
    def make(cls, scratch: Path, num_objects: int) -> "Survey":
        path = path_of(scratch, num_objects)
        if not path.exists():
            ingest("synthetic", None, path, {"num_objects": num_objects})
        return cls(path)

    @cached_property
    def folder(self) -> ShardFolder:
        return ShardFolder.open(self.path)

    @cached_property
    def fitted(self) -> FittedRecipe:
        return fit_recipe(self.folder, default_recipe(self.folder.manifest))


def one_epoch(bins: Iterable[Bin]) -> Iterator[Bin]:
    """Up to and with the last step of the first epoch that `bins` yields."""
    for item in bins:
        yield item
        if item.is_last:
            return


def bare_scan(survey: Survey, num_rows: int) -> int:
    """Read the columns of every row group with pyarrow and pack the training rows as they come."""
    columns = [*survey.fitted.columns((MODALITY,)), "split"]
    num_tokens = 0
    for shard, row_group in survey.folder.row_groups():
        table = survey.folder.read_row_group(shard, row_group, columns)
        is_used = pc.and_(
            pc.equal(table["split"], "train"), pc.is_valid(table[f"{MODALITY}.value"])
        )
        table = table.filter(is_used)
        for start in range(0, len(table), num_rows):
            part: pa.Table = table.slice(start, num_rows)
            num_tokens += pack(survey.fitted, part, (MODALITY,), seed=0, epoch=0).num_tokens
    return num_tokens


def rate_of(work: Callable[[], int]) -> float:
    """Tokens per second of a function that returns how many it packed."""
    started = time.perf_counter()
    num_tokens = work()
    return num_tokens / (time.perf_counter() - started)


def stream_rows(scratch: Path, quick: bool) -> list[Row]:
    """Tokens per second: a bare scan with packing, the plain streams, and Ray Data."""
    survey = Survey.make(scratch, 1_000 if quick else 100_000)
    first = next(iter(bins_plain(survey.folder, survey.fitted, (MODALITY,), **STREAM)))
    num_rows = first.num_step_samples

    def plain() -> int:
        stream = bins_plain(survey.folder, survey.fitted, (MODALITY,), **STREAM)
        return sum(b.batch.num_tokens for b in one_epoch(stream))

    memory = bins_in_memory(survey.folder, survey.fitted, (MODALITY,), **STREAM)
    list(one_epoch(memory))  # the first epoch reads the columns

    bare, planned, kept = [], [], []
    for _ in range(3):
        bare.append(rate_of(lambda: bare_scan(survey, num_rows)))
        planned.append(rate_of(plain))
        kept.append(rate_of(lambda: sum(b.batch.num_tokens for b in one_epoch(memory))))
    reference = float(np.median(bare))
    streamed = ray_rate(survey)
    return [
        Row("stream", "bare pyarrow scan, packed", reference, "tokens/s"),
        Row("stream", "plan without Ray", float(np.median(planned)) / reference, "times", 0.5),
        Row("stream", "plan in memory", float(np.median(kept)) / reference, "times", 0.5),
        Row("stream", "plan with Ray Data", streamed / reference, "times", 0.5),
    ]


def ray_rate(survey: Survey) -> float:
    """Tokens per second of the Ray Data stream, from its first bin to its last."""
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=str(temporary_folder()),
    )
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        datasets = rank_datasets(
            survey.path, survey.fitted.to_json(), (MODALITY,), world=1, num_epochs=NUM_EPOCHS,
            **STREAM,
        )  # fmt: skip
        tables = datasets[dataset_name(0)].iter_batches(batch_format="pyarrow", batch_size=None)
        stream = bins_from_dataset(
            tables, survey.folder, survey.fitted, (MODALITY,), num_epochs=NUM_EPOCHS, **STREAM
        )
        next(stream)
        return rate_of(lambda: sum(b.batch.num_tokens for b in stream))
    finally:
        ray.shutdown()


def packing_rows(scratch: Path, quick: bool) -> list[Row]:
    """Useful tokens over those that padding each step to its longest sample would allocate."""
    survey = Survey.make(scratch, 1_000 if quick else 10_000)
    lengths = survey.fitted.lengths(survey.folder)
    rows = []
    for modality in survey.folder.modalities:
        steps = list(Plan(lengths, (modality,), "train", 0, BUDGET).steps(0))
        allocated = sum(len(s.tokens) * int(s.tokens.max()) for s in steps)
        share = sum(s.num_tokens for s in steps) / allocated
        rows.append(Row("packing", f"{modality}: useful / allocated tokens", share, "", 0.95))
    return rows


def memory_rows(scratch: Path, quick: bool) -> list[Row]:
    """Peak memory of whole processes, at a number of samples and at ten times as many."""
    few = 1_000 if quick else 10_000
    peaks: dict[str, list[float]] = {"ingest": [], "stream": [], "evaluation": []}
    run = scratch / "run"
    for num in (few, 10 * few):
        data = path_of(scratch, num)
        options = ["--out", data, "--overwrite", "--set", f"num_objects={num}"]
        peaks["ingest"].append(peak_of("-m", "daep_ray", "ingest", "synthetic", *options))
        peaks["stream"].append(peak_of(__file__, data))
        if not run.exists():
            tiny = ["--set", "optimisation.num_objects=64", "--modality", "photometry"]
            peak_of("-m", "daep_ray", "train", data, "--out", run, "--preset", "smoke", *tiny)
        out = scratch / f"tables-{num}"
        peaks["evaluation"].append(peak_of("-m", "daep_ray", "evaluate", run, data, "--out", out))
    return [row for what, pair in peaks.items() for row in _memory(what, few, pair)]


def _memory(what: str, few: int, pair: list[float]) -> list[Row]:
    small, large = pair
    return [
        Row("memory", f"{what}: peak at {few:,} samples", small, "MiB"),
        Row(
            "memory",
            f"{what}: at {10 * few:,} against that",
            large / small,
            "times",
            MOST_MEMORY,
            is_at_least=False,
        ),
    ]


# A process inherits the peak of the one that starts it, so a small one stands in between.
LAUNCHER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss)
sys.exit(status != 0)
"""


def peak_of(*words: object) -> float:
    """Peak resident memory in MiB of a Python process with these arguments."""
    path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", LAUNCHER, sys.executable, *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    return int(done.stdout) / 1024  # KiB on Linux


def walk(path: Path) -> None:
    """What a process of `memory_rows` does: one epoch of the plain stream."""
    survey = Survey(path)
    for _ in one_epoch(bins_plain(survey.folder, survey.fitted, (MODALITY,), **STREAM)):
        pass


if __name__ == "__main__":
    walk(Path(sys.argv[1]))
