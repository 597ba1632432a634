"""Supernovae from a spectral surface: integrals against independent code, noise, truth, files."""

import tracemalloc
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_1samp

from daep_ray.errors import ConfigError, DataError, UserError
from daep_ray.sample import Ignored, Quarantined, Sample, Sequence
from daep_ray.surveys import open_survey
from daep_ray.surveys.surface_model import Surface, cubic_taps, read_filter, read_surface
from daep_ray.surveys.surface_observing import (
    Events,
    Spectrograph,
    band_fluxes,
    is_covered,
    noisy_spectra,
    photometry,
    times,
)
from daep_ray.surveys.surface_settings import Cadence, Noise

ARCHIVE = "salt3_model_lsst_filters.tar.xz"
LIGHT = 2.99792458e18  # Angstrom/s
BANDS = "ugrizy"
Files = dict[str, bytes]
Write = Callable[[dict[str, str | bytes]], Path]


@pytest.fixture(scope="module")
def real_files(shared_data: Path) -> Files:
    """The files of the real model and filters by their last names."""
    import tarfile

    with tarfile.open(shared_data / ARCHIVE) as archive:
        members = [m for m in archive if m.name.endswith(".dat")]
        return {Path(m.name).name: archive.extractfile(m).read() for m in members}  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def made_files(surface_files: dict[str, str | bytes]) -> Files:
    return {Path(name).name: str(text).encode() for name, text in surface_files.items()}


@pytest.fixture(scope="module", params=["real", "made"])
def files(request: pytest.FixtureRequest) -> Files:
    found: Files = request.getfixturevalue(f"{request.param}_files")
    return found


@pytest.fixture
def source(write: Write, surface_files: dict[str, str | bytes]) -> Path:
    return write(surface_files)


def events(num: int = 3, redshift: float = 0.0, velocity: float = 0.0, x0: float = 1e-3) -> Events:
    generator = np.random.default_rng(5)
    x1, c = generator.normal(size=num), 0.1 * generator.normal(size=num)
    stretch = np.full(num, 1 - velocity / 299_792.458)
    return Events(np.full(num, x0), x1, c, stretch, np.full(num, redshift), np.zeros(num))


def read(source: Path, num_objects: int, **options: object) -> list[Sample]:
    survey = open_survey("surface", source, {"num_objects": num_objects, **options})
    return [r for r in survey.records() if isinstance(r, Sample)]


# ---------------------------------------------------------------- integrals


@lru_cache(maxsize=16)
def numbers(content: bytes) -> np.ndarray:
    rows = [line.split() for line in content.decode().splitlines() if line[0] != "#"]
    return np.array(rows, float)


def table(files: Files, name: str) -> np.ndarray:
    return numbers(files[name])


def colour_law(files: Files, wavelength: float) -> float:
    """Written out after SALT2's documentation: a sum of powers, tangents outside the range."""
    words = files["salt3_color_correction.dat"].decode().split()
    a = [float(w) for w in words[1 : 1 + int(words[0])]]

    def reduced(w: float) -> float:
        return (w - 4302.57) / (5428.55 - 4302.57)

    def law(x: float) -> float:
        return (1 - sum(a)) * x + sum(ak * x ** (k + 2) for k, ak in enumerate(a))

    edge = min(max(wavelength, 2800.0), 8000.0)
    x, step = reduced(edge), 1e-6
    slope = (law(x + step) - law(x - step)) / (2 * step)
    return -(law(x) + slope * (reduced(wavelength) - x))


def direct_flux(files: Files, band: str, phase: float, seen: Events, k: int) -> float:
    """FLUXCAL of one event by trapezoids of 1/8 Angstrom over surface times filter."""
    curve = table(files, f"total_{band}.dat")
    fine = np.arange(curve[0, 0] * 10, curve[-1, 0] * 10, 0.125)
    fine = fine[np.interp(fine, curve[:, 0] * 10, curve[:, 1]) > 0]
    throughput = np.interp(fine, curve[:, 0] * 10, curve[:, 1])
    rest = fine / (1 + seen.redshift[k])
    parts = []
    for number in (0, 1):
        template = table(files, f"salt3_template_{number}.dat")
        row = template[template[:, 0] == phase]
        parts.append(np.interp(rest / seen.stretch[k], row[:, 1], row[:, 2]))
    coarse = np.arange(rest[0], rest[-1] + 20, 10.0)
    law = np.interp(rest, coarse, [colour_law(files, w) for w in coarse])
    flux = 1e-12 * seen.x0[k] * (parts[0] + seen.x1[k] * parts[1]) * 10 ** (-0.4 * seen.c[k] * law)
    flux = flux / (1 + seen.redshift[k])
    pieces = (flux * fine * throughput, 3631e-23 * LIGHT / fine**2 * fine * throughput)
    above, below = (float(((p[1:] + p[:-1]) / 2 * np.diff(fine)).sum()) for p in pieces)
    return 10 ** (0.4 * 27.5) * above / below


@pytest.mark.parametrize(
    ("redshift", "velocity"), [(0.0, 0.0), (0.0, 1500.0), (0.1, -800.0), (0.4, 0.0)]
)
def test_band_fluxes_are_the_direct_integral(
    files: Files, redshift: float, velocity: float
) -> None:
    """To 0.1 % at phases of the grid."""
    seen = events(1, redshift, velocity)
    surface = read_surface(files, "salt3")
    names = {b: f"total_{b}.dat" for b in BANDS}
    filters = tuple(read_filter(n, b, files[n], 10.0) for b, n in names.items())
    phases = np.array([-10.0, 0.0, 30.0])
    days = np.tile(phases * (1 + redshift), (1, len(BANDS), 1))
    found = band_fluxes(surface, filters, seen, days)[0]
    assert is_covered(surface, filters, seen).all()
    expected = [[direct_flux(files, band, p, seen, 0) for p in phases] for band in BANDS]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("redshift", [0.0, 0.15])
def test_light_curves_and_spectra_are_sncosmos(
    real_files: Files, tmp_path: Path, redshift: float
) -> None:
    """To 1 % of the flux, 0.1 % of the maximum, at phases off the grid."""
    sncosmo = pytest.importorskip("sncosmo", reason="sncosmo is not installed (extra sn)")
    for name, content in real_files.items():
        (tmp_path / name).write_bytes(content)
    source = sncosmo.SALT3Source(modeldir=str(tmp_path))
    surface, seen = read_surface(real_files, "salt3"), events(3, redshift)
    generator = np.random.default_rng(1)
    days = np.sort(generator.uniform(-14, 46, (3, len(BANDS), 50)), axis=2)
    filters = tuple(
        read_filter(f"total_{b}.dat", b, real_files[f"total_{b}.dat"], 10.0) for b in BANDS
    )
    fluxes = band_fluxes(surface, filters, seen, days)
    grid = np.geomspace(3000.0, 8000.0, 400)
    phases = (-10.0, 3.3, 30.0)
    spectra, is_known = Spectrograph.of(surface, phases, grid).spectra(seen)
    assert is_known.all()
    for k in range(3):
        model = sncosmo.Model(source)
        model.set(z=redshift, t0=0, x0=seen.x0[k], x1=seen.x1[k], c=seen.c[k])
        expected = model.flux(np.array(phases) * (1 + redshift), grid)
        np.testing.assert_allclose(spectra[k], expected, rtol=1e-2, atol=1e-3 * expected.max())
        for j, band in enumerate(BANDS):
            curve = table(real_files, f"total_{band}.dat")
            curve = curve[curve[:, 1] > 0]
            theirs = sncosmo.Bandpass(10 * curve[:, 0], curve[:, 1], trim_level=1e-4)
            flux = model.bandflux(theirs, days[k, j], zp=27.5, zpsys="ab")
            found = fluxes[k, j]
            np.testing.assert_allclose(found, flux, rtol=1e-2, atol=1e-3 * flux.max())
            is_bright = flux > 0.05 * flux.max()
            np.testing.assert_allclose(found[is_bright], flux[is_bright], rtol=1e-2)


def test_the_colour_law_is_a_polynomial_with_straight_ends(files: Files) -> None:
    law = read_surface(files, "salt3").colour_law
    wavelengths = np.array([2000.0, 2799.0, 2801.0, 4302.57, 5428.55, 7999.0, 8001.0, 11000.0])
    expected = [colour_law(files, w) for w in wavelengths]
    np.testing.assert_allclose(law(wavelengths), expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(law(wavelengths[3:5]), [0, -1], atol=1e-9)


def test_interpolation_meets_the_grid_and_quadratics() -> None:
    grid = np.arange(10.0)
    index, weight = cubic_taps(grid, grid)
    np.testing.assert_allclose((weight * (grid**3)[index]).sum(-1), grid**3, atol=1e-12)
    inner = np.linspace(1, 8, 50)
    index, weight = cubic_taps(inner, grid)
    np.testing.assert_allclose((weight * (grid**2)[index]).sum(-1), inner**2, atol=1e-12)


def test_both_forms_of_lsst_filters_give_nearly_the_same(shared_data: Path) -> None:
    quiet = {"spectra": {"phases": [0.0], "num_points": 4}}
    svo = {"filter_files": "LSST_LSST.{band}.dat", "filter_unit": "Angstrom"}
    one, other = (
        read(shared_data / ARCHIVE, 3, **quiet, **how)[0].sequences["photometry"]
        for how in ({}, svo)
    )
    np.testing.assert_allclose(other.extras["truth"], one.extras["truth"], rtol=0.02)


# ---------------------------------------------------------------- what events look like


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


def test_faster_ejecta_have_bluer_lines(real_files: Files) -> None:
    surface = read_surface(real_files, "salt3")
    spectrograph = Spectrograph.of(surface, (0.0,), np.arange(5950.0, 6300.0, 0.5))
    minima = []
    for velocity in (0.0, 1500.0):
        flux, _ = spectrograph.spectra(events(1, velocity=velocity))
        minima.append(spectrograph.wavelengths[np.argmin(flux[0, 0])])
    shift = (minima[0] - minima[1]) / minima[0] * 299_792.458
    assert shift == pytest.approx(1500.0, abs=100)


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


# ---------------------------------------------------------------- noise, keys, memory


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


# ---------------------------------------------------------------- files and settings


def test_other_files_are_listed(write: Write, surface_files: dict[str, str | bytes]) -> None:
    others: dict[str, str | bytes] = {"LICENSE": "", "v.dat": "1", "x.dat.gz": b"no"}
    records = list(
        open_survey("surface", write(surface_files | others), {"num_objects": 1}).records()
    )
    assert {r.file for r in records if isinstance(r, Ignored)} == {"LICENSE", "v.dat"}
    assert [r.file for r in records if isinstance(r, Quarantined)] == ["x.dat.gz"]


def edited(content: str | bytes, old: str, new: str) -> str:
    assert isinstance(content, str)
    assert old in content
    return content.replace(old, new, 1)


TEMPLATE, LAW, FILTER = (
    "model/salt3_template_1.dat", "model/salt3_color_correction.dat", "filters/total_r.dat"
)  # fmt: skip
BROKEN: list[tuple[str, Callable[[str], str | None], str]] = [
    (TEMPLATE, lambda t: None, r"no file 'salt3_template_1.dat'.*needed are"),
    (LAW, lambda t: None, r"no file 'salt3_color_correction.dat'"),
    (FILTER, lambda t: None, r"no file 'total_r.dat'"),
    (TEMPLATE, lambda t: edited(t, "-20.0 2100.00", "-20.0 21xx.00"), r"no table of numbers.*21xx"),
    (TEMPLATE, lambda t: edited(t, "-20.0 2100.00", "-20.0 2120.00"), r"evenly spaced wavelengths"),
    (TEMPLATE, lambda t: t[t.index("\n") + 1 :], r"no whole grid: 2714 rows"),
    (TEMPLATE, lambda t: edited(t, "-20.0 2000.00 ", "-20.0 2000.00 nan #"), r"not finite"),
    (TEMPLATE, lambda t: t[: t.index("50.0 2000.00")], r"different grids"),
    (TEMPLATE, lambda t: "# phase\n", r"is empty: it needs rows of 3 numbers"),
    (TEMPLATE, lambda t: edited(t, "-20.0 2000.00 ", "-20.0 2000.00 7 "), r"no table of numbers"),
    (LAW, lambda t: "", r"is no colour law"),
    (LAW, lambda t: edited(t, "-0.5", "half"), r"is no colour law"),
    (LAW, lambda t: edited(t, "2\n", "9\n"), r"is no colour law"),
    (LAW, lambda t: edited(t, "version 1", "version 0"), r"version 1.*needed"),
    (LAW, lambda t: edited(t, "8000", "nan"), r"finite"),
    (FILTER, lambda t: "540 0.1\n540 0.2\n", r"must be positive and rise"),
    (FILTER, lambda t: "540 0\n600 0\n", r"lets nothing through"),
    (FILTER, lambda t: "540 -1\n600 2\n", r"lets nothing through"),
    (FILTER, lambda t: "540 0.1 7\n600 0.2 7\n", r"needs rows of 2 numbers"),
    (FILTER, lambda t: "1540 0.1\n1600 0.2\n", r"'r' \(153.. to 160.. A\) is not within"),
    (FILTER, lambda t: "54 0.1\n60 0.2\n", r"'r' .*set filter_unit"),
    (FILTER, lambda t: "1050 1\n1150 1\n", r"'r' .*not within the surface"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "message"), BROKEN, ids=range(len(BROKEN)))
def test_a_bad_file_is_one_sentence(
    write: Write,
    surface_files: dict[str, str | bytes],
    name: str,
    change: Callable[[str], str | None],
    message: str,
) -> None:
    changed = change(str(surface_files[name]))
    files = {n: c for n, c in surface_files.items() if n != name}
    if changed is not None:
        files[name] = changed
    with pytest.raises(DataError, match=message) as error:
        open_survey("surface", write(files), {})
    assert "\n" not in str(error.value)


def test_two_models_in_one_source_are_refused(
    write: Write, surface_files: dict[str, str | bytes]
) -> None:
    with pytest.raises(DataError, match=r"'total_r.dat' is twice"):
        open_survey("surface", write(surface_files | {"b/total_r.dat": "1 1"}), {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_objects": 0}, "num_objects"),
        ({"model": "salt2"}, r"no file 'salt2_template_0.dat'"),
        ({"bands": ["q"]}, r"five_sigma_depth has no entry for the band 'q'"),
        ({"bands": ["g", "g"]}, "differ"),
        ({"filter_files": "r.dat"}, r"needs '\{band\}'"),
        ({"place": {"kind": "redshift", "low": 0.5, "high": 0.1}}, "low must be below high"),
        ({"spectra": {"phases": [60]}}, r"phase 60 d .*-20 to 50 d"),
        ({"spectra": {"low": 9000}}, r"spectra.low must be below"),
        ({"cadence": {"first_day": 0, "last_day": 5}}, "as many nights"),
        ({"cadence": {"last_day": 90}}, r"phase 90 d"),
    ],
)
def test_wrong_options_are_one_sentence(
    source: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        open_survey("surface", source, options)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, ConfigError | DataError)


def test_units_of_spectra(source: Path) -> None:
    """F_nu = F_lambda lambda^2 / c."""
    nu = read(source, 1)[0].sequences["spectrum"]
    per_angstrom = read(source, 1, spectra={"flux": "lambda"})[0].sequences["spectrum"]
    wavelength = nu.positions["wavelength"]
    expected = per_angstrom.extras["truth"] * 1e-16 * wavelength**2 / LIGHT * 1e29
    np.testing.assert_allclose(nu.extras["truth"], expected, rtol=1e-12)


def test_a_surface_is_linear_in_its_parameters(made_files: Files) -> None:
    surface: Surface = read_surface(made_files, "salt3")
    name = "total_r.dat"
    filters = (read_filter(name, "r", made_files[name], 10.0),)
    days = np.zeros((1, 1, 1))

    def flux(x0: float, x1: float) -> float:
        one = np.ones(1)
        seen = Events(x0 * one, x1 * one, 0 * one, one, 0 * one, 0 * one)
        return float(band_fluxes(surface, filters, seen, days + 7.3)[0, 0, 0])

    assert flux(2.0, 0.5) == pytest.approx(2 * flux(1.0, 0.5))
    assert flux(1.0, 2.0) - flux(1.0, 1.0) == pytest.approx(flux(1.0, 1.0) - flux(1.0, 0.0))
