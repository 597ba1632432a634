"""The compute ledger: what every training and every evaluation of a study cost.

In: the cells, the store, the shards. Out: the table `ledger`, a row per training and one per
evaluation: samples, tokens and floating point operations, which are counted from the settings and
the same wherever it ran; seconds, GPU-seconds and peak memory, which were measured. A training that
several evaluations share has one row, and one that an earlier study made costs what it cost then.
One that was stopped early, or failed, has cost what its learning curve tells.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import pyarrow as pa

from daep_ray.errors import UserError
from daep_ray.shards.read import ShardFolder
from daep_ray.study import tables
from daep_ray.study.spec import Cell
from daep_ray.study.store import Store
from daep_ray.study.trial import Trial, trials
from daep_ray.study.work import Amount, Work

Row = dict[str, Any]


def ledger(
    cells: Sequence[Cell], store: Store, shards: ShardFolder, stopped: Collection[str] = ()
) -> pa.Table:
    """The table, in the design's order: each training before its evaluations.

    `stopped` are the fingerprints of trainings that a scheduler stopped early.
    """
    work = Work(shards)
    rows: list[Row] = []
    for trial in trials(cells):
        lost = "missing" if store.failure(trial.training) is None else "failed"
        lost = "stopped" if trial.training in stopped else lost
        rows += _of_trial(trial, store, work, lost)
    return tables.from_rows("ledger", rows)


def _of_trial(trial: Trial, store: Store, work: Work, lost: str) -> Iterator[Row]:
    """`lost` is the state of what has no result."""
    done = [cell for cell in trial.cells if store.has(cell)]
    if not trial.cells[0].is_reference:
        row = _named(trial.cells[0], "training", "done" if done else lost)
        yield row | (_training(done[0], store, work) if done else _lost(trial, store, work))
    for cell in trial.cells:
        row = _named(cell, "evaluation", "done" if cell in done else lost)
        yield row | ({"cell": cell.id, **_evaluation(cell, store, work)} if cell in done else {})


def _named(cell: Cell, what: str, state: str) -> Row:
    names = {"training": cell.training, "model": cell.model, "seed": cell.seed}
    return {**names, "what": what, "state": state}


def _training(cell: Cell, store: Store, work: Work) -> Row:
    facts, used = store.facts(cell), store.used(cell)
    num_objects = facts.num_objects or 0
    gpus = used.num_workers or _share(cell, store)
    return {
        **_counted(lambda: work.training(cell.config, num_objects)),
        "seconds": facts.seconds_training,
        "seconds_gpu": _gpu_seconds(facts.seconds_training, used.device_training, gpus),
        "memory": used.memory_training,
        "memory_gpu": used.memory_gpu_training,
    }


def _lost(trial: Trial, store: Store, work: Work) -> Row:
    """What a training without a result took, as far as its curve tells."""
    curve = store.curve(trial.training)
    if not curve:
        return {}
    seen = int(curve[-1]["num_objects"])
    return {
        **_counted(lambda: work.training(trial.config, seen)),
        "seconds": curve[-1]["seconds"],
    }


def _evaluation(cell: Cell, store: Store, work: Work) -> Row:
    facts, used = store.facts(cell), store.used(cell)
    metrics = dict(store.results(cell)).get("metrics")
    if cell.is_reference:  # its own arithmetic is not counted
        counted = _counted(lambda: work.measured(cell.config)) | {"flop": None}
    else:
        counted = _counted(lambda: work.evaluation(cell.config, metrics))
    seconds, device = facts.seconds_evaluation, used.device_evaluation
    return {
        **counted,
        "seconds": seconds,
        "seconds_gpu": _gpu_seconds(seconds, device, _share(cell, store)),
        "memory": used.memory_evaluation,
        "memory_gpu": used.memory_gpu_evaluation,
    }


def _counted(count: Callable[[], Amount]) -> Row:
    """Nothing where the data can no longer be read: the study's results do not hang on it."""
    try:
        return vars(count())
    except UserError:
        return {}


def _share(cell: Cell, store: Store) -> float:
    """GPUs of the trial's own process; the whole of one where nothing else was asked for."""
    return store.num_gpus(cell.training) or 1.0


def _gpu_seconds(seconds: float, device: str | None, num_gpus: float) -> float | None:
    if device is None:
        return None
    return round(seconds * num_gpus, 3) if device == "cuda" else 0.0
