"""`daep-ray evaluate`: the tables of a trained model, of shards of any size.

In: a training's folder or address, and shards. Out: the tables as Parquet and the metrics printed,
the same numbers for any number of workers. Heavy imports are inside.
"""

import functools
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daep_ray.cli_use import Address, Data, Out, Run
from daep_ray.errors import ConfigError

if TYPE_CHECKING:
    from daep_ray.config import RunConfig
    from daep_ray.evaluate.blocks import Started
    from daep_ray.evaluate.tables import Tables
    from daep_ray.shards.read import ShardFolder
    from daep_ray.train.checkpoint import Trained

PROGRESS_SECONDS = 10.0

Workers = Annotated[
    int, typer.Option(min=0, help="Ray Data workers, a model each; 0: in this process.")
]
Split = Annotated[
    str | None, typer.Option(metavar="NAME", help="train, validation or test; default: test.")
]
All = Annotated[
    bool, typer.Option("--all", help="Measure every sample, not evaluation.max_objects of them.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a setting; may be repeated."),
]


def evaluate(
    run: Run,
    data: Data,
    out: Out,
    split: Split = None,
    every: All = False,
    workers: Workers = 0,
    address: Address = None,
    settings: Set = None,
) -> None:
    """Measure a trained model on held-out objects.

    Writes the tables as Parquet and prints the metrics, the same for any number of workers. What
    was interrupted goes on when it is started again.

    \b
    daep-ray evaluate runs/snid data/snid --out runs/snid/test --set evaluation.num_draws=16
    daep-ray evaluate runs/snid data/snid --out runs/snid/whole --all --workers 4
    """
    import torch

    from daep_ray.cli import output_folder
    from daep_ray.cli_tables import metrics_table, write_tables
    from daep_ray.evaluate.blocks import BlockJob, start
    from daep_ray.pretrained import load_trained
    from daep_ray.shards.read import ShardFolder
    from daep_ray.study.session import check_reachable

    if address is not None:
        if workers == 0:
            raise ConfigError("--address names a cluster, and --workers 0 uses none: say how many")
        check_reachable(address)
    folder, trained = ShardFolder.open(data.absolute()), load_trained(run)
    config = _asked(trained, folder, split, every, settings)
    torch.set_num_threads(config.runtime.num_threads)  # as its workers would
    job = BlockJob(output_folder(out), config.evaluation, config.objective)
    started = start(trained, folder, job)
    typer.echo(_measuring(started))
    tables = _computed(started, run, data, workers, address)
    write_tables(tables, out)
    typer.echo(metrics_table(tables["metrics"]))
    typer.echo(f"tables: {out}")
    _write_card(run, trained, config, tables, folder)


def _asked(
    trained: "Trained",
    folder: "ShardFolder",
    split: str | None,
    every: bool,
    settings: Sequence[str] | None,
) -> "RunConfig":
    """The configuration with what may be asked of a trained model."""
    from daep_ray.settings import override, parse_assignment

    assignments = dict(parse_assignment(text) for text in settings or ())
    _refuse_training(trained.config.objective.unread.in_training, assignments)
    if split is not None:
        assignments["evaluation.split"] = split
    if every:
        assignments["evaluation.max_objects"] = sum(shard.rows for shard in folder.manifest.shards)
    return override(trained.config, assignments)


def _refuse_training(of_inference: Sequence[str], assignments: Mapping[str, Any]) -> None:
    """A trained model's settings are facts, those of inference apart."""
    for path in assignments:
        if not f"{path}.".startswith(("evaluation.", *(f"{own}." for own in of_inference))):
            allowed = " and ".join(["evaluation.*", *of_inference])
            raise ConfigError(
                f"--set {path} would change a training that is over: only {allowed} may be set"
            )


def _measuring(started: "Started") -> str:
    """One line: how much of what is measured."""
    asked, there = started.num_samples, started.blocks.num_samples
    split = started.job.evaluation.split
    if asked == there:
        return f"measuring all {there:,} samples of {split}"
    return f"measuring {asked:,} of {there:,} samples of {split} (--all: every one)"


def _computed(
    started: "Started", run: str, data: Path, workers: int, address: str | None
) -> "Tables":
    from daep_ray.evaluate.blocks import PartWriter, compute_here
    from daep_ray.evaluate.gather import gather

    if workers == 0:
        compute_here(started, _Progress())
        return gather(started)
    from daep_ray.study.session import address_of_cluster, prepare_environment

    prepare_environment(address_of_cluster(address))  # before Ray is imported
    from daep_ray.cli_workers import ray_jobs
    from daep_ray.evaluate.jobs import compute_on_workers
    from daep_ray.pretrained import load_trained
    from daep_ray.study.address import is_address

    # a worker's working folder is another one
    place = run if is_address(run) else str(Path(run).absolute())
    about = (data.absolute(), started.job, started.prepared)
    make = functools.partial(PartWriter, load_trained, place, *about)
    num_threads = started.num_threads
    with ray_jobs(workers, num_threads, address):
        compute_on_workers(started.missing(), make, workers, num_threads, _Progress())
    return gather(started)


def _write_card(
    run: str, trained: "Trained", config: "RunConfig", tables: "Tables", folder: "ShardFolder"
) -> None:
    """Tell the training's card what was measured, where there is one."""
    from daep_ray.train.card import Measured, write_card
    from daep_ray.train.loop import finished

    result = finished(Path(run))
    if result is not None and os.access(run, os.W_OK):
        measured = Measured(tables["metrics"].to_pylist(), folder.manifest.hash)
        card = write_card(Path(run), config, trained.fitted, result.num_parameters, measured)
        typer.echo(f"card: {card}")


class _Progress:
    """A line every few seconds."""

    def __init__(self) -> None:
        self.told = time.monotonic()

    def __call__(self, done: int, num: int) -> None:
        if time.monotonic() - self.told > PROGRESS_SECONDS:
            self.told = time.monotonic()
            typer.echo(f"{done:,} of {num:,} parts")
