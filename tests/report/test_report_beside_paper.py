"""Tables beside a paper's: every number of ours is the study's own, every other as printed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import f1_score

from daep_ray.evaluate.phases import CENTRES
from daep_ray.report.beside_paper import order_grid, phase_grid, reconstruction_grid
from daep_ray.report.grid import Entry, Grid
from daep_ray.report.printed import LAMOST, PAIRS, Printed, value_of
from daep_ray.report.source import Study, read
from daep_ray.study import tables
from tests.report.fake_study import Fake, make

ONE_SIZE = Fake(sizes=((4, 8),), seeds=(0,))
PAPER = {name: LAMOST[name] for name in ("daep", "vae")}


def entries(grid: Grid, key: str) -> dict[str, Entry]:
    """By the first word of the row's name."""
    columns = {column.key: column.entries for column in grid.columns}
    return dict(zip([e.text for e in columns["model"]], columns[key], strict=True))


def number(study: Study, model: str, metric: str, estimate: str, column: str = "value") -> float:
    """The mean over the model's cells, read from the tables as they lie there."""
    cells = {c.cell for c in study.cells if c.model == model}
    rows = study.tables["metrics"].to_pylist()
    return float(
        np.mean(
            [
                row[column]
                for row in rows
                if row["cell"] in cells and (row["metric"], row["estimate"]) == (metric, estimate)
            ]
        )
    )


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_errors_and_probes_are_the_studys_own(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    study = read(make(tmp_path, replace(ONE_SIZE, seeds=seeds)))
    grid = reconstruction_grid(study, "t1", "Table 1", "spectrum", PAPER)
    for model, title in (("daep", "daep"), ("vae", "VAE")):
        for key, metric, estimate in (
            ("error", "absolute_error", "mean_of_draws"),
            ("one_draw", "absolute_error", "one_draw"),
            ("accuracy", "probe_accuracy", "probe"),
        ):
            entry = entries(grid, key)[title]
            assert entry.raw == pytest.approx(number(study, model, metric, estimate))
            sd = number(study, model, metric, estimate, "sd")
            assert entry.text == f"{entry.raw:.3f} ({sd:.3f})"
            assert bool(entry.spread) == (len(seeds) > 1)
        assert entries(grid, "error_paper")[title].text == PAPER[model].error
        assert entries(grid, "f1_paper")[title].text == PAPER[model].f1
    assert entries(grid, "error")["PCA"].raw == pytest.approx(
        number(study, "pca", "absolute_error", "reference")
    )


def test_always_the_commonest_class_has_the_f1_of_a_constant_answer(tmp_path: Path) -> None:
    study, num_classes = read(make(tmp_path, ONE_SIZE)), 4
    metrics = study.tables["metrics"]
    told = study.rows("metrics", metric="probe_majority_accuracy").to_pylist()
    told = [{**row, "metric": "probe_num_classes", "value": float(num_classes)} for row in told]
    more = pa.Table.from_pylist(told, metrics.schema)
    study.tables["metrics"] = pa.concat_tables([metrics, more])
    grid = reconstruction_grid(study, "t1", "Table 1", "spectrum", PAPER)
    share = number(study, "daep", "probe_majority_accuracy", "probe")
    truth = np.arange(num_classes)
    weights = np.where(truth == 0, share, (1 - share) / (num_classes - 1))
    said = np.zeros(num_classes, int)
    expected = f1_score(truth, said, average="macro", sample_weight=weights, zero_division=0)
    assert entries(grid, "f1")["always the commonest class"].raw == pytest.approx(expected)
    assert entries(grid, "accuracy")["always the commonest class"].raw == share


def test_a_failed_training_says_why(tmp_path: Path) -> None:
    study = read(make(tmp_path, replace(ONE_SIZE, failed=("vae/4/0",))))
    grid = reconstruction_grid(study, "t1", "Table 1", "spectrum", PAPER)
    assert entries(grid, "error")["VAE"].text.startswith("missing: the loss became non-finite")


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [({"daep": 0.5}, "as in the paper"), ({"vae": 0.5}, "turned round")],
)
def test_the_order_is_the_papers_or_not(
    tmp_path: Path, gain: dict[str, float], verdict: str
) -> None:
    study = read(make(tmp_path, replace(ONE_SIZE, gain=gain)))
    (grid,), sentence = order_grid(study, "order", "spectrum", PAPER)
    assert [entry.text for entry in grid.columns[-1].entries] == [verdict]
    errors = study.values("spectrum", "absolute_error")
    mean = {c.model: errors[c.cell] for c in study.trained}
    assert grid.columns[2].entries[0].raw == pytest.approx(mean["daep"] - mean["vae"])
    first = min(mean, key=mean.__getitem__)
    assert f"here: {'VAE' if first == 'vae' else first} " in sentence


def test_what_has_not_learnt_is_not_ranked(tmp_path: Path) -> None:
    study = read(make(tmp_path, replace(ONE_SIZE, is_trained=False)))
    grids, sentence = order_grid(study, "order", "spectrum", PAPER)
    assert not grids
    assert "Not trained enough to be ranked, or missing: daep and VAE." in sentence
    grid = reconstruction_grid(study, "t1", "Table 1", "spectrum", PAPER)
    assert "daep, not trained enough" in entries(grid, "error")


def test_squared_errors_by_phase_are_in_the_unit_asked_for(tmp_path: Path) -> None:
    fake = Fake(models=("mmvae", "daep", "contrastive"), sizes=((4, 4),), seeds=(0,))
    study = read(make(tmp_path, fake))
    rows = [
        {
            "cell": cell.cell,
            "modality": "spectrum",
            "split": "test",
            "count": 9,
            "estimate": estimate,
            "metric": "squared_error",
            "axis": "phase",
            "low": centre - 5,
            "high": centre + 5,
            "value": value,
            "sd": value / 2,
        }
        for cell in study.trained
        for centre in CENTRES[:4]
        for estimate, value in (("from_photometry", 0.5 + centre / 100), ("mean_of_draws", 9.0))
    ]
    study.tables["calibration"] = pa.Table.from_pylist(rows, tables.SCHEMAS["calibration"])
    grid = phase_grid(study, "t4", "Table 4", "photometry", "spectrum", PAIRS, sd=2.0)
    for centre, printed in zip(CENTRES, PAIRS["mmvae"], strict=True):
        ours = entries(grid, f"day_{centre:g}")["mmVAE"]
        assert entries(grid, f"day_{centre:g}_paper")["mmVAE"].text == printed
        if centre == CENTRES[4]:
            assert ours.is_missing
        else:
            assert ours.raw == pytest.approx(4 * (0.5 + centre / 100))
            assert ours.text.endswith(f"({2 * (0.5 + centre / 100):.3f})")


def test_a_printed_entry_is_a_number_with_its_sd() -> None:
    assert value_of(Printed("0.038 (0.034)", "", "").error) == 0.038
    every = [e for row in PAIRS.values() for e in row]
    assert all(0 < value_of(entry) < 1 for entry in every)
