"""Ray Train as one caller of the loop: a `TorchTrainer` with 0..n workers. [ray]

With `runtime.num_workers` 0 the loop runs in the caller's process (Ray Train's local mode, no
cluster, 0.03 s); with more, each worker executes its share of the plan. The training folder, not
Ray, is the truth: started again on it, a killed training resumes and a finished one returns.
"""

import json
import logging
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from ray.train import DataConfig, FailureConfig, ScalingConfig
from ray.train import RunConfig as RayRunConfig
from ray.train.torch import TorchTrainer

from daep_ray.config import RunConfig
from daep_ray.errors import ConfigError, UserError
from daep_ray.stream.bins import Bin, Position, make_plan
from daep_ray.stream.ray_stream import bins_from_dataset, dataset_name, rank_datasets
from daep_ray.train import checkpoint
from daep_ray.train.loop import Context, TrainingResult, finished, train
from daep_ray.train.parent import beginning, class_codes
from daep_ray.train.prepare import (
    Prepared,
    claim,
    is_streamed,
    local_stream,
    prepare,
    training_samples,
    validation_batches,
)
from daep_ray.train.progress import read_curve


def fit(
    config: RunConfig,
    data: Path,
    folder: Path,
    *,
    report: Callable[[dict[str, Any]], None] | None = None,
    echo: Callable[[str], None] | None = None,
) -> TrainingResult:
    """Train on the shards in `data`, leaving everything in `folder`; resumes by itself.

    Raises:
        UserError: one sentence about data, settings, storage, or a loss that is not finite.
    """
    folder = Path(folder).absolute()
    prepared = prepare(config, Path(data).absolute())
    claim(folder, prepared)
    result = finished(folder)
    if result is not None:
        checkpoint.check(folder / "checkpoint")
        return result
    if prepared.config.runtime.num_workers == 0:
        return _fit_here(prepared, folder, report, echo)
    return _fit_on_workers(prepared, folder, report, echo)


def _device(config: RunConfig) -> str:
    wanted = config.runtime.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("runtime.device is cuda but no GPU is visible: use cpu or auto")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def _fit_here(
    prepared: Prepared,
    folder: Path,
    report: Callable[[dict[str, Any]], None] | None,
    echo: Callable[[str], None] | None,
) -> TrainingResult:
    """Ray Train's local mode: the loop runs in this process, no cluster is started."""

    def loop(_: dict[str, Any]) -> TrainingResult:
        device = _device(prepared.config)
        context = Context(
            folder=folder,
            bins=local_stream(prepared, 0, 1),
            validation=validation_batches(prepared, device),
            samples=training_samples(prepared, device),
            begin=beginning(prepared, device),
            labels=class_codes(prepared),
            device=device,
            report=report,
            echo=echo,
        )
        return train(prepared.config, prepared.fitted, context)

    logging.getLogger("ray.train").setLevel(logging.WARNING)
    trainer = TorchTrainer(loop, scaling_config=ScalingConfig(num_workers=0))
    return trainer.fit().return_value


def _fit_on_workers(
    prepared: Prepared,
    folder: Path,
    report: Callable[[dict[str, Any]], None] | None,
    echo: Callable[[str], None] | None,
) -> TrainingResult:
    """A group of Ray Train workers, one rank each; a lost worker restarts the group."""
    config = prepared.config
    world = config.runtime.num_workers
    device = _device_of_cluster(config)
    has_stream = is_streamed(config, prepared.shards)
    trainer = TorchTrainer(
        _rank_loop,
        train_loop_config={
            "config": config.model_dump(mode="json"),
            "data": str(prepared.shards.path),
            "folder": str(folder),
            "device": device,
            "start": _progress(folder),
        },
        scaling_config=ScalingConfig(
            num_workers=world,
            use_gpu=device == "cuda",
            resources_per_worker={"CPU": config.runtime.num_threads} if device == "cpu" else None,
        ),
        run_config=RayRunConfig(
            name=prepared.fingerprint,
            storage_path=str(folder / "ray"),
            failure_config=FailureConfig(
                max_failures=config.runtime.max_failures,
                controller_failure_limit=config.runtime.max_failures,
            ),
        ),
        datasets=_datasets(prepared, folder) if has_stream else None,
        dataset_config=_in_planned_order(),
    )
    if echo:
        echo(f"training on {world} Ray workers ({device})")
    outcome = trainer.fit().return_value
    if isinstance(outcome, str):  # a UserError's sentence: retrying would not help
        raise ConfigError(outcome)
    for point in read_curve(folder / "metrics.jsonl") if report else []:
        assert report is not None
        report(dict(point))
    return outcome


def _in_planned_order() -> DataConfig:
    """Every rank gets its own datasets whole; a trainer's options replace the datasets' own."""
    options = DataConfig.default_ingest_options()
    options.preserve_order = True
    return DataConfig(datasets_to_split=[], execution_options=options)


def _rank_loop(settings: dict[str, Any]) -> TrainingResult | str:
    """What each Ray Train worker runs; returns a sentence where the user can put it right."""
    config = RunConfig.parse(settings["config"])
    folder = Path(settings["folder"])
    try:
        prepared = prepare(config, Path(settings["data"]))
        world_context = ray.train.get_context()
        rank, world = world_context.get_world_rank(), world_context.get_world_size()
        device = "cpu"
        if settings["device"] == "cuda":
            device = str(ray.train.torch.get_device())
        if is_streamed(prepared.config, prepared.shards):
            bins = _ray_stream(prepared, rank, world, Position(*settings["start"]))
        else:
            bins = local_stream(prepared, rank, world)
        context = Context(
            folder=folder,
            bins=bins,
            validation=validation_batches(prepared, device) if rank == 0 else [],
            samples=training_samples(prepared, device),
            begin=beginning(prepared, device),
            labels=class_codes(prepared),
            rank=rank,
            world=world,
            device=device,
            echo=_print if rank == 0 else None,
        )
        return train(prepared.config, prepared.fitted, context)
    except UserError as error:
        return str(error)


def _plan_arguments(prepared: Prepared) -> dict[str, Any]:
    config = prepared.config
    return {
        "split": "train",
        "seed": config.seed,
        "token_budget": config.optimisation.token_budget,
    }


def _num_epochs(prepared: Prepared, start: Position) -> int:
    """Epochs that the rest of the budget can touch, from `start`'s own on."""
    config = prepared.config
    arguments = _plan_arguments(prepared)
    plan, _ = make_plan(prepared.shards, prepared.fitted, config.modalities, **arguments)
    bounds = zip(plan.groups.start, plan.groups.stop, strict=True)
    num_samples = sum(len(plan.eligible(*pair)[0]) for pair in bounds)
    return math.ceil(config.optimisation.num_objects / num_samples) - start.epoch + 1


def _progress(folder: Path) -> tuple[int, int]:
    """(epoch, step) of the checkpoint, the beginning where there is none."""
    try:
        progress = json.loads((folder / "checkpoint" / "progress.json").read_text())
        return progress["epoch"], progress["step"]
    except (OSError, ValueError, KeyError):
        return 0, 0


def _datasets(prepared: Prepared, folder: Path) -> dict[str, Any]:
    """One continuous dataset per rank over all remaining epochs."""
    start = Position(*_progress(folder))
    return rank_datasets(
        prepared.shards.path,
        prepared.fitted.to_json(),
        prepared.config.modalities,
        world=prepared.config.runtime.num_workers,
        start=start,
        num_epochs=_num_epochs(prepared, start),
        **_plan_arguments(prepared),
    )


def _ray_stream(
    prepared: Prepared, rank: int, world: int, begin: Position
) -> Callable[[Position], Iterator[Bin]]:
    """The rank's dataset begins at `begin`; a restarted group skips what is done since."""

    def bins(start: Position) -> Iterator[Bin]:
        shard = ray.train.get_dataset_shard(dataset_name(rank))
        tables = shard.iter_batches(batch_format="pyarrow", batch_size=None)
        stream = bins_from_dataset(
            tables,
            prepared.shards,
            prepared.fitted,
            prepared.config.modalities,
            rank=rank,
            world=world,
            start=begin,
            num_epochs=_num_epochs(prepared, begin),
            **_plan_arguments(prepared),
        )
        for item in stream:
            if (item.epoch, item.step) >= (start.epoch, start.step):
                yield item

    return bins


def _print(line: str) -> None:
    """A worker's standard output is what Ray forwards to the driver."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _device_of_cluster(config: RunConfig) -> str:
    """`auto` means GPUs where the cluster has some, wherever the driver runs."""
    has_gpu = ray.is_initialized() and ray.cluster_resources().get("GPU", 0) > 0
    wanted = config.runtime.device
    if wanted == "cuda" and not has_gpu:
        raise ConfigError("runtime.device is cuda but the Ray cluster has no GPU: use cpu or auto")
    return "cuda" if has_gpu and wanted != "cpu" else "cpu"
