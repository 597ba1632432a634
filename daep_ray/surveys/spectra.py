"""What readers of spectra share: measured points in order of wavelength, errors from variances.

In: arrays as a file has them. Out: a `Sequence`, or None where nothing was measured.
"""

import numpy as np

from daep_ray.sample import Sequence


def error_of(inverse_variance: np.ndarray, is_flagged: np.ndarray) -> np.ndarray:
    """(N,) standard deviations; NaN where nothing was measured: variance infinite, or flagged."""
    is_measured = (inverse_variance > 0) & np.isfinite(inverse_variance) & ~is_flagged
    error = np.full(len(inverse_variance), np.nan)
    error[is_measured] = inverse_variance[is_measured] ** -0.5
    return error


def spectrum(
    wavelength: np.ndarray,
    flux: np.ndarray,
    error: np.ndarray | None,
    metadata: dict[str, float | str | None],
) -> Sequence | None:
    """The points (N,) that were measured, sorted by wavelength.

    A point was measured if all its numbers are finite and its error, where the survey has errors,
    is positive. Arms that overlap keep the points of both.
    """
    is_measured = np.isfinite(wavelength) & np.isfinite(flux)
    if error is not None:
        is_measured &= (error > 0) & np.isfinite(error)
    if not is_measured.any():
        return None
    kept = np.flatnonzero(is_measured)
    kept = kept[np.argsort(wavelength[kept], kind="stable")]
    return Sequence(
        value=flux[kept],
        error=None if error is None else error[kept],
        positions={"wavelength": wavelength[kept]},
        metadata=metadata,
    )
