"""The distance to the truth: 0 for a model that knows it, the noise's for one that copies."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer

from daep_ray.cli import run_app
from daep_ray.sample import Sample
from daep_ray.shards.ingest import ingest
from daep_ray.shards.read import ShardFolder
from tests.studies.test_study_files import load


class Copies:
    """Gives back a column of the light curve."""

    def __init__(self, column: str) -> None:
        self.column = column

    def reconstruct(self, samples: list[Sample], num_draws: int) -> list[dict[str, Any]]:
        curves = [s.sequences["photometry"] for s in samples]
        told = [c.value if self.column == "value" else c.extras[self.column] for c in curves]
        return [{"photometry": SimpleNamespace(mean=np.asarray(values))} for values in told]


def test_who_knows_the_truth_and_who_copies(tmp_path: Path) -> None:
    study = load("noise_aware")
    ingest("synthetic", None, tmp_path / "data", {"num_objects": 300, "quality_spread": 30.0})
    samples = list(study.held_out(ShardFolder.open(tmp_path / "data")))
    assert {s.split for s in samples} == {"test"}
    zero, measured = study.distances(Copies("truth"), samples, 3.0, 8)
    assert np.all(zero == 0)
    copied, _ = study.distances(Copies("value"), samples, 3.0, 8)
    np.testing.assert_array_equal(copied, measured)
    # of standard normal noise: sqrt(2 / pi), to 5 standard errors
    spread = np.sqrt(1 - 2 / np.pi) / np.sqrt(len(measured))
    assert measured.mean() == pytest.approx(np.sqrt(2 / np.pi), abs=5 * spread)
    everything, _ = study.distances(Copies("value"), samples, np.inf, 8)
    assert len(everything) > len(copied) > 100


def test_data_without_a_truth_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = load("noise_aware")
    ingest("synthetic", None, tmp_path / "data", {"num_objects": 5, "modalities": ["spectrum"]})
    command = typer.Typer(pretty_exceptions_enable=False)
    command.command()(study.command)
    assert run_app(command, [str(tmp_path / "data"), str(tmp_path / "run")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "known truth" in line
