"""Trainings that were stopped early: a state of their own, in every count."""

from types import SimpleNamespace
from typing import Any

from daep_ray.report.provenance import limits, states
from daep_ray.report.text import _states


def study(*of: str) -> Any:
    cells = [
        SimpleNamespace(training=f"t{i}", state=state, model="vae", seed=i % 3)
        for i, state in enumerate(of)
    ]
    table = SimpleNamespace(num_rows=1)
    rest = {"spec": {}, "rows": lambda name: table, "left_out": {}}
    return SimpleNamespace(trained=cells, cells=cells, **rest)


def test_they_are_counted_apart() -> None:
    assert states(study("done", "failed", "stopped", "stopped")) == (
        "1 of 4 trainings, 1 failed, 2 stopped early"
    )
    assert states(study("done", "missing")) == "1 of 2 trainings, 0 failed, 1 missing"


def test_they_are_no_finished_trainings() -> None:
    assert _states(study("stopped", "failed")) == (
        "no training has finished (1 failed, 0 missing, 1 stopped early; reasons below)"
    )


def test_a_report_says_that_they_are_compared_with_nothing() -> None:
    said = " ".join(limits(study("done", "stopped", "failed"), []))
    assert "worse than others': 1 cell;" in said
    assert "Without a result: 1 cell of VAE;" in said
    assert "2 cells of VAE;" in " ".join(limits(study("failed", "missing"), []))
