"""Known factors: dust against `dust-extinction`, flux per frequency, and back."""

import builtins
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.errors import ConfigError, DataError
from daep_ray.sample import Axis, Modality, Sample, Sequence
from daep_ray.shards.schema import table_from_samples
from daep_ray.stream.factors import MilkyWayExtinction, PerFrequency
from daep_ray.stream.fitted import FittedRecipe, unfitted
from daep_ray.stream.position_chain import DivideByOnePlus
from daep_ray.stream.recipe import ModalityRecipe, Recipe
from daep_ray.stream.recipe_check import check_recipe
from daep_ray.stream.value_chain import Log10

OBSERVED = Modality(
    name="spectrum",
    value=Axis("flux", "erg/s/cm2/Angstrom"),
    positions=(Axis("wavelength", "Angstrom", frame="observer"),),
    metadata=(Axis("ebv", "mag"), Axis("redshift", "")),
)
AT_REST = replace(OBSERVED, positions=(Axis("wavelength", "Angstrom", frame="rest"),))
WAVELENGTH = np.linspace(3000, 9000, 50)


def spectra(*ebv: float | None, redshift: float | None = 0.1) -> list[Sample]:
    rng = np.random.default_rng(0)
    return [
        Sample(
            f"s{i}",
            f"o{i}",
            {
                "spectrum": Sequence(
                    value=rng.lognormal(0, 1, 50),
                    error=rng.uniform(0.1, 0.2, 50),
                    positions={"wavelength": WAVELENGTH},
                    metadata={"ebv": value, "redshift": redshift},
                )
            },
        )
        for i, value in enumerate(ebv)
    ]


def recipe(*factors, **others) -> Recipe:
    return Recipe(modalities={"spectrum": ModalityRecipe(factors=factors, **others)})


def applied(recipe: Recipe, samples: list[Sample], modality: Modality = OBSERVED):
    fitted = unfitted(recipe, [modality])
    table = table_from_samples(samples, (modality,))
    return fitted, fitted.apply(table, ["spectrum"])["spectrum"]


def raw(samples: list[Sample]) -> np.ndarray:
    values = [s.sequences["spectrum"].value for s in samples]
    return np.concatenate(values).astype(np.float32).astype(float)


@pytest.mark.parametrize("law", ["F99", "CCM89", "G23"])
def test_dust_is_that_of_the_package(law):
    averages = pytest.importorskip("dust_extinction.parameter_averages")
    from astropy import units

    samples = spectra(0.0, 0.3)
    _, flat = applied(recipe(MilkyWayExtinction(law=law)), samples)
    left = getattr(averages, law)(Rv=3.1).extinguish(WAVELENGTH * units.AA, Ebv=0.3)
    np.testing.assert_allclose(flat.value[:50], raw(samples)[:50], rtol=1e-12)
    np.testing.assert_allclose(flat.value[50:], raw(samples)[50:] / left, rtol=1e-6)
    np.testing.assert_allclose(flat.error / flat.value, _errors(samples) / raw(samples))


def _errors(samples: list[Sample]) -> np.ndarray:
    errors = [s.sequences["spectrum"].error for s in samples]
    return np.concatenate([e for e in errors if e is not None]).astype(np.float32).astype(float)


def test_dust_acts_on_wavelengths_as_observed():
    pytest.importorskip("dust_extinction")
    observed = spectra(0.3, redshift=0.2)
    _, there = applied(recipe(MilkyWayExtinction()), observed)
    sequence = observed[0].sequences["spectrum"]
    moved = replace(sequence, positions={"wavelength": WAVELENGTH / 1.2})
    at_rest = [replace(observed[0], sequences={"spectrum": moved})]
    _, same = applied(recipe(MilkyWayExtinction()), at_rest, AT_REST)
    np.testing.assert_allclose(same.value, there.value, rtol=1e-5)


def test_who_has_no_dust_column_value_is_left_out():
    pytest.importorskip("dust_extinction")
    _, flat = applied(recipe(MilkyWayExtinction()), spectra(None, 0.1))
    assert flat.lengths.tolist() == [0, 50]


def test_flux_per_frequency_is_that_of_astropy():
    from astropy import units

    samples = spectra(0.0)
    _, flat = applied(recipe(PerFrequency()), samples)
    flux = raw(samples) * units.Unit("erg / (s cm2 Angstrom)")
    waves = WAVELENGTH.astype(np.float32).astype(float) * units.AA
    expected = flux.to("erg / (s cm2 Hz)", units.spectral_density(waves))
    np.testing.assert_allclose(flat.value, expected.value, rtol=1e-9)


@given(
    st.sampled_from(
        [
            (PerFrequency(),),
            (MilkyWayExtinction(),),
            (MilkyWayExtinction(law="CCM89"), PerFrequency()),
        ]
    ),
    st.sampled_from([(), (Log10(),)]),
    st.sampled_from([(), (DivideByOnePlus(),)]),
    st.floats(0.0, 2.0),
)
def test_factors_invert(factors, chain, positions, ebv):
    pytest.importorskip("dust_extinction")
    samples = spectra(ebv, 0.05)
    asked = recipe(*factors, value=chain, positions={"wavelength": positions}, max_length=20)
    fitted, flat = applied(asked, samples)
    assert flat.lengths.tolist() == [20, 20]
    back = fitted.invert_value("spectrum", flat.value, flat)
    np.testing.assert_allclose(back, raw(samples)[flat.kept], rtol=1e-9)
    again = FittedRecipe.from_json(fitted.to_json())
    assert again == fitted


def test_without_the_column_or_the_package_it_is_refused(monkeypatch):
    no_column = replace(OBSERVED, metadata=())
    with pytest.raises(DataError, match=r"metadata column 'ebv'.*they have none"):
        check_recipe(recipe(MilkyWayExtinction()), {"spectrum": no_column})
    known = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("dust_extinction"):
            raise ImportError(name)
        return known(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"dust-extinction.*pip install 'daep-ray\[sn\]'"):
        check_recipe(recipe(MilkyWayExtinction()), {"spectrum": OBSERVED})


def test_factors_need_wavelengths():
    curve = Modality("spectrum", Axis("flux", ""), (Axis("time", "day", is_time=True),))
    with pytest.raises(DataError, match="needs wavelengths in Angstrom"):
        check_recipe(recipe(PerFrequency()), {"spectrum": curve})
