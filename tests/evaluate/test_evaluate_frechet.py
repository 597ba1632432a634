"""The Frechet distance against scipy's matrix root and closed forms; its null against theory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from daep_ray.errors import DataError
from daep_ray.evaluate.frechet import NULL, distances, frechet_distance, halvings


def features(seed: int, num: int, size: int) -> np.ndarray:
    """Correlated, of very different spreads, with a mean."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(size, size)) * 10.0 ** rng.uniform(-2, 1, size)
    return rng.normal(size=(num, size)) @ mixing + rng.normal(size=size)


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(8, 60), st.integers(8, 60))
def test_the_distance_is_that_of_plain_moments_and_scipys_root(
    seed: int, size: int, num_one: int, num_other: int
) -> None:
    one, other = features(seed, num_one, size), features(seed + 1, num_other, size)
    moments = [(x.mean(0), np.atleast_2d(np.cov(x.T))) for x in (one, other)]
    (m1, c1), (m2, c2) = moments
    root = np.real(sqrtm(c1 @ c2))
    expected = np.sum((m1 - m2) ** 2) + np.trace(c1 + c2 - 2 * root)
    scale = np.trace(c1) + np.trace(c2)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6, abs=1e-6 * scale)


@given(st.floats(0.1, 10), st.integers(0, 10_000))
def test_a_stretched_and_shifted_copy_has_the_closed_form(stretch: float, seed: int) -> None:
    """C2 = a^2 C1 commutes with C1: (1 - a)^2 tr C1 + |shift|^2, whatever the objects are."""
    one = features(seed, 40, 4)
    centre, shift = one.mean(0), np.arange(4.0)
    other = centre + stretch * (one - centre) + shift
    trace = np.trace(np.cov(one.T))
    expected = (1 - stretch) ** 2 * trace + (shift**2).sum()
    # eigenvalues of C1 C2 are off by a rounding of (a tr C1)^2, so their roots by 1.5e-8 a tr C1
    off = 1e-7 * trace * max(1.0, stretch)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9, abs=off)


def test_the_distance_is_symmetric_and_does_not_see_a_rotation() -> None:
    one, other = features(0, 50, 5), features(1, 30, 5)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0]
    found = frechet_distance(one, other)
    assert frechet_distance(other, one) == pytest.approx(found, rel=1e-9)
    assert frechet_distance(one @ rotation, other @ rotation) == pytest.approx(found, rel=1e-9)


def test_features_that_never_change_are_no_trouble() -> None:
    one, other = features(0, 50, 4), features(1, 50, 4)
    one[:, 2] = other[:, 2] = 3.0
    without = frechet_distance(np.delete(one, 2, 1), np.delete(other, 2, 1))
    assert frechet_distance(one, other) == pytest.approx(without, rel=1e-6)


def test_halves_are_disjoint_and_of_one_size() -> None:
    for one, other in halvings(21, 5):
        assert len(one) == len(other) == 10
        assert len({*one.tolist(), *other.tolist()}) == 20
        assert max(*one, *other) <= 20
    first, again = (list(halvings(21, 2, seed=1)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_the_objects_themselves_are_at_the_null_exactly() -> None:
    real = features(0, 60, 3)
    null, copies = distances(real, {"copies": real.copy()}, 10)
    assert (null.name, null.excess, null.size) == (NULL, 0.0, 30)
    assert copies.excess == 0.0
    assert (copies.mean, copies.low, copies.high) == (null.mean, null.low, null.high)
    assert null.low < null.mean < null.high


def test_a_faultless_generator_has_no_excess_on_average_and_a_shift_its_square() -> None:
    """200 surveys of 60 objects: the null is far from 0, the excess is not (4 standard errors)."""
    rng, found = np.random.default_rng(0), []
    shift = np.array([0.5, 0.0, 0.0])
    for _ in range(200):
        real, alike = rng.normal(size=(2, 60, 3))
        found.append(distances(real, {"alike": alike, "shifted": alike + shift}, 3))
    null = np.mean([one[0].mean for one in found])
    excess = np.array([[d.excess for d in one[1:]] for one in found])
    error = excess.std(0, ddof=1) / np.sqrt(len(excess))
    assert null > 0.1
    np.testing.assert_array_less(np.abs(excess.mean(0) - [0.0, 0.25]), 4 * error)
    assert error.max() < 0.1 * null


def test_the_null_falls_as_one_over_the_objects() -> None:
    """Chong & Forsyth 2020: the reason for sets of one size."""
    rng = np.random.default_rng(0)
    means = [
        np.mean([distances(rng.normal(size=(num, 4)), {}, 2)[0].mean for _ in range(100)])
        for num in (100, 400)
    ]
    assert means[0] / means[1] == pytest.approx(4, rel=0.15)


def test_too_few_objects_are_one_sentence() -> None:
    with pytest.raises(DataError, match=r"8 objects are too few .* 4 features: at least 10"):
        distances(np.zeros((8, 4)), {})
