"""PPCA against scikit-learn where nothing is missing, and against the truth where much is."""

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

from daep_ray.evaluate import ppca


def low_rank(num_samples: int, num_bins: int, rank: int, noise: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scale = np.linspace(3.0, 1.0, rank)
    basis = np.linalg.qr(rng.normal(size=(num_bins, rank)))[0] * scale
    clean = rng.normal(size=(num_samples, rank)) @ basis.T + rng.normal(size=num_bins)
    return clean + noise * rng.normal(size=clean.shape)


def test_complete_data_give_the_subspace_of_sklearn() -> None:
    data = low_rank(600, 20, 3, 0.1, seed=0)
    model = ppca.fit(data, 3)
    reference = PCA(3).fit(data)
    angles = subspace_angles(model.directions, reference.components_.T)
    assert np.degrees(angles.max()) < 0.1
    np.testing.assert_allclose(model.mean, data.mean(0), atol=1e-3)
    # Tipping & Bishop 1999, eq. 8: the noise is the mean of the discarded eigenvalues
    np.testing.assert_allclose(model.variance, reference.noise_variance_, rtol=0.02)


def test_directions_are_orthogonal_and_scaled_as_the_ppca_optimum() -> None:
    data = low_rank(600, 20, 3, 0.1, seed=1)
    model = ppca.fit(data, 3)
    gram = model.directions.T @ model.directions
    np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0.0, atol=1e-9)
    # eq. 7: squared length = eigenvalue - noise variance
    eigenvalues = PCA(3).fit(data).explained_variance_
    np.testing.assert_allclose(np.diag(gram), eigenvalues - model.variance, rtol=0.02)


def test_the_subspace_is_found_when_half_is_missing() -> None:
    data = low_rank(2000, 20, 3, 0.1, seed=2)
    complete = ppca.fit(data, 3)
    holes = np.where(np.random.default_rng(0).random(data.shape) < 0.5, np.nan, data)
    model = ppca.fit(holes, 3)
    angles = subspace_angles(model.directions, complete.directions)
    assert np.degrees(angles.max()) < 1.5
    np.testing.assert_allclose(model.variance, complete.variance, rtol=0.1)


def test_missing_values_are_not_taken_for_the_mean() -> None:
    """The same holes filled with the mean, as plain PCA would, lose the subspace."""
    data = low_rank(2000, 20, 3, 0.1, seed=2)
    holes = np.where(np.random.default_rng(0).random(data.shape) < 0.5, np.nan, data)
    filled = np.where(np.isnan(holes), np.nanmean(holes, axis=0), holes)
    naive = subspace_angles(PCA(3).fit(filled).components_.T, PCA(3).fit(data).components_.T)
    ours = subspace_angles(ppca.fit(holes, 3).directions, PCA(3).fit(data).components_.T)
    assert ours.max() < 0.5 * naive.max()


def test_chunks_do_not_change_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = low_rank(300, 12, 2, 0.2, seed=3)
    data[np.random.default_rng(1).random(data.shape) < 0.3] = np.nan
    whole = ppca.fit(data, 2)
    monkeypatch.setattr(ppca, "CHUNK", 7)
    pieces = ppca.fit(data, 2)
    np.testing.assert_allclose(pieces.directions, whole.directions, atol=1e-10)
    np.testing.assert_allclose(pieces.mean, whole.mean, atol=1e-10)


def test_the_input_is_not_modified() -> None:
    data = low_rank(50, 8, 2, 0.2, seed=4)
    data[3, 4] = np.nan
    before = data.copy()
    ppca.fit(data, 2)
    np.testing.assert_array_equal(data, before)


def test_a_bin_without_data_stays_at_zero() -> None:
    data = low_rank(50, 8, 2, 0.2, seed=5)
    data[:, 6] = np.nan
    model = ppca.fit(data, 2)
    assert model.mean[6] == 0.0
    np.testing.assert_allclose(model.directions[6], 0.0, atol=1e-12)


@pytest.mark.parametrize("num_floats", [0, 8, 11])
def test_any_number_of_floats_is_possible(num_floats: int) -> None:
    data = low_rank(50, 8, 2, 0.2, seed=6)
    model = ppca.fit(data, num_floats)
    assert model.directions.shape == (8, num_floats)
    assert np.isfinite(model.directions).all()
    if num_floats == 0:
        np.testing.assert_allclose(model.mean, data.mean(0))
