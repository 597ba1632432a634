"""References of a study: which there are, and what makes them another evaluation."""

from dataclasses import replace
from pathlib import Path

import pytest

from daep_ray import config
from daep_ray.config import evaluation_fingerprint, training_fingerprint
from daep_ray.evaluate import REFERENCES
from daep_ray.report.style import title
from daep_ray.settings import override
from daep_ray.shards.manifest import Manifest
from daep_ray.study import spec as study_spec
from daep_ray.study.spec import Axis, StudySpec, cells
from daep_ray.study.store import Store
from daep_ray.study.trial import run_trial, trials


def with_all(spec: StudySpec, **changes: object) -> StudySpec:
    base = override(spec.base, changes)
    return replace(spec, references=REFERENCES, base=base)


def test_light_curves_have_a_gaussian_process_and_spectra_none(
    spec: StudySpec, manifest: Manifest
) -> None:
    def found(modalities: list[str]) -> list[tuple[str, int | None]]:
        every = cells(with_all(spec, modalities=modalities), manifest)
        return [(c.model, c.num_floats) for c in every if c.is_reference]

    usual = [("pca", 2), ("pca", 4), ("mean", None)]
    assert found(["photometry"]) == [*usual, ("gp", None)]
    assert found(["spectrum"]) == usual
    assert found(["photometry", "spectrum"]) == [*usual, ("gp", None)]


def test_the_gaussian_process_is_measured_once_per_way_of_measuring(
    spec: StudySpec, manifest: Manifest
) -> None:
    axis = Axis("evaluation.max_objects", [4, 8])
    draws = Axis("evaluation.num_draws", [2, 3])
    found = cells(replace(with_all(spec), axes=(*spec.axes, axis, draws)), manifest)
    process = [c for c in found if c.model == "gp"]
    assert len(process) == 2
    assert len({c.training for c in process}) == 1


def test_a_new_version_of_evaluation_measures_anew_and_trains_nothing(
    spec: StudySpec, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cells(with_all(spec), manifest)
    for module in (config, study_spec):
        monkeypatch.setattr(module, "EVALUATION_VERSION", config.EVALUATION_VERSION + 1)
    after = cells(with_all(spec), manifest)
    assert [c.training for c in after] == [c.training for c in before]
    assert {c.evaluation for c in after}.isdisjoint(c.evaluation for c in before)
    resolved = before[0].config
    assert training_fingerprint(resolved, manifest.hash) == before[0].training
    assert evaluation_fingerprint(resolved, before[0].training) == after[0].evaluation


def test_every_reference_has_a_name_of_its_own_in_a_report() -> None:
    assert len({title(name) for name in REFERENCES}) == len(REFERENCES)
    assert all(title(name) != name for name in REFERENCES)


def test_a_trial_measures_it_and_stores_it(
    spec: StudySpec, manifest: Manifest, synthetic_shards: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    found = trials(cells(with_all(spec), manifest))
    work = next(t for t in found if t.cells[0].model == "gp")
    assert (work.label, work.cells[0].seed, work.cells[0].num_floats) == ("gp", None, None)
    assert not run_trial(work, synthetic_shards, store).is_reused
    assert run_trial(work, synthetic_shards, store).is_reused
    results = dict(store.results(work.cells[0]))
    estimates = set(results["metrics"]["estimate"].to_pylist())
    assert {"reference", "predictive"} <= estimates
    assert results["objects"].num_rows > 0
