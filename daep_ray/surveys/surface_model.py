"""A SALT-like spectral surface and filters: text files -> flux anywhere, photons through a band.

In: the files of a SALT2 or SALT3 model (templates M0 and M1 on phase x wavelength, the colour
law's coefficients) and filter curves. Out: a `Surface` and a `Filter` per band.

    F(p, lambda) = x0 [M0(p, lambda) + x1 M1(p, lambda)] 10^(-0.4 c CL(lambda))

(Guy et al. 2007, A&A 466, 11; Kenworthy et al. 2021, ApJ 923, 265). Phases in days from maximum in
B, wavelengths in Angstrom, both rest frame; F in erg/s/cm2/Angstrom with the files' unit 1e-12.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from daep_ray.errors import DataError

_TEMPLATE_UNIT = 1e-12  # erg/s/cm2/Angstrom, by convention of SALT2 and SALT3
_B_ANGSTROM, _V_ANGSTROM = 4302.57, 5428.55  # CL is 0 and -1 here
_LIGHT_ANGSTROM_S = 2.99792458e18
_AB_FLUX = 3631e-23  # erg/s/cm2/Hz of magnitude 0
_FLUXCAL_ZERO_POINT = 27.5
_LAW_KEYS = ("version", "min_lambda", "max_lambda")
_FILTER_STEP = 1.0  # Angstrom; the grid on which a filter is integrated
_MAX_UNCOVERED = 1e-3  # of a filter's throughput that may lie where there is no surface


# ---------------------------------------------------------------- surface


@dataclass(frozen=True)
class ColourLaw:
    """CL(lambda): a polynomial of the reduced wavelength, a straight line outside its range."""

    coefficients: np.ndarray
    low: float  # Angstrom
    high: float

    def __call__(self, wavelength: np.ndarray) -> np.ndarray:
        """Magnitudes that c = 1 takes away, any shape."""
        # P(l) = alpha l + sum_i a_i l^(i+2), alpha such that P(1) = 1; CL = -P
        law = np.polynomial.Polynomial([0.0, 1 - self.coefficients.sum(), *self.coefficients])
        reduced, low, high = (
            (np.asarray(w) - _B_ANGSTROM) / (_V_ANGSTROM - _B_ANGSTROM)
            for w in (wavelength, self.low, self.high)
        )
        inside = np.clip(reduced, low, high)
        return -(law(inside) + law.deriv()(inside) * (reduced - inside))


@dataclass(frozen=True)
class Surface:
    """M0 and M1 on an even grid: `components` is (2, P, W), erg/s/cm2/Angstrom for x0 = 1."""

    phases: np.ndarray  # (P,)
    wavelengths: np.ndarray  # (W,)
    components: np.ndarray
    colour_law: ColourLaw

    def at(self, phases: np.ndarray) -> np.ndarray:
        """(2, X, W) components at (X,) phases within the grid."""
        index, weight = cubic_taps(phases, self.phases)
        return np.einsum("xt,cxtw->cxw", weight, self.components[:, index])

    def refined(self, phases: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
        """Components at some phases on a `factor` times finer grid: (V,) and (V, X, 2)."""
        first, last = self.wavelengths[[0, -1]]
        fine = np.linspace(first, last, factor * (len(self.wavelengths) - 1) + 1)
        index, weight = cubic_taps(fine, self.wavelengths)
        return fine, np.einsum("vt,cxvt->vxc", weight, self.at(phases)[..., index])


def cubic_taps(where: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Four neighbours on an even grid and their weights, both (..., 4), for places within it.

    Cubic convolution (Keys 1981, IEEE ASSP 29, 1153, a = -1/2), as SALT2's own code uses; the
    grid's ends are repeated.
    """
    place = (where - grid[0]) / (grid[1] - grid[0])
    cell = np.clip(place.astype(np.int64), 0, len(grid) - 2)
    t = place - cell
    weights = (
        t * (-1 + t * (2 - t)) / 2,
        1 + t * t * (-5 + 3 * t) / 2,
        t * (1 + t * (4 - 3 * t)) / 2,
        t * t * (t - 1) / 2,
    )
    index = np.clip(cell[..., None] + np.arange(-1, 3), 0, len(grid) - 1)
    return index, np.stack(weights, axis=-1)


def read_surface(files: dict[str, bytes], prefix: str) -> Surface:
    """The surface of `<prefix>_template_0.dat`, `_template_1.dat` and `_color_correction.dat`.

    Raises:
        DataError: a file is no table of numbers, or the two grids are uneven or differ.
    """
    names = [f"{prefix}_template_{k}.dat" for k in (0, 1)]
    (phases, wavelengths, m0), (*grid, m1) = (_template(name, files[name]) for name in names)
    if not (np.array_equal(grid[0], phases) and np.array_equal(grid[1], wavelengths)):
        raise DataError(
            f"{names[0]!r} and {names[1]!r} have different grids of phase and wavelength: "
            "they must come from one model"
        )
    law = f"{prefix}_color_correction.dat"
    components = _TEMPLATE_UNIT * np.stack([m0, m1])
    return Surface(phases, wavelengths, components, _colour_law(law, files[law]))


def _template(name: str, content: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Phases (P,), wavelengths (W,) and values (P, W) of rows `phase wavelength value`."""
    table = _table(name, content, num_columns=3)
    phases, wavelengths = np.unique(table[:, 0]), np.unique(table[:, 1])
    for axis, grid in (("phases", phases), ("wavelengths", wavelengths)):
        if len(grid) < 4 or not np.allclose(np.diff(grid), grid[1] - grid[0], rtol=1e-6):
            raise DataError(f"{name!r} needs at least four evenly spaced {axis}, has {_some(grid)}")
    expected = np.stack(np.meshgrid(phases, wavelengths, indexing="ij"), -1).reshape(-1, 2)
    if not np.array_equal(table[:, :2], expected):
        raise DataError(
            f"{name!r} is no whole grid: {len(table)} rows for {len(phases)} phases and "
            f"{len(wavelengths)} wavelengths, of which each pair must come once, in order"
        )
    return phases, wavelengths, table[:, 2].reshape(len(phases), len(wavelengths))


def _colour_law(name: str, content: bytes) -> ColourLaw:
    """Number of coefficients, the coefficients, then `Salt2ExtinctionLaw.<key> <value>` pairs."""
    words = content.decode("latin1").split()
    try:
        count = int(words[0])
        coefficients = np.array(words[1 : 1 + count], float)
        pairs = zip(words[1 + count :: 2], words[2 + count :: 2], strict=True)
        named = {key.rpartition(".")[2]: float(value) for key, value in pairs}
    except (ValueError, IndexError):
        raise DataError(
            f"{name!r} is no colour law: it must hold a number of coefficients, the coefficients, "
            f"and pairs 'Salt2ExtinctionLaw.<{'|'.join(_LAW_KEYS)}> value'"
        ) from None
    low, high = named.get("min_lambda", 3000.0), named.get("max_lambda", 7000.0)
    is_finite = np.isfinite([*coefficients, low, high]).all()
    if len(coefficients) != count or named.get("version") != 1 or not low < high or not is_finite:
        raise DataError(
            f"{name!r} is no colour law that can be used: {count} finite coefficients, version 1 "
            f"and min_lambda < max_lambda are needed, found {' '.join(words)[:120]!r}"
        )
    return ColourLaw(coefficients, low, high)


def _table(name: str, content: bytes, num_columns: int) -> np.ndarray:
    """(rows, columns) of finite numbers; `#` begins a comment."""
    rows = [
        line for line in content.decode("latin1").splitlines() if line.partition("#")[0].strip()
    ]
    if not rows:
        raise DataError(f"{name!r} is empty: it needs rows of {num_columns} numbers")
    try:
        table = np.loadtxt(rows, ndmin=2)
    except ValueError as error:
        reason = str(error).partition(";")[0].partition("\n")[0]
        raise DataError(f"{name!r} is no table of numbers: {reason}") from None
    if table.shape[1] != num_columns:
        raise DataError(f"{name!r} needs rows of {num_columns} numbers, has {table.shape[1]}")
    if not np.isfinite(table).all():
        raise DataError(f"{name!r} holds a number that is not finite: fetch it again")
    return table


def _some(values: np.ndarray) -> str:
    return f"{len(values)} ({', '.join(f'{v:g}' for v in values[:5])} ...)"


# ---------------------------------------------------------------- filters


@dataclass(frozen=True)
class Filter:
    """A throughput on an even grid of `_FILTER_STEP`, zero at both ends; any overall scale."""

    name: str
    first: float  # Angstrom, observer frame
    throughput: np.ndarray

    @property
    def wavelengths(self) -> np.ndarray:
        return self.first + _FILTER_STEP * np.arange(len(self.throughput))

    @cached_property
    def fluxcal_per_photons(self) -> float:
        """FLUXCAL (AB, zero point 27.5) per integral of F_lambda lambda T."""
        # F_lambda of AB magnitude 0 is 3631 Jy c / lambda^2
        zero = (
            _AB_FLUX
            * _LIGHT_ANGSTROM_S
            * np.trapezoid(self.throughput / self.wavelengths, dx=_FILTER_STEP)
        )
        return float(10 ** (0.4 * _FLUXCAL_ZERO_POINT) / zero)

    @cached_property
    def _integrals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """lambda T, its integral, and the integral of that, from the left to each grid point."""
        weight, h = self.throughput * self.wavelengths, _FILTER_STEP
        once = np.append(0.0, np.cumsum((weight[:-1] + weight[1:]) / 2 * h))
        steps = once[:-1] * h + (2 * weight[:-1] + weight[1:]) * h * h / 6
        return weight, once, np.append(0.0, np.cumsum(steps))

    def uncovered(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """The share of the integral of lambda T that lies below `low` or above `high`."""
        once = self._integrals[1]
        below, above = (np.interp(edge, self.wavelengths, once) for edge in (low, high))
        return 1 - (above - below) / once[-1]

    def is_covered(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Whether a surface from `low` to `high` Angstrom is enough for this filter."""
        return self.uncovered(low, high) <= _MAX_UNCOVERED

    def node_weights(self, nodes: np.ndarray) -> tuple[slice, np.ndarray]:
        """Which of the nodes matter, and w (X, n) with integral F lambda T = sum_k w_k F(node_k).

        Exact for an F linear between nodes: the weight of a node is the integral of lambda T times
        the hat function over its two neighbours, a second difference of the double integral.

        Args:
            nodes: (X, W) Angstrom, observer frame, evenly spaced in each row.
        """
        last = self.first + _FILTER_STEP * (len(self.throughput) - 1)
        begin = max(int(np.searchsorted(nodes.max(0), self.first)) - 1, 0)
        end = int(np.searchsorted(nodes.min(0), last)) + 1
        near = nodes[:, begin:end]
        step = nodes[:, 1:2] - nodes[:, :1]
        hats = np.concatenate([near[:, :1] - step, near, near[:, -1:] + step], axis=1)
        return slice(begin, end), np.diff(self._twice_integrated(hats), 2, axis=1) / step

    def _twice_integrated(self, where: np.ndarray) -> np.ndarray:
        weight, once, twice = self._integrals
        place = np.maximum((where - self.first) / _FILTER_STEP, 0.0)
        cell = np.minimum(place.astype(np.int64), len(weight) - 2)
        d = (place - cell) * _FILTER_STEP
        slope = (weight[cell + 1] - weight[cell]) / _FILTER_STEP
        return twice[cell] + d * (once[cell] + d * (weight[cell] / 2 + d * slope / 6))


def read_filter(name: str, band: str, content: bytes, angstrom: float) -> Filter:
    """A curve of rows `wavelength throughput`; `angstrom` is its unit of wavelength.

    Raises:
        DataError: no table of numbers, wavelengths that do not rise, or nothing gets through.
    """
    wavelength, throughput = _table(name, content, num_columns=2).T
    wavelength = wavelength * angstrom
    if any(b <= a for a, b in pairwise(wavelength)) or wavelength[0] <= 0:
        raise DataError(f"the wavelengths of the filter {name!r} must be positive and rise")
    if (throughput < 0).any() or not (throughput > 0).any():
        raise DataError(
            f"the filter {name!r} lets nothing through, or less than nothing: its second column "
            "must be a throughput of at least 0"
        )
    through = np.flatnonzero(throughput > 0)
    first = np.floor(wavelength[max(through[0] - 1, 0)]) - _FILTER_STEP
    last = wavelength[min(through[-1] + 1, len(wavelength) - 1)] + 3 * _FILTER_STEP  # two zeros
    grid = np.arange(first, last, _FILTER_STEP)
    even = np.interp(grid, wavelength, throughput, left=0.0, right=0.0)
    return Filter(band, float(first), even)
