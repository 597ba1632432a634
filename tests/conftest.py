"""Fixtures that every part shares."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from daep_ray.study.session import OBJECT_STORE_BYTES, prepare_environment, temporary_folder
from tests.ray_head import Head, running_head

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("untimed")
prepare_environment(None)  # Ray reads its environment while it is imported

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


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray session for every test that needs one: starting it costs seconds."""
    import ray

    ray.init(
        address="local",
        num_cpus=8,  # logical: worker groups and their datasets must fit (they would wait for ever)
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level="ERROR",
        _node_ip_address="127.0.0.1",
        _temp_dir=str(temporary_folder()),
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    """A Ray head that takes jobs, one for every test that submits some."""
    with running_head() as found:
        yield found
