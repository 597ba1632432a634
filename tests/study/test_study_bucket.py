"""Studies with their trainings in a bucket: a lost machine costs little and changes nothing.

A machine is a folder: what lies in it is not there for the next one.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from daep_ray.study import tables
from daep_ray.study.mirror import Mirror
from daep_ray.train.progress import read_curve

pytestmark = [pytest.mark.slow, pytest.mark.ray]
DRIVER = Path(__file__).with_name("driver.py")
PATIENCE_SECONDS = 600
FIRST_POINT = 500  # objects seen at the first point of the learning curve
BUDGET = 2000


def start(data: Path, machine: Path, *flags: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name in ("RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE", "RAY_ADDRESS"):
        environment.pop(name, None)
    return subprocess.Popen(
        [sys.executable, str(DRIVER), str(data), str(machine / "out"), "--short", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What a study printed; it must have ended well and quietly."""
    printed, wrong = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, wrong
    assert "Traceback" not in wrong
    assert "failed 0 of 3" in printed
    return printed


def begun(mirror: Mirror, process: subprocess.Popen[str]) -> str:
    """A training whose checkpoint in the bucket is past the first point and not the last one."""
    select = pafs.FileSelector(mirror.path(), allow_not_found=True)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for info in mirror.filesystem.get_file_info(select):
            index = mirror.index(f"{info.base_name}/training")
            seen = index.about["num_objects"] if index else 0
            if FIRST_POINT + 100 < seen < BUDGET:
                return str(info.base_name)
        assert process.poll() is None, "the study ended before it could be killed"
        time.sleep(0.05)
    raise AssertionError("no checkpoint came")


def test_a_lost_machine_is_resumed_elsewhere_and_a_third_trains_nothing(
    synthetic_shards: Path, tmp_path: Path, bucket: str
) -> None:
    finish(start(synthetic_shards, tmp_path / "undisturbed"))
    expected = tables.identity(tmp_path / "undisturbed" / "out")

    mirror, storage = Mirror.open(bucket), f"--storage={bucket}"
    lost = start(synthetic_shards, tmp_path / "lost", storage, "--hold")
    training = begun(mirror, lost)
    lost.kill()  # its training waits at 1500 objects, however slow the bucket is
    lost.wait()

    finish(start(synthetic_shards, tmp_path / "second", storage))
    assert tables.identity(tmp_path / "second" / "out") == expected
    before, after = (
        read_curve(tmp_path / machine / "trainings" / training / "metrics.jsonl")
        for machine in ("lost", "second")
    )
    assert before[0] == after[0]  # seconds included: these objects were not trained on again

    printed = finish(start(synthetic_shards, tmp_path / "third", storage))
    assert "every training is in the store already" in printed
    assert tables.identity(tmp_path / "third" / "out") == expected
    assert not list((tmp_path / "third").rglob("result.json"))
    for name in tables.NAMES:
        for path in (tmp_path / "third" / "out" / "tables").glob(f"{name}.parquet"):
            assert b"test-secret" not in path.read_bytes()
    assert "test-secret" not in (tmp_path / "third" / "out" / "run.json").read_text()
