"""Trainings as runs of an MLflow experiment named after the study.

In: an MLflow tracking URI and the trainings of a study. Out: one run per training with its settings
and curves; the step is the number of objects seen. Started again, a study goes on with the runs
that are there. `check` looks at a URI and leaves nothing there. Needs the extra `track`.
"""

import os
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import sqlalchemy

from daep_ray.errors import ConfigError, require_writable
from daep_ray.study.tracked import Point, Training

# MLflow tries for minutes otherwise, before anything has started
for _name, _value in {"MAX_RETRIES": "1", "TIMEOUT": "10"}.items():
    os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{_name}", _value)

try:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param
except ImportError:
    raise ConfigError(
        "--mlflow needs the package mlflow, which is not installed: pip install 'daep-ray[track]'"
    ) from None

_TRAINING = "daep_ray.training"  # the tag that names a run's training
_NUM_POINTS = "daep_ray.num_points"  # logged of its curve
_STATES = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "missing": "RUNNING"}
_MOST = 500  # metrics at a time: servers take 1,000
_DATABASES = ("postgresql", "mysql", "mssql")
_NAMES = ("databricks", "databricks-uc", "uc")  # of servers that its own settings tell


def check(uri: str) -> None:
    """Refuse a tracking URI that cannot be used; no experiment, table, file or folder is made.

    MLflow itself makes them while it looks, and asks a file that is no database for minutes.

    Raises:
        ConfigError: in one sentence.
    """
    if "@" in urlsplit(uri).netloc:
        raise ConfigError(
            "the --mlflow address has credentials in it, and commands are shown in reports: "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
        )
    scheme = urlsplit(uri).scheme.partition("+")[0]
    try:
        if scheme == "sqlite":
            _check_file(sqlalchemy.make_url(uri))
        elif scheme in _DATABASES:
            sqlalchemy.create_engine(uri).connect().close()
        elif scheme in ("", "file") and uri not in _NAMES:
            _check_folder(Path(url2pathname(urlsplit(uri).path) if scheme else uri))
        else:
            MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    except Exception as error:  # of whatever kind the store behind the URI raises
        raise _refusal(uri, error) from None


def _check_file(url: sqlalchemy.URL) -> None:
    """Look whether a SQLite file is one, or can be made one; the folders above it may be absent."""
    sqlalchemy.create_engine(url).dialect.create_connect_args(url)  # what is no URL of a file
    if not url.database or url.database == ":memory:":
        return
    path = Path(url.database)
    require_writable(path.parent)
    if path.exists():
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as found:
            found.execute("SELECT name FROM sqlite_master").fetchall()


def _check_folder(path: Path) -> None:
    """Look whether this MLflow takes folders at all, and whether this one can be written."""
    with tempfile.TemporaryDirectory() as nowhere:
        MlflowClient(tracking_uri=str(Path(nowhere) / "runs"))
    require_writable(path)


def _refusal(uri: str, error: Exception) -> ConfigError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0]
    return ConfigError(
        f"--mlflow {uri} cannot be used ({first}): give the address of a server, "
        "sqlite:///FILE, or leave it out"
    )


class MLflow:
    """One experiment at one server, database or folder."""

    name = "MLflow"

    def __init__(self, uri: str, experiment: str):
        check(uri)
        try:
            self.client = MlflowClient(tracking_uri=uri)
            found = self.client.get_experiment_by_name(experiment)
            place = found.experiment_id if found else self.client.create_experiment(experiment)
        except Exception as error:  # of whatever kind the store behind the URI raises
            raise _refusal(uri, error) from None
        self.experiment = place
        self._runs: dict[str, str] | None = None  # run by fingerprint; None: not looked up
        self._shown: dict[str, tuple[int, str]] = {}  # points and state by fingerprint

    def show(self, trainings: Sequence[Training]) -> None:
        """Log what is new of trainings that have begun.

        Raises:
            Exception: whatever the store behind the URI raises.
        """
        if self._runs is None:
            self._runs = self._known()
        for training in trainings:
            now = (len(training.curve), training.state)
            has_begun = training.curve or training.state != "missing"
            if has_begun and self._shown.get(training.fingerprint) != now:
                self._log(training, self._runs)
                self._shown[training.fingerprint] = now

    def _known(self) -> dict[str, str]:
        runs: dict[str, str] = {}
        token: str | None = None
        while True:
            page = self.client.search_runs([self.experiment], page_token=token)
            for run in page:
                if fingerprint := run.data.tags.get(_TRAINING):
                    runs[fingerprint] = run.info.run_id
                    num_points = int(run.data.tags.get(_NUM_POINTS, 0))
                    self._shown[fingerprint] = (num_points, "")
            token = page.token
            if not token:
                return runs

    def _log(self, training: Training, runs: dict[str, str]) -> None:
        if training.fingerprint not in runs:
            runs[training.fingerprint] = self._begin(training)
        run = runs[training.fingerprint]
        metrics = _metrics(training.curve[self._shown.get(training.fingerprint, (0, ""))[0] :])
        for start in range(0, len(metrics), _MOST):
            self.client.log_batch(run, metrics=metrics[start : start + _MOST])
        self.client.set_tag(run, _NUM_POINTS, str(len(training.curve)))
        if training.reason:
            self.client.set_tag(run, "daep_ray.reason", training.reason)
        if training.state == "missing":
            self.client.update_run(run, status="RUNNING")
        else:
            self.client.set_terminated(run, _STATES[training.state])

    def _begin(self, training: Training) -> str:
        tags = {_TRAINING: training.fingerprint}
        made = self.client.create_run(self.experiment, tags=tags, run_name=training.label)
        known: dict[str, Any] = {"model": training.model, "seed": training.seed}
        known |= {"num_floats": training.num_floats, **training.settings}
        params = [Param(name, str(value)) for name, value in known.items()]
        self.client.log_batch(made.info.run_id, params=params)
        return str(made.info.run_id)


def _metrics(points: Sequence[Point]) -> list[Any]:
    now = int(time.time() * 1000)
    return [
        Metric(name, value, now, point.num_objects)
        for point in points
        for name, value in point.values.items()
    ]
