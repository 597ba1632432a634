"""Rows of the tables of a study that nobody trained: plausible numbers, everything from a seed."""

import hashlib
import json
from typing import Any

import numpy as np

from tests.report.fake_design import (
    MEAN_ERROR,
    PROBE,
    Cell,
    Fake,
    config_of,
    error_of,
    is_failed,
)

BANDS = ("g", "r", "i", "z")

Truth = tuple[str | None, np.ndarray, np.ndarray, float]  # category, position, value, error


def cell_row(cell: Cell, fake: Fake) -> dict[str, Any]:
    length, width = cell.shape or (None, None)
    axes = {"model.bottleneck.length": length, "model.bottleneck.width": width}
    settings: dict[str, Any] = {k: v for k, v in axes.items() if v is not None}
    if cell.seed is not None:
        settings["objective.kind"] = cell.model
    has_failed = is_failed(cell, fake)
    is_reference = cell.seed is None
    seconds = cell.rng("time").uniform(0.95, 1.05) * (540 if cell.model == "daep" else 400)
    flags = " ".join(f"--set {k}={v}" for k, v in settings.items())
    return {
        "cell": cell.key,
        "training": hashlib.sha256(f"t{cell!r}".encode()).hexdigest()[:16],
        "evaluation": hashlib.sha256(f"e{cell!r}".encode()).hexdigest()[:16],
        "model": cell.model,
        "seed": cell.seed,
        "num_floats": cell.num_floats,
        "settings": json.dumps(settings, sort_keys=True),
        "state": "failed" if has_failed else "done",
        "reason": "the loss became non-finite at step 412 (samples sn1999aa:3, sn2004dk:1)"
        if has_failed
        else "",
        "num_objects": None if is_reference else (26_400 if has_failed else 96_000),
        "num_steps": None if is_reference else (412 if has_failed else 1_500),
        "num_parameters": None if is_reference else 412_032 + 64 * (length or 0),
        "seconds_training": 0.0 if is_reference else seconds * (0.27 if has_failed else 1.0),
        "seconds_evaluation": None if has_failed else (4.2 if is_reference else 61.0),
        "seconds_ray": 0.0 if is_reference else 2.6,
        "seconds_data": 0.0 if is_reference else 0.021 * seconds,
        "config": json.dumps(config_of(cell), sort_keys=True),
        "command": f"daep-ray train DATA --out RUN {flags} --set seed={cell.seed}"
        if not is_reference
        else "",
    }


def _estimates(cell: Cell) -> dict[str, float]:
    """Factor on the error of each estimate that the model has."""
    if cell.seed is None:
        return {"reference": 1.0}
    if cell.model == "vae":
        return {"one_draw": 1.0, "mean_of_draws": 1.0}
    return {"one_draw": 1.17, "mean_of_draws": 1.0, "one_step": 0.955}


def _per_object(cell: Cell, fake: Fake) -> np.ndarray:
    """Error of each test object: objects differ far more than models do."""
    difficulty = np.random.default_rng(7).lognormal(0.0, 0.45, fake.num_test)
    own = cell.rng("objects").lognormal(0.0, 0.10, fake.num_test)
    factor = difficulty * own
    return error_of(cell, fake) * factor / factor.mean()


def _object_ids(fake: Fake) -> list[str]:
    return [f"sn{1990 + i % 25}{'abcdefgh'[i % 8]}{'klmnop'[i % 6]}" for i in range(fake.num_test)]


def object_rows(cell: Cell, fake: Fake) -> list[dict[str, Any]]:
    errors = _per_object(cell, fake)
    return [
        {
            "cell": cell.key,
            "modality": fake.modality,
            "object_id": o,
            "estimate": estimate,
            "metric": "absolute_error",
            "value": float(e * factor),
        }
        for estimate, factor in _estimates(cell).items()
        for o, e in zip(_object_ids(fake), errors, strict=True)
    ]


def metric_rows(cell: Cell, fake: Fake) -> list[dict[str, Any]]:
    rows = []
    errors = _per_object(cell, fake)
    for estimate, factor in _estimates(cell).items():
        for metric, unit in (
            ("absolute_error", 1.0),
            ("absolute_error_physical", 0.31),
            ("squared_error", 0.6),
        ):
            values = errors * factor * unit
            rows.append(
                (estimate, metric, float(values.mean()), float(values.std(ddof=1)), len(values))
            )
    if cell.model != "mean":
        assert cell.num_floats is not None
        accuracy = (
            PROBE.get(cell.model, 0.7)
            - 0.25 / cell.num_floats**0.5
            + cell.rng("probe").normal(0, 0.008)
        )
        if not fake.is_trained and cell.seed is not None:
            accuracy = 0.56
        rows += [
            ("probe", "probe_accuracy", accuracy, 0.022, 10),
            ("probe", "probe_macro_f1", accuracy - 0.17, 0.031, 10),
            ("probe", "probe_balanced_accuracy", accuracy - 0.13, 0.029, 10),
            ("probe", "probe_majority_accuracy", 0.556, 0.004, 10),
        ]
    return [
        {
            "cell": cell.key,
            "modality": fake.modality,
            "split": "test",
            "estimate": e,
            "metric": m,
            "value": v,
            "sd": sd,
            "count": n,
        }
        for e, m, v, sd, n in rows
        if m not in fake.without_metrics
    ]


def curve_rows(cell: Cell, fake: Fake) -> list[dict[str, Any]]:
    seen = np.unique(np.geomspace(1_000, 96_000, 24).astype(int))
    final = error_of(cell, fake)
    approach = final + (MEAN_ERROR - final) * np.exp(-2.1 * np.log10(seen / 900) ** 1.3)
    wiggle = cell.rng("curve").normal(1.0, 0.012, len(seen))
    rate = 178 if cell.model == "daep" else 240
    training = cell_row(cell, fake)["training"]
    curves = {
        "validation/absolute_error": approach * wiggle,
        "train/loss": approach**1.4 * (1.9 if cell.model == "daep" else 0.8) * wiggle,
    }
    return [
        {
            "training": training,
            "num_objects": int(n),
            "seconds": float(n / rate),
            "name": name,
            "value": float(v),
        }
        for name, values in curves.items()
        for n, v in zip(seen, values, strict=True)
    ]


def _truth(fake: Fake, percentile: int) -> list[Truth]:
    """Per category: positions, noiseless values, error size of the example at a percentile."""
    if fake.modality == "spectrum":
        wave = np.geomspace(3600, 9400, 128)
        shift = 1 - 0.002 * percentile / 10
        lines = [
            (3950, 90, -0.55),
            (4900, 130, -0.35),
            (5480, 60, 0.2),
            (6150, 80, -0.7),
            (6560, 110, 0.35),
            (8450, 170, -0.45),
        ]
        flux = sum(a * np.exp(-0.5 * ((wave - c * shift) / w) ** 2) for c, w, a in lines)
        return [(None, wave, np.asarray(flux), 0.05 + percentile / 900)]
    rng = np.random.default_rng(percentile)
    out: list[Truth] = []
    for i, band in enumerate(BANDS):
        days = np.sort(rng.uniform(-18, 75, 14))
        rise = np.exp(-0.5 * ((days - 2 * i) / (11 + 3 * i)) ** 2)
        flux = (900 - 120 * i) * (rise + 0.28 * np.exp(-0.5 * ((days - 26 - i) / 9) ** 2) * (i > 1))
        out.append((band, days, flux, 22.0 + percentile / 3))
    return out


def example_rows(cell: Cell, fake: Fake) -> list[dict[str, Any]]:
    rows = []
    for percentile in (10, 50, 90):
        for category, position, clean, size in _truth(fake, percentile):
            noise = np.random.default_rng(percentile).normal(0, size, len(position))
            scale = np.ptp(clean)
            rng = cell.rng(f"example{percentile}")
            kernel = np.ones(9) / 9
            wrong = np.convolve(rng.normal(0, 1, len(position) + 8), kernel, "valid") * 3
            mean = clean + wrong * scale * error_of(cell, fake) * (0.1 + percentile / 300)
            if cell.model == "mean":
                mean = np.full_like(clean, clean.mean())
            half = (
                1.65
                * scale
                * error_of(cell, fake)
                * (0.2 + percentile / 250)
                * (cell.model == "daep")
            )
            rows += [
                {
                    "cell": cell.key,
                    "modality": fake.modality,
                    "sample_id": f"sn20{percentile}:1",
                    "object_id": f"sn20{percentile}",
                    "label": ("Ia", "II", "Ic")[percentile // 40],
                    "percentile": percentile,
                    "category": category,
                    "position": float(x),
                    "truth": float(t),
                    "error": float(size),
                    "noiseless": None,
                    "mean": float(m),
                    "low": float(m - half),
                    "high": float(m + half),
                }
                for x, t, m in zip(position, clean + noise, mean, strict=True)
            ]
    return rows


def profile_rows(cell: Cell, fake: Fake) -> list[dict[str, Any]]:
    if cell.model == "mean":
        return []
    is_spectrum = fake.modality == "spectrum"
    edges = np.linspace(3500, 9500, 25) if is_spectrum else np.linspace(-20, 80, 13)
    rows = []
    for category in (None,) if is_spectrum else BANDS:
        rng = cell.rng(f"profile{category}")
        error = error_of(cell, fake)
        centre = (edges[1:] + edges[:-1]) / 2
        edge = 1 + 1.5 * np.abs((centre - centre.mean()) / np.ptp(centre)) ** 2
        median = rng.normal(0, 0.08, len(centre)) * error
        rows += [
            {
                "cell": cell.key,
                "modality": fake.modality,
                "category": category,
                "position_low": float(a),
                "position_high": float(b),
                "median": float(m),
                "low": float(m - w),
                "high": float(m + w),
                "count": 200,
            }
            for a, b, m, w in zip(edges[:-1], edges[1:], median, error * edge, strict=True)
        ]
    return rows
