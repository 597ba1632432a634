"""An axis that concerns some models only: cells collapse, and what concerns none is refused."""

from dataclasses import replace
from typing import Any

import pytest

from daep_ray.errors import ConfigError
from daep_ray.settings import override
from daep_ray.shards.manifest import Manifest
from daep_ray.study.spec import Axis, StudySpec, cells
from daep_ray.study.trial import trials

STEPS = Axis("evaluation.sampler.num_steps", [5, 10, 20], is_conditional=True)
SOLVERS = Axis("evaluation.sampler.kind", ["ddim", "unipc", "one_step"], is_conditional=True)


def of(spec: StudySpec, manifest: Manifest, **changes: Any) -> dict[str, list[dict[str, Any]]]:
    """Settings of each model's cells, those of seed 0."""
    found = cells(replace(spec, **changes), manifest)
    models = dict.fromkeys(c.model for c in found if not c.is_reference)
    return {m: [c.settings for c in found if c.model == m and c.seed == 0] for m in models}


def test_a_vae_has_no_solver_steps(spec: StudySpec, manifest: Manifest) -> None:
    few = cells(replace(spec, axes=()), manifest)
    many = cells(replace(spec, axes=(STEPS,)), manifest)
    assert len(trials(many)) == len(trials(few)) == 2 * 2 + 2
    vae = [c for c in many if c.model == "vae"]
    assert [c.settings for c in vae] == [{}, {}]
    # the very evaluation that a study without the axis has: a warm store keeps its worth
    assert [c.id for c in vae] == [c.id for c in few if c.model == "vae"]
    daep = [c for c in many if c.model == "daep"]
    assert len({c.evaluation for c in daep}) == 3 * 2
    assert len({c.training for c in daep}) == 2


def test_a_solver_may_have_no_steps_wherever_its_axis_stands(
    spec: StudySpec, manifest: Manifest
) -> None:
    for axes in ((STEPS, SOLVERS), (SOLVERS, STEPS)):
        found = of(spec, manifest, axes=axes)
        assert len(found["daep"]) == 3 + 3 + 1
        assert {"evaluation.sampler.kind": "one_step"} in found["daep"]
        assert found["vae"] == [{}]


def test_guidance_reaches_who_has_a_solver(spec: StudySpec, manifest: Manifest) -> None:
    guidance = Axis("evaluation.sampler.guidance", [1.0, 2.0], is_conditional=True)
    models = {"daep": {"objective.code_drop": 0.1}, "vae": {"objective.kind": "vae"}}
    found = of(spec, manifest, models=models, axes=(guidance,))
    assert [s["evaluation.sampler.guidance"] for s in found["daep"]] == [1.0, 2.0]
    assert found["vae"] == [{}]
    everywhere = Axis("evaluation.sampler.guidance", [1.0, 2.0])
    with pytest.raises(ConfigError, match=r"'vae', which draws without a solver.*is_conditional"):
        cells(replace(spec, models=models, axes=(everywhere,)), manifest)


def test_the_reach_of_a_search_trains_nothing_again(spec: StudySpec, manifest: Manifest) -> None:
    reach = Axis("objective.match.phase", [1.0, 2.0, 4.0], is_conditional=True)
    base = override(spec.base, {"modalities": ["photometry", "spectrum"]})
    models = {"daep": {}, "search": {"objective.kind": "contrastive"}}
    found = cells(replace(spec, base=base, models=models, axes=(reach,)), manifest)
    search = [c for c in found if c.model == "search" and c.seed == 0]
    assert len({c.training for c in search}) == 1
    assert len({c.evaluation for c in search}) == 3
    assert len([c for c in found if c.model == "daep"]) == 2


def test_a_setting_that_one_model_has_collapses_for_the_others(
    spec: StudySpec, manifest: Manifest
) -> None:
    ratios = Axis("objective.mask_ratio", [0.3, 0.75], is_conditional=True)
    models: dict[str, dict[str, Any]] = {"daep": {}, "maep": {"objective.kind": "maep"}}
    found = of(spec, manifest, models=models, axes=(ratios,))
    assert found["daep"] == [{}]
    assert found["maep"] == [{"objective.mask_ratio": 0.3}, {"objective.mask_ratio": 0.75}]


def test_other_axes_of_a_model_stay(spec: StudySpec, manifest: Manifest) -> None:
    width = Axis("model.bottleneck.width", [1, 2])
    found = of(spec, manifest, axes=(width, STEPS))
    assert found["vae"] == [{"model.bottleneck.width": 1}, {"model.bottleneck.width": 2}]
    assert len(found["daep"]) == 6


def test_a_design_says_which_axes_are_conditional(spec: StudySpec) -> None:
    plain, conditional = replace(spec, axes=(spec.axes[0], STEPS)).to_json()["axes"][1:]
    assert "is_conditional" not in plain
    assert conditional["is_conditional"] is True


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        (Axis("objective.mask_ratoi", [0.3, 0.5], is_conditional=True), "unknown setting"),
        (Axis("evaluation.sampler.num_stepz", [5], is_conditional=True), "did you mean"),
        (Axis("objective.modality_drop", [0.0, 0.5], is_conditional=True), "changes nothing for"),
        (Axis("evaluation.visible_share", [0.1, 0.5], is_conditional=True), "changes nothing for"),
        (Axis("evaluation.sampler.num_steps", [5, 5], is_conditional=True), "are the same"),
        (Axis("evaluation.sampler.num_steps", [5, 0], is_conditional=True), "greater than 0"),
        # declared nowhere, a setting that changes nothing is still refused
        (Axis("evaluation.visible_share", [0.1, 0.5]), "are the same"),
        (Axis("runtime.num_threads", [1, 2], is_conditional=True), "are the same"),
    ],
)
def test_what_concerns_no_model_is_refused(
    spec: StudySpec, manifest: Manifest, axis: Axis, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        cells(replace(spec, axes=(axis,)), manifest)
    assert "\n" not in str(caught.value)
