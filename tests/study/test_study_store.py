"""The store and the tables made of it: whole or absent, reused by fingerprint, failures shown."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from daep_ray.errors import ConfigError, StorageError
from daep_ray.evaluate import tables as evaluate_tables
from daep_ray.shards.manifest import Manifest
from daep_ray.study import folder, tables
from daep_ray.study.collect import collect
from daep_ray.study.spec import Cell, StudySpec, cells
from daep_ray.study.store import Facts, Store
from daep_ray.study.summary import as_text, headline, summary
from daep_ray.study.tracked import trainings

FACTS = Facts(1000, 10, 99, 5.0, 0.5, 2.0)


def results(error: float, estimate: str = "mean_of_draws") -> dict[str, pa.Table]:
    """What an evaluation of two objects gives."""
    place = {"modality": "photometry", "estimate": estimate, "metric": "absolute_error"}
    rows = [{**place, "object_id": o, "value": error} for o in ("sn2", "sn1")]
    metrics = [
        {**place, "split": "test", "value": error, "sd": 0.1, "count": 2},
        {**place, "estimate": "one_draw", "split": "test", "value": error + 1, "count": 2},
        {
            **place,
            "estimate": "probe",
            "metric": "probe_accuracy",
            "split": "test",
            "value": 0.75,
            "count": 2,
        },
    ]
    return {
        "metrics": evaluate_tables.table("metrics", metrics),
        "objects": evaluate_tables.table("objects", rows),
    }


def fill(store: Store, design: list[Cell], **errors: float) -> None:
    """Results for every cell of the models that are named."""
    for cell in design:
        if cell.model in errors:
            store.write(cell, results(errors[cell.model] + 0.01 * (cell.seed or 0)), FACTS)


def test_results_are_there_whole_or_not_at_all(
    spec: StudySpec, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, cell = Store(tmp_path / "store"), cells(spec, manifest)[0]

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("daep_ray.study.store.pq.write_table", killed)
        with pytest.raises(KeyboardInterrupt):
            store.write(cell, results(0.5), FACTS)
    assert not store.has(cell)
    assert not store.evaluation(cell).exists()

    store.write(cell, results(0.5), FACTS)
    assert store.has(cell)
    assert store.facts(cell) == FACTS
    assert dict(store.results(cell))["metrics"].equals(results(0.5)["metrics"])
    assert [p.name for p in store.evaluation(cell).parent.iterdir()] == [cell.evaluation]


def test_a_success_forgets_the_failure_before(
    spec: StudySpec, manifest: Manifest, tmp_path: Path
) -> None:
    store, cell = Store(tmp_path), cells(spec, manifest)[0]
    assert store.failure(cell.training) is None
    store.note_failure(cell.training, "the loss is not finite", "Traceback ...")
    assert store.failure(cell.training) == "the loss is not finite"
    store.write(cell, results(0.5), FACTS)
    assert store.failure(cell.training) is None


def test_a_store_that_cannot_be_written_says_so(spec: StudySpec, manifest: Manifest) -> None:
    store, cell = Store(Path("/proc/store")), cells(spec, manifest)[0]
    with pytest.raises(StorageError, match="/proc/store"):
        store.write(cell, results(0.5), FACTS)
    store.note_failure(cell.training, "x", "y")  # a failure is never hidden by another
    with pytest.raises(StorageError, match="/proc/store"), store.lock(cell.training):
        pass


def test_tables_hold_every_cell_done_failed_or_missing(
    spec: StudySpec, manifest: Manifest, tmp_path: Path
) -> None:
    store, design = Store(tmp_path / "store"), cells(spec, manifest)
    fill(store, design, daep=0.3, mean=0.9)
    vae = next(c for c in design if c.model == "vae")
    store.note_failure(vae.training, "the loss is not finite at step 3", "")
    store.note_trial(design[0].training, 0.25)
    found = collect(design, store, tmp_path / "out", {design[0].training: "daep-ray train"})

    rows = found["cells"].to_pylist()
    assert [row["cell"] for row in rows] == [c.id for c in design]
    states = [(row["model"], row["state"]) for row in rows]
    assert states == [("daep", "done")] * 4 + [("vae", "failed")] + [("vae", "missing")] * 3 + [
        ("pca", "missing"),
        ("pca", "missing"),
        ("mean", "done"),
    ]
    assert rows[4]["reason"] == "the loss is not finite at step 3"
    assert (rows[0]["seconds_ray"], rows[0]["command"]) == (0.25, "daep-ray train")
    assert json.loads(rows[0]["config"])["model"]["bottleneck"] == {"length": 1, "width": 2}
    assert "runtime" not in json.loads(rows[0]["config"])
    assert set(found["metrics"]["cell"].to_pylist()) == {c.id for c in design if store.has(c)}
    for name in found:
        assert tables.read(tmp_path / "out", name).equals(found[name])


def test_curves_come_from_the_trainings(
    spec: StudySpec, manifest: Manifest, tmp_path: Path
) -> None:
    store, design = Store(tmp_path / "store"), cells(spec, manifest)
    curve = store.training(design[1].training) / "metrics.jsonl"
    curve.parent.mkdir(parents=True)
    points = [{"num_objects": n, "seconds": n / 10, "train/loss": 1 / n, "b": 2.0} for n in (5, 9)]
    curve.write_text("".join(json.dumps(p) + "\n" for p in points) + '{"num_obj')
    found = collect(design, store, tmp_path / "out", {})["curves"].to_pylist()
    assert [(r["num_objects"], r["name"]) for r in found] == [
        (5, "b"),
        (5, "train/loss"),
        (9, "b"),
        (9, "train/loss"),
    ]
    assert {r["training"] for r in found} == {design[1].training}


def test_a_summary_gates_ranks_over_seeds_and_counts_what_is_missing(
    spec: StudySpec, manifest: Manifest, tmp_path: Path
) -> None:
    store, design = Store(tmp_path / "store"), cells(spec, manifest)
    fill(store, design[:-4], daep=0.7, vae=0.75)
    fill(store, design[-3:], mean=0.9, pca=0.5)
    found = collect(design, store, tmp_path / "out", {})
    rows = summary(found)
    shown = {(r.model, r.num_floats): r for r in rows}
    assert shown["daep", 2].has_learnt is True
    assert shown["vae", 2].has_learnt is False  # 0.755 is above 0.72
    assert shown["pca", 2].has_learnt is None
    assert shown["daep", 2].error.mean == pytest.approx(0.705)
    assert shown["daep", 2].error.half_width == pytest.approx(12.706 * 0.005, rel=1e-3)
    assert shown["daep", 2].estimate == "mean_of_draws"
    assert shown["vae", 4].num_failed == 1
    assert shown["daep", 2].probe.mean == 0.75
    text = as_text(found)
    assert "0.705 ± 0.064" in text
    assert "1 missing, not trained enough" in text


def test_a_reference_is_no_row_of_a_modality_that_it_cannot_tell(
    spec: StudySpec, manifest: Manifest, tmp_path: Path
) -> None:
    """A Gaussian process in time has nothing on spectra, and nothing is missing."""
    store, design = Store(tmp_path / "store"), cells(spec, manifest)
    fill(store, design, daep=0.7, vae=0.75, pca=0.5, mean=0.9)
    found = dict(collect(design, store, tmp_path / "out", {}))
    cell = next(c.id for c in design if c.model == "mean")
    other = found["metrics"].to_pylist()
    other += [r | {"modality": "other"} for r in other if r["cell"] != cell]
    found["metrics"] = tables.from_rows("metrics", other)
    rows = {(r.modality, r.model) for r in summary(found)}
    assert ("other", "mean") not in rows
    assert {("other", "pca"), ("other", "daep")} <= rows
    assert "missing" not in as_text(found)


def test_what_was_stopped_early_is_neither_done_nor_failed(
    spec: StudySpec, manifest: Manifest, tmp_path: Path
) -> None:
    store, design = Store(tmp_path / "store"), cells(spec, manifest)
    fill(store, design[1:-3], daep=0.7, vae=0.75)
    why = {c.training: "stopped at 40 objects: too bad" for c in design[:2]}
    curve = store.training(design[0].training) / "metrics.jsonl"
    curve.parent.mkdir(parents=True)
    curve.write_text('{"num_objects": 40, "seconds": 2.5, "train/loss": 1.0}\n')
    found = collect(design, store, tmp_path / "out", {}, why)
    rows = found["cells"].to_pylist()
    told = [(r["state"], r["reason"]) for r in rows[:2]]
    # what another study has finished is done, whatever this one thought of it
    assert told == [("stopped", why[design[0].training]), ("done", "")]
    assert (rows[0]["num_objects"], rows[0]["seconds_training"]) == (40, 2.5)  # what it has cost
    assert trainings(found)[0].seconds is None  # it is no cost of a training
    shown = {(r.model, r.num_floats): r for r in summary(found)}
    assert (shown["daep", 2].num_stopped, shown["daep", 2].num_failed) == (1, 0)
    assert shown["daep", 2].error.count == 1
    assert "1 stopped early" in as_text(found)


def test_the_headline_is_the_mean_of_draws_where_there_is_one() -> None:
    assert headline(results(0.5)["metrics"]) == 0.5
    assert headline(results(0.5, estimate="reference")["metrics"]) == 1.5  # one_draw is preferred
    assert headline(results(0.5)["metrics"].slice(0, 0)) is None


def test_a_folder_belongs_to_one_study(spec: StudySpec, manifest: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder.claim(out, spec, manifest)
    before = (out / "spec.json").read_bytes()
    folder.claim(out, spec, manifest)
    assert (out / "spec.json").read_bytes() == before
    folder.claim(out, replace(spec, question="Reworded?"), manifest)
    assert json.loads((out / "spec.json").read_text())["question"] == "Reworded?"
    for other in (
        replace(spec, seeds=(0,)),
        spec.with_settings({"model.width": 32}),
    ):
        with pytest.raises(ConfigError, match=r"another study \(other (seeds|base)\)"):
            folder.claim(out, other, manifest)
    with pytest.raises(ConfigError, match="other data"):
        folder.claim(out, spec, replace(manifest, source={"format": "other"}))
    folder.claim(out, spec.with_settings({"runtime.num_threads": 2}), manifest)


def test_a_study_that_runs_refuses_a_second_driver(tmp_path: Path) -> None:
    refused = pytest.raises(ConfigError, match="is running")
    with folder.lock(tmp_path / "out"), refused, folder.lock(tmp_path / "out"):
        pass


def test_a_run_adds_up_its_seconds(tmp_path: Path) -> None:
    folder.note_run(tmp_path, {"seconds_study": 5.0, "command": "a"})
    folder.note_run(tmp_path, {"seconds_study": 2.5, "command": "b"})
    found = json.loads((tmp_path / "run.json").read_text())
    assert (found["seconds_study"], found["command"]) == (7.5, "b")
    assert found["packages"]["torch"]
