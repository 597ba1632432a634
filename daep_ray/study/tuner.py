"""Ray Tune runs the trials of a study: every one of a list, or those that a search suggests. [ray]

In: a study and the session's room. Out: nothing; what becomes of the trials is in the store.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from daep_ray.study import search, session
from daep_ray.study.cluster import scratch
from daep_ray.study.progress import Progress
from daep_ray.study.state import Study
from daep_ray.study.trainable import trainable
from daep_ray.study.trial import Trial
from daep_ray.study.watch import Plan, Watch


def enumerate_trials(study: Study, room: session.Resources, missing: Sequence[Trial]) -> None:
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


def search_settings(study: Study, room: session.Resources) -> None:
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
        trainable, plan=plan, data=study.shards.path.absolute(), store=study.store, target=target
    )
    watch = Watch(study, plan, Progress(num_trials, num_slots, study.echo), journal)
    with scratch(study) as folder:
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
                storage_path=folder.path,
                storage_filesystem=folder.filesystem,
                failure_config=tune.FailureConfig(max_failures=1),
                callbacks=[_Callback(watch)],
                verbose=0,
            ),
        ).fit()


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
