"""A study that is being run: its design, its folder, what the store has of it. No Ray here.

In: a resolved `StudySpec`, the shards, OUT. Out: the cells, what is still missing, the tables.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from daep_ray.shards.read import ShardFolder
from daep_ray.study import folder, search, tables
from daep_ray.study.collect import collect, so_far
from daep_ray.study.command import commands
from daep_ray.study.journal import Journal, Suggestion
from daep_ray.study.ledger import ledger
from daep_ray.study.spec import Cell, StudySpec, cells
from daep_ray.study.store import Store
from daep_ray.study.tracked import Training, trainings
from daep_ray.study.trial import Trial, trials


@dataclass(frozen=True)
class StudyResult:
    """What a study left: its folder, its tables, and how its trials went."""

    out: Path
    tables: dict[str, pa.Table]
    num_trials: int
    num_failed: int  # trials whose cells have no results, but should
    num_reused: int  # trials that the store had before
    num_stopped: int = 0  # trials that a scheduler stopped early


@dataclass(frozen=True)
class Study:
    """Nothing below `spec` and `shards` changes a number."""

    spec: StudySpec
    shards: ShardFolder
    data: str  # the folder as the user gave it
    out: Path
    store: Store
    address: str | None  # of a Ray cluster; None: a session of our own
    gpus_per_trial: float
    num_retries: int  # of a trial that fails
    echo: Callable[[str], None]

    @property
    def journal(self) -> Journal:
        return Journal(self.out / "trials.jsonl")

    @cached_property
    def num_wanted(self) -> int:
        """Settings that a search tries in all; 0 for an enumerated study."""
        if self.spec.search == "grid":
            return 0
        return search.num_wanted(self.spec, self.shards.manifest)

    @property
    def num_searched(self) -> int:
        """Settings that a search has still to try; 0 for an enumerated study."""
        if self.spec.search == "random":
            return len(self.to_try())
        return max(0, self.num_wanted - len(self.journal.ended()))

    def to_try(self) -> list[Suggestion]:
        """Settings that a search takes before it asks Optuna for more."""
        if self.spec.search == "random":
            ended = [end.suggestion for end in self.journal.ended()]
            return [s for s in search.drawn(self.spec, self.shards.manifest) if s not in ended]
        return [*self.journal.unfinished()]

    def design(self) -> list[Cell]:
        """The cells: enumerated, drawn, or those of Optuna's suggestions so far."""
        if self.spec.search == "grid":
            return cells(self.spec, self.shards.manifest)
        if self.spec.search == "random":
            return search.planned(self.spec, self.shards.manifest)
        return search.tried(self.spec, self.shards.manifest, self.journal)

    def stopped(self) -> dict[str, str]:
        """Where and why trainings were stopped early, by fingerprint."""
        return {
            trial.training: end.stopped
            for end in (self.journal.ended() if self.spec.search != "grid" else [])
            if end.stopped is not None
            for trial in search.trials_of(self.spec, self.shards.manifest, end.suggestion)
        }

    def lacks(self, trial: Trial) -> bool:
        return not all(self.store.has(cell) for cell in trial.cells)

    def missing(self) -> list[Trial]:
        """Trials that the store lacks and that were not stopped on purpose."""
        lacking = [trial for trial in trials(self.design()) if self.lacks(trial)]
        stopped = self.stopped() if lacking else {}
        return [trial for trial in lacking if trial.training not in stopped]

    def num_stopped(self) -> int:
        """Trials that were stopped early and never finished, here or by another study."""
        stopped = self.stopped()
        return sum(t.training in stopped and self.lacks(t) for t in trials(self.design()))

    def write_tables(self) -> dict[str, pa.Table]:
        """Write OUT/tables: what there is, and what is missing."""
        design, stopped = self.design(), self.stopped()
        costs = {"ledger": ledger(design, self.store, self.shards, stopped)}
        tables.write(self.out / "tables", costs)
        how = commands(self.spec, design, self.shards.manifest, self.data)
        return collect(design, self.store, self.out, how, stopped) | costs

    def trainings(self) -> list[Training]:
        """What there is of each training, finished or not; those that ended first come first
        where a search suggests more and more of them.
        """
        design, stopped = self.design(), self.stopped()
        found = trainings(so_far(design, self.store, {}, stopped))
        if self.spec.search in ("grid", "random"):
            return found
        manifest, ended = self.shards.manifest, self.journal.ended()
        order = [
            t.training for e in ended for t in search.trials_of(self.spec, manifest, e.suggestion)
        ]
        return sorted(found, key=lambda training: order.index(training.fingerprint))

    def has_run(self) -> bool:
        return (self.out / "run.json").is_file()

    def note_run(self, command: str, seconds_study: float, seconds_session: float) -> None:
        """Write OUT/run.json."""
        runtime = self.spec.base.runtime
        more = {
            "command": command,
            "data": self.data,
            "num_threads": runtime.num_threads,
            "num_workers": runtime.num_workers,
            "seconds_study": round(seconds_study, 3),
            "seconds_session": round(seconds_session, 3),
        }
        folder.note_run(self.out, more)
