"""Fixtures that every part shares."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real survey archives beside the repository; absent on most machines."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real survey archives are not beside the repository (../shared/data)")
    return folder


@pytest.fixture(scope="session")
def synthetic_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 120 objects of the built-in survey, photometry and spectra; do not write to it."""
    from daep_ray.shards.ingest import ingest

    out = tmp_path_factory.mktemp("synthetic") / "shards"
    ingest("synthetic", None, out, {"num_objects": 120, "seed": 3})
    return out
