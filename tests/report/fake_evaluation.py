"""Rows of what an evaluation says beyond errors: draws, groups of objects, scales, codes."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from daep_ray.evaluate.calibration import LEVELS, target
from tests.report.fake_design import Cell, Fake, error_of

NUM_DRAWS = 8
BINS = ((0.0, 3.0), (3.0, 10.0), (10.0, 30.0), (30.0, None))


def draws_metric_rows(cell: Cell, fake: Fake) -> list[dict[str, Any]]:
    """Rows of `metrics` told of all draws together; daep too narrow, a VAE's all the same."""
    if cell.seed is None:
        return []
    rows = []
    for metric, value, expected in _draws(cell, error_of(cell, fake)):
        rows.append((metric, value))
        rows += [(f"{metric}_target", expected)] if expected is not None else []
    rows += [("rank_bias", 0.02), ("rank_spread", 1.4)]
    place = {"cell": cell.key, "modality": fake.modality, "split": "test", "estimate": "draws"}
    return [{**place, "metric": m, "value": v, "count": 900} for m, v in rows]


def _draws(cell: Cell, error: float) -> Iterator[tuple[str, float, float | None]]:
    width = 0.0 if cell.model == "vae" else error
    for level in LEVELS:
        expected = target(NUM_DRAWS, level)
        yield f"coverage_{level}", 0.8 * expected if width else 0.0, expected
        yield f"width_{level}", width * level / 40, None
    yield "crps", 0.8 * error, None


def calibration_rows(cell: Cell, fake: Fake) -> list[dict[str, Any]]:
    """Rows of `calibration`: by position, phase and rank for what draws, by scale for all."""
    rows: list[dict[str, Any]] = []
    error = error_of(cell, fake)
    edges = np.linspace(3500, 9500, 13) if fake.modality == "spectrum" else np.linspace(-20, 80, 9)
    if cell.seed is not None:
        for i, (low, high) in enumerate(pairwise(edges)):
            for metric, value, expected in _draws(cell, error * (1 + 0.1 * (i % 3))):
                rows.append(_bin("draws", metric, "position", low, high, value, expected))
        for phase in (-10.0, 0.0, 10.0):
            for metric, value, expected in _draws(cell, error):
                at = ("phase", phase - 5, phase + 5)
                rows.append(_bin("draws", metric, *at, value, expected))
        counts = cell.rng("ranks").integers(40, 160, NUM_DRAWS + 1)
        for rank, count in enumerate(counts.tolist()):
            share = count / int(counts.sum())
            at = ("rank", float(rank), float(rank))
            rows.append(_bin("draws", "rank_share", *at, share, 1 / (NUM_DRAWS + 1)))
    estimate = "reference" if cell.seed is None else "mean_of_draws"
    rows += [
        _bin(estimate, "absolute_error", "phase", phase - 5, phase + 5, error, None)
        for phase in (-10.0, 0.0, 10.0)
    ]
    for scale in (1, 2, 4, 8):
        at = ("scale", float(scale), float(scale))
        rows.append(_bin(estimate, "residual_power", *at, min(1.5, error / scale), None))
    return [{"cell": cell.key, "modality": fake.modality, **row} for row in rows]


def _bin(
    estimate: str, metric: str, axis: str, low: float, high: float, value: float, target: Any
) -> dict[str, Any]:
    told = {"estimate": estimate, "metric": metric, "axis": axis, "value": value, "target": target}
    return {"split": "test", **told, "low": float(low), "high": float(high), "count": 90}


def group_rows(cell: Cell, fake: Fake) -> list[dict[str, Any]]:
    """Rows of `groups`: rarer classes and fainter objects are harder."""
    estimate = "reference" if cell.seed is None else "mean_of_draws"
    error = error_of(cell, fake)
    places = [{"axis": "class", "name": name} for name in fake.classes]
    places += [{"axis": "signal_to_noise", "low": low, "high": high} for low, high in BINS]
    told = {"cell": cell.key, "modality": fake.modality, "split": "test", "estimate": estimate}
    return [
        {
            **told,
            "metric": "absolute_error",
            **place,
            "value": error * (0.8 + 0.15 * i),
            "sd": 0.4 * error,
            "count": 9,
        }
        for i, place in enumerate(places)
    ]


def confusion_rows(cell: Cell, fake: Fake) -> list[dict[str, Any]]:
    """Rows of `confusion`; none for the mean, which has no code."""
    if cell.model == "mean":
        return []
    rows = []
    for true in fake.classes:
        shares = cell.rng(f"confusion {true}").dirichlet(np.ones(len(fake.classes)))
        shares = 0.3 * shares + 0.7 * (np.array(fake.classes) == true)
        for said, share in zip(fake.classes, shares.tolist(), strict=True):
            rows.append({"truth": true, "said": said, "value": share, "count": 30})
    place = {"modality": fake.modality, "split": "test", "estimate": "probe"}
    return [{"cell": cell.key, **place, **row} for row in rows]


def code_rows(cell: Cell, fake: Fake) -> list[dict[str, Any]]:
    """Rows of `codes`: a cloud per class, some objects without one."""
    if cell.model == "mean":
        return []
    rng, rows = cell.rng("codes"), []
    for split, number in (("train", 120), ("test", fake.num_test)):
        for i in range(number):
            kind = i % (len(fake.classes) + 1)
            angle = 2 * np.pi * kind / (len(fake.classes) + 1)
            x, y = 0.6 * np.array([np.cos(angle), np.sin(angle)]) + rng.normal(0, 0.12, 2)
            name = fake.classes[kind] if kind < len(fake.classes) else None
            row = {"split": split, "object_id": f"{split}{i}", "class": name}
            at = {"x": max(-1.0, min(1.0, float(x))), "y": max(-1.0, min(1.0, float(y)))}
            rows.append({"cell": cell.key, "modality": fake.modality, **row, **at})
    return rows
