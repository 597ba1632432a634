"""What other tools are shown of a study: Optuna's dashboard and TensorBoard."""

import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from daep_ray.errors import ConfigError
from daep_ray.shards.manifest import Manifest
from daep_ray.shards.read import ShardFolder
from daep_ray.study import tables
from daep_ray.study.axes import Target
from daep_ray.study.collect import collect
from daep_ray.study.spec import Axis, Range, StudySpec, cells
from daep_ray.study.state import Study
from daep_ray.study.store import Facts, Store
from daep_ray.study.track import Tracking, trackers
from daep_ray.study.track_optuna import OptunaStorage
from daep_ray.study.tracked import Point, Training, trainings

ERROR = "validation/absolute_error"
SIMPLE = {
    "name": "simple",
    "question": "Which?",
    "models": {"daep": {}, "vae": {}},
    "axes": [
        {"path": "model.width", "values": [16, 32]},
        {"path": "recipe.chain", "values": [["log"], None]},
        {"path": "optimisation.rate", "values": [0.001, 0.1], "is_log": True},
    ],
}


def training(number: int, error: float | None, **changes: Any) -> Training:
    """A finished training with two points of its curve."""
    curve = [Point(10, {"train/loss": 2.0}), Point(20, {"train/loss": 1.0})]
    if error is not None:
        curve = [
            Point(p.num_objects, p.values | {ERROR: error * 20 / p.num_objects}) for p in curve
        ]
    settings = {"model.width": 16, "recipe.chain": ["log"], "optimisation.rate": 0.01}
    made = Training(f"{number:016x}", "vae", number, 4, settings, "done", "", 2.0, tuple(curve))
    return replace(made, **changes)


def opened(path: Path) -> optuna.Study:
    return optuna.load_study(study_name=None, storage=f"sqlite:///{path}")


def storage(path: Path, *targets: Target) -> OptunaStorage:
    return OptunaStorage(path, SIMPLE, targets or (Target(ERROR),))


def test_optuna_reads_every_training_and_its_best(tmp_path: Path) -> None:
    stopped = training(2, 0.1, state="stopped", reason="stopped at 20 objects", seconds=None)
    failed = training(3, None, state="failed", reason="no", seconds=None, curve=())
    waiting = training(4, None, state="missing", reason="", seconds=None, curve=())
    given = [training(0, 0.5), training(1, 0.3), stopped, failed, waiting]
    storage(tmp_path / "o.db").show(given)
    found = opened(tmp_path / "o.db")
    assert found.study_name == "simple"
    assert found.best_trial.user_attrs["fingerprint"] == given[1].fingerprint
    assert found.best_value == 0.3
    assert [t.state.name for t in found.trials] == [
        "COMPLETE",
        "COMPLETE",
        "PRUNED",
        "FAIL",
        "WAITING",
    ]
    best = found.best_trial
    assert best.params == {
        "model": "vae",
        "model.width": 16,
        "recipe.chain": '["log"]',
        "optimisation.rate": 0.01,
    }
    assert best.intermediate_values == {10: 0.6, 20: 0.3}
    assert (best.user_attrs["seed"], best.user_attrs["seconds"]) == (1, 2.0)
    assert best.duration == timedelta(seconds=2)
    assert found.trials[2].user_attrs["reason"] == "stopped at 20 objects"


def test_several_targets_have_their_directions_and_a_front(tmp_path: Path) -> None:
    targets = (Target(ERROR), Target("num_floats"), Target("train/loss", "max"))
    given = [training(0, 0.5), training(1, 0.3, num_floats=8), training(2, 0.6)]
    storage(tmp_path / "o.db", *targets).show(given)
    found = opened(tmp_path / "o.db")
    assert [d.name for d in found.directions] == ["MINIMIZE", "MINIMIZE", "MAXIMIZE"]
    assert sorted(t.number for t in found.best_trials) == [0, 1]
    assert found.trials[1].values == [0.3, 8.0, 1.0]


def test_a_training_without_the_curve_is_compared_with_none(tmp_path: Path) -> None:
    storage(tmp_path / "o.db").show([training(0, None)])
    (trial,) = opened(tmp_path / "o.db").trials
    assert (trial.state, trial.user_attrs["state"]) == (TrialState.PRUNED, "done")


def test_who_has_it_open_sees_what_is_new(tmp_path: Path) -> None:
    """A dashboard keeps its connection: the file is written to, not replaced."""
    writer = storage(tmp_path / "o.db")
    waiting = training(0, None, state="missing", seconds=None, curve=())
    writer.show([waiting])
    reader = opened(tmp_path / "o.db")
    assert [t.state.name for t in reader.get_trials()] == ["WAITING"]
    writer.show([training(0, 0.5), training(1, 0.4)])
    assert [t.value for t in reader.get_trials()] == [0.5, 0.4]


def test_a_file_that_is_no_database_is_replaced_and_a_locked_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "o.db"
    path.write_bytes(b"not a database" * 100)
    storage(path).show([training(0, 0.5)])
    assert opened(path).best_value == 0.5
    monkeypatch.setattr("daep_ray.study.track_optuna._PATIENCE_SECONDS", 0.3)
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        storage(path).show([training(0, 0.1)])
    other.rollback()
    assert opened(path).best_value == 0.5


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from daep_ray.study.axes import Target
from daep_ray.study.track_optuna import OptunaStorage
from daep_ray.study.tracked import Training
design = dict(name="simple", question="", models=dict(vae={}), axes=[])
writer = OptunaStorage(Path(sys.argv[1]), design, [Target("num_floats")])
while True:
    for number in (1, 30):
        names = [f"{i:016x}" for i in range(number)]
        writer.show([Training(n, "vae", 0, 4, {}, "done", "", 1.0, ()) for n in names])
        print(number, flush=True)
"""


@pytest.mark.slow
def test_a_killed_writer_leaves_one_picture_or_the_other(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    for seconds in (0.0, 0.13, 0.26):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline().strip() == b"1"  # the first picture is whole
            time.sleep(seconds)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        assert len(opened(path).trials) in (1, 30)


# ---- what a study's tables say


@pytest.fixture
def study(spec: StudySpec, synthetic_shards: Path, tmp_path: Path) -> Study:
    shards = ShardFolder.open(synthetic_shards)
    return Study(
        spec=spec.resolved(shards.manifest),
        shards=shards,
        data="data",
        out=tmp_path / "out",
        store=Store(tmp_path / "trainings"),
        address=None,
        gpus_per_trial=0.0,
        num_retries=1,
        echo=lambda line: None,
    )


def pretend(study: Study, errors: Sequence[float | None]) -> None:
    """Put curves and results of the first trainings into the store; None: it failed."""
    for cell, error in zip(study.design(), errors, strict=False):
        folder = study.store.training(cell.training)
        folder.mkdir(parents=True)
        if error is None:
            study.store.note_failure(cell.training, "it broke", "")
            continue
        line = {"num_objects": 200, "seconds": 1.0, "train/loss": 1.0, ERROR: error}
        (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        study.store.write(cell, {}, Facts(200, 4, 10, 1.5, 0.1, 0.2))


def test_trainings_are_the_same_from_the_store_and_from_the_tables(study: Study) -> None:
    pretend(study, [0.5, None, 0.25])
    running = study.trainings()
    study.write_tables()
    assert trainings(tables.read_all(study.out)) == running
    assert [t.state for t in running[:4]] == ["done", "failed", "done", "missing"]
    assert len(running) == 8  # references are no trainings
    assert running[2].value(Target(ERROR)) == 0.25
    assert running[0].settings == {"model.bottleneck.length": 1, "model.bottleneck.width": 2}
    assert running[0].label.startswith("daep length 1, width 2, seed 0 (")


def test_an_enumerated_study_has_its_storage_and_its_best_training(study: Study) -> None:
    pretend(study, [0.5, 0.25, 0.75])
    Tracking(study, trackers(study.spec, study.out)).now()
    found = opened(study.out / "optuna.db")
    assert found.best_trial.user_attrs["fingerprint"] == study.design()[1].training
    assert len(found.trials) == 8
    assert [path.name for path in study.out.iterdir()] == ["optuna.db"]  # nothing else unasked
    assert not {"tensorboardX", "mlflow"} & set(loaded_by("daep_ray.study.track"))


def loaded_by(module: str) -> list[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_cell_that_is_measured_twice_is_one_training(
    spec: StudySpec, manifest: Manifest, tmp_path: Path
) -> None:
    axes = (Axis("evaluation.num_draws", [2, 4]), Range("optimisation.clip_norm", 0.5, 1.0))
    two = replace(spec, axes=axes[:1], models={"vae": {"objective.kind": "vae"}}, seeds=(0,))
    store = Store(tmp_path / "store")
    design = cells(two, manifest)
    store.write(design[0], {}, Facts(200, 4, 10, 1.5, 0.1, 0.2))
    found = trainings(collect(design, store, tmp_path / "out", {}))
    assert [(t.state, t.settings) for t in found] == [("missing", {})]


def test_a_tracker_that_breaks_is_told_once_and_harms_nothing(study: Study) -> None:
    class Broken:
        name = "Broken"

        def show(self, trainings: Sequence[Training]) -> None:
            raise RuntimeError("no room\nat all")

    said: list[str] = []
    tracking = Tracking(replace(study, echo=said.append), [Broken()])
    tracking.now()
    tracking.now()
    assert said == ["Broken is told no more (no room); the study goes on"]


def test_trackers_are_told_now_and_then(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("daep_ray.study.track.time.monotonic", lambda: clock[0])
    shown: list[float] = []

    class Slow:
        name = "Slow"

        def show(self, trainings: Sequence[Training]) -> None:
            shown.append(clock[0])
            clock[0] += 2.0

    tracking = Tracking(study, [Slow()])
    for second in range(60):
        clock[0] = max(clock[0], float(second))
        tracking.maybe()
    assert shown == [10.0, 50.0]  # at most a twentieth of the time


# ---- TensorBoard


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """Name, step and value of every event in a folder's files, in order."""
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto import event_pb2

    found = []
    for path in sorted(folder.glob("events.*")):  # their names begin with their seconds
        for record in _records(path.read_bytes()):
            event = event_pb2.Event.FromString(record)
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
    return found


def _records(content: bytes) -> Iterator[bytes]:
    """TFRecord: length (8 bytes), its checksum (4), the record, its checksum (4)."""
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        yield content[12 : 12 + length]
        content = content[16 + length :]


def test_tensorboard_has_the_curves_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    from daep_ray.study.track_tensorboard import TensorBoard

    whole = training(0, 0.5)
    board = TensorBoard(tmp_path / "tb")
    board.show([replace(whole, curve=whole.curve[:1])])
    board.show([whole])
    board.show([whole])
    expected = [
        ("train/loss", 10, 2.0),
        (ERROR, 10, 1.0),
        ("train/loss", 20, 1.0),
        (ERROR, 20, 0.5),
    ]
    assert scalars(tmp_path / "tb" / whole.label) == expected
    again = TensorBoard(tmp_path / "tb")  # the study was started again
    again.show([whole])
    assert scalars(tmp_path / "tb" / whole.label) == expected


def test_a_package_that_is_missing_is_named(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    for package, module in {"tensorboardX": "track_tensorboard", "mlflow": "track_mlflow"}.items():
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules, f"daep_ray.study.{module}", raising=False)
        asked: dict[str, Any] = (
            {"mlflow": "x"} if package == "mlflow" else {"has_tensorboard": True}
        )
        with pytest.raises(ConfigError, match=rf"{package}.*pip install 'daep-ray\[track\]'"):
            trackers(study.spec, study.out, **asked)
