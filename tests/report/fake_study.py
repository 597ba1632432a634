"""A finished study that nobody trained: tables with the numbers of a plausible one.

`make(out)` writes OUT/spec.json, OUT/run.json and OUT/tables/*.parquet as a study does, so that
the report can be built and looked at without training anything. Everything follows from a seed.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

MEAN_ERROR = 0.583  # of the training mean, in z units
LEVEL = {"daep": 0.52, "vae": 0.60, "pca": 0.68}  # error of one float
SLOPE = {"daep": -0.40, "vae": -0.38, "pca": -0.36}  # against log(floats)
PROBE = {"daep": 0.80, "vae": 0.77, "pca": 0.74}
BANDS = ("g", "r", "i", "z")


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
    gain: dict[str, float] = field(default_factory=dict)  # factor on a model's error
    name: str = "bottleneck sweep"


@dataclass(frozen=True)
class Cell:
    model: str
    shape: tuple[int, int] | None
    seed: int | None

    @property
    def num_floats(self) -> int | None:
        return self.shape[0] * self.shape[1] if self.shape else None

    @property
    def key(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    def rng(self, what: str = "") -> np.random.Generator:
        return np.random.default_rng(
            int(hashlib.sha256(f"{self!r}{what}".encode()).hexdigest()[:8], 16)
        )


def make(out: Path, fake: Fake | None = None) -> Path:
    """Write the study into `out` and return `out`."""
    fake = fake or Fake()
    tables = out / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    cells = _cells(fake)
    done = [c for c in cells if not _is_failed(c, fake)]
    write = {
        "cells": [_cell_row(c, fake) for c in cells],
        "metrics": [row for c in done for row in _metric_rows(c, fake)],
        "objects": [row for c in done for row in _object_rows(c, fake)],
        "curves": [row for c in done if c.seed is not None for row in _curve_rows(c, fake)],
        "examples": [row for c in done for row in _example_rows(c, fake)],
        "profiles": [row for c in done for row in _profile_rows(c, fake)],
    }
    for name, rows in write.items():
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMAS[name]), tables / f"{name}.parquet")
    (out / "spec.json").write_text(json.dumps(_spec(fake), indent=1, sort_keys=True))
    (out / "run.json").write_text(json.dumps(_run(), indent=1, sort_keys=True))
    return out


def _cells(fake: Fake) -> list[Cell]:
    trained = [Cell(m, shape, s) for m in fake.models for shape in fake.sizes for s in fake.seeds]
    by_floats = {length * width: (length, width) for length, width in fake.sizes}
    shapes = by_floats.values() if "pca" in fake.references else ()
    references = [Cell("pca", shape, None) for shape in shapes]
    if "mean" in fake.references:
        references.append(Cell("mean", None, None))
    return trained + references


def _is_failed(cell: Cell, fake: Fake) -> bool:
    return cell.shape is not None and f"{cell.model}/{cell.shape[0]}/{cell.seed}" in fake.failed


def _config(cell: Cell) -> dict[str, Any]:
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


def _cell_row(cell: Cell, fake: Fake) -> dict[str, Any]:
    length, width = cell.shape or (None, None)
    axes = {"model.bottleneck.length": length, "model.bottleneck.width": width}
    settings = {k: v for k, v in axes.items() if v is not None}
    if cell.seed is not None:
        settings["objective.kind"] = cell.model
    is_failed = _is_failed(cell, fake)
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
        "state": "failed" if is_failed else "done",
        "reason": "the loss became non-finite at step 412 (samples sn1999aa:3, sn2004dk:1)"
        if is_failed
        else "",
        "num_objects": None if is_reference else (26_400 if is_failed else 96_000),
        "num_steps": None if is_reference else (412 if is_failed else 1_500),
        "num_parameters": None if is_reference else 412_032 + 64 * (length or 0),
        "seconds_training": 0.0 if is_reference else seconds * (0.27 if is_failed else 1.0),
        "seconds_evaluation": None if is_failed else (4.2 if is_reference else 61.0),
        "seconds_ray": 0.0 if is_reference else 2.6,
        "seconds_data": 0.0 if is_reference else 0.021 * seconds,
        "config": json.dumps(_config(cell), sort_keys=True),
        "command": f"daep-ray train DATA --out RUN {flags} --set seed={cell.seed}"
        if not is_reference
        else "",
    }


def _error(cell: Cell, fake: Fake) -> float:
    """The cell's mean absolute error in z units, mean of draws."""
    if cell.model == "mean":
        return MEAN_ERROR
    if not fake.is_trained and cell.seed is not None:
        return MEAN_ERROR * cell.rng().normal(0.93, 0.01)
    assert cell.num_floats is not None
    level = LEVEL.get(cell.model, 0.55) * cell.num_floats ** SLOPE.get(cell.model, -0.39)
    noise = cell.rng().normal(1.0, 0.025) if cell.seed is not None else 1.0
    return min(level * noise * fake.gain.get(cell.model, 1.0), MEAN_ERROR)


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
    return _error(cell, fake) * factor / factor.mean()


def _object_ids(fake: Fake) -> list[str]:
    return [f"sn{1990 + i % 25}{'abcdefgh'[i % 8]}{'klmnop'[i % 6]}" for i in range(fake.num_test)]


def _object_rows(cell: Cell, fake: Fake) -> list[dict[str, Any]]:
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


def _metric_rows(cell: Cell, fake: Fake) -> list[dict[str, Any]]:
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


def _curve_rows(cell: Cell, fake: Fake) -> list[dict[str, Any]]:
    seen = np.unique(np.geomspace(1_000, 96_000, 24).astype(int))
    final = _error(cell, fake)
    approach = final + (MEAN_ERROR - final) * np.exp(-2.1 * np.log10(seen / 900) ** 1.3)
    wiggle = cell.rng("curve").normal(1.0, 0.012, len(seen))
    rate = 178 if cell.model == "daep" else 240
    training = _cell_row(cell, fake)["training"]
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


def _truth(fake: Fake, percentile: int) -> list[tuple[str | None, np.ndarray, np.ndarray, float]]:
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
    out = []
    for i, band in enumerate(BANDS):
        days = np.sort(rng.uniform(-18, 75, 14))
        rise = np.exp(-0.5 * ((days - 2 * i) / (11 + 3 * i)) ** 2)
        flux = (900 - 120 * i) * (rise + 0.28 * np.exp(-0.5 * ((days - 26 - i) / 9) ** 2) * (i > 1))
        out.append((band, days, flux, 22.0 + percentile / 3))
    return out


def _example_rows(cell: Cell, fake: Fake) -> list[dict[str, Any]]:
    rows = []
    for percentile in (10, 50, 90):
        for category, position, clean, size in _truth(fake, percentile):
            noise = np.random.default_rng(percentile).normal(0, size, len(position))
            scale = np.ptp(clean)
            rng = cell.rng(f"example{percentile}")
            kernel = np.ones(9) / 9
            wrong = np.convolve(rng.normal(0, 1, len(position) + 8), kernel, "valid") * 3
            mean = clean + wrong * scale * _error(cell, fake) * (0.1 + percentile / 300)
            if cell.model == "mean":
                mean = np.full_like(clean, clean.mean())
            half = (
                1.65
                * scale
                * _error(cell, fake)
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


def _profile_rows(cell: Cell, fake: Fake) -> list[dict[str, Any]]:
    if cell.model == "mean":
        return []
    is_spectrum = fake.modality == "spectrum"
    edges = np.linspace(3500, 9500, 25) if is_spectrum else np.linspace(-20, 80, 13)
    rows = []
    for category in (None,) if is_spectrum else BANDS:
        rng = cell.rng(f"profile{category}")
        error = _error(cell, fake)
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


def _spec(fake: Fake) -> dict[str, Any]:
    return {
        "name": fake.name,
        "title": "How small can the code be before supernova spectra are lost?",
        "question": "Does diffusion really beat a VAE at equal code size?",
        "expectation": "daep ahead by about a tenth at 16 floats, less at 64; both below PCA.",
        "axes": [
            {"path": "model.bottleneck.length", "values": [a for a, _ in fake.sizes]},
            {"path": "model.bottleneck.width", "values": [b for _, b in fake.sizes]},
        ],
        "seeds": list(fake.seeds),
        "preset": "laptop",
        "base": _config(Cell("daep", (4, 4), 0)),
        "control": fake.models[0],
        "models": {m: {"objective.kind": m} for m in fake.models},
        "references": list(fake.references),
        "data": {
            "manifest": "5f0c9a1be3d27740",
            "source": {"format": "snid", "name": "snid_templates.tar.xz", "options": {}},
            "counts": {
                split: {
                    "num_objects": n,
                    "num_samples": 9 * n,
                    "classes": {"Ia": 5 * n, "II": 4 * n},
                }
                for split, n in (("train", 286), ("validation", 31), ("test", fake.num_test))
            },
            "modality": fake.modality,
            "modalities": [_declaration(fake)],
        },
    }


def _declaration(fake: Fake) -> dict[str, Any]:
    if fake.modality == "photometry":
        return {
            "name": "photometry",
            "value": {"name": "flux", "unit": "µJy", "is_time": False},
            "positions": [{"name": "time", "unit": "day", "is_time": True}],
        }
    return {
        "name": fake.modality,
        "value": {"name": "flux", "unit": "continuum units", "is_time": False},
        "positions": [{"name": "wavelength", "unit": "Angstrom", "is_time": False}],
    }


def _run() -> dict[str, Any]:
    return {
        "python": "3.11.9",
        "packages": {"daep-ray": "0.1.0", "torch": "2.13.0", "ray": "2.60.0", "numpy": "2.4.6"},
        "commit": "286ab896b5dd4e1e3b7ad0eae1d1f3c0a8a4b111",
        "is_modified": False,
        "platform": "Linux-6.1-x86_64-with-glibc2.36",
        "num_cpus": 2,
        "num_threads": 1,
        "num_workers": 0,
        "data": "DATA",
        "seconds_study": 3512.4,
        "seconds_session": 13.9,
        "command": "python studies/bottleneck_sweep.py --data DATA --preset laptop --out OUT",
    }


TEXT, INT, REAL = pa.string(), pa.int64(), pa.float64()
SCHEMAS = {
    "cells": pa.schema(
        [(n, TEXT) for n in ("cell", "training", "evaluation", "model")]
        + [
            ("seed", INT),
            ("num_floats", INT),
            ("settings", TEXT),
            ("state", TEXT),
            ("reason", TEXT),
        ]
        + [(n, INT) for n in ("num_objects", "num_steps", "num_parameters")]
        + [(f"seconds_{n}", REAL) for n in ("training", "evaluation", "ray", "data")]
        + [("config", TEXT), ("command", TEXT)]
    ),
    "metrics": pa.schema(
        [(n, TEXT) for n in ("cell", "modality", "split", "estimate", "metric")]
        + [("value", REAL), ("sd", REAL), ("count", INT)]
    ),
    "objects": pa.schema(
        [(n, TEXT) for n in ("cell", "modality", "object_id", "estimate", "metric")]
        + [("value", REAL)]
    ),
    "curves": pa.schema(
        [
            ("training", TEXT),
            ("num_objects", INT),
            ("seconds", REAL),
            ("name", TEXT),
            ("value", REAL),
        ]
    ),
    "examples": pa.schema(
        [(n, TEXT) for n in ("cell", "modality", "sample_id", "object_id", "label")]
        + [("percentile", INT), ("category", TEXT)]
        + [(n, REAL) for n in ("position", "truth", "error", "noiseless", "mean", "low", "high")]
    ),
    "profiles": pa.schema(
        [(n, TEXT) for n in ("cell", "modality", "category")]
        + [(n, REAL) for n in ("position_low", "position_high", "median", "low", "high")]
        + [("count", INT)]
    ),
}
