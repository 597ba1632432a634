"""The training loop, in plain torch: it runs without Ray, and Ray is one caller of it.

Steps come from the plan, so any number of workers makes the same updates; a killed training goes
on from its checkpoint and, on one CPU worker, ends with the same bits as one never stopped.
"""

import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from daep_ray.config import RunConfig
from daep_ray.errors import UserError
from daep_ray.objectives import as_trained, build_objective
from daep_ray.objectives.base import Loss, Objective
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.bins import Bin, Position
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.noise import Noise
from daep_ray.stream.pack import layouts
from daep_ray.train import checkpoint, validation
from daep_ray.train.card import write_card
from daep_ray.train.memory import peak_bytes, peak_gpu_bytes
from daep_ray.train.optimiser import Optimiser, RunningAverage
from daep_ray.train.progress import Curve, Line

SAMPLES_FOR_CURVE = 256  # that an objective searches in at a point of the curve


class NonFiniteLossError(UserError):
    """Training met a loss that is not a number; the message names the step and its samples."""


@dataclass(frozen=True)
class Context:
    """What the loop needs of the world around it; whoever starts the loop makes it."""

    folder: Path  # of this training, visible to every worker
    bins: Callable[[Position], Iterator[Bin]]  # this rank's endless stream from a position
    validation: list[PackedBatch]  # empty: no validation curve
    # so many training samples as an evaluation reads them, for objectives that search
    samples: Callable[[int], Iterable[PackedBatch]] | None = None
    # what a new model takes over before its first step, and the classes of samples (B,)
    begin: Callable[[Objective], None] | None = None
    labels: Callable[[tuple[str, ...]], Tensor] | None = None
    rank: int = 0
    world: int = 1
    device: str = "cpu"
    report: Callable[[dict[str, Any]], None] | None = None  # a point of the curve
    echo: Callable[[str], None] | None = None  # a line for people


@dataclass(frozen=True)
class TrainingResult:
    """What a finished training leaves in `result.json`."""

    num_objects: int
    num_steps: int
    num_epochs: int
    num_parameters: int
    num_workers: int
    num_threads: int
    device: str
    seconds: float
    seconds_data: float  # of them, waiting for data
    host: str
    peak_bytes: int | None = None  # of memory, in the process of rank 0
    peak_gpu_bytes: int | None = None


@dataclass
class _Counters:
    epoch: int = 0
    step: int = 0  # within the epoch, the next one to do
    num_steps: int = 0
    num_objects: int = 0
    seconds_data: float = 0.0


def train(config: RunConfig, fitted: FittedRecipe, context: Context) -> TrainingResult:
    """Train to the budget, resuming from `context.folder` if a checkpoint is there.

    Raises:
        NonFiniteLossError: the loss is NaN or infinite; the last checkpoint is kept.
    """
    torch.set_num_threads(config.runtime.num_threads)
    torch.manual_seed(config.seed)
    objective = build_objective(
        as_trained(config.objective), config.model, layouts(fitted, config.modalities)
    )
    objective.to(context.device).train()
    optimiser = Optimiser(objective, config.optimisation)
    average = RunningAverage(objective, config.optimisation.ema_decay)
    budget = config.optimisation.num_objects
    curve = Curve(context.folder / "metrics.jsonl", budget, config.runtime.num_curve_points)
    counters = _resume(context, objective, average, optimiser, curve)
    parallel = DistributedDataParallel(objective) if context.world > 1 else objective
    line = Line(context.echo, budget, config.runtime.progress_seconds)
    saved = time.perf_counter()

    stream = context.bins(Position(counters.epoch, counters.step))
    while counters.num_objects < budget:
        waiting = time.perf_counter()
        item = next(stream)
        counters.seconds_data += time.perf_counter() - waiting
        batch = item.batch
        batch = _labelled(batch, context)
        noise = Noise(config.seed, item.epoch, batch.sample_ids, context.device, item.step)

        total, terms = _reduce(parallel(batch, noise), context.world)
        if not all(math.isfinite(v) for v in terms.values()):
            raise NonFiniteLossError(_non_finite(item, terms, context.folder))
        total.backward()
        optimiser.step(counters.num_objects / budget)
        counters.num_steps += 1
        average.update(counters.num_steps)

        before = counters.num_objects
        counters.num_objects += item.num_step_samples
        counters.epoch = item.epoch + item.is_last
        counters.step = 0 if item.is_last else item.step + 1
        curve.add(terms)
        if context.rank > 0:
            continue
        line.maybe(counters.num_objects, terms["loss"])
        if curve.is_due(before, counters.num_objects):
            _write_point(context, curve, average, counters.num_objects)
        if time.perf_counter() - saved > config.runtime.checkpoint_seconds:
            _save(context, config, fitted, objective, average, optimiser, curve, counters)
            saved = time.perf_counter()

    result = _result(config, context, objective, curve, counters)
    if context.rank == 0:
        _remember(context, average)
        _save(context, config, fitted, objective, average, optimiser, curve, counters)
        staged = context.folder / ".result.partial"
        staged.write_text(json.dumps(asdict(result), indent=1, sort_keys=True))
        staged.replace(context.folder / "result.json")
    return result


def finished(folder: Path) -> TrainingResult | None:
    """The result of a training that has ended, None while there is none."""
    try:
        content = json.loads((folder / "result.json").read_text())
        known = {f.name for f in fields(TrainingResult)}  # later versions may write more
        return TrainingResult(**{name: v for name, v in content.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _reduce(loss: Loss, world: int) -> tuple[Tensor, dict[str, float]]:
    """Total to differentiate on this worker, and the global value of every term.

    Total = coefficient x (sum over workers / weight over workers). DistributedDataParallel
    averages gradients over workers, hence the factor `world` on each worker's own sum.
    """
    names = list(loss.terms)
    sums = torch.stack([loss.terms[n].sum.detach().float() for n in names])
    weights = torch.stack([loss.terms[n].weight.detach().float() for n in names])
    if world > 1:
        both = torch.stack([sums, weights])
        dist.all_reduce(both)
        sums, weights = both
    weights = weights.clamp(min=1)
    coefficients = [loss.terms[n].coefficient for n in names]
    parts = [
        c * world * loss.terms[n].sum / w
        for n, c, w in zip(names, coefficients, weights.unbind(), strict=True)
    ]
    means = (sums / weights).tolist()
    values = dict(zip(names, means, strict=True))
    values["loss"] = sum(c * v for c, v in zip(coefficients, means, strict=True))
    return sum(parts[1:], start=parts[0]), values


def _non_finite(item: Bin, terms: Mapping[str, float], folder: Path) -> str:
    shown = ", ".join(item.batch.sample_ids[:3])
    bad = ", ".join(f"{name} = {value}" for name, value in terms.items())
    return (
        f"the loss is not finite at epoch {item.epoch}, step {item.step} ({bad}; samples {shown}, "
        f"...): lower optimisation.optimizer.rate or check these samples; the last checkpoint in "
        f"{folder} is kept"
    )


def _labelled(batch: PackedBatch, context: Context) -> PackedBatch:
    """On the device, with the classes of its samples where the objective learns them."""
    if context.labels:
        batch = replace(batch, label=context.labels(batch.sample_ids))
    return batch.to(context.device)


def _write_point(context: Context, curve: Curve, average: RunningAverage, seen: int) -> None:
    extra: dict[str, float] = {}
    if context.validation:
        _remember(context, average, SAMPLES_FOR_CURVE)
        shown = [_labelled(batch, context) for batch in context.validation]
        extra = validation.point(average.objective, shown)
    point = curve.write(seen, extra)
    if context.report:
        context.report({"num_objects": seen, **point})


@torch.no_grad()
def _remember(context: Context, average: RunningAverage, most: int | None = None) -> None:
    """Show the averaged objective the training samples that it asks for, `most` of them."""
    wanted = average.objective.asks_for_samples()
    if wanted and context.samples:
        average.objective.remember(context.samples(min(wanted, most or wanted)))


def _save(
    context: Context,
    config: RunConfig,
    fitted: FittedRecipe,
    objective: Objective,
    average: RunningAverage,
    optimiser: Optimiser,
    curve: Curve,
    counters: _Counters,
) -> None:
    state = checkpoint.State(
        weights=objective.state_dict(),
        ema=average.objective.state_dict(),
        optimizer=optimiser.state(),
        rng={"torch": torch.get_rng_state()},
        progress={**asdict(counters), "curve": curve.state()},
    )
    checkpoint.save(context.folder / "checkpoint", state, config, fitted)
    write_card(context.folder, config, fitted, _num_parameters(objective))


def _resume(
    context: Context,
    objective: Objective,
    average: RunningAverage,
    optimiser: Optimiser,
    curve: Curve,
) -> _Counters:
    """Load the checkpoint if there is one; only rank 0 may tidy the folder."""
    folder = context.folder / "checkpoint"
    if context.rank == 0:
        context.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.latest(folder)
    if context.world > 1:
        dist.barrier()
    if not folder.exists():
        if context.begin:
            context.begin(objective)
            average.objective.load_state_dict(objective.state_dict())
        if context.rank == 0:
            curve.resume(None, 0)
        return _Counters()
    state = checkpoint.load_state(folder)
    objective.load_state_dict(dict(state.weights))
    average.objective.load_state_dict(dict(state.ema))
    optimiser.load(state.optimizer)
    torch.set_rng_state(state.rng["torch"])
    progress = dict(state.progress)
    curve_state = progress.pop("curve")
    counters = _Counters(**progress)
    if context.rank == 0:
        curve.resume(curve_state, counters.num_objects)
        if context.echo:
            context.echo(f"resumed at {counters.num_objects:,} objects")
    return counters


def _result(
    config: RunConfig, context: Context, objective: Objective, curve: Curve, counters: _Counters
) -> TrainingResult:
    return TrainingResult(
        num_objects=counters.num_objects,
        num_steps=counters.num_steps,
        num_epochs=counters.epoch,
        num_parameters=_num_parameters(objective),
        num_workers=context.world,
        num_threads=config.runtime.num_threads,
        device=context.device,
        seconds=round(curve.seconds, 3),
        seconds_data=round(counters.seconds_data, 3),
        host=f"{platform.node()} ({os.cpu_count()} CPUs)",
        peak_bytes=peak_bytes(),
        peak_gpu_bytes=peak_gpu_bytes(),
    )


def _num_parameters(objective: Objective) -> int:
    return sum(p.numel() for p in objective.parameters() if p.requires_grad)
