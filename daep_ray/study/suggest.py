"""Optuna suggests the settings of a search, and hears how they ended. [ray]

In: a study. Out: a searcher that Ray Tune asks. It knows what earlier, killed runs of the search
tried, from the journal; a training that was stopped early counts as pruned, not as complete.
"""

import math
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState
from ray.tune.search import Searcher

from daep_ray.study import search
from daep_ray.study.journal import Ended
from daep_ray.study.state import Study

_DIRECTIONS = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}


def suggester(study: Study) -> "Suggester":
    """The searcher of a study, told what has ended, with what is to be tried first."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spec, ended = study.spec, study.journal.ended()
    # the same seed again would repeat the first suggestions
    sampler = optuna.samplers.TPESampler(seed=len(ended))
    asked = optuna.create_study(
        sampler=sampler, directions=[_DIRECTIONS[target.direction] for target in spec.targets]
    )
    space = search.space(spec)
    if spec.search != "random":  # that needs no memory
        asked.add_trials([_told(end, space, len(spec.targets)) for end in ended])
    for suggestion in study.to_try():
        asked.enqueue_trial(dict(suggestion))
    return Suggester(asked, space)


def _told(end: Ended, space: dict[str, BaseDistribution], num_targets: int) -> Any:
    state = TrialState.FAIL if end.stopped is None else TrialState.PRUNED
    if end.values is not None and len(end.values) == num_targets:
        state = TrialState.COMPLETE
    return optuna.trial.create_trial(
        state=state,
        params=end.suggestion,
        distributions=space,
        values=end.values if state == TrialState.COMPLETE else None,
    )


class Suggester(Searcher):
    """Asks Optuna for settings and tells it the values of its targets."""

    def __init__(self, study: optuna.Study, space: dict[str, BaseDistribution]):
        super().__init__()
        self.study = study
        self.space = space
        self.asked: dict[str, optuna.Trial] = {}

    def suggest(self, trial_id: str) -> dict[str, Any]:
        if trial_id not in self.asked:
            self.asked[trial_id] = self.study.ask(self.space)
        return dict(self.asked[trial_id].params)

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        if "judged" in result:
            self.asked[trial_id].report(result["judged"], result["num_objects"])

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        trial = self.asked[trial_id]
        values = (result or {}).get("values")
        if error or not all(map(math.isfinite, values or ())):
            self.study.tell(trial, state=TrialState.FAIL)
        elif not values:  # stopped early, or drawn at random
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, values)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study's journal remembers."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study's journal remembers."""
