"""Designs for the study tests: small models on the built-in survey."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs
import pytest
from moto.server import ThreadedMotoServer

from daep_ray.config import RunConfig
from daep_ray.settings import override
from daep_ray.shards.manifest import Manifest
from daep_ray.shards.read import ShardFolder
from daep_ray.study.spec import Axis, StudySpec

TINY = {
    "modalities": ["photometry"],
    "model.width": 16,
    "model.num_heads": 2,
    "model.encoder.num_layers": 1,
    "model.decoder.num_layers": 1,
    "model.decoder.num_latents": 4,
    "optimisation.num_objects": 200,
    "optimisation.token_budget": 1024,
    "evaluation.max_objects": 8,
    "evaluation.num_draws": 2,
    "evaluation.sampler.num_steps": 2,
    "evaluation.num_probe_splits": 2,
    "runtime.validation_objects": 4,
    "runtime.num_curve_points": 3,
}


@pytest.fixture(scope="session")
def manifest(synthetic_shards: Path) -> Manifest:
    return ShardFolder.open(synthetic_shards).manifest


@pytest.fixture
def spec() -> StudySpec:
    """2 models x 2 codes x 2 seeds, 3 references."""
    return StudySpec(
        name="small",
        title="Small",
        question="Does it run?",
        expectation="It does.",
        base=override(RunConfig(), TINY),
        axes=(Axis(("model.bottleneck.length", "model.bottleneck.width"), [(1, 2), (2, 2)]),),
        models={"daep": {"objective.kind": "daep"}, "vae": {"objective.kind": "vae"}},
        seeds=(0, 1),
        references=("pca", "mean"),
    )


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short path, as Ray's sockets need."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """HOST:PORT of a server that speaks S3, on this machine."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Address of an empty prefix in a bucket; with credentials, and none but them."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    files = pyarrow.fs.S3FileSystem(
        endpoint_override=s3_server,
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
        request_timeout=60.0,  # the server's first answer waits for its imports
    )
    files.create_dir("studies")
    return f"s3://studies/{tmp_path.name}?endpoint_override={s3_server}&scheme=http"
