"""One trial: a training that the store lacks, then the evaluations of its cells. Runs without Ray.

In: a `Trial`, the shards, the store. Out: the store holds the results of every cell of the trial,
or the reason why not. Killed at any point and run again, it goes on where it stopped.
"""

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from daep_ray.config import RunConfig
from daep_ray.errors import UserError
from daep_ray.evaluate.run import evaluate, evaluate_reference
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.statistics import fit_recipe
from daep_ray.study.spec import Cell
from daep_ray.study.store import Facts, Store, Used
from daep_ray.train.checkpoint import Trained, load_model, with_inference
from daep_ray.train.loop import TrainingResult
from daep_ray.train.memory import forget_peak, peak_bytes, peak_gpu_bytes
from daep_ray.train.ray_worker import fit


@dataclass(frozen=True)
class Trial:
    """The cells that share a training, or a reference."""

    training: str
    cells: tuple[Cell, ...]

    @property
    def config(self) -> RunConfig:
        return self.cells[0].config

    @property
    def label(self) -> str:
        """`daep 4 x 4 seed 1`, `maep 4 x 4 mask_ratio 0.3 seed 0`, `pca 16 floats`, `mean`."""
        first = self.cells[0]
        if first.is_reference:
            return first.model + (f" {first.num_floats} floats" if first.num_floats else "")
        bottleneck = first.config.model.bottleneck
        size = f"{bottleneck.length} x {bottleneck.width}"
        return " ".join([first.model, size, *self._differences(), f"seed {first.seed}"])

    def _differences(self) -> list[str]:
        """What the axes say of this training, but for the size of its code."""
        rest = [cell.settings for cell in self.cells[1:]]
        return [
            f"{path.rpartition('.')[2]} {value}"
            for path, value in self.cells[0].settings.items()
            if not path.startswith("model.bottleneck.") and all(s.get(path) == value for s in rest)
        ]


@dataclass(frozen=True)
class Outcome:
    """What a trial did; the seconds of this attempt alone."""

    seconds_training: float
    seconds_evaluation: float
    is_reused: bool  # the store had everything


def trials(cells: Sequence[Cell]) -> list[Trial]:
    """Cells grouped by training, in the order of the design."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.training, []).append(cell)
    return [Trial(training, tuple(group)) for training, group in groups.items()]


def run_trial(
    trial: Trial,
    data: Path,
    store: Store,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> Outcome:
    """Train and evaluate what the store lacks.

    Raises:
        Exception: whatever went wrong; its sentence is in the store (`Store.failure`).
    """
    try:
        with store.lock(trial.training):
            store.look(trial.cells)
            missing = [cell for cell in trial.cells if not store.has(cell)]
            if not missing:
                return Outcome(0.0, 0.0, is_reused=True)
            store.forget_failure(trial.training)
            torch.set_num_threads(trial.config.runtime.num_threads)
            if trial.cells[0].is_reference:
                return _measure_reference(missing, data, store)
            return _train_and_measure(trial, missing, data, store, report)
    except Exception as error:
        store.note_failure(trial.training, in_one_sentence(error), traceback.format_exc())
        raise


def in_one_sentence(error: BaseException) -> str:
    """What a table says about a failed trial."""
    lines = str(error).strip().splitlines()
    first = lines[0] if lines else "no message"
    return first if isinstance(error, UserError) else f"{type(error).__name__}: {first}"


def _train_and_measure(
    trial: Trial,
    missing: Sequence[Cell],
    data: Path,
    store: Store,
    report: Callable[[dict[str, Any]], None] | None,
) -> Outcome:
    folder = store.training(trial.training)
    store.bring(trial.training)
    started = time.perf_counter()
    forget_peak()
    with store.following(trial.training):
        result = fit(trial.config, data, folder, report=report)
    seconds_here = min(result.seconds, time.perf_counter() - started)
    store.share(trial.training)
    trained = load_model(folder)
    shards = ShardFolder.open(data)
    seconds_evaluation = 0.0
    for cell in missing:
        started = time.perf_counter()
        forget_peak()
        asked = with_inference(trained, cell.config.objective)
        results = evaluate(asked, shards, cell.config.evaluation)
        seconds = time.perf_counter() - started
        facts = Facts(
            num_objects=result.num_objects,
            num_steps=result.num_steps,
            num_parameters=result.num_parameters,
            seconds_training=result.seconds,
            seconds_data=result.seconds_data,
            seconds_evaluation=round(seconds, 3),
        )
        store.write(cell, results, facts, _used(trial, result, trained))
        seconds_evaluation += seconds
    return Outcome(seconds_here, seconds_evaluation, is_reused=False)


def _used(trial: Trial, result: TrainingResult, trained: Trained) -> Used:
    """Of the training, and of the evaluation that has just ended in this process."""
    return Used(
        device_training=torch.device(result.device).type,
        device_evaluation=next(trained.objective.parameters()).device.type,
        num_workers=trial.config.runtime.num_workers,
        memory_training=result.peak_bytes,
        memory_evaluation=peak_bytes(),
        memory_gpu_training=result.peak_gpu_bytes,
        memory_gpu_evaluation=peak_gpu_bytes(),
    )


def _measure_reference(missing: Sequence[Cell], data: Path, store: Store) -> Outcome:
    shards = ShardFolder.open(data)
    total = 0.0
    for cell in missing:
        assert cell.config.recipe is not None
        started = time.perf_counter()
        forget_peak()
        results: dict[str, pa.Table] = evaluate_reference(
            cell.model,
            cell.num_floats,
            shards,
            fit_recipe(shards, cell.config.recipe),
            cell.config.modalities,
            cell.config.evaluation,
        )
        seconds = time.perf_counter() - started
        facts = Facts(None, None, None, 0.0, 0.0, round(seconds, 3))
        used = Used(
            device_evaluation="cpu", memory_evaluation=peak_bytes(), memory_gpu_evaluation=0
        )
        store.write(cell, results, facts, used)
        total += seconds
    return Outcome(0.0, total, is_reused=False)


def last_value(store: Store, trial: Trial, name: str) -> float | None:
    """The last point of a training's curve `name`: what Optuna minimises."""
    values = [point[name] for point in store.curve(trial.training) if name in point]
    return float(values[-1]) if values else None
