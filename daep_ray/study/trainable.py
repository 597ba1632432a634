"""What a Tune trial runs, in a worker process: its trainings, one after the other. [ray]

In: a suggestion and the plan that makes trainings of it. Out: the store has their results; Tune is
told how far they are, and what a search minimises.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray import tune

from daep_ray.errors import DataError
from daep_ray.study.store import Store
from daep_ray.study.trial import Outcome, Trial, last_value, run_trial
from daep_ray.study.watch import Plan

_REPORT_SECONDS = 2.0  # a trial tells how far it is no more often


def trainable(
    suggestion: dict[str, Any], *, plan: Plan, data: Path, store: Store, target: str | None
) -> None:
    """Train and evaluate what the store lacks of a suggestion."""
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
