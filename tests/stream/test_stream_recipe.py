"""Recipes as settings: defaults, identity, overrides, and what does not fit the data."""

from types import SimpleNamespace

import pytest

from daep_ray.errors import ConfigError, DataError
from daep_ray.sample import Axis, Category, Modality
from daep_ray.settings import override
from daep_ray.stream.recipe import Recipe, default_recipe, recipe_hash
from daep_ray.stream.recipe_check import check_recipe

FLUX = Modality(
    name="photometry",
    value=Axis("flux", "FLUXCAL"),
    positions=(Axis("time", "day", is_time=True),),
    categories=(Category("band", ("unknown", "g")),),
    metadata=(Axis("redshift", ""), Axis("peak", "day", is_time=True)),
)
SPECTRUM = Modality("spectrum", Axis("flux", ""), (Axis("wavelength", "A"),), has_error=False)
VITALS = Modality(
    name="vitals",
    value=Axis("reading", "by channel"),
    positions=(Axis("time", "day", is_time=True),),
    categories=(Category("channel", ("unknown", "HR", "NISysABP")),),
)


def manifest(survey_format: str, *modalities: Modality) -> SimpleNamespace:
    return SimpleNamespace(modalities=modalities, source={"format": survey_format})


def kinds(recipe: Recipe, modality: str) -> list[str]:
    return [step.kind for step in recipe.modalities[modality].value]


def test_default_recipes_by_format_and_by_declaration():
    snana = default_recipe(manifest("snana", FLUX, SPECTRUM))
    assert kinds(snana, "photometry") == ["arcsinh"]
    assert kinds(snana, "spectrum") == ["scale_by_median", "arcsinh"]
    assert snana.modalities["photometry"].positions["time"][0].at == "column:peak"
    assert kinds(default_recipe(manifest("snid", SPECTRUM)), "spectrum") == []
    vitals = default_recipe(manifest("clinic", VITALS)).modalities["vitals"]
    assert (vitals.value, vitals.z_score) == ((), "category:channel")
    assert vitals.positions["time"][0].at == "first"


def test_merged_surveys_take_the_recipe_that_theirs_share():
    def merged(*formats: str) -> SimpleNamespace:
        surveys = [{"source": {"format": f}} for f in formats]
        return SimpleNamespace(modalities=(FLUX,), source={"format": "merged", "surveys": surveys})

    alone = default_recipe(manifest("snana", FLUX))
    assert default_recipe(merged("snana", "snana_fits")) == alone
    assert default_recipe(merged("snana", "table")) == alone
    by_declaration = default_recipe(manifest("another", FLUX))
    assert default_recipe(merged("snana", "synthetic")) == by_declaration != alone


@pytest.mark.parametrize("survey_format", ["synthetic", "snid", "snana", "another"])
def test_default_recipes_fit_what_they_are_for(survey_format):
    modalities = (FLUX, SPECTRUM, VITALS)
    recipe = default_recipe(manifest(survey_format, *modalities))
    check_recipe(recipe, {m.name: m for m in modalities})
    assert Recipe.parse(recipe.model_dump(mode="json")) == recipe


def test_a_dotted_override_cuts_spectra():
    recipe = default_recipe(manifest("snid", SPECTRUM))
    cut = override(recipe, {"modalities.spectrum.max_length": 128})
    assert cut.modalities["spectrum"].max_length == 128
    assert recipe_hash(cut) != recipe_hash(recipe)


def test_the_hash_is_of_the_content():
    recipe = default_recipe(manifest("snana", FLUX, SPECTRUM))
    again = Recipe(modalities=dict(reversed(recipe.modalities.items())))
    assert recipe_hash(again) == recipe_hash(recipe)


@pytest.mark.parametrize(
    ("modality", "part", "said"),
    [
        ("images", {}, "names the modality 'images'.*they have photometry, spectrum"),
        ("photometry", {"positions": {"phase": []}}, "'phase'.*they have time"),
        (
            "photometry",
            {"positions": {"time": [{"kind": "divide_by_one_plus", "column": "z"}]}},
            "'z'.*they have peak, redshift",
        ),
        (
            "photometry",
            {"positions": {"time": [{"kind": "reference"}, {"kind": "reference"}]}},
            "has a step twice",
        ),
        ("spectrum", {"selection": [{"kind": "crop", "position": "time"}]}, "they have wavelength"),
        ("spectrum", {"selection": [{"kind": "signal_to_noise"}]}, "has no errors"),
        ("spectrum", {"augmentation": [{"kind": "noise_from_errors"}]}, "has no errors"),
        ("spectrum", {"value": [{"kind": "scale_by_median"}] * 2}, "twice"),
        ("photometry", {"z_score": "category:filter"}, "'filter'.*they have band"),
        ("photometry", {"metadata": ["log_scale"]}, "'log_scale'.*they have peak, redshift"),
    ],
)
def test_what_does_not_fit_is_one_clear_sentence(modality, part, said):
    recipe = Recipe.parse({"modalities": {modality: part}})
    with pytest.raises(DataError, match=said):
        check_recipe(recipe, {"photometry": FLUX, "spectrum": SPECTRUM})


def test_an_unknown_setting_names_the_nearest():
    with pytest.raises(ConfigError, match="max_length"):
        Recipe.parse({"modalities": {"spectrum": {"max_lenght": 128}}})
