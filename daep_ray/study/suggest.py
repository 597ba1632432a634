"""Optuna suggests the settings of a search. [ray]

In: a study. Out: a searcher that Ray Tune asks. A suggestion hangs on the design and the journal
alone, so that a search that was killed goes on as if it had not been. No setting is suggested
twice. A training that was stopped early counts as pruned, not as complete.
"""

import json
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState
from ray.tune.search import Searcher

from daep_ray.study import search
from daep_ray.study.journal import Ended, Suggestion
from daep_ray.study.state import Study

_DIRECTIONS = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}
_ASKS = 20  # Optuna may repeat itself; after so many a setting is drawn that was not tried


class Suggester(Searcher):
    """First what is to be tried anyway, then what Optuna makes of all that ended."""

    def __init__(self, study: Study):
        super().__init__()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = study
        self.space = search.space(study.spec)
        self.waiting = study.to_try()
        self.given: dict[str, Suggestion] = {}  # by Tune's name of the trial
        self._identities: dict[str, str] = {}  # by suggestion

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        if trial_id not in self.given:
            found = self.waiting.pop(0) if self.waiting else self._another()
            if found is None:
                return str(Searcher.FINISHED)
            self.given[trial_id] = found
        return dict(self.given[trial_id])

    def _another(self) -> Suggestion | None:
        """A setting that was not suggested before, by this run or a killed one; None: no more."""
        spec, manifest = self.study.spec, self.study.shards.manifest
        if spec.search == "random":
            return None
        known = {self._identity(s) for s in (*self.study.journal.suggested(), *self.given.values())}
        optunas = _told(self.study, self.space, seed=len(known))
        for _ in range(_ASKS):
            found: Suggestion = optunas.ask(self.space).params
            if self._identity(found) not in known:
                return found
        if drawn := search.untried(spec, manifest, known, seed=len(known)):
            return drawn
        self.study.echo(f"no new setting is left: the search ends before {spec.num_trials} trials")
        return None

    def _identity(self, suggestion: Suggestion) -> str:
        key = json.dumps(suggestion, sort_keys=True)
        if key not in self._identities:
            spec, manifest = self.study.spec, self.study.shards.manifest
            self._identities[key] = search.identity(spec, manifest, suggestion)
        return self._identities[key]

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the study's journal hears of it."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study's journal remembers."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study's journal remembers."""


def _told(study: Study, space: Mapping[str, BaseDistribution], seed: int) -> optuna.Study:
    """Optuna's study of all that ended; a seed of its own for each suggestion, or they repeat."""
    targets = study.spec.targets
    made = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed),
        directions=[_DIRECTIONS[target.direction] for target in targets],
    )
    made.add_trials([_trial(end, space, len(targets)) for end in study.journal.ended()])
    return made


def _trial(end: Ended, space: Mapping[str, BaseDistribution], num_targets: int) -> Any:
    state = TrialState.FAIL if end.stopped is None else TrialState.PRUNED
    if end.values is not None and len(end.values) == num_targets:
        state = TrialState.COMPLETE
    return optuna.trial.create_trial(
        state=state,
        params=end.suggestion,
        distributions=dict(space),
        values=end.values if state == TrialState.COMPLETE else None,
        intermediate_values=dict([end.judged]) if end.judged else None,
    )
