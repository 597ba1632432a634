"""Early stopping as Ray Tune asks for it, without a Ray session."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daep_ray.shards.read import ShardFolder
from daep_ray.study import halving
from daep_ray.study.axes import Range
from daep_ray.study.search import trials_of
from daep_ray.study.spec import StudySpec
from daep_ray.study.state import Study
from daep_ray.study.store import Store

ERROR = "validation/absolute_error"
RATE = "optimisation.clip_norm"


@pytest.fixture
def study(spec: StudySpec, synthetic_shards: Path, tmp_path: Path) -> Study:
    shards = ShardFolder.open(synthetic_shards)
    asked = replace(
        spec,
        search="optuna",
        scheduler="asha",
        num_trials=6,
        models={"vae": {"objective.kind": "vae"}},
        axes=(Range(RATE, 0.1, 2.0),),
        seeds=(0,),
    )
    (tmp_path / "out").mkdir()
    return Study(
        spec=asked.resolved(shards.manifest),
        shards=shards,
        data="data",
        out=tmp_path / "out",
        store=Store(tmp_path / "trainings"),
        address=None,
        gpus_per_trial=0.0,
        num_retries=1,
        echo=lambda line: None,
    )


def told(num_objects: int, judged: float) -> dict[str, Any]:
    return {"num_objects": num_objects, "judged": judged}


def test_one_in_three_goes_on_and_the_last_point_stops_nobody(study: Study) -> None:
    """The budget is 200 objects: rungs at 22 and 67."""
    made = halving.scheduler(study)
    assert made is not None
    decisions = []
    for place, error in enumerate((0.5, 0.6, 0.4, 0.3)):
        trial = SimpleNamespace(trial_id=str(place))
        made.on_trial_add(None, trial)
        assert made.on_trial_result(None, trial, told(20, 9.0)) == "CONTINUE"
        decisions.append(made.on_trial_result(None, trial, told(23, error)))
        assert made.on_trial_result(None, trial, {"share": 0.5}) == "CONTINUE"
    assert decisions == ["CONTINUE", "STOP", "CONTINUE", "CONTINUE"]
    assert made.on_trial_result(None, trial, told(60, 9.0)) == "CONTINUE"  # between the rungs


def test_after_a_kill_new_trainings_are_judged_beside_the_old(study: Study) -> None:
    for clip, error in ((0.5, 0.2), (0.7, 0.3)):
        suggestion = {"model": "vae", RATE: clip}
        (trial,) = trials_of(study.spec, study.shards.manifest, suggestion)
        folder = study.store.training(trial.training)
        folder.mkdir(parents=True)
        lines = [{"num_objects": n, "seconds": 1.0, ERROR: error} for n in (25, 100, 200)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(p) + "\n" for p in lines))
        study.journal.end(suggestion, [error])
    made = halving.scheduler(study)
    assert made is not None
    worse, better = SimpleNamespace(trial_id="worse"), SimpleNamespace(trial_id="better")
    for trial in (worse, better):
        made.on_trial_add(None, trial)
    assert made.on_trial_result(None, worse, told(30, 0.4)) == "STOP"
    assert made.on_trial_result(None, better, told(30, 0.1)) == "CONTINUE"


def test_a_study_without_a_scheduler_has_none(study: Study) -> None:
    assert halving.scheduler(replace(study, spec=replace(study.spec, scheduler="none"))) is None


def test_the_sentence_about_a_stop(study: Study) -> None:
    said = halving.sentence(study, told(4000, 0.41234))
    assert said == (
        "stopped at 4,000 objects: its validation/absolute_error of 0.4123 was not among the best "
        "third there (--scheduler asha)"
    )
