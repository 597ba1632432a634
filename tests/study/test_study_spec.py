"""A design becomes the right cells, and a wrong one is refused before anything starts."""

from dataclasses import replace
from typing import Any

import pytest

from daep_ray.errors import ConfigError
from daep_ray.shards.manifest import Manifest
from daep_ray.study.spec import Axis, Range, StudySpec, cells, check
from daep_ray.study.trial import trials


def test_models_times_axes_times_seeds_and_the_references(
    spec: StudySpec, manifest: Manifest
) -> None:
    found = cells(spec, manifest)
    trained = [c for c in found if not c.is_reference]
    assert [(c.model, c.num_floats, c.seed) for c in trained] == [
        (model, floats, seed) for model in ("daep", "vae") for floats in (2, 4) for seed in (0, 1)
    ]
    assert [(c.model, c.num_floats) for c in found[8:]] == [("pca", 2), ("pca", 4), ("mean", None)]
    assert len({c.id for c in found}) == len(found)
    bottleneck = trained[2].config.model.bottleneck
    assert (bottleneck.length, bottleneck.width) == (2, 2)
    assert trained[2].settings == {"model.bottleneck.length": 2, "model.bottleneck.width": 2}


def test_an_inference_axis_adds_no_training(spec: StudySpec, manifest: Manifest) -> None:
    more = replace(spec, axes=(*spec.axes, Axis("evaluation.num_draws", [1, 4, 16])))
    few, many = cells(spec, manifest), cells(more, manifest)
    assert {c.training for c in few} == {c.training for c in many}
    trained = [c for c in many if not c.is_reference]
    assert len(trained) == 3 * 8
    assert len({c.evaluation for c in trained}) == len(trained)
    assert len(trials(many)) == len(trials(few))
    # a reference has no draws: its evaluation is one
    assert sum(c.is_reference for c in many) == 3


def test_a_reference_is_measured_anew_where_the_measure_changes(
    spec: StudySpec, manifest: Manifest
) -> None:
    more = replace(spec, axes=(*spec.axes, Axis("evaluation.split", ["validation", "test"])))
    found = [c for c in cells(more, manifest) if c.is_reference]
    assert len(found) == 6
    assert {c.settings["evaluation.split"] for c in found} == {"validation", "test"}


def test_what_a_masked_autoencoder_is_shown_adds_no_training(
    spec: StudySpec, manifest: Manifest
) -> None:
    """Another share is another evaluation of the same model, and names itself in `models`."""
    maep = {"objective.kind": "maep", "objective.mask_ratio": 0.3}
    models = {
        "daep": {"objective.kind": "daep"},
        "maep": maep,
        "maep code alone": {**maep, "evaluation.visible_share": 0.0},
    }
    trained = [c for c in cells(replace(spec, models=models), manifest) if not c.is_reference]
    assert len({c.evaluation for c in trained}) == len(trained) == 3 * 4
    of = {name: {c.training for c in trained if c.model == name} for name in models}
    assert of["maep"] == of["maep code alone"]
    assert len(of["maep"]) == len(of["daep"]) == 4
    assert {c.id for c in cells(spec, manifest)} > {c.id for c in trained if c.model == "daep"}


def test_runtime_is_no_part_of_a_cell(spec: StudySpec, manifest: Manifest) -> None:
    other = spec.with_settings({"runtime.num_threads": 2, "runtime.num_workers": 2})
    assert [c.id for c in cells(other, manifest)] == [c.id for c in cells(spec, manifest)]
    assert other.to_json() == spec.to_json()


def test_an_axis_may_reach_into_the_surveys_recipe(spec: StudySpec, manifest: Manifest) -> None:
    path = "recipe.modalities.photometry.z_score"
    axis = Axis(path, ["modality", "category:band"])
    found = cells(replace(spec, axes=(axis,)), manifest)
    trained = {c.training for c in found if not c.is_reference}
    assert len(trained) == 8
    assert sum(c.model == "mean" for c in found) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": (Axis("model.bottleneck.lenght", [1]),)}, "model.bottleneck.length"),
        ({"axes": (Axis("model.bottleneck.length", [4, 0]),)}, "greater than 0"),
        ({"axes": (Axis("model.width", []),)}, "no values"),
        ({"axes": (Axis(("model.width", "seed"), [(1,)]),)}, "one value per path"),
        ({"axes": (Axis("model.width", [32, 32]),)}, "two cells are the same"),
        ({"axes": (Axis("runtime.num_threads", [1, 2]),)}, "two cells are the same"),
        ({"axes": (Range("model.width", 16, 64),)}, "optuna"),
        ({"axes": (Axis("model.width", [32]),) * 2}, "twice"),
        ({"models": {"gan": {"objective.kind": "gan"}}}, "gan"),
        ({"models": {}}, "no models"),
        ({"seeds": (1, 1)}, "not distinct"),
        ({"references": ("median",)}, "unknown reference 'median'"),
    ],
)
def test_a_wrong_design_is_refused_in_one_sentence(
    spec: StudySpec, manifest: Manifest, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        cells(replace(spec, **changes), manifest)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["model.bottleneck.width", "objective.kind", "seed"])
def test_a_setting_that_the_study_varies_is_refused(spec: StudySpec, path: str) -> None:
    with pytest.raises(ConfigError, match="varies it itself"):
        spec.with_settings({path: 1})


def test_a_design_as_json_names_paths_that_go_together(spec: StudySpec) -> None:
    axes = spec.to_json()["axes"]
    assert axes[0]["path"] == "model.bottleneck.length"
    assert axes[0]["values"] == [1, 2]
    assert axes[0]["tied_to"] == ["model.bottleneck.width"]
    assert axes[1]["values"] == [2, 2]
    assert spec.to_json()["control"] == "daep"


def test_a_range_is_checked_at_both_ends(spec: StudySpec) -> None:
    search = replace(spec, search="optuna", axes=(Range("model.width", 16, 64, is_log=True),))
    check(search)
    assert search.to_json()["axes"] == [{"path": "model.width", "values": [16, 64], "is_log": True}]
