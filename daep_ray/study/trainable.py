"""What a Tune trial runs, in a worker process: its trainings, one after the other. [ray]

In: a suggestion and the plan that makes trainings of it. Out: the store has their results; Tune is
told how far they are, the curve that a scheduler judges by, and what a search looks for.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

from daep_ray.errors import DataError
from daep_ray.study.axes import Target
from daep_ray.study.store import Store
from daep_ray.study.trial import Outcome, Trial, last_value, run_trial
from daep_ray.study.watch import Plan

_REPORT_SECONDS = 2.0  # a trial tells how far it is no more often


@dataclass(frozen=True)
class Wanted:
    """What Tune is told beside a trial's progress."""

    targets: tuple[Target, ...] = ()  # of a search, when the trial ends
    judged: str | None = None  # the curve that a scheduler may stop a trial by


def trainable(
    suggestion: dict[str, Any], *, plan: Plan, data: Path, store: Store, wanted: Wanted
) -> None:
    """Train and evaluate what the store lacks of a suggestion.

    A scheduler that stops the trial makes `tune.report` raise SystemExit: the training then has
    its curve and its last checkpoint, and is as unfinished as a killed one.
    """
    todo = plan(suggestion)
    told = time.monotonic()
    outcomes: list[Outcome] = []

    def report(point: dict[str, Any]) -> None:
        nonlocal told
        budget, seen = todo[0].config.optimisation.num_objects, point["num_objects"]
        # the first seed decides for all; what is trained to its end is measured as well
        value = point.get(wanted.judged) if wanted.judged and not outcomes else None
        is_judged = value is not None and seen < budget
        if not is_judged and time.monotonic() - told < _REPORT_SECONDS:
            return
        told = time.monotonic()
        share = (len(outcomes) + min(1.0, seen / budget)) / len(todo)
        judged = {"num_objects": seen, "judged": value} if is_judged else {}
        tune.report({"share": share, **judged})

    for trial in todo:  # a list comprehension would hide from `report` how many are done
        outcomes.append(run_trial(trial, data, store, report))  # noqa: PERF401
    tune.report(
        {
            "share": 1.0,
            "is_complete": True,
            "seconds": sum(o.seconds_training + o.seconds_evaluation for o in outcomes),
            "is_reused": all(o.is_reused for o in outcomes),
            "values": [_mean(todo, store, target) for target in wanted.targets],
        }
    )


def _mean(todo: Sequence[Trial], store: Store, target: Target) -> float:
    """A target's value over the seeds."""
    values = [_value(trial, store, target) for trial in todo]
    return sum(values) / len(values)


def _value(trial: Trial, store: Store, target: Target) -> float:
    cell = trial.cells[0]
    if target.name == "num_floats":
        return float(cell.num_floats or 0)
    if target.name == "seconds":
        return store.facts(cell).seconds_training
    value = last_value(store, trial, target.name)
    if value is None:
        raise DataError(
            f"no curve {target.name!r} to search by: name one of this training's learning curves "
            "as target of the study"
        )
    return value
