"""The benchmark runs: a table for people, one line of JSON, bars told as met or not."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

STUDIES = Path(__file__).resolve().parent.parent.parent / "studies"


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    path = STUDIES / "benchmark" / "measure.py"
    spec = importlib.util.spec_from_file_location("benchmark_measure", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_bar_is_met_or_not(measure: ModuleType) -> None:
    assert measure.Row("p", "rate", 3.0, "", 2.0).verdict == "at least 2: yes"
    assert measure.Row("p", "rate", 1.0, "", 2.0).verdict == "at least 2: NO"
    assert measure.Row("p", "cost", 1.0, "", 2.0, is_at_least=False).verdict == "at most 2: yes"
    assert measure.Row("p", "rate", 1.0, "").verdict == ""


def test_work_is_counted_in_what_the_matmul_does_meanwhile(
    measure: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a matmul rate of 50 GFLOP/s, a call of 2 s and one of 4 s cost 100 and 200 GFLOP."""
    now = 0.0

    def wait(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(measure, "matmul_rate", lambda num=2: 50.0)
    monkeypatch.setattr(measure.time, "perf_counter", lambda: now)
    short, long = measure.timed([lambda: wait(2.0), lambda: wait(4.0)], repeats=3)
    assert (short.seconds, short.gflop) == (2.0, 100.0)
    assert (long.seconds, long.gflop, long.matmul_rate) == (4.0, 200.0, 50.0)


@pytest.mark.slow
def test_parts_run_and_end_in_a_line_of_json() -> None:
    words = ["--quick", "--threads", "1", "--only", "packing,training,help"]
    done = subprocess.run(
        [sys.executable, str(STUDIES / "throughput.py"), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    *table, last = done.stdout.splitlines()
    rows = json.loads(last)["rows"]
    assert {row["part"] for row in rows} == {"packing", "training", "help"}
    assert all(row["value"] > 0 for row in rows)
    assert all(any(row["what"] in line for line in table) for row in rows)


def test_an_unknown_part_is_refused() -> None:
    words = [sys.executable, str(STUDIES / "throughput.py"), "--only", "speed"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "'speed'" in done.stderr
