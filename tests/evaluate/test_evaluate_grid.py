"""The grid against numpy's own interpolation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.evaluate.grid import BINS_WITHOUT_CATEGORIES, Grid


def positions(seed: int, num: int, axes: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num, axes))


def no_category(num: int) -> np.ndarray:
    return np.zeros((num, 0), dtype=np.int64)


@given(st.integers(0, 1000))
def test_one_axis_is_numpy_interp(seed: int) -> None:
    where = positions(seed, 500)
    grid = Grid.fit(where, no_category(500), ())
    values = np.random.default_rng(seed + 1).normal(size=grid.num_bins)
    asked = positions(seed + 2, 200) * 2  # beyond the ends too
    index, weight = grid.weights(asked, no_category(200))
    expected = np.interp(asked[:, 0], grid.centres[0], values)
    np.testing.assert_allclose((values[index] * weight).sum(1), expected, atol=1e-12)


@pytest.mark.parametrize("axes", [0, 1, 2])
def test_weights_add_up_to_one_and_stay_in_their_category(axes: int) -> None:
    where = positions(0, 400, axes)
    category = np.random.default_rng(1).integers(0, [3, 4], size=(400, 2))
    grid = Grid.fit(where, category, (3, 4))
    index, weight = grid.weights(where, category)
    np.testing.assert_allclose(weight.sum(1), 1.0)
    per_combination = grid.num_bins // 12
    combination = category[:, 0] * 4 + category[:, 1]
    assert (index // per_combination == combination[:, None]).all()
    assert index.max() < grid.num_bins


def test_two_axes_reproduce_a_bilinear_function() -> None:
    where = positions(3, 1000, 2)
    grid = Grid.fit(where, no_category(1000), ())
    x, y = np.meshgrid(*grid.centres, indexing="ij")
    values = (2 * x - y + 0.5 * x * y).ravel()
    inside = np.array([[c.min(), c.max()] for c in grid.centres])
    asked = np.clip(positions(4, 100, 2), inside[:, 0], inside[:, 1])
    index, weight = grid.weights(asked, no_category(100))
    expected = 2 * asked[:, 0] - asked[:, 1] + 0.5 * asked[:, 0] * asked[:, 1]
    np.testing.assert_allclose((values[index] * weight).sum(1), expected, atol=1e-12)


def test_resolution_follows_the_data_and_the_number_of_categories() -> None:
    where = positions(6, 5000)
    alone = Grid.fit(where, no_category(5000), ())
    assert len(alone.centres[0]) == BINS_WITHOUT_CATEGORIES
    bands = np.random.default_rng(0).integers(1, 5, size=(5000, 1))  # 4 of 7 words are used
    assert len(Grid.fit(where, bands, (7,)).centres[0]) == 64
    index, weight = alone.weights(where, no_category(5000))
    share = np.bincount(index.ravel(), weight.ravel())
    assert share.min() > 0.5 * share.mean()


def test_regular_positions_give_each_its_own_bin() -> None:
    where = np.tile(np.linspace(-1, 1, 10), 20)[:, None]
    grid = Grid.fit(where, no_category(200), ())
    index, weight = grid.weights(where, no_category(200))
    assert len(grid.centres[0]) <= BINS_WITHOUT_CATEGORIES
    np.testing.assert_allclose((grid.centres[0][index] * weight).sum(1), where[:, 0], atol=1e-12)
