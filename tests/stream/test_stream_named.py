"""The named recipes: they fit what they are for, refuse the rest, and keep to the paper."""

from types import SimpleNamespace

import numpy as np
import pytest

from daep_ray.errors import ConfigError, DataError
from daep_ray.sample import Axis, Category, Modality
from daep_ray.shards.ingest import ingest
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.factors import PerFrequency
from daep_ray.stream.named import RECIPES, band_words, named_recipe
from daep_ray.stream.peak import FittedPeak
from daep_ray.stream.recipe import ModalityRecipe, Recipe, recipe_hash
from daep_ray.stream.recipe_check import check_recipe
from daep_ray.stream.statistics import fit_recipe

ANGSTROM = "erg/s/cm2/Angstrom"
FLATTENED = "continuum-divided minus 1"


def spectrum(unit: str = ANGSTROM, frame: str = "rest", has_error: bool = True) -> Modality:
    return Modality(
        name="spectrum",
        value=Axis("flux", unit),
        positions=(Axis("wavelength", "Angstrom", frame=frame),),
        metadata=(Axis("phase", "day", frame="rest"), Axis("redshift", "")),
        has_error=has_error,
    )


def photometry(unit: str = "FLUXCAL", bands: str = "ugri", has_peak: bool = False) -> Modality:
    peak = (Axis("peak", "day", is_time=True, frame="observer"),) if has_peak else ()
    return Modality(
        name="photometry",
        value=Axis("flux", unit),
        positions=(Axis("time", "day", is_time=True, frame="observer"),),
        categories=(Category("band", ("unknown", *bands)),),
        metadata=(Axis("redshift", ""), *peak),
    )


def manifest(*modalities: Modality) -> SimpleNamespace:
    return SimpleNamespace(modalities=modalities, source={"format": "fake"})


SURVEYS = {
    "lamost": manifest(spectrum("relative", "observer")),
    "snid": manifest(spectrum(FLATTENED, has_error=False)),
    "csp": manifest(spectrum(has_error=False)),
    "bsnip": manifest(spectrum("relative", "observer", has_error=False)),
    "bts": manifest(photometry("mag")),
    "plasticc": manifest(photometry("FLUXCAL, zero point 27.5", "ugrizy")),
    "salt3": manifest(spectrum("relative", "observer"), photometry(has_peak=True)),
    "surface": manifest(spectrum("microjansky", "observer"), photometry(has_peak=True)),
}
FOR = [
    ("lamost", "lamost"),
    *[("ztf-spectra", survey) for survey in ("snid", "csp", "bsnip")],
    *[("ztf-photometry", survey) for survey in ("bts", "plasticc")],
    *[("goldstein", survey) for survey in ("salt3", "surface")],
]


def kinds(steps) -> list[str]:
    return [step.kind for step in steps]


@pytest.mark.parametrize(("name", "survey"), FOR)
def test_a_recipe_and_its_options_fit_the_surveys_that_they_are_for(name, survey):
    declared = {m.name: m for m in SURVEYS[survey].modalities}
    options = [option for option in RECIPES if option.split(":")[0] == name]
    hashes = set()
    for option in options:
        recipe = named_recipe(option, SURVEYS[survey])
        check_recipe(recipe, declared)
        assert Recipe.parse(recipe.model_dump(mode="json")) == recipe
        hashes.add(recipe_hash(recipe))
    assert len(options) > 1
    assert len(hashes) == len(options)


def test_names_and_sources_are_complete():
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert recipe.title
        assert recipe.source
        assert recipe.modalities


@pytest.mark.parametrize(
    ("unit", "zero_point"),
    [("FLUXCAL, zero point 27.5", 27.5), ("microjansky, AB zero point 23.9", 23.9)],
)
def test_magnitudes_have_the_zero_point_of_the_unit(unit, zero_point):
    part = named_recipe("ztf-photometry", manifest(photometry(unit))).modalities["photometry"]
    assert [step.zero_point for step in part.value] == [zero_point]


def test_the_paper_on_lamost():
    part = named_recipe("lamost", SURVEYS["lamost"]).modalities["spectrum"]
    assert (kinds(part.selection), kinds(part.value)) == (["signal_to_noise"], ["arcsinh"])
    part = named_recipe("lamost:published", SURVEYS["lamost"]).modalities["spectrum"]
    assert (kinds(part.selection), kinds(part.value)) == (["positive"], ["log10"])


def test_logarithms_only_where_the_unit_has_one():
    parts = {
        survey: named_recipe("ztf-spectra", SURVEYS[survey]).modalities["spectrum"]
        for survey in ("snid", "csp", "bsnip")
    }
    assert kinds(parts["snid"].value) == ["median_filter"]
    assert kinds(parts["csp"].value) == ["log10", "median_filter"]
    assert kinds(parts["bsnip"].value) == ["scale_by_median", "log10", "median_filter"]
    assert [kinds(p.positions["wavelength"]) for p in parts.values()] == [
        [],
        [],
        ["divide_by_one_plus"],
    ]
    assert all(p.max_length == 220 and p.metadata == ("phase",) for p in parts.values())


def test_twenty_points_in_g_and_r_from_the_fitted_peak():
    part = named_recipe("ztf-photometry", SURVEYS["plasticc"]).modalities["photometry"]
    assert kinds(part.value) == ["magnitude"]
    assert (part.max_length, part.max_length_per) == (20, "band")
    assert part.positions["time"] == (FittedPeak(words=("r",), also=()),)
    published = named_recipe("ztf-photometry:published", SURVEYS["bts"]).modalities["photometry"]
    assert published.positions["time"] == (FittedPeak(words=("r",), also=("g",)),)
    assert published.frozen_copies == 5
    assert published.value == ()


def test_a_flux_per_wavelength_becomes_one_per_frequency():
    salt3 = named_recipe("goldstein", SURVEYS["salt3"]).modalities["spectrum"]
    surface = named_recipe("goldstein", SURVEYS["surface"]).modalities["spectrum"]
    assert (salt3.factors, surface.factors) == ((PerFrequency(),), ())


@pytest.mark.parametrize(
    ("name", "survey", "said"),
    [
        ("ztf-photometry", "snid", "needs the modality 'photometry'.*it has spectrum"),
        ("goldstein", "bts", "needs the modality 'spectrum'"),
        ("lamost:published", "snid", "half of them negative"),
    ],
)
def test_what_a_recipe_is_not_for_is_refused_in_one_sentence(name, survey, said):
    with pytest.raises(DataError, match=said):
        named_recipe(name, SURVEYS[survey])


def test_missing_bands_and_axes_are_refused():
    with pytest.raises(DataError, match=r"band 'r'.*its bands are g, i"):
        named_recipe("ztf-photometry", manifest(photometry(bands="gi")))
    pixels = Modality("spectrum", Axis("flux", ""), (Axis("pixel", ""),))
    with pytest.raises(DataError, match=r"wavelength in Angstrom.*it has pixel \(no unit\)"):
        named_recipe("lamost", manifest(pixels))


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ConfigError, match="unknown recipe 'ztf': choose one of lamost"):
        named_recipe("ztf", SURVEYS["snid"])


def test_words_of_a_band():
    words = ("g", "R", "ztfr", "PS1-r", "lsst_r", "r2", "for")
    modality = Modality(
        "photometry", Axis("flux", ""), (), (Category("band", ("unknown", *words)),)
    )
    assert band_words(modality, "r") == ("R", "ztfr", "PS1-r", "lsst_r")


def test_data_of_another_unit_or_frame_are_refused_not_mixed():
    recipe = named_recipe("ztf-spectra", SURVEYS["csp"])
    with pytest.raises(DataError, match=r"values in 'erg.*are in 'relative'.*cannot be mixed"):
        check_recipe(recipe, {"spectrum": spectrum("relative")})
    with pytest.raises(DataError, match=r"in the rest frame, but in these data.*observer"):
        check_recipe(recipe, {"spectrum": spectrum(frame="observer")})


@pytest.mark.parametrize(
    ("modality", "part", "said"),
    [
        (
            spectrum(),
            {"positions": {"wavelength": [{"kind": "divide_by_one_plus"}]}},
            "rest frame already",
        ),
        (photometry("mag"), {"value": [{"kind": "log10"}]}, "magnitudes already"),
        (spectrum("relative"), {"value": [{"kind": "magnitude"}]}, "no zero point"),
        (
            photometry(),
            {"selection": [{"kind": "keep_category", "words": ["R"]}]},
            "band 'R'.*they have g, i, r, u",
        ),
        (photometry(), {"max_length": 3, "max_length_per": "filter"}, "category 'filter'"),
        (
            photometry(),
            {"positions": {"time": [{"kind": "fitted_peak"}, {"kind": "reference"}]}},
            "counts from two references",
        ),
    ],
)
def test_steps_that_the_declaration_forbids(modality, part, said):
    recipe = Recipe.parse({"modalities": {modality.name: part}})
    with pytest.raises(DataError, match=said):
        check_recipe(recipe, {modality.name: modality})


def test_checks_and_later_settings_leave_earlier_identities_alone():
    plain = Recipe(modalities={"spectrum": ModalityRecipe()})
    declared = ModalityRecipe(value_units=("relative",), frames={"wavelength": "rest"})
    assert recipe_hash(Recipe(modalities={"spectrum": declared})) == recipe_hash(plain)
    # the hash that this recipe had before there were factors, frozen copies and cuts per category
    assert recipe_hash(plain) == "e88c1613e48b469d"
    for change in ({"frozen_copies": 5}, {"factors": (PerFrequency(),)}):
        changed = Recipe(modalities={"spectrum": ModalityRecipe(**change)})
        assert recipe_hash(changed) != recipe_hash(plain)


@pytest.mark.parametrize("name", ["lamost", "ztf-spectra", "ztf-photometry", "goldstein"])
def test_model_inputs_have_no_surprise(name, tmp_path_factory):
    """On the built-in survey: standardised, finite, at most as many points as asked for."""
    folder = built_in(tmp_path_factory)
    fitted = fit_recipe(folder, named_recipe(name, folder.manifest))
    table = folder.read_row_group(0, 0)
    for modality, flat in fitted.apply(table, fitted.modalities, epoch=1).items():
        part = fitted.recipe.modalities[modality]
        assert np.isfinite(flat.value).all()
        assert np.isfinite(flat.position).all()
        assert abs(np.mean(flat.value)) < 0.5
        if part.max_length_per == "band":
            sample = np.repeat(np.arange(flat.num_samples), flat.lengths)
            counts = np.unique(np.stack([sample, flat.category[:, 0]]), axis=1, return_counts=True)
            assert counts[1].max() <= part.max_length
        back = fitted.invert_position(modality, flat.position, flat)
        assert np.isfinite(back).all()


def built_in(tmp_path_factory) -> ShardFolder:
    out = tmp_path_factory.getbasetemp() / "named-synthetic"
    if not out.exists():
        ingest("synthetic", None, out, {"num_objects": 60})
    return ShardFolder.open(out)
