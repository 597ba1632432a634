"""Searches through Ray Tune: what is stopped, retried and told; trials that share one GPU.

The trainings are pretended: a curve and a result are written, nothing is learnt.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from daep_ray.study import launch, session, tables, tuner
from daep_ray.study.axes import Axis, Range
from daep_ray.study.journal import Journal
from daep_ray.study.launch import run_study
from daep_ray.study.spec import StudySpec
from daep_ray.study.state import StudyResult

pytestmark = pytest.mark.ray
NUM_POINTS = 12
BUDGET = 360
ERROR = "validation/absolute_error"

Run = Callable[..., StudyResult]


def pretending() -> Callable[..., None]:
    """The trainable with `run_trial` replaced, by a function that Ray sends by value.

    The error at the end is `clip_norm`; a `clip_norm` above 5 breaks.
    """

    def pretend(suggestion: dict[str, Any], **given: Any) -> None:
        import json

        import daep_ray.study.trainable as module
        from daep_ray.study.store import Facts
        from daep_ray.study.trial import Outcome

        def run_trial(trial: Any, data: Any, store: Any, report: Any) -> Outcome:
            folder = store.training(trial.training)
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "attempts").open("a") as file:
                file.write("x")
            final = trial.config.optimisation.clip_norm
            if final > 5:
                store.note_failure(trial.training, "the pretended training broke", "")
                raise ValueError("broke")
            seen = 0 if trial.cells[0].is_reference else NUM_POINTS
            lines = []
            for place in range(1, seen + 1):
                point = {"num_objects": BUDGET * place // NUM_POINTS, ERROR: final + 1 / place}
                lines.append(json.dumps({**point, "seconds": float(place)}) + "\n")
                (folder / "metrics.jsonl").write_text("".join(lines))
                report(point)
            facts = Facts(BUDGET, 12, 10, final / 2, 0.0, 0.1)
            for cell in trial.cells:
                store.write(cell, {}, facts)
            return Outcome(1.0, 0.1, is_reused=False)

        module.run_trial = run_trial  # type: ignore[assignment]
        module.trainable(suggestion, **given)

    return pretend


@pytest.fixture
def run(
    ray_session: None, monkeypatch: pytest.MonkeyPatch, synthetic_shards: Path, tmp_path: Path
) -> Run:
    """Runs a pretended study on the tests' Ray session, one trial at a time, so that who is
    stopped is no matter of luck.
    """

    @contextmanager
    def ours(study: Any) -> Iterator[session.Resources]:
        yield session.Resources(8, 1, 1.0, 0.0)

    monkeypatch.setattr(launch, "ray_session", ours)
    monkeypatch.setattr(tuner, "trainable", pretending())

    def run(spec: StudySpec, out: str = "out", **given: Any) -> StudyResult:
        return run_study(spec, synthetic_shards, tmp_path / out, **given)

    return run


def searched(spec: StudySpec, **changes: Any) -> StudySpec:
    base = spec.base.model_copy(
        update={"optimisation": spec.base.optimisation.model_copy(update={"num_objects": BUDGET})}
    )
    plain: dict[str, Any] = {
        "base": base,
        "models": {"vae": {"objective.kind": "vae"}},
        "axes": (Range("optimisation.clip_norm", 0.1, 2.0),),
        "references": ("mean",),
        "seeds": (0,),
    }
    return replace(spec, **plain | changes)


def states(result: StudyResult) -> list[tuple[float, str]]:
    """(clip_norm, state) of every cell but the references', the best first."""
    import json

    rows = [row for row in result.tables["cells"].to_pylist() if row["seed"] is not None]
    return sorted((json.loads(r["settings"])["optimisation.clip_norm"], r["state"]) for r in rows)


def attempts(out: Path) -> int:
    return sum(len(p.read_text()) for p in (out.parent / "trainings").glob("*/attempts"))


def test_bad_trainings_are_stopped_told_as_stopped_and_finished_by_who_wants_them(
    run: Run, spec: StudySpec
) -> None:
    values = [0.5, 1.0, 0.4, 1.5, 0.3, 1.2, 0.2, 0.1]
    asked = searched(
        spec,
        search="random",
        scheduler="asha",
        num_trials=8,
        axes=(Axis("optimisation.clip_norm", values),),
    )
    said: list[str] = []
    first = run(asked, echo=said.append)
    found = states(first)
    stopped = [value for value, state in found if state == "stopped"]
    assert found[0] == (0.1, "done")  # what is best is best at every point of these curves
    assert 1 <= len(stopped) < 8
    assert (first.num_stopped, first.num_failed) == (len(stopped), 0)
    rows = [r for r in first.tables["cells"].to_pylist() if r["state"] == "stopped"]
    for row in rows:
        assert row["reason"].startswith("stopped at 60 objects: its validation/absolute_error of")
        assert row["num_objects"] == 60  # what it cost is told
    assert sum("stopped at 60 objects" in line for line in said) == len(stopped)
    curves = first.tables["curves"].to_pylist()
    ends = {c["training"]: c["num_objects"] for c in curves}  # sorted: the last one stays
    assert {ends[row["training"]] for row in rows} == {60}

    database = optuna.load_study(study_name=None, storage=f"sqlite:///{first.out}/optuna.db")
    assert database.best_value == pytest.approx(0.1 + 1 / NUM_POINTS)
    pruned = [t for t in database.trials if t.state.name == "PRUNED"]
    assert len(pruned) == len(stopped)
    assert all(t.user_attrs["state"] == "stopped" for t in pruned)

    num_attempts = attempts(first.out)
    again = run(asked)
    assert states(again) == found
    assert attempts(first.out) == num_attempts  # what was stopped stays stopped
    grid = run(replace(asked, search="grid", scheduler="none"), "grid")
    assert [state for _, state in states(grid)] == ["done"] * 8
    assert attempts(first.out) == num_attempts + len(stopped)


def test_a_search_goes_on_with_what_was_tried_and_a_failure_is_told_after_its_retries(
    run: Run, spec: StudySpec
) -> None:
    asked = searched(
        spec,
        search="optuna",
        num_trials=3,
        axes=(Axis("optimisation.clip_norm", [9.0]),),
        references=(),
    )
    result = run(asked, retries=2)
    assert attempts(result.out) == 3  # the only setting, which is not suggested again
    (row,) = result.tables["cells"].to_pylist()
    assert (row["state"], row["reason"]) == ("failed", "the pretended training broke")
    assert (result.num_failed, result.num_trials) == (1, 1)
    result = run(asked, retries=0)  # no suggestion is left, the failed training is tried again
    assert attempts(result.out) == 4


def test_a_search_tries_every_setting_of_its_lists_once_and_then_ends(
    run: Run, spec: StudySpec
) -> None:
    lists = (Axis("optimisation.clip_norm", [0.5, 1.0]), Axis("model.width", [16, 32]))
    for trials, said in ((4, ""), (6, "; the design has no more, so the search ends before 6")):
        asked = searched(spec, search="optuna", num_trials=trials, axes=lists, references=())
        told: list[str] = []
        result = run(asked, out=f"out{trials}", echo=told.append)
        assert told[0].startswith(f"4 of 4 settings to try with Optuna{said}")
        assert [state for _, state in states(result)] == ["done"] * 4
    again: list[str] = []
    result = run(asked, out="out6", echo=again.append)
    assert again[0].startswith("0 of 4 settings to try")
    assert attempts(result.out) == 2 * 4  # each search each setting once


@pytest.mark.parametrize("num_ended", [0, 3, 11])
def test_a_killed_search_suggests_what_it_would_have(
    run: Run, spec: StudySpec, num_ended: int
) -> None:
    """Killed in its next trial; beyond the ten settings that Optuna draws blindly."""
    asked = searched(spec, search="optuna", num_trials=13, references=())
    whole = run(asked, out="whole").out / "trials.jsonl"
    lines = whole.read_text().splitlines(keepends=True)
    killed = whole.parent.with_name("killed") / "trials.jsonl"
    killed.parent.mkdir()
    killed.write_text("".join(lines[: 2 + 2 * num_ended]))  # an empty line comes first
    assert Journal(killed).unfinished()
    run(asked, out="killed")
    assert Journal(killed).ended() == Journal(whole).ended()
    assert len(Journal(killed).ended()) == 13


def test_a_trade_off_knows_error_floats_and_seconds(run: Run, spec: StudySpec) -> None:
    asked = searched(spec, search="pareto", num_trials=4, references=())
    result = run(asked)
    assert [state for _, state in states(result)] == ["done"] * 4
    database = optuna.load_study(study_name=None, storage=f"sqlite:///{result.out}/optuna.db")
    for trial in database.trials:
        error = trial.params["optimisation.clip_norm"]
        expected = [error + 1 / NUM_POINTS, 16.0, error / 2]
        assert trial.values == pytest.approx(expected)
    assert len(database.best_trials) == 1  # error and seconds agree here
    assert tables.read(result.out, "cells").num_rows == 4


SHARE_A_GPU = """
import sys, time, json, pathlib
from daep_ray.study import session
session.prepare_environment(None)
import ray
from ray import tune
ray.init(address="local", num_cpus=8, num_gpus=1, include_dashboard=False, log_to_driver=False,
         object_store_memory=session.OBJECT_STORE_BYTES, logging_level="CRITICAL",
         _node_ip_address="127.0.0.1", _temp_dir=str(session.temporary_folder() / "ray"))
room = session.resources(8, num_threads=1, num_workers=0, num_datasets=0, gpus_per_trial=0.25,
                         num_gpus=ray.cluster_resources()["GPU"])
told = pathlib.Path(sys.argv[1])

def train(config):
    begun = time.time()
    while len(list(told.glob("*.begun"))) < 4 and time.time() < begun + 240:
        (told / f"{config['n']}.begun").touch()
        time.sleep(0.05)
    free = ray.available_resources().get("GPU", 0.0)
    (told / f"{config['n']}.json").write_text(json.dumps([ray.get_gpu_ids(), free]))
    tune.report({"done": 1})

tune.Tuner(
    tune.with_resources(train, {"CPU": room.trial_cpus, "GPU": room.trial_gpus}),
    param_space={"n": tune.grid_search([0, 1, 2, 3])},
    tune_config=tune.TuneConfig(max_concurrent_trials=room.num_concurrent),
    run_config=tune.RunConfig(storage_path=str(told / "tune"), verbose=0),
).fit()
ray.shutdown()
"""


@pytest.mark.slow
def test_four_trials_share_one_gpu_at_once(tmp_path: Path) -> None:
    """A GPU that is only declared: each waits until four have begun, or for minutes."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    done = subprocess.run(
        [sys.executable, "-c", SHARE_A_GPU, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.begun"))) == 4
    import json

    told = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.json"))]
    assert [ids for ids, _ in told] == [[0]] * 4  # the same one
    assert min(free for _, free in told) == 0.0
