"""A study's trainings as runs of MLflow, and addresses that it is refused at."""

import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from daep_ray.errors import ConfigError
from daep_ray.study.tracked import Point, Training

pytest.importorskip("mlflow")

from daep_ray.study.track_mlflow import MLflow, check

ERROR = "validation/absolute_error"


def training(number: int, error: float | None, **changes: Any) -> Training:
    """A finished training with two points of its curve."""
    curve = [Point(10, {"train/loss": 2.0}), Point(20, {"train/loss": 1.0})]
    if error is not None:
        curve = [
            Point(p.num_objects, p.values | {ERROR: error * 20 / p.num_objects}) for p in curve
        ]
    settings = {"model.width": 16, "optimisation.rate": 0.01}
    made = Training(f"{number:016x}", "vae", number, 4, settings, "done", "", 2.0, tuple(curve))
    return replace(made, **changes)


def test_mlflow_has_a_run_per_training_and_goes_on_with_it(tmp_path: Path) -> None:
    import mlflow

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    whole, failed = training(0, 0.5), training(1, None, state="failed", reason="it broke", curve=())
    waiting = training(2, None, state="missing", curve=())
    begun = replace(whole, state="missing", curve=whole.curve[:1])
    MLflow(uri, "simple").show([begun, failed, waiting])
    MLflow(uri, "simple").show([whole, failed, waiting])  # the study was started again

    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("simple")
    runs = {
        r.data.tags["daep_ray.training"]: r for r in client.search_runs([experiment.experiment_id])
    }
    assert runs.keys() == {whole.fingerprint, failed.fingerprint}
    done = runs[whole.fingerprint]
    assert (done.info.status, runs[failed.fingerprint].info.status) == ("FINISHED", "FAILED")
    assert runs[failed.fingerprint].data.tags["daep_ray.reason"] == "it broke"
    assert done.data.params["model.width"] == "16"
    history = client.get_metric_history(done.info.run_id, ERROR)
    assert [(m.step, m.value) for m in history] == [(10, 1.0), (20, 0.5)]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://me:hunter2@127.0.0.1:1", "has credentials in it"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1 cannot be used"),
        ("htp://127.0.0.1:5000", "htp://127.0.0.1:5000 cannot be used"),
        ("sqlite://mlflow.db", "cannot be used .Invalid SQLite URL"),
        ("sqlite:///{folder}/notes.txt", "file is not a database"),
        ("sqlite:////proc/nothing/mlflow.db", "cannot write '/proc/nothing'"),
        ("postgres://127.0.0.1/mlflow", "cannot be used"),
        ("/proc/nothing/mlruns", "cannot be used"),
    ],
)
def test_an_mlflow_that_cannot_be_used_is_refused_in_one_sentence(
    uri: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no database" * 100)
    for look in (check, lambda uri: MLflow(uri, "simple")):
        started = time.monotonic()
        with pytest.raises(ConfigError, match=message) as caught:
            look(uri.format(folder=tmp_path))
        assert "\n" not in str(caught.value)
        assert ". " not in str(caught.value)
        assert "hunter2" not in str(caught.value)
        assert time.monotonic() - started < 60  # MLflow's own tries would take minutes
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_looking_at_a_file_of_mlflow_makes_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for uri in ("sqlite:///absent.db", "sqlite:///folder/absent.db", "sqlite://"):
        check(uri)
    assert list(tmp_path.iterdir()) == []
    MLflow("sqlite:///mlflow.db", "other")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    check("sqlite:///mlflow.db")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_looking_at_a_server_makes_no_experiment_there() -> None:
    asked: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        check(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert asked
    assert not [path for path in asked if "create" in path]
