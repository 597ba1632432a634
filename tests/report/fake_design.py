"""The design of a study that nobody trained: its cells and how good each of them is."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

MEAN_ERROR = 0.583  # of the training mean, in z units
LEVEL = {"daep": 0.52, "vae": 0.60, "pca": 0.68}  # error of one float
SLOPE = {"daep": -0.40, "vae": -0.38, "pca": -0.36}  # against log(floats)
PROBE = {"daep": 0.80, "vae": 0.77, "pca": 0.74}


@dataclass(frozen=True)
class Fake:
    """What the study looks like; the defaults are a small sweep in which everything went well."""

    models: tuple[str, ...] = ("daep", "vae")
    sizes: tuple[tuple[int, int], ...] = ((2, 2), (4, 4), (8, 8))
    seeds: tuple[int, ...] = (0, 1, 2)
    modality: str = "spectrum"
    references: tuple[str, ...] = ("pca", "mean")
    failed: tuple[str, ...] = ()  # "model/length/seed" of trainings that failed
    without_metrics: tuple[str, ...] = ()  # metrics that nobody measured
    is_trained: bool = True
    num_test: int = 34
    gain: dict[str, float] = field(
        default_factory=dict
    )  # on the error of a model, or "model/length"
    name: str = "bottleneck sweep"
    is_old: bool = False  # evaluated before draws, groups and codes had tables
    classes: tuple[str, ...] = ("Ia", "Ib", "Ic", "II")


# Its page, with all the files beside it, is built once for every test that only reads one.
SHOWN = Fake(modality="photometry", seeds=(0, 1), failed=("daep/4/1",))


@dataclass(frozen=True)
class Cell:
    model: str
    shape: tuple[int, int] | None
    seed: int | None

    @property
    def num_floats(self) -> int | None:
        return self.shape[0] * self.shape[1] if self.shape else None

    @cached_property
    def key(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    def rng(self, what: str = "") -> np.random.Generator:
        return np.random.default_rng(
            int(hashlib.sha256(f"{self!r}{what}".encode()).hexdigest()[:8], 16)
        )


def cells_of(fake: Fake) -> list[Cell]:
    trained = [Cell(m, shape, s) for m in fake.models for shape in fake.sizes for s in fake.seeds]
    by_floats = {length * width: (length, width) for length, width in fake.sizes}
    shapes = by_floats.values() if "pca" in fake.references else ()
    references = [Cell("pca", shape, None) for shape in shapes]
    if "mean" in fake.references:
        references.append(Cell("mean", None, None))
    return trained + references


def is_failed(cell: Cell, fake: Fake) -> bool:
    return cell.shape is not None and f"{cell.model}/{cell.shape[0]}/{cell.seed}" in fake.failed


def config_of(cell: Cell) -> dict[str, Any]:
    length, width = cell.shape or (0, 0)
    return {
        "modalities": ["spectrum"],
        "model": {"width": 64, "num_heads": 4, "bottleneck": {"length": length, "width": width}},
        "objective": {
            "kind": cell.model,
            **({"prediction": "v"} if cell.model == "daep" else {"beta": 1e-4}),
        },
        "optimisation": {
            "num_objects": 96_000,
            "token_budget": 8192,
            "optimizer": {"kind": "muon", "rate": 3e-3},
        },
        "recipe": {
            "modalities": {
                "spectrum": {"value": [{"kind": "scale_by_median"}], "z_score": "modality"}
            }
        },
        "evaluation": {
            "max_objects": 200,
            "split": "test",
            "num_draws": 8,
            "sampler": {"kind": "dpm_solver", "num_steps": 10},
        },
        "seed": cell.seed,
    }


def error_of(cell: Cell, fake: Fake) -> float:
    """The cell's mean absolute error in z units, mean of draws."""
    if cell.model == "mean":
        return MEAN_ERROR
    if not fake.is_trained and cell.seed is not None:
        return MEAN_ERROR * cell.rng().normal(0.93, 0.01)
    assert cell.num_floats is not None
    level = LEVEL.get(cell.model, 0.55) * cell.num_floats ** SLOPE.get(cell.model, -0.39)
    noise = cell.rng().normal(1.0, 0.025) if cell.seed is not None else 1.0
    return min(level * noise * _gain(cell, fake), MEAN_ERROR)


def _gain(cell: Cell, fake: Fake) -> float:
    """The factor on this cell's error: of its model and length, else of its model."""
    of_model = fake.gain.get(cell.model, 1.0)
    return fake.gain.get(f"{cell.model}/{cell.shape[0]}", of_model) if cell.shape else of_model
