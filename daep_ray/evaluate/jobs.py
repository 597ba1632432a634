"""The same jobs with Ray Data: items go through workers that each hold one model. [ray]

In: a list of items (row groups, blocks) and what makes a worker that computes one. Out: parts on
disk, the same bytes as in one process. Workers write their parts themselves, to a folder that every
machine must see; nothing but numbers travels. A worker that dies is started again with what it was
at.
"""

import functools
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
import ray.data
import torch
from ray.exceptions import RayActorError
from ray.util.annotations import RayDeprecationWarning

from daep_ray.errors import ConfigError, DataError, UserError
from daep_ray.evaluate.parts import Done, Job, join, start, write_part
from daep_ray.shards.read import ShardFolder
from daep_ray.train.checkpoint import Trained

Load = Callable[[str], Trained]
OnPart = Callable[[int, int], None]  # how many are done, of how many

CPUS_PER_DATASET = 1.0  # Ray Data needs one whole free CPU beside its workers
MOST_DEATHS = 10  # of workers at one item: machines come and go, but a poisoned item kills for ever
_NO_PROGRESS_SECONDS = 1800  # Ray's own: an item may take minutes, and so may loading a model
_MOST_TASKS = 1000  # items of one are computed again together where a worker dies


class _Worker:
    """Computes items; what a user did wrong is an answer, Ray would bury the sentence."""

    def __init__(self, make: Callable[[], Callable[[Any], None]]) -> None:
        self.compute = make()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        problems = []
        for item in batch["item"].tolist():
            try:
                self.compute(item)
                problems.append("")
            except UserError as error:
                problems.append(str(error))
        return {"item": batch["item"], "problem": problems}


class _Answerer:
    """One model; answers row groups by number."""

    def __init__(self, load: Load, run: str, data: Path, job: Job) -> None:
        self.trained, self.folder, self.job = load(run), ShardFolder.open(data), job
        use_threads(self.trained)

    def __call__(self, number: int) -> None:
        write_part(self.trained, self.folder, self.job, number)


def use_threads(trained: Trained) -> None:
    """As many threads as in training: sums of another number of threads round otherwise."""
    torch.set_num_threads(trained.config.runtime.num_threads)


def run_on_workers(
    load: Load,
    run: str,
    folder: ShardFolder,
    job: Job,
    num_workers: int,
    on_part: OnPart | None = None,
) -> Done:
    """Compute the missing parts on the workers of a Ray session that is there, and join them.

    Raises:
        DataError: the data do not fit the model, or hold nothing that it reads.
        StorageError: `out` cannot be written.
    """
    trained = load(run)
    missing = start(trained, folder, job)
    make = functools.partial(_Answerer, load, run, Path(folder.path), job)
    compute_on_workers(missing, make, num_workers, trained.config.runtime.num_threads, on_part)
    return join(folder, job)


def compute_on_workers(
    items: Sequence[int] | Sequence[str],
    make: Callable[[], Callable[[Any], None]],
    num_workers: int,
    num_threads: int,
    on_part: OnPart | None = None,
    most_deaths: int = MOST_DEATHS,
) -> None:
    """Give every item to one of the workers that `make` makes.

    Raises:
        DataError: what a worker said. ConfigError: workers died `most_deaths` times at an item.
    """
    if not items:
        return
    context = ray.data.DataContext.get_current()
    context.execution_no_progress_timeout_s = _NO_PROGRESS_SECONDS
    has_gpu = ray.cluster_resources().get("GPU", 0) > 0
    dataset = ray.data.from_items(items, override_num_blocks=min(len(items), _MOST_TASKS))
    with warnings.catch_warnings():
        # of Ray's options only the named ones stay; none of them bounds the retries of an actor
        warnings.simplefilter("ignore", RayDeprecationWarning)
        answered = dataset.map_batches(
            _Worker,
            fn_constructor_args=(make,),
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=min(num_workers, len(items))),
            num_cpus=num_threads,
            num_gpus=1 if has_gpu else None,
            max_task_retries=most_deaths - 1,
        )
    try:
        for done, row in enumerate(answered.iter_rows(), start=1):
            if row["problem"]:
                raise DataError(row["problem"])
            if on_part:
                on_part(done, len(items))
    except RayActorError:
        raise ConfigError(
            f"workers died {most_deaths} times at the same part, as they do for lack of memory: "
            "use fewer --workers; what is done is kept, so the same command goes on"
        ) from None
