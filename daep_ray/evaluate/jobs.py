"""The same job with Ray Data: row groups go through workers that each hold one model. [ray]

In: a job (`parts.py`) and how a worker loads the model. Out: the same bytes as in one process.
Workers write their parts to `out` themselves, which every machine must see; nothing but numbers
travels.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import ray.data
import torch

from daep_ray.errors import DataError, UserError
from daep_ray.evaluate.parts import Done, Job, join, start, write_part
from daep_ray.shards.read import ShardFolder
from daep_ray.train.checkpoint import Trained

Load = Callable[[str], Trained]

CPUS_PER_DATASET = 1.0  # Ray Data needs one whole free CPU beside its workers


class _Worker:
    """One model; answers row groups by number."""

    def __init__(self, load: Load, run: str, data: str, job: Job) -> None:
        self.trained, self.folder, self.job = load(run), ShardFolder.open(Path(data)), job
        use_threads(self.trained)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        problems = []
        for number in batch["item"].tolist():
            try:
                write_part(self.trained, self.folder, self.job, number)
                problems.append("")
            except UserError as error:  # Ray would bury the sentence in a traceback
                problems.append(str(error))
        return {"item": batch["item"], "problem": problems}


def use_threads(trained: Trained) -> None:
    """As many threads as in training: sums of another number of threads round otherwise."""
    torch.set_num_threads(trained.config.runtime.num_threads)


def run_on_workers(
    load: Load,
    run: str,
    folder: ShardFolder,
    job: Job,
    num_workers: int,
    on_part: Callable[[int, int], None] | None = None,
) -> Done:
    """Compute the missing parts on the workers of a Ray session that is there, and join them.

    Raises:
        DataError: the data do not fit the model, or hold nothing that it reads.
        StorageError: `out` cannot be written.
    """
    trained = load(run)
    missing = start(trained, folder, job)
    if missing:
        _compute(missing, trained, load, run, folder, job, num_workers, on_part)
    return join(folder, job)


def _compute(
    missing: list[int],
    trained: Trained,
    load: Load,
    run: str,
    folder: ShardFolder,
    job: Job,
    num_workers: int,
    on_part: Callable[[int, int], None] | None,
) -> None:
    has_gpu = ray.cluster_resources().get("GPU", 0) > 0
    dataset = ray.data.from_items(missing, override_num_blocks=min(len(missing), 1000))
    answered = dataset.map_batches(
        _Worker,
        fn_constructor_args=(load, run, str(folder.path), job),
        batch_size=1,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=min(num_workers, len(missing))),
        num_cpus=trained.config.runtime.num_threads,
        num_gpus=1 if has_gpu else None,
    )
    for done, row in enumerate(answered.iter_rows(), start=1):
        if row["problem"]:
            raise DataError(row["problem"])
        if on_part:
            on_part(done, len(missing))
