"""Generated objects: at whose places, of which class, and what the distances are between."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from daep_ray.config import RunConfig
from daep_ray.diffusion.samplers import DDIMConfig, SamplerConfig
from daep_ray.errors import ConfigError
from daep_ray.evaluate import generation
from daep_ray.evaluate.classifier import Classifier, ClassifierConfig
from daep_ray.evaluate.frechet import NULL
from daep_ray.evaluate.generation import (
    GAUSSIAN,
    MEAN,
    OTHERS,
    OWN,
    PRIOR,
    TOLD,
    Generator,
    gaussian_codes,
    generated_sets,
    judged,
    others_codes,
)
from daep_ray.evaluate.labelled import Labelled, labelled
from daep_ray.nn.config import BottleneckConfig, ModelConfig
from daep_ray.objectives.base import Code, Draws, Objective
from daep_ray.objectives.prior import Prior, PriorConfig
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.noise import Noise
from daep_ray.stream.pack import layouts
from daep_ray.train.checkpoint import Trained

M = "photometry"
CLASSES = ("II", "Ia", "Ib")


class Levels(Objective):
    """A code is a sequence's mean and spread; it is decoded as noise of that mean and spread."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def encode(self, batch: PackedBatch) -> Code:
        sequence = batch.sequences[M]
        parts = sequence.value.split(sequence.lengths.tolist())
        return Code(torch.stack([torch.stack([p.mean(), p.std()]) for p in parts])[:, None])

    def decode(
        self, code: Code, query: PackedBatch, sampler: SamplerConfig, num_draws: int, noise: Noise
    ) -> Draws:
        sequence = query.sequences[M]
        assert sequence.value is None, "a query shows no values"
        mean, spread = code.point[sequence.sample_index, 0].unbind(1)
        return Draws({M: (mean + spread * noise.normal("x", sequence.offsets))[None]})


class Faultless(Levels):
    """Knows every object by name and decodes it as it is."""

    def __init__(self, known: Labelled) -> None:
        super().__init__()
        values = known.sequence.value.split(known.sequence.lengths.tolist())
        self.values = dict(zip(known.sample_ids, values, strict=True))

    def decode(
        self, code: Code, query: PackedBatch, sampler: SamplerConfig, num_draws: int, noise: Noise
    ) -> Draws:
        return Draws({M: torch.cat([self.values[name] for name in query.sample_ids])[None]})


def generator(parent: Objective, classes: tuple[str, ...] = CLASSES) -> Generator:
    torch.manual_seed(0)
    config = PriorConfig(width=8, num_heads=2, num_layers=1, classes=classes)
    model = ModelConfig(bottleneck=BottleneckConfig(length=1, width=2))
    return Generator(Prior(config, model, parent).eval(), M, DDIMConfig(num_steps=3))


@pytest.fixture(scope="module")
def training(folder: ShardFolder, fitted: FittedRecipe) -> Labelled:
    return labelled(folder, fitted, M, "train")


@pytest.fixture(scope="module")
def places(folder: ShardFolder, fitted: FittedRecipe) -> Labelled:
    return labelled(folder, fitted, M, "test")


@pytest.fixture(scope="module")
def classifier(fitted: FittedRecipe) -> Classifier:
    """Of random weights: what is tested does not hang on what it has learnt."""
    torch.manual_seed(1)
    config = ClassifierConfig(num_features=3, width=16, num_heads=2, num_layers=1, num_latents=2)
    made = Classifier(config, layouts(fitted, (M,))[M], CLASSES)
    return made.eval().requires_grad_(False)


def test_objects_stand_at_the_places_and_are_of_the_class_asked_for(places: Labelled) -> None:
    asked = ["Ib"] * len(places)
    drawn = generator(Levels()).objects(places, asked)
    assert drawn.sample_ids == places.sample_ids
    assert drawn.classes.tolist() == asked
    for name in ("position", "category", "offsets"):
        assert torch.equal(getattr(drawn.sequence, name), getattr(places.sequence, name))
    assert drawn.sequence.error is None
    assert not torch.equal(drawn.sequence.value, places.sequence.value)


def test_an_object_hangs_on_neither_its_company_nor_the_parts(
    places: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = generator(Levels())
    expected = ours.objects(places, places.classes.tolist())
    monkeypatch.setattr(generation, "PART", 7)
    found = ours.objects(places, places.classes.tolist())
    torch.testing.assert_close(found.sequence.value, expected.sequence.value)
    few = places.take(np.array([11, 4]))
    alone = ours.objects(few, few.classes.tolist()).sequence.value
    torch.testing.assert_close(alone, expected.take(np.array([11, 4])).sequence.value)
    other = replace(ours, seed=1).objects(places, places.classes.tolist())
    assert not torch.equal(other.sequence.value, found.sequence.value)


def test_the_class_asked_for_reaches_the_prior(places: Labelled) -> None:
    ours = generator(Levels())
    with torch.no_grad():  # a new denoiser ignores its label
        for parameter in ours.prior.denoiser.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(parameter.numel()))
    codes = [ours.drawn_codes(places, [name] * len(places)) for name in CLASSES]
    assert not torch.equal(codes[0], codes[1])
    mixed = ours.drawn_codes(places, places.classes.tolist())
    for i, name in enumerate(places.classes):
        torch.testing.assert_close(mixed[i], codes[CLASSES.index(name)][i])
    with pytest.raises(ConfigError, match="'Ic' is unknown"):
        ours.objects(places, ["Ic"] * len(places))


def test_gaussian_codes_have_the_codes_moments() -> None:
    rng = np.random.default_rng(0)
    codes = torch.from_numpy(rng.normal(size=(50, 2, 3)) @ rng.normal(size=(3, 3))).float()
    drawn = gaussian_codes(codes, 200_000, 0).flatten(1).double().numpy()
    flat = codes.flatten(1).double().numpy()
    covariance = np.cov(flat.T)
    spread = np.sqrt(np.diag(covariance))
    assert (np.abs(drawn.mean(0) - flat.mean(0)) < 5 * spread / 200_000**0.5).all()
    tolerance = 5 * np.sqrt(2) * np.outer(spread, spread) / 200_000**0.5
    assert (np.abs(np.cov(drawn.T) - covariance) < tolerance).all()


@pytest.mark.parametrize(("num", "most"), [(6, 1), (10, 1), (25, 3)])
def test_codes_of_others_come_as_evenly_as_they_can(num: int, most: int) -> None:
    codes: Tensor = torch.arange(10.0).view(10, 1, 1)
    found = others_codes(codes, num, 0).flatten().tolist()
    counts = [found.count(code) for code in set(found)]
    assert len(found) == num
    assert set(found) <= set(codes.flatten().tolist())
    assert max(counts) == most
    assert len(counts) == min(num, 10)


def test_every_set_has_its_name_and_the_mean_is_nothing(
    training: Labelled, places: Labelled
) -> None:
    sets = dict(generated_sets(generator(Levels()), training, places))
    assert list(sets) == [OWN, OTHERS, GAUSSIAN, PRIOR, TOLD, MEAN]
    assert not sets[MEAN].sequence.value.any()
    assert all(s.sample_ids == places.sample_ids for s in sets.values())
    unasked = dict(generated_sets(generator(Levels(), ()), training, places))
    assert list(unasked) == [OWN, OTHERS, GAUSSIAN, PRIOR, MEAN]


def test_a_faultless_parent_is_at_the_null_exactly(
    classifier: Classifier, training: Labelled, places: Labelled
) -> None:
    found = judged(classifier, generator(Faultless(places)), training, places, 5)
    by_name = {d.name: d for d in found.distances}
    assert by_name[OWN].excess == 0.0
    assert by_name[OWN].mean == by_name[NULL].mean > 0
    assert by_name[MEAN].excess > 0
    assert found.recognised[OWN] == found.recognised["real"]
    assert found.encoder == classifier.fingerprint


def test_what_draws_no_objects_of_one_modality_is_refused(fitted: FittedRecipe) -> None:
    ours = generator(Levels()).prior
    with pytest.raises(ConfigError, match="'daep' draws no objects: train a prior"):
        Generator.of(Trained(Levels(), RunConfig(modalities=(M,)), fitted, {}))
    with pytest.raises(ConfigError, match="photometry, spectrum: objects are compared in one"):
        Generator.of(Trained(ours, RunConfig(modalities=(M, "spectrum")), fitted, {}))
    assert Generator.of(Trained(ours, RunConfig(modalities=(M,)), fitted, {})).modality == M
