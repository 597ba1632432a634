"""Whole runs: a training's wait for data, a study's overhead per training, `daep-ray --help`.

In: a scratch folder, `quick`. Out: rows.
"""

import subprocess
import sys
import time
from pathlib import Path

import pyarrow.compute as pc

from benchmark.data import Survey
from benchmark.measure import Row
from daep_ray.config import preset
from daep_ray.settings import override
from daep_ray.study.launch import run_study
from daep_ray.study.spec import Axis, StudySpec
from daep_ray.train.ray_worker import fit


def training_rows(scratch: Path, quick: bool) -> list[Row]:
    """A training of the preset `smoke` on light curves: rate, and the share of waiting for data."""
    survey = Survey.make(scratch, 1_000 if quick else 10_000)
    settings = {"optimisation.num_objects": 4_000 if quick else 20_000}
    config = override(preset("smoke"), {**settings, "modalities": ["photometry"]})
    result = fit(config, survey.path, scratch / "training")
    waiting = result.seconds_data / result.seconds
    return [
        Row("training", "smoke, light curves", result.num_objects / result.seconds, "objects/s"),
        Row("training", "share of time waiting for data", waiting, "", 0.05, is_at_least=False),
    ]


def overhead_rows(scratch: Path, quick: bool) -> list[Row]:
    """Seconds of a small study beside training and evaluation, per training."""
    survey = Survey.make(scratch, 1_000 if quick else 10_000)
    settings = {
        "modalities": ["photometry"],
        "optimisation.num_objects": 2_000,
        "evaluation.max_objects": 20,
        "evaluation.num_draws": 2,
    }
    spec = StudySpec(
        name="overhead",
        title="Overhead",
        question="What does a study cost beside training and evaluation?",
        expectation="At most a second per training.",
        base=override(preset("smoke"), settings),
        axes=(Axis("model.bottleneck.length", [1, 2, 4]),),
        models={"daep": {}},
        seeds=(0, 1) if quick else (0, 1, 2, 3),
        references=(),
    )
    started = time.perf_counter()
    result = run_study(spec, survey.path, scratch / "study", store=scratch / "trainings")
    seconds = time.perf_counter() - started
    cells = result.tables["cells"]
    assert result.num_failed == 0, cells["reason"].to_pylist()
    beside = pc.sum(cells["seconds_ray"]).as_py() or 0.0
    work = sum(pc.sum(cells[f"seconds_{name}"]).as_py() for name in ("training", "evaluation"))
    return [
        Row(
            "overhead",
            "Ray and study, per training",
            beside / result.num_trials,
            "s",
            1.0,
            is_at_least=False,
        ),
        Row("overhead", "the study, start and end included", seconds, "s"),
        Row("overhead", "training and evaluation in it, all trials", work, "s"),
    ]


def help_rows(scratch: Path, quick: bool) -> list[Row]:
    """The fastest of five calls of `daep-ray --help`."""
    took = []
    for _ in range(5):
        started = time.perf_counter()
        words = [sys.executable, "-m", "daep_ray", "--help"]
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
        took.append(time.perf_counter() - started)
    return [Row("help", "daep-ray --help", min(took), "s", 1.0, is_at_least=False)]
