"""A tiny model of light curves and spectra, trained for a moment on the built-in survey."""

from pathlib import Path

import pytest

from daep_ray.config import configure
from daep_ray.pretrained import Autoencoder
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.write import write_shards
from daep_ray.surveys.synthetic import SyntheticSettings, open_synthetic
from daep_ray.train.ray_worker import fit

TINY = {
    "modalities": ["photometry", "spectrum"],
    "model.width": 16,
    "model.num_heads": 2,
    "model.mixer.num_tokens": 8,
    "model.bottleneck.length": 3,
    "model.bottleneck.width": 2,
    "optimisation.num_objects": 64,
    "runtime.validation_objects": 0,
    "evaluation.sampler.num_steps": 3,
}


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> ShardFolder:
    """80 objects in several row groups."""
    survey = open_synthetic(None, SyntheticSettings(num_objects=80, seed=3))
    out = tmp_path_factory.mktemp("pairs") / "data"
    write_shards(survey, out, row_group_bytes=100_000)
    return ShardFolder.open(out)


@pytest.fixture(scope="session")
def run(pairs: ShardFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the training."""
    out = tmp_path_factory.mktemp("run") / "pairs"
    fit(configure(pairs.manifest, "smoke", None, TINY), Path(pairs.path), out)
    return out


@pytest.fixture(scope="session")
def model(run: Path) -> Autoencoder:
    return Autoencoder.from_pretrained(run)
