"""A tiny survey of two modalities, made in memory, for the tests of the shards."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daep_ray.sample import Axis, Category, Modality, Record, Sample, Sequence
from daep_ray.shards.write import write_shards

SPECTRUM = Modality(
    "spectrum",
    Axis("flux", ""),
    (Axis("wavelength", "Angstrom"),),
    metadata=(Axis("phase", "day"), Category("instrument", ("unknown", "red", "blue"))),
    has_error=False,
)
PHOTOMETRY = Modality(
    "photometry",
    Axis("flux", "uJy"),
    (Axis("time", "day", is_time=True),),
    categories=(Category("band", ("unknown", "g", "r")),),
    extras=(Axis("truth", "uJy"),),
)


@dataclass
class FakeSurvey:
    """What `write_shards` needs of a survey; `format` and `source` as a reader would give them."""

    contents: list[Record]
    modalities: tuple[Modality, ...] = (SPECTRUM, PHOTOMETRY)
    format: str = "fake"
    source: dict[str, Any] = field(default_factory=lambda: {"format": "fake"})

    def records(self) -> Iterator[Record]:
        yield from self.contents


def light_curve(length: int, seed: int = 0, **changes: Any) -> Sequence:
    rng = np.random.default_rng(seed)
    parts: dict[str, Any] = {
        "value": rng.normal(size=length),
        "positions": {"time": 59000 + rng.uniform(0, 100, length)},
        "error": rng.uniform(0.1, 1, length),
        "categories": {"band": rng.integers(0, 3, length).astype(np.int16)},
        "extras": {"truth": rng.normal(size=length)},
    }
    return Sequence(**(parts | changes))


def spectrum(length: int, seed: int = 0, **changes: Any) -> Sequence:
    rng = np.random.default_rng(seed)
    parts: dict[str, Any] = {
        "value": rng.normal(size=length),
        "positions": {"wavelength": rng.uniform(3000, 9000, length)},
        "metadata": {"phase": -3.5, "instrument": "blue"},
    }
    return Sequence(**(parts | changes))


def some_samples(num: int, prefix: str = "s") -> list[Record]:
    """Two samples per object, sharing its light curve; every fifth sample has no spectrum."""
    samples: list[Record] = []
    for i in range(num):
        sequences = {"photometry": light_curve(3 + i // 2 % 7, seed=i // 2)}
        if i % 5:
            sequences["spectrum"] = spectrum(4 + i % 11, seed=i)
        labels: dict[str, str | float | None] = {"redshift": 0.01 * i}
        labels["class"] = "Ia" if i // 2 % 3 else "II"
        samples.append(Sample(f"{prefix}{i}", f"{prefix}-object{i // 2}", sequences, labels))
    return samples


@pytest.fixture(scope="session")
def make_survey() -> Callable[..., FakeSurvey]:
    return FakeSurvey


@pytest.fixture(scope="session")
def make() -> Any:
    """The builders above, by name (test files cannot import each other)."""

    class Builders:
        pass

    builders = Builders()
    for builder in (light_curve, spectrum, some_samples):
        setattr(builders, builder.__name__, builder)
    return builders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound ingest of 60 samples in several shards with several row groups each."""
    survey = FakeSurvey(some_samples(60))
    write_shards(survey, tmp_path / "data", row_group_bytes=2000, shard_bytes=6000)
    return tmp_path / "data"
