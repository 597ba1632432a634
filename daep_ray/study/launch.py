"""Runs a study with Ray Tune: one trial per training that the store lacks, then the tables. [ray]

The store and OUT are the truth, not Tune: a study killed at any point is simply started again.
Trials call `fit` in their own process, or start a group of Ray Train workers each.
"""

import functools
import logging
import math
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pyarrow.fs
import ray
import torch
from ray import tune
from ray.tune.search.optuna import OptunaSearch

import daep_ray
from daep_ray.config import RunConfig
from daep_ray.errors import ConfigError, DataError, StorageError
from daep_ray.settings import override
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.statistics import fit_recipe
from daep_ray.study import folder, search, session
from daep_ray.study.progress import Progress
from daep_ray.study.shared_store import SharedStore, open_store
from daep_ray.study.spec import StudySpec, check
from daep_ray.study.state import Study, StudyResult
from daep_ray.study.store import Store
from daep_ray.study.trial import Outcome, Trial, last_value, run_trial, trials
from daep_ray.study.watch import Plan, Watch
from daep_ray.train.prepare import is_streamed

_REPORT_SECONDS = 2.0  # a trial tells how far it is no more often


def run_study(
    spec: StudySpec,
    data: Path,
    out: Path,
    *,
    store: Path | str | None = None,
    workers: int | None = None,
    gpus_per_trial: float = 0.0,
    address: str | None = None,
    echo: Callable[[str], None] = lambda line: None,
    command: str = "",
) -> StudyResult:
    """Train and evaluate what is missing, then write OUT/tables; started again, it resumes.

    `store` is a folder or the address of a bucket (`address.py`), by default `trainings/` beside
    OUT. `command` is what a report shows to repeat it all.

    Raises:
        UserError: a design, data, folder or address that cannot work; before Ray starts.
    """
    shards = ShardFolder.open(data)
    if workers is not None:
        spec = replace(spec, base=override(spec.base, {"runtime.num_workers": workers}))
    spec = spec.resolved(shards.manifest)
    check(spec)
    out = Path(out).absolute()
    study = Study(
        spec=spec,
        shards=shards,
        data=str(data),
        out=out,
        store=open_store(store, out),
        address=session.address_of_cluster(address),
        gpus_per_trial=gpus_per_trial,
        echo=echo,
    )
    if study.address is not None:
        session.check_reachable(study.address)
    study.store.look(study.design())  # refuse what cannot be run
    folder.claim(out, spec, shards.manifest)
    with folder.lock(out):
        return _run(study, command)


def _run(study: Study, command: str) -> StudyResult:
    started = time.perf_counter()
    num_reused = len(trials(study.design())) - len(study.missing())
    has_work = bool(study.missing() or study.num_searched)
    seconds_session = 0.0
    try:
        seconds_session = _launch(study)
    finally:  # interrupted or not, the tables say what there is
        _look_again(study)
        tables = study.write_tables()
        if has_work or not study.has_run():  # looking again changes nothing
            study.note_run(command, time.perf_counter() - started, seconds_session)
    num_trials = len(trials(study.design()))
    return StudyResult(study.out, tables, num_trials, len(study.missing()), num_reused)


def _look_again(study: Study) -> None:
    """See what other machines did; a store that is gone by now does not cost us the tables."""
    try:
        study.store.look(study.design())
    except StorageError as error:
        study.echo(f"the tables may lack results: {error}")


def _launch(study: Study) -> float:
    """Run what is missing; returns the seconds that Ray's session took to start and stop."""
    study.echo(_announcement(study))
    if not study.missing() and not study.num_searched:
        return 0.0
    assert study.spec.base.recipe is not None
    fit_recipe(study.shards, study.spec.base.recipe)  # once, not by every trial at the same time
    started = time.perf_counter()
    with ray_session(study) as room:
        begun = time.perf_counter()
        if study.num_searched:
            _search(study, room)
        if missing := study.missing():  # after a search: the references
            _enumerate(study, room, missing)
        seconds_inside = time.perf_counter() - begun
    return time.perf_counter() - started - seconds_inside


def _announcement(study: Study) -> str:
    if study.spec.search == "optuna":
        return f"{study.num_searched} of {study.spec.num_trials} settings to try with Optuna"
    missing = study.missing()
    if not missing:
        return "every training is in the store already"
    num_references = sum(trial.cells[0].is_reference for trial in missing)
    return f"{len(missing) - num_references} trainings and {num_references} references to do"


def _num_datasets(config: RunConfig, shards: ShardFolder) -> int:
    """Ray Data pipelines of a trial: one per rank, none where the survey is held in memory."""
    return config.runtime.num_workers if is_streamed(config, shards) else 0


@contextmanager
def ray_session(study: Study) -> Iterator[session.Resources]:
    """Connect to the cluster, or start a session of our own on this machine.

    Raises:
        ConfigError: the cluster refuses us, has no room for one trial, or none for its files.
    """
    config = study.spec.base
    room = functools.partial(
        session.resources,
        num_threads=config.runtime.num_threads,
        num_workers=config.runtime.num_workers,
        num_datasets=_num_datasets(config, study.shards),
        gpus_per_trial=study.gpus_per_trial,
    )
    session.prepare_environment(study.address)
    try:
        if study.address is None:
            found = room(session.num_cores(), num_gpus=torch.cuda.device_count())
            _start(found)
        else:
            _connect(study.address)
            _check_nodes(study)
            total = ray.cluster_resources()
            cpus, gpus = int(total.get("CPU", 0)), total.get("GPU", 0.0)
            found = room(cpus, num_gpus=gpus, may_declare=False)
        yield found
    finally:
        ray.shutdown()
        session.remove(session.temporary_folder() / "ray")


def _start(room: session.Resources) -> None:
    ray.init(
        address="local",
        num_cpus=room.num_cpus,
        include_dashboard=False,
        object_store_memory=room.object_store_bytes,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(session.temporary_folder() / "ray"),
    )


def _connect(address: str) -> None:
    # a job's workers get its working directory; others get this package as the driver has it
    package = str(Path(daep_ray.__path__[0]))
    runtime_env = {} if session.is_job() else {"py_modules": [package]}
    try:
        with session.quiet_standard_error():
            ray.init(
                address=address,
                runtime_env=runtime_env,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
    except (ConnectionError, ray.exceptions.RaySystemError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"the Ray cluster at {address} does not take us ({first}): check the address and, "
            "where the cluster asks for a token, RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH"
        ) from None


def _check_nodes(study: Study) -> None:
    """The ranks of one training write and read one folder; a bucket's is of one machine alone."""
    num_nodes = sum(node["Alive"] for node in ray.nodes())
    num_workers = study.spec.base.runtime.num_workers
    if isinstance(study.store, SharedStore) and num_workers and num_nodes > 1:
        raise ConfigError(
            f"--workers {num_workers} spreads a training over {num_nodes} machines, and the store "
            f"{study.store} is worked on in a folder of one: give --workers 0, or a --storage "
            "folder that all of them see"
        )


def _enumerate(study: Study, room: session.Resources, missing: Sequence[Trial]) -> None:
    """One Tune trial per training; the order decides nothing."""
    by_fingerprint = {trial.training: [trial] for trial in missing}

    def plan(suggestion: Mapping[str, Any]) -> list[Trial]:
        return by_fingerprint[suggestion["training"]]

    _tune(
        study,
        room,
        plan,
        num_trials=len(missing),
        param_space={"training": tune.grid_search(list(by_fingerprint))},
    )


def _search(study: Study, room: session.Resources) -> None:
    """Let Optuna suggest settings; each is trained with every seed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spec, journal, num_left = study.spec, study.journal, study.num_searched
    sampler = OptunaSearch(
        search.space(spec),
        metric="target",
        mode="min",
        # the same seed again would repeat the first suggestions
        seed=len(journal.ended()),
        points_to_evaluate=journal.unfinished(),
    )
    for suggestion, value in journal.ended():
        if value is not None:
            sampler.add_evaluated_point(suggestion, value)
    _tune(
        study,
        room,
        functools.partial(search.trials_of, spec, study.shards.manifest),
        num_trials=num_left,
        search_alg=sampler,
        num_samples=num_left,
        journal=journal,
        target=spec.target,
    )


def _tune(
    study: Study,
    room: session.Resources,
    plan: Plan,
    *,
    num_trials: int,
    param_space: dict[str, Any] | None = None,
    search_alg: OptunaSearch | None = None,
    num_samples: int = 1,
    journal: search.Journal | None = None,
    target: str | None = None,
) -> None:
    """Run Ray Tune; what becomes of its trials is in the store."""
    num_slots = min(room.num_concurrent, num_trials)
    study.echo(f"{num_slots} at a time")
    run = tune.with_parameters(
        _trainable, plan=plan, data=study.shards.path.absolute(), store=study.store, target=target
    )
    watch = Watch(study, plan, Progress(num_trials, num_slots, study.echo), journal)
    with _scratch(study) as scratch:
        tune.Tuner(
            tune.with_resources(run, {"CPU": room.trial_cpus, "GPU": room.trial_gpus}),
            param_space=param_space,
            tune_config=tune.TuneConfig(
                search_alg=search_alg,
                num_samples=num_samples,
                max_concurrent_trials=room.num_concurrent,
                reuse_actors=True,  # a new process per trial would cost seconds
            ),
            run_config=tune.RunConfig(
                name=study.out.name,
                storage_path=scratch.path,
                storage_filesystem=scratch.filesystem,
                failure_config=tune.FailureConfig(max_failures=1),
                callbacks=[_Callback(watch)],
                verbose=0,
            ),
        ).fit()


@dataclass(frozen=True)
class _Scratch:
    """Tune's own folder: it is needed while it runs, never afterwards."""

    path: str
    filesystem: pyarrow.fs.FileSystem | None


@contextmanager
def _scratch(study: Study) -> Iterator[_Scratch]:
    """On a cluster every node must see Tune's folder: it lies in the store."""
    if study.address is not None and isinstance(study.store, SharedStore):
        mirror, name = study.store.mirror, f".tune/{secrets.token_hex(8)}"
        try:
            yield _Scratch(mirror.path(name), mirror.filesystem)
        finally:
            mirror.delete(name)
        return
    root = session.temporary_folder() if study.address is None else study.store.root
    try:
        yield _Scratch(str(root / ".tune"), None)
    finally:
        shutil.rmtree(root / ".tune", ignore_errors=True)


def _trainable(
    suggestion: dict[str, Any], *, plan: Plan, data: Path, store: Store, target: str | None
) -> None:
    """What a Tune trial runs, in a worker process."""
    todo = plan(suggestion)
    told = time.monotonic()
    outcomes: list[Outcome] = []

    def report(point: dict[str, Any]) -> None:
        nonlocal told
        if time.monotonic() - told < _REPORT_SECONDS:
            return
        told = time.monotonic()
        budget = todo[0].config.optimisation.num_objects
        share = (len(outcomes) + min(1.0, point["num_objects"] / budget)) / len(todo)
        tune.report({"share": share, "target": math.inf})

    for trial in todo:  # a list comprehension would hide from `report` how many are done
        outcomes.append(run_trial(trial, data, store, report))  # noqa: PERF401
    last: dict[str, Any] = {
        "share": 1.0,
        "seconds": sum(o.seconds_training + o.seconds_evaluation for o in outcomes),
        "is_reused": all(o.is_reused for o in outcomes),
    }
    if target is not None:
        last["target"] = _mean_target(todo, store, target)
    tune.report(last)


def _mean_target(todo: Sequence[Trial], store: Store, target: str) -> float:
    values = [last_value(store, trial, target) for trial in todo]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        raise DataError(
            f"no curve {target!r} to search by: set runtime.validation_objects above 0, or "
            "another target in the study"
        )
    return sum(known) / len(known)


class _Callback(tune.Callback):
    """Hands Tune's events on."""

    def __init__(self, watch: Watch):
        self.watch = watch

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.watch.progress.sign_of_life()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.watch.begin(trial.trial_id, trial.config)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self.watch.advance(trial.trial_id, result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.watch.complete(trial.trial_id, trial.config, trial.last_result)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.watch.fail(trial.trial_id, trial.config)
