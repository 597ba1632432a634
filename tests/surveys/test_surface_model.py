"""The spectral surface and filters: integrals against independent code, sncosmo."""

import tarfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from daep_ray.surveys.surface_model import Surface, cubic_taps, read_filter, read_surface
from daep_ray.surveys.surface_observing import (
    Events,
    Spectrograph,
    band_fluxes,
    is_covered,
)

ARCHIVE = "salt3_model_lsst_filters.tar.xz"
LIGHT = 2.99792458e18  # Angstrom/s
BANDS = "ugrizy"
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def real_files(shared_data: Path) -> Files:
    """The files of the real model and filters by their last names."""
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


def events(num: int = 3, redshift: float = 0.0, velocity: float = 0.0, x0: float = 1e-3) -> Events:
    generator = np.random.default_rng(5)
    x1, c = generator.normal(size=num), 0.1 * generator.normal(size=num)
    stretch = np.full(num, 1 - velocity / 299_792.458)
    return Events(np.full(num, x0), x1, c, stretch, np.full(num, redshift), np.zeros(num))


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


def test_faster_ejecta_have_bluer_lines(real_files: Files) -> None:
    surface = read_surface(real_files, "salt3")
    spectrograph = Spectrograph.of(surface, (0.0,), np.arange(5950.0, 6300.0, 0.5))
    minima = []
    for velocity in (0.0, 1500.0):
        flux, _ = spectrograph.spectra(events(1, velocity=velocity))
        minima.append(spectrograph.wavelengths[np.argmin(flux[0, 0])])
    shift = (minima[0] - minima[1]) / minima[0] * 299_792.458
    assert shift == pytest.approx(1500.0, abs=100)


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
