"""Shows a study to other tools while it runs and when it has ended.

In: a study, and who is to be told. Out: OUT/optuna.db always; OUT/tensorboard and runs of MLflow
where they were asked for. What fails here is told in one line and harms no training.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from daep_ray.study.spec import StudySpec
from daep_ray.study.state import Study
from daep_ray.study.track_optuna import OptunaStorage
from daep_ray.study.tracked import Training

_SECONDS = 10.0  # no more often than that while a study runs
_REST = 19.0  # telling takes at most a twentieth of the driver's time


class Tracker(Protocol):
    """A tool that trainings are shown to."""

    name: str

    def show(self, trainings: Sequence[Training]) -> None:
        """Make what is shown equal to these, whatever it was before."""


def trackers(
    spec: StudySpec, out: Path, has_tensorboard: bool = False, mlflow: str | None = None
) -> list[Tracker]:
    """Who is told of a study; each is only imported if it was asked for.

    Raises:
        ConfigError: a package that is not installed, a server that does not answer.
    """
    found: list[Tracker] = [OptunaStorage(out / "optuna.db", spec.to_json(), spec.targets)]
    if has_tensorboard:
        from daep_ray.study.track_tensorboard import TensorBoard

        found.append(TensorBoard(out / "tensorboard"))
    if mlflow is not None:
        from daep_ray.study.track_mlflow import MLflow

        found.append(MLflow(mlflow, spec.name))
    return found


def check_trackers(has_tensorboard: bool = False, mlflow: str | None = None) -> None:
    """Refuse what `trackers` would, before there is a study; nothing is left anywhere.

    Raises:
        ConfigError: a package that is not installed, a URI that cannot be used.
    """
    if has_tensorboard:
        import daep_ray.study.track_tensorboard  # noqa: F401
    if mlflow is not None:
        from daep_ray.study.track_mlflow import check

        check(mlflow)


class Tracking:
    """Tells the trackers of a study now and then."""

    def __init__(self, study: Study, told: Sequence[Tracker]):
        self.study = study
        self.told = list(told)
        self._next = time.monotonic() + _SECONDS

    def maybe(self) -> None:
        """Tell them if it is time to."""
        if time.monotonic() >= self._next:
            self.now()

    def now(self) -> None:
        """Tell them what there is."""
        started = time.monotonic()
        trainings = self.study.trainings()
        for tracker in list(self.told):
            try:
                tracker.show(trainings)
            except Exception as error:  # of packages that are not ours
                self.told.remove(tracker)
                first = (str(error).strip().splitlines() or [type(error).__name__])[0]
                self.study.echo(f"{tracker.name} is told no more ({first}); the study goes on")
        took = time.monotonic() - started
        self._next = time.monotonic() + max(_SECONDS, _REST * took)
