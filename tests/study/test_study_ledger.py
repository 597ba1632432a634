"""The ledger: one training for many evaluations, counts against the plan itself, failures kept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daep_ray.config import RunConfig
from daep_ray.objectives import cost
from daep_ray.settings import override
from daep_ray.shards.manifest import Manifest
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.bins import make_plan
from daep_ray.stream.pack import layouts
from daep_ray.study import tables
from daep_ray.study import work as work_module
from daep_ray.study.ledger import ledger
from daep_ray.study.spec import Axis, Cell, StudySpec, cells
from daep_ray.study.store import Facts, Store, Used
from daep_ray.study.trial import run_trial, trials
from daep_ray.study.work import Work

STEPS = (1, 2, 5)
SAMPLER = {
    "evaluation.sampler.kind": "ddim",
    "evaluation.sampler.num_steps": 2,
    "evaluation.probe_label": None,
    "optimisation.num_objects": 50,
}


@pytest.fixture
def sweep(spec: StudySpec) -> StudySpec:
    """One daep at three numbers of solver steps, the training mean."""
    return replace(
        spec,
        base=override(spec.base, SAMPLER),
        axes=(Axis("evaluation.sampler.num_steps", STEPS),),
        models={"daep": {"objective.kind": "daep"}},
        seeds=(0,),
        references=("mean",),
    )


def rows_of(found: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in found if all(row[k] == v for k, v in wanted.items())]


def test_a_sweep_of_solver_steps_costs_one_training(
    sweep: StudySpec, manifest: Manifest, synthetic_shards: Path, tmp_path: Path
) -> None:
    store, design = Store(tmp_path / "store"), cells(sweep, manifest)
    for trial in trials(design):
        run_trial(trial, synthetic_shards, store)
    shards = ShardFolder.open(synthetic_shards)
    table = ledger(design, store, shards)
    assert table.schema.equals(tables.LEDGER)
    found = table.to_pylist()
    (training,) = rows_of(found, what="training")
    measured = rows_of(found, what="evaluation", model="daep")
    assert [r["cell"] for r in measured] == [c.id for c in design[:3]]
    assert training["num_objects"] == store.facts(design[0]).num_objects
    assert training["seconds"] > 0
    assert training["seconds_gpu"] == 0.0  # a CPU has none
    assert training["memory"] > 2**25  # an interpreter with torch alone takes more
    assert all(r["memory"] > 2**25 and r["seconds"] > 0 for r in measured)
    flops = [r["flop"] for r in measured]
    # draws dominate: with steps a, b, c the increments are proportional
    assert (flops[2] - flops[0]) / (flops[1] - flops[0]) == pytest.approx(4.0)
    (mean,) = rows_of(found, model="mean")
    assert (mean["what"], mean["flop"], mean["num_objects"]) == ("evaluation", None, 8)
    assert mean["num_tokens"] == measured[0]["num_tokens"] > 0
    kept = [c for c in table.column_names if not tables.is_passing(c)]
    assert table.select(kept).equals(ledger(design, store, shards).select(kept))


def test_what_failed_and_what_is_missing_keep_their_rows(
    sweep: StudySpec, manifest: Manifest, synthetic_shards: Path, tmp_path: Path
) -> None:
    store, design = Store(tmp_path / "store"), cells(sweep, manifest)
    shards = ShardFolder.open(synthetic_shards)
    found = ledger(design, store, shards).to_pylist()
    assert len(found) == 5
    assert {r["state"] for r in found} == {"missing"}
    store.note_failure(design[0].training, "it broke", "")
    curve = store.training(design[0].training) / "metrics.jsonl"
    curve.write_text('{"num_objects": 10, "seconds": 2.5, "train/loss": 1.0}\n')
    training, *measured, _ = ledger(design, store, shards).to_pylist()
    assert (training["state"], training["seconds"], training["num_objects"]) == ("failed", 2.5, 10)
    assert training["flop"] == Work(shards).training(design[0].config, 10).flop > 0
    assert {r["state"] for r in measured} == {"failed"}
    # a scheduler stopped it, so nothing is missing
    stopped = ledger(design, store, shards, {design[0].training}).to_pylist()
    assert [r["state"] for r in stopped] == ["stopped"] * 4 + ["missing"]
    assert {k: v for k, v in stopped[0].items() if k != "state"} == {
        k: v for k, v in training.items() if k != "state"
    }


FACTS = Facts(100, 10, 5, 20.0, 1.0, 4.0)


@pytest.mark.parametrize(
    ("used", "share", "expected"),
    [
        (Used(), 0.5, (None, None)),  # an older store
        (Used(device_training="cpu", device_evaluation="cpu", num_workers=0), 0.0, (0.0, 0.0)),
        (Used(device_training="cuda", device_evaluation="cuda", num_workers=0), 0.25, (5.0, 1.0)),
        (Used(device_training="cuda", device_evaluation="cpu", num_workers=4), 0.0, (80.0, 0.0)),
    ],
)
def test_gpu_seconds(
    used: Used,
    share: float,
    expected: tuple[float | None, float | None],
    sweep: StudySpec,
    manifest: Manifest,
    synthetic_shards: Path,
    tmp_path: Path,
) -> None:
    """Seconds x the share of a GPU that the trial had, or one for each of its workers."""
    store, design = Store(tmp_path / "store"), cells(sweep, manifest)
    store.write(design[0], {}, FACTS, used)
    store.note_trial(design[0].training, 0.1, share)
    training, evaluation = ledger(design, store, ShardFolder.open(synthetic_shards)).to_pylist()[:2]
    assert (training["seconds_gpu"], evaluation["seconds_gpu"]) == expected


@pytest.mark.parametrize("modalities", [["photometry"], ["photometry", "spectrum"]])
def test_an_epoch_is_counted_as_its_plan_has_it(
    modalities: list[str],
    synthetic_shards: Path,
    manifest: Manifest,
    spec: StudySpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A third of the samples against every step of the plan, with its own samples' lengths."""
    monkeypatch.setattr(work_module, "NUM_TYPICAL", 32)
    shards = ShardFolder.open(synthetic_shards)
    config = cell_of(spec, manifest, modalities).config
    work = Work(shards)
    fitted = work.fitted(config)
    budget = config.optimisation.token_budget
    plan, names = make_plan(shards, fitted, config.modalities, "train", 0, budget)
    num_objects = num_tokens = 0
    flop = 0.0
    for step in plan.steps(0):
        taken = plan.lengths.take(step.rows)
        lengths = {m: taken[f"{m}.length"].to_pylist() for m in names}
        num_objects += taken.num_rows
        num_tokens += sum(map(sum, lengths.values()))
        shape = (config.objective, config.model, layouts(fitted, names))
        flop += cost.training_flops(*shape, lengths).total
    assert num_objects > 3 * 32
    found = work.training(config, num_objects)
    assert found.num_objects == num_objects
    assert found.num_tokens == pytest.approx(num_tokens, rel=0.01)
    assert found.flop == pytest.approx(flop, rel=0.02)
    assert work.training(config, 3 * num_objects).flop == pytest.approx(3 * found.flop)


def cell_of(spec: StudySpec, manifest: Manifest, modalities: list[str]) -> Cell:
    base = override(RunConfig(), {"modalities": modalities, "model.width": 16})
    one = replace(spec, base=override(base, {"model.num_heads": 2}), axes=())
    return cells(replace(one, models={"daep": {}}), manifest)[0]


def test_objects_set_aside_for_conformal_intervals_are_work_too(
    synthetic_shards: Path, manifest: Manifest, spec: StudySpec
) -> None:
    work, config = Work(ShardFolder.open(synthetic_shards)), cell_of(spec, manifest, ["photometry"])
    settings = {"evaluation.max_objects": 8, "evaluation.num_conformal_objects": 8}
    both = work.evaluation(override(config.config, settings))
    alone = work.evaluation(
        override(config.config, settings | {"evaluation.num_conformal_objects": 0})
    )
    assert both.num_objects == alone.num_objects == 8
    assert both.flop == pytest.approx(2 * alone.flop, rel=0.5)  # other samples, as many
    assert both.flop > alone.flop
