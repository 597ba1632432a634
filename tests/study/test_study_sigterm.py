"""A study ended by SIGTERM, through Ray: one sentence, nothing left running, and it resumes.

The study is a process of its own, a command as those in `studies/`.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daep_ray.study import tables

pytestmark = [pytest.mark.slow, pytest.mark.ray]
PATIENCE_SECONDS = 600
TOLD = "error: stopped by SIGTERM: what is done is kept, start the same command again to go on\n"
COMMAND = """
from daep_ray.study.spec import Axis, StudySpec
from daep_ray.study_cli import main

def build(base, preset):
    return StudySpec(
        name="short", title="Short", question="Does it end?", expectation="It does.", base=base,
        axes=(Axis("model.bottleneck.width", [1, 2]),), models={"vae": {"objective.kind": "vae"}},
        references=("mean",),
    )

if __name__ == "__main__":
    main("short", build)
"""
SETTINGS = {
    "model.width": 16,
    "model.num_heads": 2,
    "optimisation.num_objects": 1200,
    "optimisation.token_budget": 512,
    "evaluation.max_objects": 8,
    "evaluation.num_draws": 2,
    "evaluation.num_probe_splits": 2,
}


def start(data: Path, out: Path, temporary: Path) -> subprocess.Popen[str]:
    """The command, with Ray's session in the folder `temporary`."""
    script = out.parent / "short.py"
    script.write_text(COMMAND)
    words = [sys.executable, script, "--data", data, "--out", out, "--seeds", 2]
    words += ["--modality", "photometry"]
    words += [word for path, value in SETTINGS.items() for word in ("--set", f"{path}={value}")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {"OMP_NUM_THREADS": "1", "RAY_TMPDIR": str(temporary)}
    return subprocess.Popen(
        list(map(str, words)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def wait_for_line(process: subprocess.Popen[str], part: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if part in line:
            return
    raise AssertionError(f"never said {part!r}")


def processes_with(text: str) -> list[str]:
    """Command lines of living processes in which a text is."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in words:
            found.append(words)
    return found


def check_ended(process: subprocess.Popen[str], out: Path, temporary: Path) -> None:
    """One sentence was said, and nothing of Ray's session is left, nor the lock."""
    _, wrong = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, wrong) == (143, TOLD)
    assert (out / "tables" / "cells.parquet").is_file()
    assert not (out / ".lock").exists()
    deadline = time.monotonic() + 120  # the last of Ray's processes see that their raylet is gone
    while (left := processes_with(str(temporary))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    assert list(temporary.glob("daep-*")) == []


def states(out: Path) -> list[str]:
    return [row["state"] for row in tables.read(out, "cells").to_pylist()]


def test_a_study_ends_in_one_sentence_and_resumes(
    synthetic_shards: Path, tmp_path: Path, short_folder: Path
) -> None:
    """Also when it is told twice. Where Ray's own processes are told too, Ray's C++ may end the
    driver before it can say so."""
    out, store = tmp_path / "out", tmp_path / "trainings"

    def finished() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in store.glob("*/result.json")}

    process = start(synthetic_shards, out, short_folder)
    wait_for_line(process, "[1/5]")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    check_ended(process, out, short_folder)
    assert {"done", "missing"} <= set(states(out))

    first = finished()
    process = start(synthetic_shards, out, short_folder)
    _, wrong = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, wrong) == (0, "")
    last = finished()
    assert first.items() <= last.items()  # none was trained again
    assert 1 <= len(first) < len(last) == 4
    assert states(out) == ["done"] * 5


def test_a_study_ends_so_while_ray_starts(
    synthetic_shards: Path, tmp_path: Path, short_folder: Path
) -> None:
    process = start(synthetic_shards, tmp_path / "out", short_folder)
    wait_for_line(process, "references to do")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not processes_with(str(short_folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    check_ended(process, tmp_path / "out", short_folder)
