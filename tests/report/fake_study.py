"""A finished study that nobody trained: tables with the numbers of a plausible one.

`make(out)` writes OUT/spec.json, OUT/run.json and OUT/tables/*.parquet as a study does, so that
the report can be built and looked at without training anything. Everything follows from a seed.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from daep_ray.evaluate.tables import SCHEMAS as EVALUATED
from daep_ray.study import tables
from tests.report import fake_evaluation as more
from tests.report import fake_rows as rows
from tests.report.fake_design import SHOWN, Cell, Fake, cells_of, config_of, is_failed

__all__ = ["SHOWN", "Fake", "make"]


def make(out: Path, fake: Fake | None = None) -> Path:
    """Write the study into `out` and return `out`."""
    fake = fake or Fake()
    cells = cells_of(fake)
    done = [c for c in cells if not is_failed(c, fake)]
    trained = [c for c in done if c.seed is not None]
    content = {
        "cells": [rows.cell_row(c, fake) for c in cells],
        "metrics": [row for c in done for row in rows.metric_rows(c, fake)],
        "objects": [row for c in done for row in rows.object_rows(c, fake)],
        "curves": [row for c in trained for row in rows.curve_rows(c, fake)],
        "examples": [row for c in done for row in rows.example_rows(c, fake)],
        "profiles": [row for c in done for row in rows.profile_rows(c, fake)],
    }
    if not fake.is_old:
        content["metrics"] += [row for c in done for row in more.draws_metric_rows(c, fake)]
        content |= {
            "calibration": [row for c in done for row in more.calibration_rows(c, fake)],
            "groups": [row for c in done for row in more.group_rows(c, fake)],
            "confusion": [row for c in done for row in more.confusion_rows(c, fake)],
            "codes": [row for c in done for row in more.code_rows(c, fake)],
        }
    found = {name: pa.Table.from_pylist(rows, _schema(name)) for name, rows in content.items()}
    tables.write(out / "tables", found)
    (out / "spec.json").write_text(json.dumps(_spec(fake), indent=1, sort_keys=True))
    (out / "run.json").write_text(json.dumps(_run(), indent=1, sort_keys=True))
    return out


def _schema(name: str) -> pa.Schema:
    """As a study writes it."""
    if name in tables.SCHEMAS:
        return tables.SCHEMAS[name]
    return pa.schema([("cell", pa.string()), *EVALUATED[name]])


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
        "base": config_of(Cell("daep", (4, 4), 0)),
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
