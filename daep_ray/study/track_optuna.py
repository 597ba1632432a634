"""A study as an Optuna storage, OUT/optuna.db: `optuna-dashboard sqlite:///OUT/optuna.db`.

In: the trainings of a study. Out: an Optuna study of its name with one trial per training, also of
an enumerated one. The storage is a picture, made anew from the study's tables each time; no search
reads it. It is built in memory and copied by SQLite's own backup, one transaction: whoever
is killed meanwhile, or reads it, has the picture of before or of after.
"""

import contextlib
import json
import sqlite3
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.pool import StaticPool

from daep_ray.study.axes import Target
from daep_ray.study.tracked import Training

_PATIENCE_SECONDS = 5.0  # with a reader that does not let go
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_STATES = {
    "done": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "missing": TrialState.WAITING,
}
_DIRECTIONS = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}


class OptunaStorage:
    """`design` is the content of spec.json."""

    name = "optuna.db"

    def __init__(self, path: Path, design: Mapping[str, Any], targets: Sequence[Target]):
        self.path = path
        self.design = design
        self.targets = tuple(targets)
        self.space = _space(design)
        with _in_memory():
            pass  # Optuna imports much on first use; Ctrl-C there would cost the last picture

    def show(self, trainings: Sequence[Training]) -> None:
        """Replace the storage by one of these trainings.

        Raises:
            sqlite3.Error, OSError: it cannot be written.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with _in_memory() as (storage, connection):
            study = optuna.create_study(
                storage=storage,
                study_name=self.design["name"],
                directions=[_DIRECTIONS[target.direction] for target in self.targets],
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                study.set_metric_names([target.name for target in self.targets])
            study.set_user_attr("question", self.design["question"])
            study.add_trials([self._trial(training) for training in trainings])
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                _copy(connection, self.path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):  # locked, disk full
                    raise
                self.path.unlink()  # what is there is no database
                _copy(connection, self.path)

    def _trial(self, training: Training) -> FrozenTrial:
        values = [training.value(target) for target in self.targets]
        known = [value for value in values if value is not None]
        state = _STATES[training.state]
        if state == TrialState.COMPLETE and len(known) < len(values):
            state = TrialState.PRUNED  # trained without a validation curve: nothing to compare
        params = {"model": training.model}
        params |= {path: _choice(v) for path, v in training.settings.items() if path in self.space}
        trial = optuna.trial.create_trial(
            state=state,
            params=params,
            distributions={name: self.space[name] for name in params},
            values=known if state == TrialState.COMPLETE else None,
            intermediate_values=self._curve(training) if len(self.targets) == 1 else {},
            user_attrs={
                "fingerprint": training.fingerprint,
                "seed": training.seed,
                "num_floats": training.num_floats,
                "seconds": training.seconds,
                "state": training.state,
                "reason": training.reason,
            },
        )
        if state.is_finished():
            trial.datetime_complete = datetime.now()
            lasted = timedelta(seconds=training.seconds or 0.0)
            trial.datetime_start = trial.datetime_complete - lasted
        return trial

    def _curve(self, training: Training) -> dict[int, float]:
        name = self.targets[0].name
        return {p.num_objects: p.values[name] for p in training.curve if name in p.values}


def _space(design: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Each axis' values as choices; the interval of a range."""
    found: dict[str, BaseDistribution] = {"model": CategoricalDistribution(list(design["models"]))}
    for axis in design["axes"]:
        path, values = axis["path"], axis["values"]
        if "is_log" not in axis:
            choices = list(dict.fromkeys(map(_choice, values)))
            found[path] = CategoricalDistribution(choices)
        elif all(isinstance(value, int) for value in values):
            found[path] = IntDistribution(values[0], values[1], log=axis["is_log"])
        else:
            found[path] = FloatDistribution(values[0], values[1], log=axis["is_log"])
    return found


def _choice(value: Any) -> Any:
    """Optuna stores plain values; a list is stored as its JSON."""
    return value if isinstance(value, str | int | float | None) else json.dumps(value)


@contextlib.contextmanager
def _in_memory() -> Iterator[tuple[RDBStorage, sqlite3.Connection]]:
    options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    storage = RDBStorage("sqlite://", engine_kwargs=options)
    borrowed = storage.engine.raw_connection()
    connection = borrowed.driver_connection
    assert isinstance(connection, sqlite3.Connection)
    try:
        yield storage, connection
    finally:
        borrowed.close()
        storage.remove_session()
        storage.engine.dispose()


def _copy(source: sqlite3.Connection, path: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS

    def give_up(status: int, remaining: int, total: int) -> None:
        if status in _LOCKED and time.monotonic() > deadline:
            raise sqlite3.OperationalError(f"{path} is locked by another program")

    with contextlib.closing(sqlite3.connect(path, timeout=_PATIENCE_SECONDS)) as target:
        source.backup(target, progress=give_up)
