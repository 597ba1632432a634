"""A small random survey with every feature of the declaration, written as shards."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from daep_ray.sample import Axis, Category, Modality, Record, Sample, Sequence
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.write import write_shards
from daep_ray.stream import plan as planning
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.position_chain import Reference
from daep_ray.stream.recipe import ModalityRecipe, Recipe
from daep_ray.stream.statistics import fit_recipe
from daep_ray.stream.value_chain import Arcsinh, ScaleByMedian
from daep_ray.surveys import Survey, open_survey
from tests.stream.planted import NUM_OBJECTS, Planted

# a loaded machine is slow now and then; that is no property of the code
hypothesis.settings.register_profile("stream", deadline=None, max_examples=50)
hypothesis.settings.load_profile("stream")

PHOTOMETRY = Modality(
    name="photometry",
    value=Axis("flux", "FLUXCAL"),
    positions=(Axis("time", "day", is_time=True),),
    categories=(Category("band", ("unknown", "g", "r", "i")),),
    metadata=(Axis("redshift", ""), Axis("peak", "day", is_time=True)),
)
SPECTRUM = Modality(
    name="spectrum",
    value=Axis("flux", "erg/s/cm2/Angstrom"),
    positions=(Axis("wavelength", "Angstrom"),),
    metadata=(Axis("phase", "day"), Category("instrument", ("unknown", "A", "B"))),
    extras=(Axis("truth", "erg/s/cm2/Angstrom"),),
)
RECIPE = Recipe(
    modalities={
        "photometry": ModalityRecipe(
            value=(Arcsinh(scale=5.0),),
            positions={"time": (Reference(),)},
            z_score="category:band",
        ),
        "spectrum": ModalityRecipe(
            value=(ScaleByMedian(), Arcsinh(scale=1.0)),
            metadata=("log_scale", "phase", "instrument"),
        ),
    }
)


@dataclass(frozen=True)
class FakeSurvey:
    modalities: tuple[Modality, ...]
    records: Callable[[], Iterator[Record]]
    source: dict[str, Any]


def light_curve(rng: np.random.Generator, length: int) -> Sequence:
    time = 59000 + np.sort(rng.uniform(0, 100, length))
    return Sequence(
        value=rng.normal(0, 30, length),
        error=rng.uniform(1, 10, length),
        positions={"time": time},
        categories={"band": rng.integers(1, 4, length).astype(np.int16)},
        metadata={"redshift": rng.uniform(0.01, 0.5), "peak": None},
    )


def spectrum(rng: np.random.Generator, length: int) -> Sequence:
    flux = rng.lognormal(0, 1, length) * 10.0 ** rng.uniform(-17, -14)
    return Sequence(
        value=flux,
        error=0.1 * flux,
        positions={"wavelength": np.sort(rng.uniform(3000, 9000, length))},
        metadata={
            "phase": rng.normal(0, 20) if rng.random() < 0.8 else None,
            "instrument": str(rng.choice(["A", "B"])),
        },
        extras={"truth": flux},
    )


def make_samples(num_objects: int, seed: int = 0) -> list[Sample]:
    """Objects with a light curve shared by 1 to 3 spectra; some lack one of the modalities."""
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(num_objects):
        shared = light_curve(rng, int(rng.integers(5, 60)))
        kind = rng.random()
        for epoch in range(1 if kind < 0.2 else int(rng.integers(1, 4))):
            sequences = {} if kind > 0.9 else {"photometry": shared}
            if kind > 0.2:
                sequences["spectrum"] = spectrum(rng, int(rng.integers(20, 200)))
            samples.append(Sample(f"o{number}/{epoch}", f"o{number}", sequences, {"class": "Ia"}))
    return samples


def write_survey(out: Path, samples: list[Sample], row_group_bytes: int = 20_000) -> ShardFolder:
    survey = FakeSurvey((PHOTOMETRY, SPECTRUM), lambda: iter(samples), {"format": "fake"})
    write_shards(survey, out, row_group_bytes=row_group_bytes, shard_bytes=10 * row_group_bytes)
    return ShardFolder.open(out)


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several windows per epoch instead of one."""
    monkeypatch.setattr(planning, "WINDOW_POINTS", 2000)
    monkeypatch.setattr(planning, "STEPS_PER_CHUNK", 2)
    monkeypatch.setattr(planning, "GROUPS_PER_WINDOW", 2)


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    return make_samples(300)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> ShardFolder:
    """300 objects in a few dozen row groups and several shards."""
    return write_survey(tmp_path_factory.mktemp("survey") / "data", samples)


@pytest.fixture(scope="session")
def fitted(folder: ShardFolder) -> FittedRecipe:
    return fit_recipe(folder, RECIPE)


@pytest.fixture(scope="module")
def clean() -> tuple[Survey, list[Sample]]:
    survey = open_survey("synthetic", None, {"num_objects": NUM_OBJECTS, "seed": 7})
    return survey, [r for r in survey.records() if isinstance(r, Sample)]


@pytest.fixture
def plant(
    clean: tuple[Survey, list[Sample]], tmp_path: Path
) -> Callable[[Callable[[list[Sample]], list[Sample]]], Path]:
    """Shards of the clean samples after a change."""
    survey, samples = clean

    def write(change: Callable[[list[Sample]], list[Sample]]) -> Path:
        out = tmp_path / "planted"
        shutil.rmtree(out, ignore_errors=True)
        write_shards(Planted(survey.modalities, survey.source, change(list(samples))), out)
        return out

    return write
