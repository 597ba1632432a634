"""A small survey whose truth is known, and objectives that know it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from daep_ray.config import EvaluationConfig, RunConfig
from daep_ray.diffusion.samplers import OneStepConfig, SamplerConfig
from daep_ray.objectives.base import Code, Draws, Objective
from daep_ray.sample import Axis, Category, Modality, Record, Sample, Sequence
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.write import write_shards
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.noise import Noise
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
