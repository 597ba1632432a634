"""A store in a bucket: what one machine did another finds, resumes and never repeats.

A machine is a local folder here: to be on another machine is to have another one.
"""

import json
import pickle
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daep_ray.errors import StorageError
from daep_ray.shards.manifest import Manifest
from daep_ray.study import trial as trial_module
from daep_ray.study.collect import collect
from daep_ray.study.mirror import Mirror
from daep_ray.study.shared_store import SharedStore, open_store
from daep_ray.study.spec import StudySpec, cells
from daep_ray.study.store import Store
from daep_ray.study.tables import identity
from daep_ray.study.trial import Trial, run_trial, trials

PATIENCE_SECONDS = 120  # for what a thread does beside us
WHOLE_DAY = 86_400.0


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror.open(f"file://{tmp_path}/bucket")


@pytest.fixture
def work(spec: StudySpec, manifest: Manifest) -> Trial:
    """One training, one evaluation."""
    one = replace(spec, seeds=(0,), models={"vae": {"objective.kind": "vae"}}, references=())
    return trials(cells(one, manifest))[0]


@pytest.fixture
def no_fit(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From now on nothing may be trained; tells who asked."""
    asked: list[str] = []

    def refuse(*_: Any, **__: Any) -> None:
        asked.append("fit")
        raise AssertionError("trained again")

    monkeypatch.setattr(trial_module, "fit", refuse)
    return asked


def test_another_machine_finds_what_was_done_and_makes_the_same_tables(
    work: Trial, synthetic_shards: Path, tmp_path: Path, mirror: Mirror
) -> None:
    first = SharedStore(tmp_path / "first", mirror)
    assert not run_trial(work, synthetic_shards, first).is_reused
    first.note_trial(work.training, 0.5)
    collect(work.cells, first, tmp_path / "out1", {})

    second = SharedStore(tmp_path / "second", mirror)
    assert not second.has(work.cells[0])
    assert run_trial(work, synthetic_shards, second).is_reused
    collect(work.cells, second, tmp_path / "out2", {})
    assert identity(tmp_path / "out1") == identity(tmp_path / "out2")
    assert second.seconds_ray(work.training) == 0.5
    assert second.curve(work.training) == first.curve(work.training)
    # small files alone came: the checkpoint is for who needs it
    assert not (second.training(work.training) / "checkpoint").exists()
    assert not (second.training(work.training) / "result.json").exists()


def test_a_new_evaluation_uses_the_buckets_checkpoint(
    work: Trial,
    synthetic_shards: Path,
    tmp_path: Path,
    mirror: Mirror,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_trial(work, synthetic_shards, SharedStore(tmp_path / "first", mirror))
    cell = work.cells[0]
    changed = cell.config.model_copy(
        update={"evaluation": cell.config.evaluation.model_copy(update={"num_draws": 3})}
    )
    more = Trial(work.training, (replace(cell, config=changed, evaluation="another"),))
    second = SharedStore(tmp_path / "second", mirror)
    fit = trial_module.fit
    monkeypatch.setattr(
        trial_module, "fit", lambda *a, **k: replace(fit(*a, **k), seconds=WHOLE_DAY)
    )
    outcome = run_trial(more, synthetic_shards, second)
    assert second.has(more.cells[0])
    assert outcome.seconds_training < WHOLE_DAY / 2  # this attempt's, not those of the training
    ours, theirs = (
        json.loads((tmp_path / which / work.training / "result.json").read_text())
        for which in ("first", "second")
    )
    assert ours == theirs  # seconds included: it was not trained again


def test_a_look_writes_nothing_where_it_fetches_nothing(
    work: Trial, synthetic_shards: Path, tmp_path: Path, mirror: Mirror
) -> None:
    run_trial(work, synthetic_shards, SharedStore(tmp_path / "first", mirror))
    store = SharedStore(tmp_path / "none", mirror)
    store.look(work.cells, fetches=False)
    assert store.has(work.cells[0])
    assert not (tmp_path / "none").exists()


def test_a_last_push_that_fails_is_told_and_made_good(
    work: Trial,
    synthetic_shards: Path,
    tmp_path: Path,
    mirror: Mirror,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = SharedStore(tmp_path / "first", mirror)

    def gone(*_: Any, **__: Any) -> None:
        raise StorageError("the bucket is full")

    with monkeypatch.context() as patch:
        patch.setattr(Mirror, "publish", gone)
        with pytest.raises(StorageError, match="the bucket is full"):
            run_trial(work, synthetic_shards, store)
    assert not store.has(work.cells[0])
    assert store.failure(work.training) == "the bucket is full"
    result = store.training(work.training) / "result.json"
    before = result.read_bytes()  # nothing is lost here

    run_trial(work, synthetic_shards, store)
    assert store.has(work.cells[0])
    assert store.failure(work.training) is None
    assert mirror.get(f"{work.training}/failure.json") is None
    assert result.read_bytes() == before


def test_results_that_only_this_machine_has_are_shared_when_looked_for(
    work: Trial,
    synthetic_shards: Path,
    tmp_path: Path,
    mirror: Mirror,
    request: pytest.FixtureRequest,
) -> None:
    run_trial(work, synthetic_shards, Store(tmp_path / "first"))
    request.getfixturevalue("no_fit")
    store = SharedStore(tmp_path / "first", mirror)
    store.look(work.cells)
    assert store.has(work.cells[0])
    assert mirror.index(f"{work.training}/training") is not None
    shutil.rmtree(tmp_path / "first")
    assert run_trial(work, synthetic_shards, store).is_reused


def test_a_failure_on_one_machine_is_read_on_another(
    work: Trial, synthetic_shards: Path, tmp_path: Path, mirror: Mirror, no_fit: list[str]
) -> None:
    with pytest.raises(AssertionError):
        run_trial(work, synthetic_shards, SharedStore(tmp_path / "first", mirror))
    driver = SharedStore(tmp_path / "second", mirror)
    driver.look(work.cells)
    assert driver.failure(work.training) == "AssertionError: trained again"
    assert no_fit == ["fit"]


def test_checkpoints_are_shared_while_it_trains_and_the_next_machine_goes_on(
    work: Trial, synthetic_shards: Path, tmp_path: Path, mirror: Mirror
) -> None:
    """Stopped in the middle; the local folder is lost with the machine."""
    undisturbed = Store(tmp_path / "undisturbed")
    run_trial(_often_saved(work), synthetic_shards, undisturbed)
    store = SharedStore(tmp_path / "first", mirror)

    class Killed(BaseException):
        pass

    def kill(point: dict[str, Any]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while mirror.index(f"{work.training}/training") is None and time.monotonic() < deadline:
            time.sleep(0.05)
        raise Killed

    with pytest.raises(Killed):
        run_trial(_often_saved(work), synthetic_shards, store, kill)
    index = mirror.index(f"{work.training}/training")
    assert index is not None
    assert 0 < index.about["num_objects"] < work.config.optimisation.num_objects
    assert not index.about["is_finished"]

    second = SharedStore(tmp_path / "second", mirror)
    second.bring(work.training)
    assert second._local(work.training) == (False, index.about["num_objects"])
    run_trial(_often_saved(work), synthetic_shards, second)
    weights = "checkpoint/ema.safetensors"
    assert (second.training(work.training) / weights).read_bytes() == (
        undisturbed.training(work.training) / weights
    ).read_bytes()
    for store_, out in ((undisturbed, "out1"), (second, "out2")):
        collect(work.cells, store_, tmp_path / out, {})
    assert identity(tmp_path / "out1") == identity(tmp_path / "out2")


def _often_saved(work: Trial) -> Trial:
    cell = work.cells[0]
    runtime = cell.config.runtime.model_copy(update={"checkpoint_seconds": 0.0})
    return Trial(
        work.training, (replace(cell, config=cell.config.model_copy(update={"runtime": runtime})),)
    )


def test_a_push_that_fails_meanwhile_is_one_warning(
    work: Trial,
    synthetic_shards: Path,
    tmp_path: Path,
    mirror: Mirror,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = SharedStore(tmp_path / "first", mirror)
    run_trial(work, synthetic_shards, store)
    (store.training(work.training) / "result.json").unlink()
    progress = store.training(work.training) / "checkpoint" / "progress.json"
    tries = []

    def gone(*_: Any, **__: Any) -> None:
        tries.append(1)
        raise StorageError("the bucket is full")

    monkeypatch.setattr(Mirror, "publish", gone)
    monkeypatch.setattr("daep_ray.study.shared_store._RETRY_SECONDS", 0.05)

    def train() -> None:
        with store.following(work.training):
            for num_objects in (1001, 1002):
                progress.write_text(json.dumps({"num_objects": num_objects}))
                deadline = time.monotonic() + PATIENCE_SECONDS
                while len(tries) < num_objects - 1000 and time.monotonic() < deadline:
                    time.sleep(0.02)

    with pytest.warns(UserWarning, match="the bucket is full; the training goes on") as told:
        train()
    assert len(tries) >= 2
    assert len(told) == 1


def test_a_store_travels_to_another_machine_into_a_folder_of_its_own(
    work: Trial,
    synthetic_shards: Path,
    tmp_path: Path,
    mirror: Mirror,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = SharedStore(tmp_path / "here", mirror)
    assert pickle.loads(pickle.dumps(driver)).root == tmp_path / "here"
    packed = pickle.dumps(driver)
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: "elsewhere")
        patch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
        worker = pickle.loads(packed)
        assert worker.root.parent == tmp_path / "temporary"
        run_trial(work, synthetic_shards, worker)
        # the bucket has it: the disk that was lent is free again
        assert not (worker.training(work.training) / "checkpoint").exists()
    assert not driver.has(work.cells[0])
    driver.look(work.cells)
    assert driver.has(work.cells[0])
    assert dict(driver.results(work.cells[0]))["metrics"].num_rows > 0
    assert len(driver.curve(work.training)) == work.config.runtime.num_curve_points


def test_a_place_is_a_folder_or_an_address(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "study"
    assert str(open_store(None, out)) == str(tmp_path / "runs" / "trainings")
    assert str(open_store(tmp_path / "x", out)) == str(tmp_path / "x")
    there = open_store(f"file://{tmp_path}/bucket", out)
    assert str(there) == f"file://{tmp_path}/bucket"
    assert there.root == tmp_path / "runs" / "trainings"
