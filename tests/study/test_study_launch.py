"""Studies through Ray: killed at any point they end with the same tables and no repeated training.

Every study here is a process of its own (`driver.py`), because the tests kill it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from daep_ray.study import tables
from daep_ray.study.lock import read_holder

pytestmark = [pytest.mark.slow, pytest.mark.ray]
DRIVER = Path(__file__).with_name("driver.py")
PATIENCE_SECONDS = 600


@dataclass
class Running:
    """A study that runs."""

    process: subprocess.Popen[str]
    out: Path

    @property
    def store(self) -> Path:
        return self.out.parent / "trainings"

    def worker_in_training(self) -> tuple[str, int]:
        """Fingerprint and process of a training that has a checkpoint and is not finished."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for lock in (self.store / ".locks").glob("*"):
                folder, holder = self.store / lock.name, read_holder(lock)
                has_begun = (folder / "checkpoint" / "progress.json").is_file()
                if holder and has_begun and not (folder / "result.json").exists():
                    return lock.name, holder.pid
            assert self.process.poll() is None, "the study ended before it could be killed"
            time.sleep(0.02)
        raise AssertionError("no training began")

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        """Look until it is so, while the study runs."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            assert self.process.poll() is None, "the study ended before it could be killed"
            assert time.monotonic() < deadline, "it never came to that"
            time.sleep(0.02)

    def wait(self) -> str:
        """What the study printed; it must have ended well and quietly."""
        printed, wrong = self.process.communicate(timeout=PATIENCE_SECONDS)
        assert self.process.returncode == 0, wrong
        assert "Traceback" not in wrong
        return printed


def start(data: Path, out: Path, *flags: str) -> Running:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # a session of its own, with a token of its own
    for name in ("RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE", "RAY_ADDRESS"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, str(DRIVER), str(data), str(out), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    return Running(process, out)


@pytest.fixture(scope="module")
def undisturbed(synthetic_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Running:
    """The study as it is when nobody kills anything."""
    running = start(synthetic_shards, tmp_path_factory.mktemp("undisturbed") / "out")
    assert "failed 0 of 5" in running.wait()
    return running


def finished(store: Path) -> dict[str, int]:
    """When each training of a store ended (nanoseconds)."""
    return {p.parent.name: p.stat().st_mtime_ns for p in store.glob("*/result.json")}


def test_a_killed_worker_goes_on_from_its_checkpoint(
    synthetic_shards: Path, tmp_path: Path, undisturbed: Running
) -> None:
    running = start(synthetic_shards, tmp_path / "out")
    training, worker = running.worker_in_training()
    progress = running.store / training / "checkpoint" / "progress.json"
    at_kill = json.loads(progress.read_text())["num_objects"]
    os.kill(worker, signal.SIGKILL)
    printed = running.wait()
    assert at_kill > 0
    assert "failed 0 of 5" in printed
    assert tables.identity(running.out) == tables.identity(undisturbed.out)


def test_a_driver_killed_three_times_repeats_no_training_and_ends_with_the_same_tables(
    synthetic_shards: Path, tmp_path: Path, undisturbed: Running
) -> None:
    """In its first training, in one after others, and when the last of them has just ended."""

    def in_a_later_one(running: Running) -> None:
        running.wait_for(lambda: len(finished(running.store)) >= 1)
        running.worker_in_training()

    moments: dict[str, Callable[[Running], object]] = {
        "in the first": Running.worker_in_training,
        "in a later one": in_a_later_one,
        "at the end": lambda running: running.wait_for(lambda: len(finished(running.store)) == 4),
    }
    done: list[dict[str, int]] = []
    for wait in moments.values():
        running = start(synthetic_shards, tmp_path / "out")
        wait(running)
        running.process.kill()
        running.process.wait()
        done.append(finished(running.store))
        # at the end it may have come to writing them
        assert len(done) == 3 or not (running.out / "tables").exists()
    assert [len(found) for found in done] == sorted(len(found) for found in done)
    assert len(done[0]) <= len(done[1]) < 4
    assert len(done[1]) >= 1

    assert "failed 0 of 5" in start(synthetic_shards, tmp_path / "out").wait()
    after = finished(tmp_path / "trainings")
    assert len(after) == 4
    for found in done:
        assert {t: after[t] for t in found} == found  # none was trained again
    assert tables.identity(tmp_path / "out") == tables.identity(undisturbed.out)
    for name in tables.NAMES:  # the tables, not only their hash
        ours, theirs = tables.read(tmp_path / "out", name), tables.read(undisturbed.out, name)
        kept = [c for c in ours.column_names if not tables.is_passing(c)]
        assert ours.select(kept).equals(theirs.select(kept)), name


def test_another_study_reuses_the_store_and_failures_are_shown(
    synthetic_shards: Path, undisturbed: Running
) -> None:
    before = finished(undisturbed.store)
    running = start(synthetic_shards, undisturbed.out.with_name("broken"), "--broken")
    printed = running.wait()
    # one code of both models and the mean are there; the broken model fails, twice, and is told
    assert "1 trainings and 0 references to do" in printed
    assert "failed 1 of 4, reused 3" in printed
    assert "failed: the loss is not finite" in printed
    assert {t: n for t, n in finished(undisturbed.store).items() if t in before} == before
    rows = tables.read(running.out, "cells").to_pylist()
    assert [(r["model"], r["state"]) for r in rows] == [
        ("daep", "done"),
        ("vae", "done"),
        ("broken", "failed"),
        ("mean", "done"),
    ]
    assert rows[2]["reason"].startswith("the loss is not finite at epoch 0")


def test_optuna_samples_settings_and_a_finished_search_is_not_repeated(
    synthetic_shards: Path, tmp_path: Path
) -> None:
    printed = start(synthetic_shards, tmp_path / "out", "--search").wait()
    assert "3 of 3 settings to try with Optuna" in printed
    assert "failed 0 of 4," in printed  # three settings, no two of them the same, and the mean
    identity = tables.identity(tmp_path / "out")
    before = finished(tmp_path / "trainings")
    again = start(synthetic_shards, tmp_path / "out", "--search").wait()
    assert "0 of 3 settings to try with Optuna" in again
    assert finished(tmp_path / "trainings") == before
    assert tables.identity(tmp_path / "out") == identity
