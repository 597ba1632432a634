"""Supernovae from a spectral surface: their look, noise, truth, keys, memory."""

import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_1samp

from daep_ray.errors import DataError
from daep_ray.sample import Sample, Sequence
from daep_ray.surveys import open_survey
from daep_ray.surveys.surface_observing import (
    noisy_spectra,
    photometry,
    times,
)
from daep_ray.surveys.surface_settings import Cadence, Noise

ARCHIVE = "salt3_model_lsst_filters.tar.xz"

LIGHT = 2.99792458e18  # Angstrom/s
BANDS = "ugrizy"
Write = Callable[[dict[str, str | bytes]], Path]


@pytest.fixture
def source(write: Write, surface_files: dict[str, str | bytes]) -> Path:
    return write(surface_files)


def read(source: Path, num_objects: int, **options: object) -> list[Sample]:
    survey = open_survey("surface", source, {"num_objects": num_objects, **options})
    return [r for r in survey.records() if isinstance(r, Sample)]


def test_both_forms_of_lsst_filters_give_nearly_the_same(shared_data: Path) -> None:
    quiet = {"spectra": {"phases": [0.0], "num_points": 4}}
    svo = {"filter_files": "LSST_LSST.{band}.dat", "filter_unit": "Angstrom"}
    one, other = (
        read(shared_data / ARCHIVE, 3, **quiet, **how)[0].sequences["photometry"]
        for how in ({}, svo)
    )
    np.testing.assert_allclose(other.extras["truth"], one.extras["truth"], rtol=0.02)


def test_real_events_look_like_type_ia(shared_data: Path) -> None:
    population = {"velocity_scatter_km_s": 0.0, "intrinsic_scatter_mag": 0.0}
    found = read(shared_data / ARCHIVE, 40, population=population, seed=4)
    assert len(found) == 200
    by_phase = {0.0: [], 30.0: []}  # type: ignore[var-annotated]
    for sample in found:
        spectrum = sample.sequences["spectrum"]
        assert (len(spectrum), len(sample.sequences["photometry"])) == (982, 60)
        if spectrum.metadata["phase"] in by_phase:
            by_phase[spectrum.metadata["phase"]].append(spectrum)
    wavelength = by_phase[0.0][0].positions["wavelength"]
    assert (wavelength[0], wavelength[-1]) == pytest.approx((3000.0, 8000.0))
    near = (wavelength > 5900) & (wavelength < 6300)
    silicon = [wavelength[near][np.argmin(q.extras["truth"][near])] for q in by_phase[0.0]]
    assert min(silicon) > 6050  # Si II 6355 at 9,000 to 14,000 km/s
    assert max(silicon) < 6180
    magnitudes = np.array([
        27.5 - 2.5 * np.log10(s.sequences["photometry"].extras["truth"].max()) for s in found
    ])  # fmt: skip
    assert -20.3 < magnitudes.min() < magnitudes.max() < -17.8
    # i is flat or rising again 20 to 28 days after maximum, g falls by more than a magnitude
    days, flux, band = (
        np.concatenate([np.asarray(c(s.sequences["photometry"])) for s in found[::5]])
        for c in (
            lambda q: q.positions["time"] - q.metadata["peak"],
            lambda q: q.extras["truth"] / q.extras["truth"].max(),
            lambda q: q.categories["band"],
        )
    )

    def mean(letter: str, low: float, high: float) -> float:
        here = (band == 1 + BANDS.index(letter)) & (days > low) & (days < high)
        return float(flux[here].mean())

    assert mean("i", 20, 27) > 0.95 * mean("i", 12, 16)
    assert mean("g", 20, 27) < 0.5 * mean("g", -3, 3)
    assert mean("i", 38, 46) < 0.7 * mean("i", 20, 27)


def test_spectra_of_one_event_share_its_light_curve(source: Path) -> None:
    found = read(source, 40)
    assert [s.sample_id for s in found[:6]] == [
        *(f"surface-0-000000/{j}" for j in range(5)), "surface-0-000001/0"
    ]  # fmt: skip
    assert len({s.object_id for s in found}) == 40
    for k in range(0, len(found), 5):
        event = found[k : k + 5]
        assert len({id(s.sequences["photometry"]) for s in event}) == 1
        assert [s.sequences["spectrum"].metadata["phase"] for s in event] == [-10, 0, 10, 20, 30]
        assert all(s.labels == event[0].labels for s in event)


def test_the_cadence_is_irregular_and_ten_points_per_band(source: Path) -> None:
    curves = [s.sequences["photometry"] for s in read(source, 100)[::5]]
    gaps = []
    for curve in curves:
        days = curve.positions["time"] - float(str(curve.metadata["peak"]))
        assert -14 <= days.min() < days.max() <= 46.5
        for code in range(1, 7):
            mine = days[curve.categories["band"] == code]
            assert len(mine) == 10
            assert (np.diff(mine) > 0.5).all()  # once a night
            gaps.append(np.diff(mine))
    assert np.percentile(gaps, 10) < 3 < 10 < np.percentile(gaps, 90)
    some_bands_share_a_night = np.mean(
        [np.mean(np.diff(c.positions["time"]) < 0.2) for c in curves]
    )
    assert some_bands_share_a_night > 0.2


def test_clouded_nights_are_used_only_for_want_of_clear_ones() -> None:
    cadence = Cadence(points_per_band=10, first_day=-14, last_day=16, clear_share=0.4)
    uniform = np.random.default_rng(0).random((200, 2 + 6, 30))
    night = np.floor(times(cadence, 6, uniform) + 14).astype(int)
    is_clear = uniform[:, 0] <= 0.4
    used_clear = np.take_along_axis(is_clear[:, None].repeat(6, 1), night, axis=2).sum(2)
    expected = np.minimum(is_clear.sum(1), 10)[:, None].repeat(6, 1)
    np.testing.assert_array_equal(used_clear, expected)
    assert 0.1 < np.mean(expected < 10) < 0.9


def test_brightness_follows_the_labels(source: Path) -> None:
    """Tripp: M = -19.36 - 0.14 x1 + 3.1 c, a tenth of a magnitude of scatter; x1 and c in range."""
    labels = [s.labels for s in read(source, 400, spectra={"phases": [0], "num_points": 2})]
    x1, c, magnitude, velocity = (
        np.array([float(str(one[name])) for one in labels])
        for name in ("x1", "c", "absolute_magnitude", "velocity_shift_km_s")
    )
    scatter = magnitude - (-19.36 - 0.14 * x1 + 3.1 * c)
    assert scatter.std() == pytest.approx(0.1, rel=5 / np.sqrt(800))
    assert velocity.std() == pytest.approx(800, rel=5 / np.sqrt(800))
    assert np.abs(np.corrcoef(scatter, x1)[0, 1]) < 0.25
    assert -3 <= x1.min() < -1 < 1 < x1.max() <= 2
    assert -0.3 <= c.min() < -0.05 < 0.1 < c.max() <= 0.5
    # share below the mode of a two-sided Gaussian: 1.472 / (1.472 + 0.222)
    assert np.mean(x1 < 0.973) == pytest.approx(0.869, abs=5 * np.sqrt(0.869 * 0.131 / 400))


def test_ten_parsec_and_redshift_differ_by_the_distance(source: Path) -> None:
    """One event near and far: light curves differ by (10 pc / d)^2 / (1 + z) and the filters."""
    import astropy.cosmology

    place = {"kind": "redshift", "low": 0.05, "high": 0.4}
    small = {"phases": [0.0], "num_points": 40, "flux": "lambda"}
    far = read(source, 300, place=place, spectra=small)
    redshifts = np.array([float(str(s.labels["redshift"])) for s in far])
    cosmology = astropy.cosmology.FlatLambdaCDM(H0=70, Om0=0.3)
    grid = np.linspace(0.05, 0.4, 400)
    rate = cosmology.differential_comoving_volume(grid).value * np.sqrt(1 + grid)
    share = np.cumsum(rate) / rate.sum()
    assert ks_1samp(redshifts, lambda z: np.interp(z, grid, share)).pvalue > 1e-3
    near = read(source, 300, spectra=small)
    for one, other, z in zip(near[:20], far[:20], redshifts, strict=False):
        assert one.labels["x1"] == other.labels["x1"]
        # the same rest wavelength in both
        rest = other.sequences["spectrum"].positions["wavelength"] / (1 + z)
        spectrum = one.sequences["spectrum"]
        inside = rest > 3100
        flux = np.interp(rest, spectrum.positions["wavelength"], spectrum.extras["truth"])
        dimming = (1e-5 / cosmology.luminosity_distance(z).value) ** 2 / (1 + z)
        ratio = other.sequences["spectrum"].extras["truth"][inside] / flux[inside]
        assert np.median(ratio) == pytest.approx(dimming, rel=0.05)


def test_what_the_surface_does_not_reach_is_left_out(source: Path) -> None:
    place = {"kind": "redshift", "low": 1.0, "high": 1.2}
    with pytest.raises(DataError, match=r"'u'.*leave it out of bands"):
        read(source, 2, place=place)
    # r to y stay within 2,000 to 11,000 A, r only below a redshift of 1.7
    for sample in read(source, 3, place=place, bands=["i", "z", "y"]):
        redshift = float(str(sample.labels["redshift"]))
        wavelength = sample.sequences["spectrum"].positions["wavelength"]
        assert wavelength[0] > 2000 * (1 + redshift) * 0.99
        assert len(wavelength) < 982
    partly = {"kind": "redshift", "low": 0.9, "high": 2.0}
    bands = [set(s.sequences["photometry"].categories["band"].tolist())
             for s in read(source, 60, place=partly, bands=["g", "y"])]  # fmt: skip
    assert {1, 2} in bands
    assert {2} in bands


def test_noise_has_the_stated_errors(source: Path) -> None:
    found = read(source, 200, spectra={"num_points": 100})
    for modality, every in (("photometry", 5), ("spectrum", 1)):
        sequences = [s.sequences[modality] for s in found[::every]]
        pull = np.concatenate([(q.value - q.extras["truth"]) / q.error for q in sequences])
        assert abs(pull.mean()) < 5 / np.sqrt(len(pull))
        assert abs(pull.std() - 1) < 5 / np.sqrt(2 * len(pull))
        assert abs((pull**3).mean()) < 5 * np.sqrt(15 / len(pull))


def test_errors_are_lssts_and_photon_noise() -> None:
    """A source at the five-sigma depth has an error of a fifth, whatever the distance it is put."""
    depth = np.array([24.7])
    flux = np.array([[[10 ** (0.4 * (27.5 - 24.7)), 1e6]]])
    noise = Noise(depth_scatter=0, calibration=0)
    zeros = np.zeros((1, 2, 1, 2))
    seen = photometry(flux, depth, noise, 1.0, zeros)
    assert seen.error[0, 0, 0] == pytest.approx(flux[0, 0, 0] / 5)
    # far above the sky: variance is proportional to the flux, 0.001 F5 F
    assert seen.error[0, 0, 1] ** 2 / (1e6 * flux[0, 0, 0]) == pytest.approx(0.001, rel=0.01)
    near = photometry(flux * 1e12, depth, noise, 1e-12, zeros)
    np.testing.assert_allclose(near.error, seen.error * 1e12)
    deeper = photometry(flux, depth + 1, noise, 1.0, zeros)
    assert deeper.error[0, 0, 0] < 0.45 * seen.error[0, 0, 0]

    truth = np.array([[[1.0, 3.0, 0.0, 7.0]]])
    known = np.array([[True, True, False, False]])
    spectrum = noisy_spectra(truth, known, Noise(spectrum_snr=20), np.zeros(truth.shape))
    # the mean of the known points is 2
    np.testing.assert_allclose(spectrum.error[0, 0, :2], 2 / 20 * np.sqrt([0.55, 1.45]))


def same(one: Sequence, other: Sequence) -> None:
    np.testing.assert_array_equal(one.value, other.value)
    np.testing.assert_array_equal(one.positions[next(iter(one.positions))],
                                  other.positions[next(iter(other.positions))])  # fmt: skip


def test_an_event_is_a_function_of_seed_and_number(source: Path) -> None:
    few, more = read(source, 3), read(source, 70)
    assert [s.sample_id for s in few] == [s.sample_id for s in more[:15]]
    for one, other in zip(few, more, strict=False):
        assert one.labels == other.labels
        for modality, sequence in one.sequences.items():
            same(sequence, other.sequences[modality])
    elsewhere = read(source, 3, seed=1)
    assert elsewhere[0].labels["x1"] != few[0].labels["x1"]
    # passes taken apart or one within another do not touch each other
    survey = open_survey("surface", source, {"num_objects": 70})
    first, second = survey.records(), survey.records()
    list(islice(first, 200))
    for record, other in zip(second, more, strict=True):
        assert isinstance(record, Sample)
        same(record.sequences["spectrum"], other.sequences["spectrum"])


def test_the_truth_does_not_depend_on_the_noise(source: Path) -> None:
    loud = {"spectrum_snr": 5.0, "seen_at_mpc": 1000.0}
    for one, other in zip(read(source, 3), read(source, 3, noise=loud), strict=True):
        for modality, sequence in one.sequences.items():
            noisier = other.sequences[modality]
            np.testing.assert_array_equal(sequence.extras["truth"], noisier.extras["truth"])
            assert (np.asarray(noisier.error) > np.asarray(sequence.error)).all()


def test_memory_does_not_grow_with_the_number(source: Path) -> None:
    def peak_bytes(num_objects: int) -> int:
        options = {"num_objects": num_objects, "spectra": {"num_points": 50}}
        records = open_survey("surface", source, options).records()
        tracemalloc.start()
        for _ in records:
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    peak_bytes(1)
    assert peak_bytes(640) < 1.1 * peak_bytes(64)


def test_units_of_spectra(source: Path) -> None:
    """F_nu = F_lambda lambda^2 / c."""
    nu = read(source, 1)[0].sequences["spectrum"]
    per_angstrom = read(source, 1, spectra={"flux": "lambda"})[0].sequences["spectrum"]
    wavelength = nu.positions["wavelength"]
    expected = per_angstrom.extras["truth"] * 1e-16 * wavelength**2 / LIGHT * 1e29
    np.testing.assert_allclose(nu.extras["truth"], expected, rtol=1e-12)
