"""Learning curves: points at fixed numbers of objects, exact after a resume."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.train.progress import Curve, Line, duration, read_curve


def feed(curve: Curve, first: int, last: int, size: int = 10) -> None:
    """Steps of `size` objects whose loss is the objects seen before them."""
    for before in range(first, last, size):
        curve.add({"loss": float(before)})
        if curve.is_due(before, before + size):
            curve.write(before + size, {})


def without_seconds(path: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in p.items() if k != "seconds"} for p in read_curve(path)]


def test_points_are_means_over_equal_parts(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    curve = Curve(path, budget=100, num_points=4)
    feed(curve, 0, 100)
    points = without_seconds(path)
    # steps of 10 objects pass the marks 25, 50, 75 at 30, 50, 80, and the end at 100
    assert [p["num_objects"] for p in points] == [30, 50, 80, 100]
    assert [p["train/loss"] for p in points] == [10.0, 35.0, 60.0, 85.0]


def test_a_resumed_curve_equals_one_never_stopped(tmp_path: Path) -> None:
    whole = Curve(tmp_path / "whole.jsonl", 100, 4)
    feed(whole, 0, 100)

    path = tmp_path / "resumed.jsonl"
    first = Curve(path, 100, 4)
    feed(first, 0, 40)
    state = json.loads(json.dumps(first.state()))
    feed(first, 40, 70)  # after the checkpoint: lost in the kill, its points must not stay
    path.write_text(path.read_text() + '{"num_objects": 80, "tra')  # a line cut by the kill
    second = Curve(path, 100, 4)
    second.resume(state, 40)
    feed(second, 40, 100)
    assert without_seconds(path) == without_seconds(tmp_path / "whole.jsonl")


def test_seconds_count_interrupted_parts(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "m.jsonl", 100, 4)
    curve.resume({"sums": {}, "num_steps": 0, "seconds": 1000.0}, 0)
    assert 1000.0 <= curve.seconds < 1010.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (42.4, "0:42"), (725, "12:05"), (11250, "3:07:30"), (float("inf"), "?")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.integers(1, 500), st.integers(1, 40), st.integers(1, 60))
def test_every_curve_ends_at_the_budget(budget: int, num_points: int, size: int) -> None:
    curve = Curve(Path("unused"), budget, num_points)
    due = [
        before + size for before in range(0, budget, size) if curve.is_due(before, before + size)
    ]
    assert due
    assert due[-1] >= budget
    assert len(due) <= num_points + 1


def test_line_shows_what_a_person_needs() -> None:
    lines: list[str] = []
    line = Line(lines.append, budget=1000, every=0.0)
    line.maybe(0, 1.0)
    line.maybe(500, 0.25)
    assert "500 of 1,000 objects" in lines[-1]
    assert "0.2500" in lines[-1]
    assert lines[-1].endswith("left")
