"""The trainings of a study as other tools are shown them: Optuna's dashboard, TensorBoard, MLflow.

In: the tables `cells` and `curves`, finished or so far. Out: one row per training, references
apart. Neither torch nor Ray.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from daep_ray.study.axes import Target

# The state of a training whose cells differ: the first of these that any of them has.
STATES = ("failed", "stopped", "missing", "done")
_LONGEST_LABEL = 100


@dataclass(frozen=True)
class Point:
    """A point of a training's learning curves."""

    num_objects: int
    values: dict[str, float]


@dataclass(frozen=True)
class Training:
    """A training of the design, whether or not it has run."""

    fingerprint: str
    model: str
    seed: int
    num_floats: int
    settings: dict[str, Any]  # the axes' values by path, those that all its cells share
    state: str  # one of STATES
    reason: str
    seconds: float | None  # of training, once it is done
    curve: tuple[Point, ...]

    @property
    def label(self) -> str:
        """`vae length 2, width 4, seed 0 (3f9c1a)`, fit for a folder's name."""
        short = [f"{path.rsplit('.', 1)[-1]} {value}" for path, value in self.settings.items()]
        text = re.sub(
            r"[^\w .,+-]", "_", f"{self.model} " + ", ".join([*short, f"seed {self.seed}"])
        )
        return f"{text[:_LONGEST_LABEL]} ({self.fingerprint[:6]})"

    def value(self, target: Target) -> float | None:
        """What a search looks for; None where this training does not have it."""
        if target.name == "num_floats":
            return float(self.num_floats)
        if target.name == "seconds":
            return self.seconds
        values = [point.values[target.name] for point in self.curve if target.name in point.values]
        return values[-1] if values else None


def trainings(tables: Mapping[str, pa.Table]) -> list[Training]:
    """The trainings of a study in the order of its cells."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for cell in tables["cells"].to_pylist():
        if cell["seed"] is not None:
            groups.setdefault(cell["training"], []).append(cell)
    curves = _curves(tables["curves"])
    return [_training(cells, curves.get(name, ())) for name, cells in groups.items()]


def _training(cells: list[dict[str, Any]], curve: tuple[Point, ...]) -> Training:
    worst = min(cells, key=lambda cell: STATES.index(cell["state"]))
    every = [json.loads(cell["settings"]) for cell in cells]
    shared = {p: v for p, v in every[0].items() if all(s.get(p, ...) == v for s in every)}
    return Training(
        fingerprint=worst["training"],
        model=worst["model"],
        seed=worst["seed"],
        num_floats=worst["num_floats"],
        settings=shared,
        state=worst["state"],
        reason=worst["reason"],
        seconds=worst["seconds_training"] if worst["state"] == "done" else None,
        curve=curve,
    )


def _curves(table: pa.Table) -> dict[str, tuple[Point, ...]]:
    found: dict[str, dict[int, Point]] = {}
    for row in table.to_pylist():
        points = found.setdefault(row["training"], {})
        point = points.setdefault(row["num_objects"], Point(row["num_objects"], {}))
        point.values[row["name"]] = row["value"]
    return {name: tuple(points[n] for n in sorted(points)) for name, points in found.items()}
