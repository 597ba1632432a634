"""What a training tells while it runs: learning curves in `metrics.jsonl`, one calm line.

A curve's points lie at fixed numbers of objects, never at times, so that two identical runs leave
identical curves. Seconds are recorded beside them and belong to no table's identity.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Curve:
    """Mean loss terms over each of `num_points` equal parts of the budget; resumes exactly."""

    def __init__(self, path: Path, budget: int, num_points: int):
        self.path = path
        self.budget = budget
        self.num_points = num_points
        self.sums: dict[str, float] = {}
        self.num_steps = 0
        self.seconds_before = 0.0  # of earlier, interrupted parts of this training
        self.started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds spent training so far, interrupted parts included."""
        return self.seconds_before + time.perf_counter() - self.started

    def add(self, terms: Mapping[str, float]) -> None:
        """One step's loss terms."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.num_steps += 1

    def is_due(self, before: int, after: int) -> bool:
        """Whether the step from `before` to `after` objects seen passes a point of the curve."""
        width = self.budget / self.num_points
        return int(before / width) != int(after / width) or after >= self.budget

    def write(self, num_objects: int, extra: Mapping[str, float]) -> dict[str, float]:
        """Append a point: the mean of the terms since the last one, and `extra`."""
        means = {f"train/{k}": v / max(1, self.num_steps) for k, v in self.sums.items()}
        point = {**means, **extra}
        line = {"num_objects": num_objects, "seconds": round(self.seconds, 3), **point}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.sums, self.num_steps = {}, 0
        return point

    def state(self) -> dict[str, Any]:
        return {"sums": self.sums, "num_steps": self.num_steps, "seconds": self.seconds}

    def resume(self, state: dict[str, Any] | None, num_objects: int) -> None:
        """Go on from a checkpoint: drop the points that were written after it."""
        kept = [p for p in read_curve(self.path) if p["num_objects"] <= num_objects]
        if state is None:
            kept = []
        else:
            self.sums, self.num_steps = dict(state["sums"]), state["num_steps"]
            self.seconds_before = state["seconds"]
        text = "".join(json.dumps(point) + "\n" for point in kept)
        staged = self.path.with_suffix(".partial")
        staged.write_text(text)
        staged.replace(self.path)


def read_curve(path: Path) -> list[dict[str, float]]:
    """The points of a `metrics.jsonl`; a line cut by a kill is left out."""
    points: list[dict[str, float]] = []
    if not path.exists():
        return points
    for line in path.read_text().splitlines():
        try:
            points.append(json.loads(line))
        except json.JSONDecodeError:
            break  # only the last line can be cut
    return points


class Line:
    """One line every few seconds: objects, loss, rate, time left."""

    def __init__(self, echo: Callable[[str], None] | None, budget: int, every: float):
        self.echo = echo
        self.budget = budget
        self.every = every
        self.last = time.perf_counter()
        self.last_objects: int | None = None

    def maybe(self, num_objects: int, loss: float) -> None:
        """Print if it is time to."""
        if self.last_objects is None:
            self.last_objects = num_objects
        now = time.perf_counter()
        if self.echo is None or now - self.last < self.every:
            return
        rate = (num_objects - self.last_objects) / (now - self.last)
        left = (self.budget - num_objects) / rate if rate > 0 else math.inf
        self.echo(
            f"{num_objects:>10,} of {self.budget:,} objects   loss {loss:8.4f}   "
            f"{rate:7,.0f} objects/s   {duration(left)} left"
        )
        self.last, self.last_objects = now, num_objects


def duration(seconds: float) -> str:
    """`0:42`, `12:05`, `3:07:30`; `?` when unknown."""
    if not math.isfinite(seconds):
        return "?"
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
