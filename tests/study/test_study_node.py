"""A machine of the cluster is killed in the middle of a study: another one goes on where it was.

The store lies in a folder that both machines see; the study's driver and the head live on.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from daep_ray.shards.read import ShardFolder
from daep_ray.study import tables
from daep_ray.study.launch import run_study
from daep_ray.study.lock import read_holder
from daep_ray.study.spec import cells
from daep_ray.study.store import Store
from daep_ray.study.trial import run_trial, trials
from daep_ray.train.progress import read_curve
from tests.ray_head import Head, family, kill_machine, second_node
from tests.study import driver

pytestmark = [pytest.mark.slow, pytest.mark.ray]
PATIENCE_SECONDS = 600
FIRST_POINT = 500  # objects seen at the first point of the learning curve
NUM_POINTS_HELD = 3


def start(head: Head, data: Path, out: Path) -> subprocess.Popen[str]:
    """The short study on the cluster; each of its trainings waits for a file `go`."""
    flags = ("--short", "--hold", f"--address={head.cluster}")
    return subprocess.Popen(
        [sys.executable, driver.__file__, str(data), str(out), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**head.environment, "OMP_NUM_THREADS": "1"},
    )


def wait_for(process: subprocess.Popen[str], is_so: Callable[[], bool]) -> None:
    """Look until it is so, while the study runs."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert process.poll() is None, "the study ended before it came to that"
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)


def seen(folder: Path) -> int:
    """Objects that a training's checkpoint has seen, 0 before there is one."""
    try:
        return int(json.loads((folder / "checkpoint" / "progress.json").read_text())["num_objects"])
    except OSError:
        return 0


def held(store: Path) -> dict[str, int]:
    """Fingerprint and process of the trainings that wait, past their first point."""
    found = {}
    for lock in (store / ".locks").glob("*"):
        folder, holder = store / lock.name, read_holder(lock)
        num_points = len(read_curve(folder / "metrics.jsonl"))
        if holder and num_points == NUM_POINTS_HELD and seen(folder) > FIRST_POINT:
            found[lock.name] = holder.pid
    return found


def without_ray(data: Path, out: Path) -> str:
    """The identity of the study's tables when nobody disturbs it, trained one after the other."""
    spec, manifest = driver.study(False, False, True), ShardFolder.open(data).manifest
    for trial in trials(cells(spec.resolved(manifest), manifest)):
        run_trial(trial, data, Store(out.parent / "trainings"))
    assert run_study(spec, data, out).num_reused == 3
    return tables.identity(out)


def test_another_machine_goes_on_with_what_a_killed_one_was_training(
    head: Head, synthetic_shards: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    out, store = tmp_path / "killed" / "out", tmp_path / "killed" / "trainings"
    with second_node(head, tmp_path) as node:
        process = start(head, synthetic_shards, out)
        request.addfinalizer(process.kill)  # where this fails, it would wait for ten minutes
        expected = without_ray(synthetic_shards, tmp_path / "whole" / "out")  # it waits for us
        wait_for(process, lambda: len(held(store)) == 2)  # one on each machine
        on_node = family(node)
        (lost,) = [name for name, pid in held(store).items() if pid in on_node]
        (kept,) = held(store).keys() - {lost}
        (store / kept / "go").touch()
        finished = store / kept / "result.json"
        wait_for(process, finished.is_file)
        ended, at_kill = finished.stat().st_mtime_ns, seen(store / lost)
        before = read_curve(store / lost / "metrics.jsonl")
        kill_machine(node)
    assert not (store / lost / "result.json").exists()
    (store / lost / "go").touch()

    printed, wrong = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, wrong
    assert "Traceback" not in wrong
    assert "failed 0 of 3" in printed
    assert finished.stat().st_mtime_ns == ended  # not trained again
    after = read_curve(store / lost / "metrics.jsonl")
    whole = [point for point in before if point["num_objects"] <= at_kill]
    assert whole
    assert after[: len(whole)] == whole  # seconds included: the rest alone was trained again
    assert len(after) == 4
    assert tables.identity(out) == expected
