"""Ray Train as a caller of the loop: same results as in process, resumes after a killed worker."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from daep_ray.config import RunConfig
from daep_ray.errors import ConfigError
from daep_ray.settings import override
from daep_ray.train import checkpoint
from daep_ray.train.progress import read_curve
from daep_ray.train.ray_worker import fit

pytestmark = [pytest.mark.slow, pytest.mark.ray]


def config(**overrides: object) -> RunConfig:
    dotted = {k.replace("__", "."): v for k, v in overrides.items()}
    tiny = {
        "model.width": 16,
        "model.num_heads": 2,
        "model.encoder.num_layers": 1,
        "model.decoder.num_layers": 1,
        "model.decoder.num_latents": 4,
        "optimisation.num_objects": 600,
        "optimisation.token_budget": 512,
        "optimisation.optimizer.kind": "adamw",
        "runtime.validation_objects": 4,
        "runtime.num_curve_points": 4,
    }
    return override(RunConfig(modalities=("photometry",)), {**tiny, **dotted})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load_state(folder / "checkpoint").ema)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(("num_workers", "stream"), [(1, "ray"), (2, "ray")])
def test_workers_learn_what_one_process_learns(
    num_workers: int, stream: str, synthetic_shards: Path, tmp_path: Path
) -> None:
    here = fit(config(), synthetic_shards, tmp_path / "here")
    c = config(runtime__num_workers=num_workers, runtime__stream=stream)
    there = fit(c, synthetic_shards, tmp_path / "there")
    assert there.num_workers == num_workers
    assert there.num_objects == here.num_objects
    assert there.num_steps == here.num_steps
    ours, theirs = weights(tmp_path / "here"), weights(tmp_path / "there")
    for name, tensor in ours.items():
        if num_workers == 1:
            assert torch.equal(tensor, theirs[name]), name
        else:  # sums in another order; AdamW turns rounding of tiny gradients into steps of 2.5e-4
            torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=2e-3)
    curves = [read_curve(tmp_path / name / "metrics.jsonl") for name in ("here", "there")]
    for a, b in zip(*curves, strict=True):
        assert a["train/loss"] == pytest.approx(b["train/loss"], rel=1e-3)


@pytest.mark.usefixtures("ray_session")
def test_a_killed_worker_comes_back_and_ends_with_the_same_bits(
    synthetic_shards: Path, tmp_path: Path
) -> None:
    whole = config(optimisation__num_objects=3000)
    fit(whole, synthetic_shards, tmp_path / "whole")
    c = config(
        optimisation__num_objects=3000,
        runtime__num_workers=1,
        runtime__stream="ray",
        runtime__checkpoint_seconds=0.0,
    )
    folder = tmp_path / "killed"
    killed: list[int] = []
    killer = threading.Thread(target=kill_once, args=(folder, killed), daemon=True)
    killer.start()
    fit(c, synthetic_shards, folder)
    killer.join(1)
    assert killed, "no worker was killed: the test proved nothing"
    ours = weights(tmp_path / "whole")
    theirs = weights(folder)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def kill_once(folder: Path, killed: list[int]) -> None:
    """SIGKILL the Ray worker that trains, as soon as it has left a checkpoint."""
    while not (folder / "checkpoint" / "progress.json").exists():
        time.sleep(0.05)
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it is an earlier test's, on its way out
            command, pid = entry.read_bytes().decode(errors="replace"), int(entry.parent.name)
            if command.startswith("ray::") and "RayTrainWorker" in command and is_ours(pid):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)


def is_ours(pid: int) -> bool:
    """Whether this process, or one that it started, started that one."""
    while pid not in (0, os.getpid()):
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
        pid = int(after_name.split()[1])  # its parent
    return pid == os.getpid()


@pytest.mark.usefixtures("ray_session")
def test_a_gpu_that_is_not_there_is_one_sentence(synthetic_shards: Path, tmp_path: Path) -> None:
    c = config(runtime__num_workers=1, runtime__device="cuda")
    with pytest.raises(ConfigError, match="no GPU"):
        fit(c, synthetic_shards, tmp_path / "run")


def test_a_killed_driver_resumes(synthetic_shards: Path, tmp_path: Path) -> None:
    """`kill -9` of the process that trains, then the same command again."""
    script = (
        "import sys; from pathlib import Path; from daep_ray.config import RunConfig;"
        "from daep_ray.train.ray_worker import fit; import json;"
        "fit(RunConfig.parse(json.loads(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))"
    )
    c = config(optimisation__num_objects=3000, runtime__checkpoint_seconds=0.0)
    text = c.model_dump_json()
    fit(c, synthetic_shards, tmp_path / "whole")
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", script, text, str(synthetic_shards), str(folder)]
    process = subprocess.Popen(command)
    while not (folder / "checkpoint" / "progress.json").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not (folder / "result.json").exists(), "it had ended before the kill"
    result = fit(c, synthetic_shards, folder)
    assert result.num_objects >= 3000
    ours, theirs = weights(tmp_path / "whole"), weights(folder)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
