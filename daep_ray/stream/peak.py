"""The time of a light curve's peak, by a Gaussian process through one band's magnitudes.

In: a light curve's times, magnitudes and bands. Out: the peak's time, or the reason in words why
there is none. As the paper's data set was made: a Gaussian process with a squared exponential
kernel and white noise on standardised times and magnitudes, its brightest point on a grid of 500;
points are needed before and after. (The constant mean that is fitted there is 0 here.)

A fit costs about 20 ms, so each is done once and remembered by the light curve's content:
`remember` and `recorded` carry that to a file and back, and a light curve that was never seen is
fitted when it comes.
"""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from daep_ray.sample import Modality
from daep_ray.settings import Settings, canonical_hash
from daep_ray.stream.flat import FlatSequence

FILE = "peaks.arrow"
FEWEST_POINTS = 3  # one before, one after, one between
MOST_POINTS = 300  # a fit's cost grows with their third power
_MOST_REMEMBERED = 2_000_000


class FittedPeak(Settings):
    """Count times from the peak that a Gaussian process finds in the magnitudes of one band.

    An object without points before and after the peak, in that band and in `also`, is left out.
    """

    kind: Literal["fitted_peak"] = "fitted_peak"
    category: str = "band"
    words: tuple[str, ...] = Field(("r",), min_length=1)  # the reference band's names
    also: tuple[str, ...] = ()  # these bands together must have points on both sides, too
    num_grid: int = Field(500, ge=3)


class Peak(NamedTuple):
    """Where the peak is; NaN with a reason where there is none."""

    position: float
    reason: str = ""


_memory: dict[bytes, Peak] = {}
_recordings: list[dict[bytes, Peak]] = []


def peaks(
    step: FittedPeak, position: np.ndarray, flat: FlatSequence, modality: Modality
) -> list[Peak]:
    """The peak of every sample of `flat`, at `position` (N,); an empty sample has none."""
    magnitude = magnitudes(flat.value, modality)
    place = [c.name for c in modality.categories].index(step.category)
    codes = np.ascontiguousarray(flat.category[:, place])
    vocabulary = modality.categories[place].vocabulary
    seed = canonical_hash([step.model_dump(mode="json"), vocabulary]).encode()
    found = []
    for low, high in zip(flat.offsets[:-1], flat.offsets[1:], strict=True):
        time, brightness, code = position[low:high], magnitude[low:high], codes[low:high]
        key = hashlib.blake2b(seed, digest_size=16)
        for array in (time, brightness, code):
            key.update(array.tobytes())
        known = _memory.get(key.digest())
        if known is None:
            words = np.array(vocabulary)[code]
            known = find_peak(step, time, brightness, words)
        _keep(key.digest(), known)
        found.append(known)
    return found


def magnitudes(value: np.ndarray, modality: Modality) -> np.ndarray:
    """(N,) magnitudes up to a constant; NaN for a flux that is not positive."""
    if modality.value.unit == "mag":
        return value
    with np.errstate(invalid="ignore", divide="ignore"):
        return -2.5 * np.log10(np.where(value > 0, value, np.nan))


def find_peak(step: FittedPeak, time: np.ndarray, magnitude: np.ndarray, words: np.ndarray) -> Peak:
    """The peak of one light curve: times, magnitudes and the band's word, (N,) each."""
    is_usable = np.isfinite(time) & np.isfinite(magnitude)
    time, magnitude, words = time[is_usable], magnitude[is_usable], words[is_usable]
    is_reference = np.isin(words, step.words)
    band = "/".join(step.words)
    if is_reference.sum() < FEWEST_POINTS:
        return Peak(np.nan, f"fewer than {FEWEST_POINTS} points in {band} to find the peak from")
    peak = brightest(time[is_reference], magnitude[is_reference], step.num_grid)
    for names in (step.words, step.also):
        own = time[np.isin(words, names)]
        for side, has_points in (("before", (own < peak).any()), ("after", (own > peak).any())):
            if names and not has_points:
                return Peak(np.nan, f"no point of {'/'.join(names)} {side} the peak")
    return Peak(peak)


def brightest(time: np.ndarray, magnitude: np.ndarray, num_grid: int) -> float:
    """Where the mean of a Gaussian process through the points is smallest, within their range."""
    order = np.argsort(time, kind="stable")
    if len(order) > MOST_POINTS:
        order = order[np.linspace(0, len(order) - 1, MOST_POINTS).astype(int)]
    time, magnitude = time[order], magnitude[order]
    middle, width = time.mean(), time.std()
    spread_of = magnitude.std()
    if width == 0 or spread_of == 0:
        return float(time[np.argmin(magnitude)])
    x, y = (time - middle) / width, (magnitude - magnitude.mean()) / spread_of
    grid = np.linspace(x[0], x[-1], num_grid)
    curve = _gaussian_process(x, y).predict(grid[:, None])
    best = int(np.argmin(curve))
    # the grid's ends are the first and last point themselves, not a rounding beside them
    ends = {0: time[0], num_grid - 1: time[-1]}
    return float(ends.get(best, grid[best] * width + middle))


def _gaussian_process(x: np.ndarray, y: np.ndarray):
    """Fitted by maximum likelihood from the published start: amplitude 1, scale 1, noise 0.03."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    kernel = ConstantKernel(1.0, (1e-3, 1e3)) * RBF(1.0, (1e-2, 1e2))
    process = GaussianProcessRegressor(kernel + WhiteKernel(0.03, (1e-5, 1e1)), alpha=1e-10)
    with warnings.catch_warnings():
        # a noise or scale at its bound is an answer, not a fault: flat or noiseless light curves
        warnings.simplefilter("ignore", ConvergenceWarning)
        return process.fit(x[:, None], y)


def _keep(key: bytes, peak: Peak) -> None:
    if len(_memory) >= _MOST_REMEMBERED:
        _memory.clear()
    _memory[key] = peak
    for recording in _recordings:
        recording[key] = peak


@contextmanager
def recorded() -> Iterator[dict[bytes, Peak]]:
    """Every peak that is asked for meanwhile, by content."""
    recording: dict[bytes, Peak] = {}
    _recordings.append(recording)
    try:
        yield recording
    finally:
        _recordings[:] = [r for r in _recordings if r is not recording]


def save(found: dict[bytes, Peak], folder: Path) -> None:
    """Write peaks beside the statistics; nothing where no recipe asked for any."""
    if not found:
        return
    keys = sorted(found)
    table = pa.table(
        {
            "content": pa.array(keys, pa.binary(16)),
            "position": [found[k].position for k in keys],
            "reason": [found[k].reason for k in keys],
        }
    )
    with pa.ipc.new_file(str(folder / FILE), table.schema) as writer:
        writer.write_table(table)


def remember(folder: Path) -> None:
    """Take in what `save` wrote, once per process; a missing or damaged file costs only time."""
    path = folder / FILE
    try:
        stamp = path.stat()
        mark = (str(path), stamp.st_mtime_ns, stamp.st_size)
        if mark in _read_files:
            return
        with pa.memory_map(str(path)) as source:
            rows = pa.ipc.open_file(source).read_all()
    except (OSError, pa.ArrowInvalid):
        return
    for row in rows.to_pylist():
        _memory[row["content"]] = Peak(row["position"], row["reason"])
    _read_files.add(mark)


_read_files: set[tuple[str, int, int]] = set()
