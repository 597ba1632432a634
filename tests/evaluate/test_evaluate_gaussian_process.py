"""The Gaussian process through the other points: against scikit-learn, and honest on its own."""

import time

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern

from daep_ray.evaluate.gaussian_process import LONGEST, Kernel, Points, fit, from_the_others

KERNEL = Kernel(
    mean=np.array([0.0, 0.3, -0.2]),
    level=0.4,
    amplitude=1.1,
    noise=0.1,
    scales=(0.7,),
    likeness=(0.6,),
)


def sequence(rng: np.random.Generator, num: int, kernel: Kernel = KERNEL) -> Points:
    """Drawn from the process itself."""
    position, category = rng.uniform(-2, 2, (num, 1)), rng.integers(1, 3, (num, 1))
    blank = Points(position, category, np.zeros(num), rng.uniform(0.05, 0.3, num) ** 2)
    value = rng.multivariate_normal(kernel.prior(blank), kernel.covariance(blank))
    return Points(position, category, value, blank.variance)


def left_out(points: Points, i: int) -> tuple[float, float]:
    """Measurement i by scikit-learn from the others; a word is a corner of a simplex, so that a
    squared exponential of its distance is the likeness of two words."""
    far = 1e9
    corners = np.eye(3)[points.category[:, 0]]
    inputs = np.concatenate([points.position, corners], axis=1)
    apart = np.sqrt(-1 / np.log(KERNEL.likeness[0]))
    curve = Matern([KERNEL.scales[0], far, far, far], nu=1.5) * RBF([far, apart, apart, apart])
    kernel = ConstantKernel(KERNEL.level**2) + ConstantKernel(KERNEL.amplitude**2) * curve
    noise = KERNEL.noise**2 + points.variance
    others = np.arange(len(points.value)) != i
    process = GaussianProcessRegressor(kernel, alpha=noise[others], optimizer=None)
    expected = KERNEL.prior(points)
    process.fit(inputs[others], (points.value - expected)[others])
    mean, sd = process.predict(inputs[[i]], return_std=True)
    return float(mean[0] + expected[i]), float(np.hypot(sd[0], np.sqrt(noise[i])))


@pytest.mark.parametrize("num", [2, 5, 30])
def test_each_point_is_what_scikit_learn_predicts_from_the_others(num: int) -> None:
    points = sequence(np.random.default_rng(num), num)
    mean, sd = from_the_others(KERNEL, points)
    expected = np.array([left_out(points, i) for i in range(num)])
    np.testing.assert_allclose(mean, expected[:, 0], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(sd, expected[:, 1], rtol=1e-6)


def test_a_lone_point_is_told_by_the_prior() -> None:
    points = Points(np.zeros((1, 1)), np.array([[2]]), np.array([5.0]), np.array([0.09]))
    mean, sd = from_the_others(KERNEL, points)
    assert mean[0] == pytest.approx(-0.2)
    assert sd[0] == pytest.approx(np.sqrt(0.4**2 + 1.1**2 + 0.1**2 + 0.09))


def test_an_empty_sequence_has_no_prediction() -> None:
    empty = Points(np.zeros((0, 1)), np.zeros((0, 1), int), np.zeros(0), np.zeros(0))
    assert [len(x) for x in from_the_others(KERNEL, empty)] == [0, 0]


def test_a_point_does_not_move_its_own_prediction() -> None:
    points = sequence(np.random.default_rng(1), 20)
    moved = points.value.copy()
    moved[7] += 100.0
    before = from_the_others(KERNEL, points)
    after = from_the_others(
        KERNEL, Points(points.position, points.category, moved, points.variance)
    )
    assert after[0][7] == pytest.approx(before[0][7], abs=1e-9)
    assert np.abs(after[0] - before[0]).max() > 1.0
    np.testing.assert_allclose(after[1], before[1])


def test_a_long_sequence_is_cut_in_time_and_nothing_else_changes() -> None:
    points = sequence(np.random.default_rng(2), LONGEST + 40)
    mean, sd = from_the_others(KERNEL, points)
    order = np.argsort(points.position[:, 0])
    half = order[: len(order) // 2]
    alone = Points(*(getattr(points, f)[half] for f in Points.__annotations__))
    np.testing.assert_allclose(mean[half], from_the_others(KERNEL, alone)[0], atol=1e-9)
    assert (sd > 0).all()


def test_a_fitted_process_knows_how_sure_it_is() -> None:
    """Drawn from a known kernel, its fitted twin covers other sequences as it says, and predicts
    them nearly as well as the truth does."""
    rng = np.random.default_rng(3)
    fitted = fit([sequence(rng, 25) for _ in range(40)], 3)
    fresh = [sequence(rng, 25) for _ in range(300)]

    def told(kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
        found = [(*from_the_others(kernel, p), p.value) for p in fresh]
        mean, sd, value = (np.concatenate(column) for column in zip(*found, strict=True))
        return value - mean, sd

    off, sd = told(fitted)
    true_off, _ = told(KERNEL)
    for level, reach in ((0.68, 0.9945), (0.95, 1.96)):
        assert (np.abs(off) < reach * sd).mean() == pytest.approx(level, abs=0.03)
    assert np.abs(off).mean() < 1.03 * np.abs(true_off).mean()
    assert np.abs(off).mean() < 0.5 * np.abs(np.concatenate([p.value for p in fresh])).mean()


def test_forty_points_take_well_under_five_milliseconds() -> None:
    points = sequence(np.random.default_rng(4), 40)
    from_the_others(KERNEL, points)
    fastest = np.inf
    for _ in range(20):
        started = time.perf_counter()
        from_the_others(KERNEL, points)
        fastest = min(fastest, time.perf_counter() - started)
    assert fastest < 1 / 200
