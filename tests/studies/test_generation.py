"""The study of generated objects: its tables from made-up rows, and one run at its smallest."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from daep_ray.evaluate.augmentation import ALL, FEW, GENERATED, REPEATED, SCORES, Scored
from daep_ray.evaluate.frechet import NULL, Distance
from daep_ray.evaluate.generation import MEAN, OWN, PRIOR, TOLD, Judged
from daep_ray.study.generation import (
    SCHEMAS,
    distance_lines,
    distance_rows,
    gain_lines,
    gain_rows,
    write,
)

STUDY = Path(__file__).parents[2] / "studies" / "generation.py"
ARMS = (FEW, REPEATED, GENERATED.format("daep"), ALL)


@pytest.fixture(scope="module")
def study() -> ModuleType:
    spec = importlib.util.spec_from_file_location("study_generation", STUDY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def judged(prior: float) -> Judged:
    found = [Distance(NULL, 1.0, 0.5, 1.5, 0.0, 40), Distance(PRIOR, prior, 1, 4, prior - 1, 40)]
    return Judged(found, {NULL: 0.9}, "abcd")


def made_gains(num_seeds: int) -> list[dict[str, Any]]:
    """Balanced accuracies 0.5, 0.6, 0.7, 0.8 by arm, moved by what all arms of a seed share and
    by what is the generated arm's own."""
    rng, rows = np.random.default_rng(0), []
    for seed in range(num_seeds):
        luck, own = rng.normal(0, 0.1), rng.normal(0, 0.01)
        for i, arm in enumerate(ARMS):
            value = 0.5 + 0.1 * i + luck + (own if i == 2 else 0)
            rows += gain_rows(seed, "Ibc", [Scored(arm, dict.fromkeys(SCORES, value), "e", 9)])
    return rows


def test_distances_are_means_over_seeds_beside_the_null() -> None:
    rows = [
        row for seed, d in ((0, 2.0), (1, 3.0)) for row in distance_rows("vae", seed, judged(d))
    ]
    lines = list(distance_lines(rows))
    assert "40 objects" in lines[0]
    assert "frozen encoder abcd; 2 seeds" in lines[0]
    assert "| vae | real | 1.00 (0.50 to 1.50) | +0.00 | 0.900 |" in lines
    assert "| vae | prior | 2.50 (1.00 to 4.00) | +1.50 | - |" in lines


def test_differences_are_paired_by_seed() -> None:
    """The luck that arms share leaves no trace; the interval is scipy's of the differences."""
    rows = made_gains(4)
    value = {(r["arm"], r["seed"]): r["value"] for r in rows if r["metric"] == SCORES[0]}
    found = [value[ARMS[2], s] - value[FEW, s] for s in range(4)]
    low, high = stats.t.interval(0.95, 3, np.mean(found), stats.sem(found))
    words = f"{np.mean(found):+.3f} ({low:+.3f} to {high:+.3f})"
    lines = list(gain_lines(rows))
    (line,) = [one for one in lines if one.startswith(f"| {ARMS[2]} | balanced accuracy |")]
    assert words in line
    (line,) = [one for one in lines if one.startswith("| all | rare recall |")]
    assert "+0.300 (+0.300 to +0.300) | +0.200 (+0.200 to +0.200)" in line
    assert "class Ibc, of which 9 training objects are left; 4 seeds" in lines[0]
    (line,) = [one for one in gain_lines(made_gains(1)) if one.startswith("| all | rare recall |")]
    assert line.endswith("| +0.300 | +0.200 |"), "one seed has no interval"


def test_tables_come_back_as_they_were_written(tmp_path: Path) -> None:
    tables = {"distances": list(distance_rows("daep", 0, judged(2.0))), "gains": made_gains(2)}
    text = write(tmp_path / "new", tables)
    assert (tmp_path / "new" / "report.md").read_text() == f"{text}\n"
    for name, rows in tables.items():
        table = pq.read_table(tmp_path / "new" / f"{name}.parquet")
        assert table.schema.equals(SCHEMAS[name])
        assert table.to_pylist() == rows


@pytest.mark.slow
def test_the_study_runs_and_a_second_run_says_the_same(study: ModuleType, tmp_path: Path) -> None:
    texts = []
    for _ in range(2):
        study.command(out=tmp_path)
        texts.append((tmp_path / "report.md").read_text())
    assert texts[0] == texts[1]
    distances = pq.read_table(tmp_path / "distances.parquet").to_pylist()
    assert {NULL, OWN, PRIOR, TOLD, MEAN} <= {row["set"] for row in distances}
    assert len({row["encoder"] for row in distances}) == 1
    assert all(np.isfinite(row["distance"]) for row in distances)
    gains = pq.read_table(tmp_path / "gains.parquet").to_pylist()
    assert [row["arm"] for row in gains] == [arm for arm in ARMS for _ in SCORES]
