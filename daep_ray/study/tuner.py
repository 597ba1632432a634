"""Ray Tune runs the trials of a study: every one of a list, or those that a search suggests. [ray]

In: a study and the session's room. Out: nothing; what becomes of the trials is in the store.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from ray import tune

from daep_ray.study import halving, search, session
from daep_ray.study.cluster import scratch
from daep_ray.study.journal import Journal
from daep_ray.study.progress import Progress
from daep_ray.study.state import Study
from daep_ray.study.suggest import Suggester
from daep_ray.study.track import Tracking
from daep_ray.study.trainable import Wanted, trainable
from daep_ray.study.trial import Trial
from daep_ray.study.watch import Plan, Watch

_NOTHING = Wanted()


def enumerate_trials(
    study: Study, room: session.Resources, tracking: Tracking, missing: Sequence[Trial]
) -> None:
    """One Tune trial per training; the order decides nothing."""
    by_fingerprint = {trial.training: [trial] for trial in missing}

    def plan(suggestion: Mapping[str, Any]) -> list[Trial]:
        return by_fingerprint[suggestion["training"]]

    _tune(
        study,
        room,
        tracking,
        plan,
        num_trials=len(missing),
        param_space={"training": tune.grid_search(list(by_fingerprint))},
    )


def search_settings(study: Study, room: session.Resources, tracking: Tracking) -> set[str]:
    """Train suggested settings, each with every seed; returns the trainings that failed."""
    judged = study.spec.targets[0].name if study.spec.scheduler != "none" else None
    targets = study.spec.targets if study.spec.search != "random" else ()
    return _tune(
        study,
        room,
        tracking,
        functools.partial(search.trials_of, study.spec, study.shards.manifest),
        num_trials=study.num_searched,
        wanted=Wanted(targets, judged),
        journal=study.journal,
        search_alg=Suggester(study),
        scheduler=halving.scheduler(study),
        num_samples=study.num_searched,
    )


def _tune(
    study: Study,
    room: session.Resources,
    tracking: Tracking,
    plan: Plan,
    *,
    num_trials: int,
    wanted: Wanted = _NOTHING,
    journal: Journal | None = None,
    param_space: dict[str, Any] | None = None,
    **options: Any,
) -> set[str]:
    """Run Ray Tune; what becomes of its trials is in the store. Returns what failed."""
    num_slots = min(room.num_concurrent, num_trials)
    study.echo(f"{num_slots} at a time")
    run = tune.with_parameters(
        trainable, plan=plan, data=study.shards.path.absolute(), store=study.store, wanted=wanted
    )
    watch = Watch(study, plan, Progress(num_trials, num_slots, study.echo), journal, tracking)
    with scratch(study) as folder:
        tune.Tuner(
            tune.with_resources(run, {"CPU": room.trial_cpus, "GPU": room.trial_gpus}),
            param_space=param_space,
            tune_config=tune.TuneConfig(
                max_concurrent_trials=room.num_concurrent,
                reuse_actors=True,  # a new process per trial would cost seconds
                **options,
            ),
            run_config=tune.RunConfig(
                name=study.out.name,
                storage_path=folder.path,
                storage_filesystem=folder.filesystem,
                failure_config=tune.FailureConfig(max_failures=study.num_retries),
                callbacks=[_Callback(watch)],
                verbose=0,
            ),
        ).fit()
    return watch.failed


class _Callback(tune.Callback):
    """Hands Tune's events on."""

    def __init__(self, watch: Watch):
        self.watch = watch

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.watch.go_on()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.watch.begin(trial.trial_id, trial.config)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self.watch.advance(trial.trial_id, result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        result = trial.last_result
        if result.get("is_complete"):
            return self.watch.complete(trial.trial_id, trial.config, result)
        where = f"stopped at {result['num_objects']:,} objects"
        reason = halving.sentence(self.watch.study, result)
        judged = (result["num_objects"], result["judged"])
        return self.watch.stop(trial.trial_id, trial.config, where, reason, judged)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.watch.fail(trial.trial_id, trial.config)
