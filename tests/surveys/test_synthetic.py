"""The synthetic survey: physics against independent references, noise, truth, streaming, speed."""

import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import astropy.units as u
import numpy as np
import pytest
from astropy.modeling.physical_models import BlackBody
from scipy.integrate import quad
from scipy.stats import kstest

from daep_ray.errors import ConfigError
from daep_ray.sample import Sample
from daep_ray.surveys import open_survey
from daep_ray.surveys import synthetic_physics as physics
from daep_ray.surveys.synthetic import _noisier
from daep_ray.surveys.synthetic_observing import Observed
from daep_ray.surveys.synthetic_physics import Parameters, band_fluxes, evolve, spectra

IA = 0
ONE = np.zeros(1, np.int64)
DISTANCE = np.array([1e26])


def read(num_objects: int, **options: object) -> list[Sample]:
    survey = open_survey("synthetic", None, {"num_objects": num_objects, **options})
    found = list(survey.records())
    assert all(isinstance(s, Sample) for s in found)
    return [s for s in found if isinstance(s, Sample)]


@pytest.fixture(scope="module")
def many() -> list[Sample]:
    return read(1024)


def parameters(subtype: int = IA, **changes: float) -> Parameters:
    """One object: a bare continuum without dust and lines unless asked for."""
    values = {
        "nickel_mass": 0.6,
        "diffusion_days": 11.0,
        "trapping_days": 1e6,
        "velocity": 10_000.0,
        "final_temperature": 4_500.0,
        "plateau_luminosity": 0.0,
        "plateau_days": 100.0,
        "plateau_decline_days": 400.0,
        "extinction": 0.0,
        "line_strength": 0.0,
    } | changes
    return Parameters(
        subtype=np.array([subtype]), **{name: np.array([v]) for name, v in values.items()}
    )


def bolometric(photospheres: physics.Photospheres, days: float) -> float:
    radius, temperature = photospheres.at(ONE, np.array([days]))
    return float((4 * np.pi * radius**2 * physics._STEFAN_BOLTZMANN * temperature**4)[0])


@pytest.mark.parametrize("days", [8.0, 16.0, 30.0, 80.0])
def test_luminosity_is_arnetts_integral(days: float) -> None:
    """L(t) = int_0^t P(t') 2t'/tau^2 exp((t'^2 - t^2)/tau^2) dt', by quadrature."""

    def integrand(when: float) -> float:
        nickel, cobalt = np.exp(-when / 8.77), np.exp(-when / 111.4)
        heat = 0.6 * (6.45e43 * nickel + 1.45e43 * (cobalt - nickel))
        return float(heat * 2 * when / 121.0 * np.exp((when**2 - days**2) / 121.0))

    expected, _ = quad(integrand, 0, days, epsrel=1e-8, points=[days - 1])
    assert bolometric(evolve(parameters()), days) == pytest.approx(expected, rel=5e-3)


def test_continuum_is_a_black_body() -> None:
    photospheres = evolve(parameters())
    days, redshift = np.array([20.0]), np.array([0.05])
    wavelength = np.linspace(6000.0, 9000.0, 7)  # redwards of the iron blanket
    radius, temperature = photospheres.at(ONE, days)
    shape = BlackBody(temperature[0] * u.K, scale=1 * u.erg / (u.s * u.cm**2 * u.AA * u.sr))
    expected = np.pi * shape(wavelength * u.AA).value * (radius[0] / 1e26) ** 2 / 1.05
    found = spectra(photospheres, ONE, days, wavelength[None], DISTANCE, redshift)[0]
    np.testing.assert_allclose(found * physics.SPECTRUM_UNIT, expected, rtol=1e-4)


@pytest.mark.parametrize("band", range(4))
def test_band_flux_is_the_photon_weighted_mean(band: int) -> None:
    """Against AB magnitudes from a fine grid: sum f_lambda lambda / sum c/lambda."""
    photospheres = evolve(parameters(line_strength=1.0))
    days, redshift = np.array([25.0]), np.array([0.03])
    low, high = physics._BAND_EDGES[band]
    wavelength = low + (high - low) * (np.arange(4000) + 0.5) / 4000
    flux = spectra(photospheres, ONE, days, wavelength[None] / 1.03, DISTANCE, redshift)[0] * 1e-16
    mean = (flux * wavelength).sum() / (2.99792458e18 / wavelength).sum()
    magnitude = -2.5 * np.log10(mean) - 48.6
    expected = 10 ** (0.4 * (27.5 - magnitude))
    found = band_fluxes(photospheres, ONE, days, np.array([band]), DISTANCE, redshift)
    assert found[0] == pytest.approx(expected, rel=0.01)


def test_nothing_shines_before_the_explosion() -> None:
    photospheres = evolve(parameters(line_strength=1.0))
    flux = band_fluxes(photospheres, ONE, np.array([-0.1]), ONE, DISTANCE, np.array([0.03]))
    assert flux[0] == 0


def test_lines_are_blueshifted_by_the_photosphere_and_slow_down() -> None:
    photospheres = evolve(parameters(line_strength=1.0))
    bare = evolve(parameters())
    rest = np.linspace(5950.0, 6350.0, 401)[None]  # Si II 6355
    minima = []
    for day in (12.0, 20.0, 35.0):
        days = np.array([day])
        lines, continuum = (
            spectra(p, ONE, days, rest, DISTANCE, np.array([0.0])) for p in (photospheres, bare)
        )
        minima.append(float(rest[0, np.argmin(lines / continuum)]))
        blueshift = (1 - minima[-1] / 6355.0) * 299_792.458
        assert blueshift == pytest.approx(float(bare.velocity(ONE, days)[0]), rel=0.1)
    assert minima[0] + 5 < minima[1] < minima[2] - 5


def test_classes_differ_in_their_lines() -> None:
    rest = np.array([[6563.0, 7065.0]])  # H alpha and He I, at rest: emission
    day = np.array([40.0])
    flux = {}
    for k, subtype in enumerate(physics.SUBTYPES):
        with_lines, without = (
            spectra(
                evolve(parameters(k, line_strength=s)), ONE, day, rest, DISTANCE, ONE.astype(float)
            )
            for s in (1.0, 0.0)
        )
        flux[subtype] = (with_lines / without)[0]
    assert min(flux["IIP"][0], flux["IIL"][0]) > 1.5 > max(flux[s][0] for s in ("Ia", "Ib", "Ic"))
    assert flux["Ib"][1] > 1.1 > flux["Ic"][1]


def test_an_object_does_not_depend_on_how_many_are_asked_for() -> None:
    few, more = read(5), read(300)
    assert [s.sample_id for s in few] == [s.sample_id for s in more[:5]]
    for one, other in zip(few, more, strict=False):
        assert one.labels == other.labels
        for modality, sequence in one.sequences.items():
            np.testing.assert_array_equal(sequence.value, other.sequences[modality].value)


def test_a_modality_does_not_depend_on_the_others() -> None:
    both, alone = read(200), read(200, modalities=["photometry"])
    assert all(list(s.sequences) == ["photometry"] for s in alone)
    for one, other in zip(both, alone, strict=True):
        if "photometry" in one.sequences:
            np.testing.assert_array_equal(
                one.sequences["photometry"].value, other.sequences["photometry"].value
            )
    assert all(list(s.sequences) == ["spectrum"] for s in read(200, modalities=["spectrum"]))


def test_seeds_give_other_objects() -> None:
    one, other = read(2, seed=1)[0], read(2, seed=2)[0]
    assert one.object_id != other.object_id
    assert one.labels["peak_mjd"] != other.labels["peak_mjd"]


def test_noise_has_the_stated_errors(many: list[Sample]) -> None:
    for modality in ("photometry", "spectrum"):
        found = [s.sequences[modality] for s in many if modality in s.sequences]
        pull = np.concatenate([(q.value - q.extras["truth"]) / q.error for q in found])
        # 5 standard errors of the mean and of the deviation
        assert abs(pull.mean()) < 5 / np.sqrt(len(pull))
        assert abs(pull.std() - 1) < 5 / np.sqrt(2 * len(pull))
        errors = np.concatenate([q.error for q in found])
        assert np.percentile(errors, 95) > 2 * np.percentile(errors, 5)  # heteroscedastic


def test_objects_may_differ_in_quality() -> None:
    """Errors and noise of an object times one number, log-uniform; all else stays."""
    plain, spread = read(512), read(512, quality_spread=30.0)
    factors = []
    for one, other in zip(plain, spread, strict=True):
        assert one.sample_id == other.sample_id
        assert one.labels == other.labels
        assert one.sequences.keys() == other.sequences.keys()
        own = []
        for modality, a in one.sequences.items():
            b = other.sequences[modality]
            assert a.error is not None
            assert b.error is not None
            np.testing.assert_array_equal(a.extras["truth"], b.extras["truth"])
            np.testing.assert_array_equal(list(a.positions.values()), list(b.positions.values()))
            own += (b.error / a.error).tolist()
            noise, before = b.value - b.extras["truth"], a.value - a.extras["truth"]
            np.testing.assert_allclose(noise, own[-1] * before, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(own, own[0], rtol=1e-12)
        factors.append(own[0])
    # 1.63 / sqrt(n) is the Kolmogorov-Smirnov distance that chance exceeds in 1 % of cases
    assert kstest(np.log(factors) / np.log(30), "uniform").statistic < 1.63 / np.sqrt(512)


def test_equal_quality_is_the_survey_as_ever() -> None:
    """The same bits, and the same source, so the same manifest hash."""
    for one, other in zip(read(130), read(130, quality_spread=1.0), strict=True):
        for modality, sequence in one.sequences.items():
            assert sequence.value.tobytes() == other.sequences[modality].value.tobytes()
            assert sequence.error is not None
            again = other.sequences[modality].error
            assert again is not None
            assert sequence.error.tobytes() == again.tobytes()
    named = {"num_objects", "seed", "modalities"}
    assert open_survey("synthetic", None, {"quality_spread": 1}).source["options"].keys() == named
    other = open_survey("synthetic", None, {"quality_spread": 3}).source["options"]
    assert other["quality_spread"] == 3


@pytest.mark.parametrize("times", [1.0, 7.0])
def test_noise_is_scaled_and_by_one_not_touched(times: float) -> None:
    """Against the sum that the survey makes, truth + error x noise."""
    rng = np.random.default_rng(0)
    truth, error, noise = rng.normal(size=(3, 5, 40)) * 100
    error = abs(error)
    nothing = np.zeros_like(truth)
    seen = Observed(nothing, truth, truth + error * noise, error, nothing > -1, nothing)
    found = _noisier(seen, np.full(5, times))
    np.testing.assert_allclose(found.value, truth + times * error * noise, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(found.error, times * error)
    if times == 1:
        assert found.value.tobytes() == seen.value.tobytes()


def test_what_is_observed(many: list[Sample]) -> None:
    present = Counter(tuple(s.sequences) for s in many)
    assert set(present) == {("photometry",), ("spectrum",), ("photometry", "spectrum")}
    curves = [s.sequences["photometry"] for s in many if "photometry" in s.sequences]
    lengths = np.array([len(c) for c in curves])
    assert 8 <= lengths.min() < lengths.max() <= 64  # four nights around maximum at least
    assert len(np.unique(lengths)) > 15
    best = [np.max(c.value / c.error) for c in curves if c.error is not None]
    assert np.percentile(best, 1) > 10  # nearly every object is well seen
    grids = [len(s.sequences["spectrum"]) for s in many if "spectrum" in s.sequences]
    assert 80 <= min(grids) < max(grids) <= 200
    # the sun's season hides part of some light curves, never the time of maximum
    from_peak = [c.positions["time"] - c.metadata["peak"] for c in curves]
    assert 0.05 < np.mean([d[-1] < 60 for d in from_peak]) < 0.5
    assert min(np.sum(np.abs(d) < 22) for d in from_peak) >= 8
    gaps = np.array([np.diff(d).max() for d in from_peak])
    assert np.mean(gaps > 10) > 0.2  # weather


def test_labels_are_the_truth(many: list[Sample]) -> None:
    classes = Counter(s.labels["class"] for s in many)
    assert set(classes) == {"Ia", "Ibc", "II"}
    assert min(classes.values()) > 0.15 * len(many)
    for name, low, high in (
        ("redshift", 0.005, 0.1), ("temperature_kelvin", 4_000, 13_000), ("rise_days", 8, 30),
        ("velocity_km_s", 3_000, 15_000), ("decline_days", 5, 120),
    ):  # fmt: skip
        values = np.array([s.labels[name] for s in many], float)
        assert low < values.min() < values.max() < high, name
    ia = [s for s in many if s.labels["class"] == "Ia" and "photometry" in s.sequences]
    offset = [
        float(str(s.sequences["photometry"].metadata["peak"])) - float(str(s.labels["peak_mjd"]))
        for s in ia
    ]
    assert 0.8 < np.std(offset) < 1.2  # known to a day


def test_memory_does_not_grow_with_the_number() -> None:
    def peak_bytes(num_objects: int) -> int:
        records = open_survey("synthetic", None, {"num_objects": num_objects}).records()
        tracemalloc.start()
        for _ in records:
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    peak_bytes(1)
    assert peak_bytes(1280) < 1.1 * peak_bytes(256)


def test_a_thousand_objects_per_second_on_one_core() -> None:
    """Of a core that does 900,000 small sums a second; a slower one makes as many fewer."""
    numbers = np.linspace(0.1, 1.0, 100)

    def rate(work: Iterator[object]) -> float:
        """Of the processor's time: what else runs on the machine does not count."""
        start = time.process_time()
        num = sum(1 for _ in work)
        return num / (time.process_time() - start)

    records = open_survey("synthetic", None, {"num_objects": 1280}).records()
    list(islice(records, 128))  # warm-up
    core = rate(np.sqrt(numbers).sum() for _ in range(100_000)) / 900_000
    assert rate(records) > 1000 * core


@pytest.mark.parametrize(
    "options",
    [
        {"num_objects": 0},
        {"seed": -1},
        {"modalities": []},
        {"modalities": ["radio"]},
        {"quality_spread": 0.5},
    ],
)
def test_wrong_options_are_one_sentence(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as error:
        open_survey("synthetic", None, options)
    assert "\n" not in str(error.value)
