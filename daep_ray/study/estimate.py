"""How long a study will take: a few steps and objects of each model's ends, scaled by arithmetic.

In: the trials that are missing and the shards. Out: seconds and memory per trial on this machine.
A model is calibrated at its smallest and its largest cell and in between by operations per object.
An evaluation is what it takes whatever the number of objects (the probe, most of all), and a part
that grows with its operations. Nothing is left behind, and Ray is not started.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from daep_ray.config import RunConfig
from daep_ray.evaluate.run import evaluate
from daep_ray.settings import override
from daep_ray.shards.read import ShardFolder
from daep_ray.study.spec import Cell
from daep_ray.study.trial import Trial
from daep_ray.study.work import Work
from daep_ray.train.checkpoint import Trained, load_model
from daep_ray.train.memory import forget_peak, peak_bytes
from daep_ray.train.progress import read_curve
from daep_ray.train.ray_worker import fit

# of Ray: starting, one import per process, stopping; per trial, passing it on
SECONDS_OF_SESSION, SECONDS_OF_TRIAL = 10.0, 0.5
_NUM_STEPS = 24
_MOST_TOKENS = 4096  # per step of the calibration, whatever the study's
_MOST_EVALUATED = 24  # objects


@dataclass(frozen=True)
class Estimate:
    """Of one trial."""

    training: float  # seconds
    evaluation: float
    memory: int = 0  # bytes of its process

    @property
    def seconds(self) -> float:
        return self.training + self.evaluation


@dataclass(frozen=True)
class _Rate:
    """What one model costs at one size."""

    flop: float  # of training on one object
    seconds: float  # the same
    fixed: float  # seconds of an evaluation, whatever the number of objects
    seconds_per_flop: float  # of an evaluation's objects
    memory: int


def estimate(trials: Sequence[Trial], shards: ShardFolder) -> dict[str, Estimate]:
    """Per training fingerprint, references included."""
    work = Work(shards)
    trained = [t for t in trials if not t.cells[0].is_reference]
    found: dict[str, Estimate] = {}
    fixed = 1.0
    for model in dict.fromkeys(t.cells[0].model for t in trained):
        own = sorted((t for t in trained if t.cells[0].model == model), key=_sized(work))
        sizes = {_sized(work)(t): t for t in (own[-1], own[0])}
        rates = sorted((_calibrate(t, shards, work) for t in sizes.values()), key=lambda r: r.flop)
        found |= {t.training: _scaled(t, rates, work) for t in own}
        fixed = rates[0].fixed
    for trial in trials:
        if trial.cells[0].is_reference:  # fitted in no time, and asked the same of its codes
            found[trial.training] = Estimate(0.0, fixed * len(trial.cells))
    return found


def makespan(estimates: Sequence[Estimate], num_at_once: int) -> float:
    """Seconds of a session with so many trials at a time, each given to whoever is free first."""
    free = [0.0] * max(1, num_at_once)
    for each in estimates:
        first = min(range(len(free)), key=free.__getitem__)
        free[first] += each.seconds + SECONDS_OF_TRIAL
    return SECONDS_OF_SESSION + max(free) if estimates else 0.0


def _sized(work: Work) -> Any:
    """Operations of training on one object, by trial."""
    return lambda trial: work.training(trial.config, 1).flop


def _calibrate(trial: Trial, shards: ShardFolder, work: Work) -> _Rate:
    """Train for a few steps and evaluate a few objects."""
    num_tokens = min(_MOST_TOKENS, trial.config.optimisation.token_budget)
    per_object = work.typical(trial.config, "train").tokens
    short = {
        "optimisation.num_objects": max(2, int(_NUM_STEPS * num_tokens / per_object)),
        "optimisation.token_budget": num_tokens,
        "runtime.validation_objects": 0,
        "runtime.num_curve_points": 4,
        "runtime.num_workers": 0,
    }
    config = override(trial.config, short)
    forget_peak()
    with tempfile.TemporaryDirectory(prefix="daep-") as scratch:
        folder = Path(scratch) / "training"
        result = fit(config, shards.path, folder)
        curve = read_curve(folder / "metrics.jsonl")
        model = load_model(folder)
    first, last = curve[0], curve[-1]
    seconds = result.seconds / result.num_objects
    if last["num_objects"] > first["num_objects"]:  # without the start
        seconds = last["seconds"] - first["seconds"]
        seconds /= last["num_objects"] - first["num_objects"]
    smallest = min(trial.cells, key=lambda c: work.evaluation(c.config).flop)
    fixed, per_flop = _evaluate(model, smallest, shards, work)
    return _Rate(work.training(trial.config, 1).flop, seconds, fixed, per_flop, peak_bytes())


def _evaluate(model: Trained, cell: Cell, shards: ShardFolder, work: Work) -> tuple[float, float]:
    """Seconds whatever the number of objects, and seconds per operation on objects."""
    settings = cell.config.evaluation
    tokens = work.typical(cell.config, settings.split).tokens
    few = int(settings.token_budget / settings.num_draws / tokens)  # objects of one pass
    few = max(1, min(few, _MOST_EVALUATED // 3, settings.max_objects))
    many = max(few, min(3 * few, settings.max_objects))
    whole = _timed(model, shards, cell.config, {"evaluation.max_objects": few})
    bare = {"evaluation.probe_label": None}
    one = _timed(model, shards, cell.config, {"evaluation.max_objects": few, **bare})
    three = _timed(model, shards, cell.config, {"evaluation.max_objects": many, **bare})
    flops = [
        work.evaluation(override(cell.config, {"evaluation.max_objects": n})).flop
        for n in (few, many)
    ]
    if flops[1] <= flops[0] or three <= one:
        return whole, 0.0
    per_flop = (three - one) / (flops[1] - flops[0])
    return max(0.0, whole - per_flop * flops[0]), per_flop


def _timed(
    model: Trained, shards: ShardFolder, config: RunConfig, changes: dict[str, Any]
) -> float:
    started = time.perf_counter()
    with np.errstate(over="ignore", invalid="ignore"):  # a model of a few steps may say anything
        evaluate(model, shards, override(config, changes).evaluation)
    return time.perf_counter() - started


def _scaled(trial: Trial, rates: Sequence[_Rate], work: Work) -> Estimate:
    """Between the calibrated ends by the operations per object."""
    low, high, config = rates[0], rates[-1], trial.config
    flop = work.training(config, 1).flop
    share = (flop - low.flop) / (high.flop - low.flop) if high.flop > low.flop else 0.0
    per_object = low.seconds + share * (high.seconds - low.seconds)
    # a point of the validation curve is a forward pass, a third of a training's
    points = config.runtime.num_curve_points * config.runtime.validation_objects / 3
    evaluations = [work.evaluation(c.config).flop for c in trial.cells]
    return Estimate(
        training=per_object * (config.optimisation.num_objects + points),
        evaluation=sum(
            low.fixed + max(low.seconds_per_flop, high.seconds_per_flop) * f for f in evaluations
        ),
        memory=max(low.memory, high.memory),
    )
