"""A study as a real Ray job, with token authentication, as `cluster/README.md` says."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from daep_ray.shards.ingest import ingest
from tests.ray_head import RAY, ROOT, Head, write_token

pytestmark = [pytest.mark.slow, pytest.mark.ray]

TINY = {
    "model.width": 16,
    "model.num_heads": 2,
    "optimisation.num_objects": 64,
    "evaluation.max_objects": 5,
    "evaluation.num_draws": 2,
}


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


def test_a_stopped_study_says_so_and_leaves_its_tables(
    head: Head, data: Path, tmp_path: Path
) -> None:
    words = words_of_study(data, tmp_path / "study")
    words[words.index(f"optimisation.num_objects={TINY['optimisation.num_objects']}")] = (
        "optimisation.num_objects=4000"
    )
    said: list[str] = []
    with subprocess.Popen(
        head.command(*words), cwd=ROOT, env=head.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if "[ 1/11]" in line:
                (job,) = set(re.findall(r"raysubmit_\w+", "".join(said)))
                stop = [RAY, "job", "stop", "--address", head.address, job]
                subprocess.run(stop, env=head.environment, check=True, capture_output=True)
    assert re.search(r"^error: stopped by SIGTERM: what is done is kept", "".join(said), re.M)
    states = pq.read_table(tmp_path / "study" / "tables" / "cells.parquet")["state"].to_pylist()
    assert "done" in states
    assert "missing" in states


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
    refused = replace(head, environment=bare).submit("python", "-c", "1")
    assert refused.returncode != 0
    assert "Authentication" in refused.stdout + refused.stderr
