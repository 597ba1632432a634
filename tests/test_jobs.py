"""A study as a real Ray job, with token authentication, as `cluster/README.md` says."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from daep_ray.shards.ingest import ingest

pytestmark = [pytest.mark.slow, pytest.mark.ray]

ROOT = Path(__file__).resolve().parent.parent
RAY = Path(sys.executable).with_name("ray")
START_SECONDS, STOP_SECONDS, JOB_SECONDS = 120, 60, 400
TINY = {
    "model.width": 16,
    "model.num_heads": 2,
    "optimisation.num_objects": 64,
    "evaluation.max_objects": 5,
    "evaluation.num_draws": 2,
}


@dataclass(frozen=True)
class Head:
    """A running head: where jobs are submitted, with which environment."""

    address: str
    environment: dict[str, str]

    def submit(self, *words: object, token: str | None = None) -> subprocess.CompletedProcess[str]:
        """`ray job submit` from the repository; `token` instead of the head's own."""
        environment = dict(self.environment)
        if token is not None:
            environment["RAY_AUTH_TOKEN_PATH"] = token
        command = [RAY, "job", "submit", "--address", self.address, "--working-dir", ".", "--"]
        return subprocess.run(
            [*map(str, command), *map(str, words)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=JOB_SECONDS,
            check=False,
        )


def free_ports(num: int) -> list[int]:
    """Ports that nobody has now, outside those that Ray gives to workers."""
    sockets = [socket.socket() for _ in range(num)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def write_token(path: Path) -> Path:
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))
    return path


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head of our own in a folder with a short name, ended by its pid."""
    folder = Path(tempfile.mkdtemp(prefix="rj", dir="/tmp"))
    ours = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment = ours | {
        # a job's `python` is looked up on the PATH that the head was started with
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),  # no token of the user's is read, none is left behind
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(write_token(folder / "token")),
    }
    port, dashboard, agent, client = free_ports(4)
    command = [
        *(str(RAY), "start", "--head", "--block", "--node-ip-address=127.0.0.1"),
        *(f"--port={port}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
        *(f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"),
        *("--num-cpus=2", f"--object-store-memory={200 * 2**20}", f"--temp-dir={folder}"),
        "--disable-usage-stats",
    ]
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for(dashboard, process, folder / "head.log")
        yield Head(f"http://127.0.0.1:{dashboard}", environment)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()
            shutil.rmtree(folder, ignore_errors=True)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no dashboard after {START_SECONDS} s: {log.read_text()}")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs") / "data"
    ingest("synthetic", None, folder, {"num_objects": 120})
    return folder


def words_of_study(data: Path, out: Path) -> list[str]:
    words = ["python", "studies/bottleneck_sweep.py", "--preset", "smoke", "--seeds", "1"]
    words += ["--data", str(data), "--modality", "photometry", "--out", str(out)]
    return [*words, *(w for path, v in TINY.items() for w in ("--set", f"{path}={v}"))]


def test_a_submitted_study_leaves_its_tables_and_report(
    head: Head, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    done = head.submit(*words_of_study(data, out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Job 'raysubmit_\w+' succeeded", done.stdout + done.stderr)
    cells = pq.read_table(out / "tables" / "cells.parquet")
    assert set(cells["state"].to_pylist()) == {"done"}
    assert set(cells["model"].to_pylist()) == {"daep", "vae", "pca", "mean", "gp"}
    assert (out / "report" / "index.html").stat().st_size > 10_000

    again = head.submit(*words_of_study(data, out))
    assert again.returncode == 0, again.stdout + again.stderr
    assert "every training is in the store already" in again.stdout


def test_a_relative_out_is_refused_with_the_reason(head: Head, data: Path) -> None:
    done = head.submit(*words_of_study(data, Path("runs/job")))
    assert done.returncode == 1
    told = done.stdout + done.stderr
    assert "is relative, and a Ray job runs in a temporary copy" in told
    assert "Traceback" not in told
    assert not (ROOT / "runs" / "job").exists()


def test_without_the_token_nothing_is_submitted(head: Head, tmp_path: Path) -> None:
    wrong = write_token(tmp_path / "wrong")
    done = head.submit("python", "-c", "1", token=str(wrong))
    assert done.returncode != 0
    assert re.search(r"[Aa]uthentication|Forbidden|Unauthorized", done.stdout + done.stderr)
    bare = {k: v for k, v in head.environment.items() if not k.startswith("RAY_AUTH")}
    bare["HOME"] = str(tmp_path)
    refused = Head(head.address, bare).submit("python", "-c", "1")
    assert refused.returncode != 0
    assert "Authentication" in refused.stdout + refused.stderr
