"""Settings: dotted overrides, one sentence for a mistake, fingerprints of what matters alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.config import (
    PRESETS,
    RunConfig,
    configure,
    evaluation_fingerprint,
    preset,
    size_of,
    training_fingerprint,
)
from daep_ray.errors import ConfigError
from daep_ray.objectives import OBJECTIVES
from daep_ray.published import PUBLISHED
from daep_ray.settings import canonical_hash, override, parse_assignment
from daep_ray.shards.manifest import Manifest
from daep_ray.shards.read import ShardFolder


@pytest.fixture(scope="module")
def manifest(synthetic_shards: Path) -> Manifest:
    return ShardFolder.open(synthetic_shards).manifest


def changed(manifest: Manifest, **overrides: object) -> RunConfig:
    dotted = {path.replace("__", "."): value for path, value in overrides.items()}
    return configure(manifest, "smoke", "photometry", dotted)


@pytest.mark.parametrize("choices", ["", *(f"+{name}" for name in PUBLISHED)])
@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_survive_json(name: str, choices: str) -> None:
    config = preset(name + choices)
    assert RunConfig.parse(json.loads(config.model_dump_json())) == config


@pytest.mark.parametrize("name", PRESETS)
def test_the_published_choices_change_no_size(name: str) -> None:
    ours, theirs = preset(name), preset(f"{name}+published_code")
    assert theirs.model.width == ours.model.width
    assert theirs.model.encoder.num_layers == ours.model.encoder.num_layers
    assert theirs.model.decoder.num_layers == ours.model.decoder.num_layers
    assert theirs.optimisation.num_objects == ours.optimisation.num_objects
    assert size_of(f"{name}+published_code") == name


@pytest.mark.parametrize("name", ["gigantic", "smoke+published", "published_code", "smoke+"])
def test_an_unknown_preset_is_one_sentence(name: str) -> None:
    with pytest.raises(ConfigError, match=r"smoke, laptop, cluster.*published_code_vae"):
        preset(name)


def test_guidance_is_refused_before_a_training_that_does_not_prepare_it() -> None:
    guided = {"evaluation.sampler.guidance": 2.0}
    with pytest.raises(ConfigError, match=r"objective\.code_drop"):
        override(RunConfig(), guided)
    override(RunConfig(), {**guided, "objective.code_drop": 0.1})


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_guidance_is_refused_by_every_objective_without_a_solver(kind: str) -> None:
    guided = {"evaluation.sampler.guidance": 2.0, "objective.kind": kind}
    guided |= {"objective.code_drop": 0.1} if kind == "daep" else {}
    if kind in ("daep", "prior"):  # a prior's parent is asked when it is known
        override(RunConfig(), guided)
        return
    with pytest.raises(ConfigError, match="draws without a solver") as caught:
        override(RunConfig(), guided)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("model.bottleneck.lenght", 8, "did you mean 'model.bottleneck.length'"),
        ("modle.width", 8, "did you mean 'model'"),
        ("model.width.wide", 8, "did you mean 'model.width'?"),
        ("model.bottleneck.length", 0, "greater than"),
        ("model.width", "seven", "model.width"),
        ("objective.kind", "gan", "daep"),
        ("objective.beta", 0.1, "valid in objective"),  # daep has none
        ("optimisation.num_objects", None, "num_objects"),
    ],
)
def test_a_wrong_setting_is_one_sentence(path: str, value: object, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        override(RunConfig(), {path: value})
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_kind_brings_its_own_settings_whatever_the_order() -> None:
    config = override(RunConfig(), {"objective.beta": 0.5, "objective.kind": "vae"})
    assert config.objective.model_dump()["beta"] == 0.5
    assert RunConfig().objective.kind == "daep", "the original is not changed"


def test_every_leaf_of_the_tree_can_be_overridden_with_its_own_value() -> None:
    def leaves(node: object, path: tuple[str, ...] = ()) -> list[tuple[str, object]]:
        if isinstance(node, dict):
            return [leaf for key, v in node.items() for leaf in leaves(v, (*path, key))]
        return [(".".join(path), node)]

    config = RunConfig()
    for path, value in leaves(config.model_dump(mode="json")):
        assert override(config, {path: value}) == config, path


def test_fingerprints_change_with_science_and_with_nothing_else(manifest: Manifest) -> None:
    base = changed(manifest)
    same = {
        "runtime__num_workers": 2,
        "runtime__num_threads": 2,
        "runtime__stream": "ray",
        "evaluation__num_draws": 99,
    }
    for path, value in same.items():
        other = changed(manifest, **{path: value})
        assert training_fingerprint(other, "data") == training_fingerprint(base, "data"), path
    differing = {
        "seed": 5,
        "model__width": 64,
        "objective__kind": "vae",
        "optimisation__num_objects": 17,
        "recipe__modalities__photometry__max_length": 7,
    }
    found = {training_fingerprint(base, "data"), training_fingerprint(base, "other data")}
    found |= {
        training_fingerprint(changed(manifest, **{p: v}), "data") for p, v in differing.items()
    }
    assert len(found) == 2 + len(differing)


def test_what_an_objective_does_without_does_not_count(manifest: Manifest) -> None:
    """Nothing of a decoder in contrastive learning; the term of daep only on several modalities."""

    def found(names: tuple[str, ...], **settings: object) -> str:
        return training_fingerprint(changed(manifest, modalities=names, **settings), "data")

    pairs, search = ("photometry", "spectrum"), {"objective__kind": "contrastive"}
    plain = found(pairs, **search)
    assert found(pairs, **search, model__decoder__num_layers=7) == plain
    assert found(pairs, **search, model__mixer__num_tokens=7) == plain
    assert found(pairs, **search, model__encoder__num_layers=7) != plain
    assert found(pairs, model__decoder__num_layers=7) != found(pairs)
    assert found(pairs, objective__contrastive_weight=0.1) != found(pairs)
    alone = ("photometry",)
    assert found(alone, objective__contrastive_weight=0.1) == found(alone)


def test_only_the_recipe_of_used_modalities_counts(manifest: Manifest) -> None:
    other = changed(manifest, recipe__modalities__spectrum__max_length=7)
    assert training_fingerprint(other, "d") == training_fingerprint(changed(manifest), "d")


def test_evaluations_differ_by_sampler_and_draws_but_not_by_batch_size(manifest: Manifest) -> None:
    base = evaluation_fingerprint(changed(manifest), "training")
    batch = changed(manifest, evaluation__token_budget=17)
    assert evaluation_fingerprint(batch, "training") == base
    for path, value in {"num_draws": 3, "sampler__num_steps": 3, "split": "validation"}.items():
        other = changed(manifest, **{f"evaluation__{path}": value})
        assert evaluation_fingerprint(other, "training") != base


def test_a_modality_that_is_not_there_is_named_with_those_that_are(manifest: Manifest) -> None:
    with pytest.raises(ConfigError, match="photometry, spectrum"):
        configure(manifest, "smoke", "images")


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.booleans())))
def test_the_hash_ignores_the_order_of_keys(content: dict[str, object]) -> None:
    backwards = dict(reversed(content.items()))
    assert canonical_hash(content) == canonical_hash(backwards)
    assert canonical_hash(content) != canonical_hash({"inside": content})


@given(st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.none())
def test_assignments_are_typed(value: object) -> None:
    assert parse_assignment(f"a.b={json.dumps(value)}") == ("a.b", value)


@pytest.mark.parametrize("text", ["a.b", "=3", " =3", ""])
def test_an_assignment_needs_a_path_and_a_value(text: str) -> None:
    with pytest.raises(ConfigError, match="PATH=VALUE"):
        parse_assignment(text)


def test_words_need_no_quotes() -> None:
    assert parse_assignment("objective.kind=vae") == ("objective.kind", "vae")


def test_the_configuration_can_be_read_without_ray() -> None:
    code = "import sys, daep_ray.config; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
