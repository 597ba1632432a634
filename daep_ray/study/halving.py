"""Stops trainings that do badly before they have cost their whole budget: ASHA. [ray]

Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934): at a ninth and at a third of the
budget a training goes on only if it is among the best third of those that came so far. In: a
study. Out: Ray Tune's scheduler, which knows the curves of earlier, killed runs of the search, and
the sentence about a training that it stopped.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler

from daep_ray.study import search
from daep_ray.study.state import Study

REDUCTION = 3  # one in three goes on
_NUM_RUNGS = 2  # before the whole budget


def scheduler(study: Study) -> ASHAScheduler | None:
    """The scheduler that a study asks for, if any."""
    if study.spec.scheduler == "none":
        return None
    budget = study.spec.base.optimisation.num_objects
    made = ASHAScheduler(
        time_attr="num_objects",
        metric="judged",
        mode=study.spec.targets[0].direction,
        max_t=budget,
        grace_period=max(1.0, budget / REDUCTION**_NUM_RUNGS),
        reduction_factor=REDUCTION,
        stop_last_trials=False,
    )
    _show_earlier(made, study)
    return made


def _show_earlier(made: ASHAScheduler, study: Study) -> None:
    """What is judged after a kill is judged beside what was there before."""
    spec, name = study.spec, study.spec.targets[0].name
    for place, end in enumerate(study.journal.ended()):
        first = search.trials_of(spec, study.shards.manifest, end.suggestion)[0]
        trial = SimpleNamespace(trial_id=f"earlier {place}")  # all of a trial that it looks at
        made.on_trial_add(None, trial)
        for point in study.store.curve(first.training):
            if name in point and point["num_objects"] < first.config.optimisation.num_objects:
                told = {"num_objects": point["num_objects"], "judged": point[name]}
                made.on_trial_result(None, trial, told)


def sentence(study: Study, result: Mapping[str, Any]) -> str:
    """Where and why a trial was stopped, from the last that it told."""
    name = study.spec.targets[0].name
    return (
        f"stopped at {result['num_objects']:,} objects: its {name} of {result['judged']:.4g} was "
        f"not among the best third there (--scheduler {study.spec.scheduler})"
    )
