"""A small survey whose truth is known, objectives that know it, and one model on two modalities."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from daep_ray.config import EvaluationConfig, RunConfig, resolve
from daep_ray.diffusion.samplers import DPMSolverConfig, OneStepConfig, SamplerConfig
from daep_ray.evaluate import maps
from daep_ray.evaluate.model import Model
from daep_ray.evaluate.run import evaluate
from daep_ray.evaluate.tables import Tables
from daep_ray.nn.config import (
    MixerConfig,
    ModelConfig,
    OneStageEncoderConfig,
    SingleStageDecoderConfig,
)
from daep_ray.objectives import build_objective
from daep_ray.objectives.base import Code, Draws, Objective
from daep_ray.sample import Axis, Category, Modality, Record, Sample, Sequence
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.write import write_shards
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.bins import evaluation_batches
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.noise import Noise
from daep_ray.stream.pack import layouts
from daep_ray.stream.position_chain import Reference
from daep_ray.stream.recipe import ModalityRecipe, Recipe
from daep_ray.stream.statistics import fit_recipe
from daep_ray.stream.value_chain import Arcsinh
from daep_ray.train.checkpoint import Trained

PHOTOMETRY = Modality(
    name="photometry",
    value=Axis("flux", "FLUXCAL"),
    positions=(Axis("time", "day", is_time=True),),
    categories=(Category("band", ("unknown", "g", "r")),),
    extras=(Axis("noiseless", "FLUXCAL"),),
)
RECIPE = Recipe(
    modalities={
        "photometry": ModalityRecipe(
            value=(Arcsinh(scale=10.0),), positions={"time": (Reference(at="first"),)}
        )
    }
)
CLASSES = ("Ia", "Ib", "II")


@dataclass(frozen=True)
class Survey:
    modalities: tuple[Modality, ...]
    records: Callable[[], Iterator[Record]]
    source: dict[str, Any]


def light_curve(rng: np.random.Generator, kind: int, length: int) -> Sequence:
    """A bump whose width is the class', in two bands."""
    time = np.sort(rng.uniform(0, 100, length))
    band = rng.integers(1, 3, length).astype(np.int16)
    clean = (50 + 20 * band) * np.exp(-0.5 * ((time - 40) / (8 + 8 * kind)) ** 2)
    return Sequence(
        value=clean + rng.normal(0, 2, length),
        error=np.full(length, 2.0),
        positions={"time": 59000 + time},
        categories={"band": band},
        extras={"noiseless": clean},
    )


def make_samples(num_objects: int, seed: int = 0) -> list[Sample]:
    """One to three light curves per object; every tenth object is of the rare class, unlabelled
    ones among them."""
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(num_objects):
        kind = 2 if number % 10 == 0 else number % 2
        label = None if number % 17 == 3 else CLASSES[kind]
        samples += [
            Sample(
                f"o{number}/{i}",
                f"o{number}",
                {"photometry": light_curve(rng, kind, int(rng.integers(5, 40)))},
                {"class": label},
            )
            for i in range(int(rng.integers(1, 4)))
        ]
    return samples


def write_survey(out: Path, samples: list[Sample]) -> ShardFolder:
    survey = Survey((PHOTOMETRY,), lambda: iter(samples), {"format": "fake"})
    write_shards(survey, out, row_group_bytes=20_000)
    return ShardFolder.open(out)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ShardFolder:
    return write_survey(tmp_path_factory.mktemp("survey") / "data", make_samples(300))


@pytest.fixture(scope="session")
def fitted(folder: ShardFolder) -> FittedRecipe:
    return fit_recipe(folder, RECIPE)


@pytest.fixture(autouse=True)
def small_map() -> Iterator[None]:
    """The map of codes has few objects: it takes half of an evaluation's time, and only its own
    tests look at it."""
    with _small_map():
        yield


@contextmanager
def _small_map() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "MOST_OBJECTS", 12)
        yield


@pytest.fixture(scope="session")
def noisy_tables(folder: ShardFolder, fitted: FittedRecipe) -> Tables:
    """Of the test split, drawn with a known noise."""
    with _small_map():
        return evaluate(trained(Oracle(0.3), fitted), folder, settings())


class Oracle(Objective):
    """Cheats: remembers the values it encodes and returns them with Gaussian noise of `sigma`.

    Its code is the sample's mean and spread.
    """

    def __init__(self, sigma: float = 0.0) -> None:
        super().__init__()
        self.sigma = sigma
        self.weight = nn.Parameter(torch.zeros(1))
        self.most_tokens = 0

    def encode(self, batch: PackedBatch) -> Code:
        sequence = batch.sequences["photometry"]
        assert sequence.value is not None
        self.seen = sequence.value
        parts = sequence.value.split(sequence.lengths.tolist())
        points = [torch.stack([p.mean(), p.std(), p.max()]) for p in parts]
        return Code(torch.stack(points)[:, None, :])

    def decode(
        self, code: Code, query: PackedBatch, sampler: SamplerConfig, num_draws: int, noise: Noise
    ) -> Draws:
        if isinstance(sampler, OneStepConfig):
            return Draws({"photometry": self.seen[None]})
        offsets = query.sequences["photometry"].offsets
        self.most_tokens = max(self.most_tokens, num_draws * len(self.seen))
        epsilon = [noise.at(k).normal("x_T", offsets) for k in range(num_draws)]
        return Draws({"photometry": self.seen + self.sigma * torch.stack(epsilon)})


def trained(objective: Objective, fitted: FittedRecipe, **settings: Any) -> Trained:
    return Trained(objective.eval(), RunConfig(modalities=("photometry",), **settings), fitted, {})


def settings(**changes: Any) -> EvaluationConfig:
    return EvaluationConfig(**{"max_objects": 100_000, "num_draws": 4, **changes})


NAMES = ("photometry", "spectrum")  # what the built-in survey has
SMALL = ModelConfig(
    width=16,
    num_heads=2,
    encoder=OneStageEncoderConfig(num_layers=1),
    mixer=MixerConfig(num_layers=1, num_tokens=2),
    decoder=SingleStageDecoderConfig(num_layers=1),
)
SETTINGS = EvaluationConfig(
    sampler=DPMSolverConfig(num_steps=2), num_draws=4, max_objects=120, probe_label=None
)


@pytest.fixture(scope="session")
def shards(synthetic_shards: Path) -> ShardFolder:
    return ShardFolder.open(synthetic_shards)


@pytest.fixture(scope="session")
def model(shards: ShardFolder) -> Trained:
    torch.manual_seed(0)
    config = resolve(RunConfig(modalities=NAMES, model=SMALL), shards.manifest)
    assert config.recipe is not None
    fitted = fit_recipe(shards, config.recipe)
    objective = build_objective(config.objective, config.model, layouts(fitted, NAMES))
    return Trained(objective.eval(), config, fitted, {})


@pytest.fixture(scope="session")
def tables(shards: ShardFolder, model: Trained) -> Tables:
    with _small_map():
        return evaluate(model, shards, SETTINGS.model_copy(update={"split": "train"}))


def of_draws(name: str, draws: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Coverage, width and CRPS at every measurement, from numpy's quantiles and all pairs."""
    ordered, num = np.sort(draws, axis=0), len(draws)
    pairs = np.abs(draws[:, None] - draws[None]).sum((0, 1)) / (num * (num - 1))
    found = {f"crps {name}": np.abs(draws - truth).mean(0) - pairs / 2}
    for level in (50, 68, 90, 95):
        low, high = np.quantile(draws, [0.5 - level / 200, 0.5 + level / 200], axis=0)
        found[f"width_{level} {name}"] = high - low
        place, weight = divmod((num - 1) * (1 - level / 100) / 2, 1)
        inside = [
            (ordered[j] <= truth) & (truth <= ordered[num - 1 - j])
            for j in (int(place), int(place) + 1)
        ]
        found[f"coverage_{level} {name}"] = (1 - weight) * inside[0] + weight * inside[1]
    return found


@pytest.fixture(scope="session")
@torch.inference_mode()
def points(shards: ShardFolder, model: Trained) -> pd.DataFrame:
    """Every measurement of the training split with the estimates of it."""
    measured, frames = Model(model.objective, SETTINGS), []
    for batch, table in evaluation_batches(
        shards, model.fitted, NAMES, "train", 2048, max_samples=120
    ):
        flats = model.fitted.apply(table, NAMES)
        estimates = measured.predict(batch)
        raw = table["spectrum.phase"].to_pylist()
        for m in NAMES:
            other = next(n for n in NAMES if n != m)
            index = np.repeat(np.arange(len(raw)), flats[m].lengths)
            days = model.fitted.invert_position(
                m, flats[m].position, flats[m], keep_reference=True
            )[:, 0]
            told = {k: v for k, v in estimates[m].items() if k != f"draws_from_{other}"}
            frames.append(
                pd.DataFrame(
                    {
                        "modality": m,
                        "object": np.array(table["object_id"])[index],
                        "sample": np.array(table["sample_id"])[index],
                        "phase": np.array(raw, float)[index],
                        "has_other": (flats[other].lengths > 0)[index],
                        "days": days,
                        "place": flats[m].position[:, 0],
                        "band": flats[m].category[:, 0] if m == "photometry" else 0,
                        **{
                            f"square {k}": ((v - flats[m].value) ** 2).mean(0)
                            for k, v in told.items()
                        },
                        **{f"off {k}": np.abs(v - flats[m].value).mean(0) for k, v in told.items()},
                        **{f"signed {k}": (v - flats[m].value).mean(0) for k, v in told.items()},
                        **of_draws("draws", estimates[m]["one_draw"], flats[m].value),
                        **of_draws(
                            f"from_{other}", estimates[m][f"draws_from_{other}"], flats[m].value
                        ),
                    }
                )
            )
    return pd.concat(frames)
