"""A trial does what the store lacks, once, and leaves the reason where it cannot."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from daep_ray.config import resolve
from daep_ray.errors import DataError
from daep_ray.settings import override
from daep_ray.shards.manifest import Manifest
from daep_ray.study import trial as trial_module
from daep_ray.study.spec import Axis, StudySpec, cells
from daep_ray.study.store import Store
from daep_ray.study.trial import Trial, in_one_sentence, run_trial, trials


@dataclass
class Calls:
    """Counts the real functions' calls."""

    fit: int = 0
    evaluate: int = 0
    evaluate_reference: int = 0


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    found = Calls()

    def counted(name: str) -> Callable[..., Any]:
        real = getattr(trial_module, name)

        def function(*arguments: Any, **options: Any) -> Any:
            setattr(found, name, getattr(found, name) + 1)
            return real(*arguments, **options)

        return function

    for name in vars(found):
        monkeypatch.setattr(trial_module, name, counted(name))
    return found


def test_a_trial_trains_once_and_evaluates_each_cell(
    spec: StudySpec,
    manifest: Manifest,
    synthetic_shards: Path,
    tmp_path: Path,
    calls: Calls,
) -> None:
    store = Store(tmp_path / "store")
    axes = (Axis("evaluation.num_draws", [1, 3]),)
    one = replace(spec, axes=axes, seeds=(0,), models={"vae": {"objective.kind": "vae"}})
    (work, pca, mean) = trials(cells(one, manifest))
    points: list[dict[str, Any]] = []
    first = run_trial(work, synthetic_shards, store, points.append)
    assert (calls.fit, calls.evaluate) == (1, 2)
    assert not first.is_reused
    assert [p["num_objects"] for p in points] == sorted(p["num_objects"] for p in points)
    assert points

    assert run_trial(work, synthetic_shards, store).is_reused
    assert (calls.fit, calls.evaluate) == (1, 2)
    more = replace(one, axes=(Axis("evaluation.num_draws", [1, 3, 4]),))
    run_trial(trials(cells(more, manifest))[0], synthetic_shards, store)
    assert calls.evaluate == 3  # `fit` was asked and found its finished folder

    for reference in (pca, mean):
        run_trial(reference, synthetic_shards, store)
        facts = store.facts(reference.cells[0])
        assert (facts.num_objects, facts.seconds_training) == (None, 0.0)
    assert calls.evaluate_reference == 2
    seen = store.facts(work.cells[0]).num_objects
    assert seen is not None
    assert seen >= one.base.optimisation.num_objects


def test_a_failure_is_told_in_one_sentence_and_forgotten_on_success(
    spec: StudySpec,
    manifest: Manifest,
    synthetic_shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store(tmp_path / "store")
    work = next(t for t in trials(cells(spec, manifest)) if t.cells[0].model == "mean")

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("first line\nsecond line")

    with monkeypatch.context() as patch:
        patch.setattr(trial_module, "evaluate_reference", broken)
        with pytest.raises(ValueError, match="first"):
            run_trial(work, synthetic_shards, store)
    assert store.failure(work.training) == "ValueError: first line"
    run_trial(work, synthetic_shards, store)
    assert store.failure(work.training) is None


def test_a_users_mistake_keeps_its_own_sentence() -> None:
    assert in_one_sentence(DataError("no shards there")) == "no shards there"
    assert in_one_sentence(KeyError()) == "KeyError: no message"


def test_labels_say_what_runs(spec: StudySpec, manifest: Manifest) -> None:
    labels = [t.label for t in trials(cells(spec, manifest))]
    assert labels[0] == "daep 1 x 2 seed 0"
    assert labels[-3:] == ["pca 2 floats", "pca 4 floats", "mean"]
    widths = replace(spec, axes=(*spec.axes, Axis("model.width", [8, 16])))
    labels = [t.label for t in trials(cells(widths, manifest))]
    assert {"daep 1 x 2 width 8 seed 0", "daep 1 x 2 width 16 seed 0"} <= set(labels)


def test_the_reach_of_a_search_is_each_cells_own(
    spec: StudySpec, manifest: Manifest, synthetic_shards: Path, tmp_path: Path, calls: Calls
) -> None:
    """One training, its curve that of the usual reach, and numbers as far apart as the reaches."""
    pairs = override(spec.base, {"modalities": ["photometry", "spectrum"]})
    base = override(resolve(pairs, manifest), {"recipe.modalities.spectrum.metadata": ["phase"]})
    one = replace(
        spec,
        base=base,
        axes=(Axis("objective.match.phase", [0.001, 1000.0]),),
        models={"search": {"objective.kind": "contrastive"}},
        seeds=(0,),
        references=(),
    )
    (work,) = trials(cells(one, manifest))
    kept: dict[str, list[dict[str, Any]]] = {}
    curves = []
    for name, order in {"there": work.cells, "back": work.cells[::-1]}.items():
        store = Store(tmp_path / name)
        run_trial(Trial(work.training, tuple(order)), synthetic_shards, store)
        curves.append([{**p, "seconds": 0} for p in store.curve(work.training)])
        kept[name] = [dict(store.results(cell))["metrics"].to_pylist() for cell in work.cells]
    assert (calls.fit, calls.evaluate) == (2, 4)
    assert curves[0] == curves[1]
    assert kept["there"] == kept["back"]
    near, far = kept["there"]
    assert near != far
