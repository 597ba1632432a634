"""A study that is being run: its design, its folder, what the store has of it. No Ray here.

In: a resolved `StudySpec`, the shards, OUT. Out: the cells, what is still missing, the tables.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from daep_ray.shards.read import ShardFolder
from daep_ray.study import folder, search
from daep_ray.study.collect import collect
from daep_ray.study.command import commands
from daep_ray.study.spec import Cell, StudySpec, cells
from daep_ray.study.store import Store
from daep_ray.study.trial import Trial, trials


@dataclass(frozen=True)
class StudyResult:
    """What a study left: its folder, its tables, and how its trials went."""

    out: Path
    tables: dict[str, pa.Table]
    num_trials: int
    num_failed: int  # trials whose cells have no results
    num_reused: int  # trials that the store had before


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
    echo: Callable[[str], None]

    @property
    def journal(self) -> search.Journal:
        return search.Journal(self.out / "trials.jsonl")

    @property
    def num_searched(self) -> int:
        """Settings that Optuna has still to try; 0 for an enumerated study."""
        if self.spec.search == "grid":
            return 0
        return max(0, self.spec.num_trials - len(self.journal.ended()))

    def design(self) -> list[Cell]:
        """The cells: enumerated, or those of Optuna's suggestions so far."""
        if self.spec.search == "optuna":
            return self.journal.cells(self.spec, self.shards.manifest)
        return cells(self.spec, self.shards.manifest)

    def lacks(self, trial: Trial) -> bool:
        return not all(self.store.has(cell) for cell in trial.cells)

    def missing(self) -> list[Trial]:
        """Trials that the store lacks."""
        return [trial for trial in trials(self.design()) if self.lacks(trial)]

    def write_tables(self) -> dict[str, pa.Table]:
        """Write OUT/tables: what there is, and what is missing."""
        design = self.design()
        how = commands(self.spec, design, self.shards.manifest, self.data)
        return collect(design, self.store, self.out, how)

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
