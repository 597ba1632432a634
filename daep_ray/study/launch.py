"""Runs a study: one trial per training that the store lacks, then the tables.

The store and OUT are the truth, not Ray Tune: a study killed at any point is simply started again.
Trials call `fit` in their own process, or start a group of Ray Train workers each.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from daep_ray.errors import StorageError
from daep_ray.settings import override
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.statistics import fit_recipe
from daep_ray.study import folder, session
from daep_ray.study.cluster import ray_session
from daep_ray.study.possible import check_possible
from daep_ray.study.shared_store import open_store
from daep_ray.study.spec import StudySpec, check
from daep_ray.study.state import Study, StudyResult
from daep_ray.study.track import Tracking, trackers
from daep_ray.study.trial import trials
from daep_ray.study.tuner import enumerate_trials, search_settings


def run_study(
    spec: StudySpec,
    data: Path,
    out: Path,
    *,
    store: Path | str | None = None,
    workers: int | None = None,
    gpus_per_trial: float = 0.0,
    retries: int = 1,
    address: str | None = None,
    has_tensorboard: bool = False,
    mlflow: str | None = None,
    echo: Callable[[str], None] = lambda line: None,
    command: str = "",
) -> StudyResult:
    """Train and evaluate what is missing, then write OUT/tables; started again, it resumes.

    `store` is a folder or the address of a bucket (`address.py`), by default `trainings/` beside
    OUT. A trial that fails is tried again `retries` times, then reported with its reason.
    `mlflow` is a tracking URI; `command` is what a report shows to repeat it all.

    Raises:
        UserError: a design, data, folder or address that cannot work; before Ray starts.
    """
    shards = ShardFolder.open(data)
    if workers is not None:
        spec = replace(spec, base=override(spec.base, {"runtime.num_workers": workers}))
    spec = spec.resolved(shards.manifest)
    check(spec)
    session.check_share(gpus_per_trial)
    out = Path(out).absolute()
    study = Study(
        spec=spec,
        shards=shards,
        data=str(data),
        out=out,
        store=open_store(store, out),
        address=session.address_of_cluster(address),
        gpus_per_trial=gpus_per_trial,
        num_retries=retries,
        echo=echo,
    )
    tracking = Tracking(study, trackers(spec, out, has_tensorboard, mlflow))
    if study.address is not None:
        session.check_reachable(study.address)
    design = study.design()  # refuse what cannot be run
    check_possible(design, shards)
    study.store.look(design)
    folder.claim(out, spec, shards.manifest)
    with folder.lock(out):
        return _run(study, tracking, command)


def _run(study: Study, tracking: Tracking, command: str) -> StudyResult:
    started = time.perf_counter()
    num_reused = len(trials(study.design())) - len(study.missing())
    has_work = bool(study.missing() or study.num_searched)
    seconds_session = 0.0
    try:
        seconds_session = _launch(study, tracking)
    finally:  # interrupted or not, the tables say what there is
        _look_again(study)
        tables = study.write_tables()
        tracking.now()
        if has_work or not study.has_run():  # looking again changes nothing
            study.note_run(command, time.perf_counter() - started, seconds_session)
    num_trials = len(trials(study.design()))
    num_failed, num_stopped = len(study.missing()), study.num_stopped()
    return StudyResult(study.out, tables, num_trials, num_failed, num_reused, num_stopped)


def _look_again(study: Study) -> None:
    """See what other machines did; a store that is gone by now does not cost us the tables."""
    try:
        study.store.look(study.design())
    except StorageError as error:
        study.echo(f"the tables may lack results: {error}")


def _launch(study: Study, tracking: Tracking) -> float:
    """Run what is missing; returns the seconds that Ray's session took to start and stop."""
    study.echo(_announcement(study))
    if not study.missing() and not study.num_searched:
        return 0.0
    assert study.spec.base.recipe is not None
    fit_recipe(study.shards, study.spec.base.recipe)  # once, not by every trial at the same time
    started = time.perf_counter()
    with ray_session(study) as room:
        begun = time.perf_counter()
        failed = search_settings(study, room, tracking) if study.num_searched else set()
        # after a search: the references, and what failed in an earlier run
        if missing := [t for t in study.missing() if t.training not in failed]:
            enumerate_trials(study, room, tracking, missing)
        seconds_inside = time.perf_counter() - begun
    return time.perf_counter() - started - seconds_inside


def _announcement(study: Study) -> str:
    if study.spec.search != "grid":
        how = "drawn at random" if study.spec.search == "random" else "with Optuna"
        said = f"{study.num_searched} of {study.num_wanted} settings to try {how}"
        if study.num_wanted == (wanted := study.spec.num_trials):
            return said
        return f"{said}; the design has no more, so the search ends before {wanted} trials"
    missing = study.missing()
    if not missing:
        return "every training is in the store already"
    num_references = sum(trial.cells[0].is_reference for trial in missing)
    return f"{len(missing) - num_references} trainings and {num_references} references to do"
