"""How many network evaluations does a draw need?

Design: one trained daep, some test objects, every solver at several numbers of steps, all on the
same noise. Error of the mean of draws and of one draw (mean absolute, z units, per point), and how
often the draws' range holds the measured value: with K draws of the right distribution the next
one lies between the smallest and the largest with probability (K - 1) / (K + 1). The measured
value carries noise that a reconstruction does not have, so some of the shortfall is honest.
Answer: the fewest evaluations from which on both errors are within 2 % of 200 DDIM steps, per
solver (studies/README.md).
Cost: about 3 minutes per 1,000 evaluations for 40 spectra of 128 points on one core.

    python studies/few_steps.py RUN DATA
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from daep_ray.cli import run_app
from daep_ray.diffusion.samplers import (
    DDIMConfig,
    DPMSolverConfig,
    OneStepConfig,
    SamplerConfig,
    UniPCConfig,
    num_evaluations,
)
from daep_ray.errors import ConfigError
from daep_ray.objectives.denoising import Denoising
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.bins import evaluation_batches
from daep_ray.stream.noise import Noise
from daep_ray.train.checkpoint import Trained, load_model

STEPS = (3, 5, 8, 10, 15, 20, 40)
REFERENCE = DDIMConfig(num_steps=200)  # the paper's
CLOSE = 0.02


def solvers() -> Iterator[SamplerConfig]:
    """The reference first, then every solver from few steps to many."""
    yield REFERENCE
    yield OneStepConfig()
    for steps in STEPS:
        yield DDIMConfig(num_steps=steps)
        yield DDIMConfig(num_steps=steps, grid="log_snr")
        yield DPMSolverConfig(num_steps=steps)
        yield UniPCConfig(num_steps=steps)
        yield UniPCConfig(num_steps=steps, order=3)


def name_of(sampler: SamplerConfig) -> str:
    """`ddim, log_snr`, `unipc 3`."""
    settings = sampler.model_dump()
    grid = settings.get("grid") if sampler.kind == "ddim" else None
    return (
        sampler.kind
        + (f" {settings['order']}" if "order" in settings else "")
        + (f", {grid}" if grid else "")
    )


@torch.inference_mode()
def measure(
    trained: Trained, shards: ShardFolder, sampler: SamplerConfig, num_objects: int, num_draws: int
) -> dict[str, Any]:
    """Errors and coverage of one sampler."""
    objective = trained.objective
    assert isinstance(objective, Denoising)
    mean, one, inside, points = 0.0, 0.0, 0, 0
    names = tuple(trained.config.modalities)
    for batch, _ in evaluation_batches(
        shards, trained.fitted, names, "test", 2048, max_samples=num_objects
    ):
        noise = Noise(0, 0, batch.sample_ids)
        answer = objective.decode(objective.encode(batch), batch.query(), sampler, num_draws, noise)
        for modality, draws in answer.values.items():
            truth = batch.sequences[modality].value
            assert truth is not None
            mean += float((draws.mean(0) - truth).abs().sum())
            one += float((draws - truth).abs().mean(0).sum())
            inside += int(((draws.amin(0) <= truth) & (truth <= draws.amax(0))).sum())
            points += len(truth)
    return {
        "solver": name_of(sampler),
        "evaluations": num_evaluations(sampler, objective.schedule),
        "mean of draws": mean / points,
        "one draw": one / points,
        "inside": inside / points,
    }


def is_close(row: dict[str, Any], reference: dict[str, Any]) -> bool:
    """Both errors within 2 % of the reference's."""
    return all(abs(row[k] / reference[k] - 1) <= CLOSE for k in ("mean of draws", "one draw"))


def settled(rows: list[dict[str, Any]], reference: dict[str, Any]) -> int | None:
    """The fewest evaluations from which on a solver is close: one that passes by is not there."""
    fewest = None
    for row in sorted(rows, key=lambda r: r["evaluations"], reverse=True):
        if not is_close(row, reference):
            break
        fewest = row["evaluations"]
    return fewest


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a trained daep.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Its shards.")],
    objects: Annotated[int, typer.Option(min=1, help="Test samples.")] = 40,
    draws: Annotated[int, typer.Option(min=2)] = 8,
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Error and calibration against network evaluations, every solver on the same noise."""
    torch.set_num_threads(threads)
    trained, shards = load_model(run), ShardFolder.open(data)
    if not isinstance(trained.objective, Denoising):
        kind = trained.config.objective.kind
        raise ConfigError(f"{str(run)!r} holds a {kind!r}, which has no sampler: give a daep")
    ideal = (draws - 1) / (draws + 1)
    print(f"| solver | evaluations | mean of {draws} draws | one draw | inside ({ideal:.2f}) |")
    print("|---|---:|---:|---:|---:|")
    found = []
    for sampler in solvers():
        row = measure(trained, shards, sampler, objects, draws)
        numbers = (row["mean of draws"], row["one draw"], row["inside"])
        text = " | ".join(np.format_float_positional(n, 3, fractional=True) for n in numbers)
        print(f"| {row['solver']} | {row['evaluations']} | {text} |", flush=True)
        found.append(row)
    reference = found[0]
    for solver in dict.fromkeys(row["solver"] for row in found[1:]):
        fewest = settled([r for r in found[1:] if r["solver"] == solver], reference)
        print(f"{solver}: {fewest or 'never'} within {CLOSE:.0%} of {name_of(REFERENCE)} 200")
    print(json.dumps(found))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(command)
    raise SystemExit(run_app(app, None))
