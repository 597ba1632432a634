"""The value chain against independent references, and back."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import median_filter as reference_filter

from daep_ray.errors import ConfigError
from daep_ray.stream.flat import offsets_of
from daep_ray.stream.recipe import ModalityRecipe
from daep_ray.stream.value_chain import (
    Arcsinh,
    Log10,
    Magnitude,
    MedianFilter,
    ScaleByMedian,
    forward,
    inverse,
    median_filter,
    sample_medians,
)

lengths_lists = st.lists(st.integers(0, 9), min_size=1, max_size=8)


def ragged(lengths: list[int], seed: int, positive: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    value = rng.normal(0, 10, sum(lengths)) * 10.0 ** rng.uniform(-3, 3)
    return (np.abs(value) + 1e-6 if positive else value), offsets_of(np.array(lengths))


@pytest.mark.parametrize(
    "chain",
    [
        (),
        (Arcsinh(scale=0.3),),
        (Log10(),),
        (Magnitude(zero_point=27.5),),
        (ScaleByMedian(),),
        (ScaleByMedian(), Arcsinh(scale=2.0)),
        (ScaleByMedian(), Log10()),
        (Arcsinh(scale=5.0), ScaleByMedian()),
    ],
    ids=lambda chain: "+".join(step.kind for step in chain) or "nothing",
)
@given(lengths=lengths_lists, seed=st.integers(0, 2**32))
def test_the_chain_inverts(chain, lengths, seed):
    value, offsets = ragged(lengths, seed, positive=True)
    there, _, log_scale = forward(chain, value, None, np.arange(len(value)) * 1.0, offsets)
    back = inverse(chain, there, log_scale, offsets)
    np.testing.assert_allclose(back, value, rtol=1e-12)


@pytest.mark.parametrize("step", [Arcsinh(scale=0.7), Log10(), Magnitude(zero_point=25.0)])
def test_errors_follow_the_local_derivative(step):
    value = np.geomspace(1e-2, 1e3, 50)
    error = 0.1 * value
    _, transformed, _ = forward((step,), value, error, value, np.array([0, 50]))
    h = 1e-6 * value
    derivative = (step.forward(value + h) - step.forward(value - h)) / (2 * h)
    np.testing.assert_allclose(transformed, error * np.abs(derivative), rtol=1e-6)


def test_errors_are_scaled_with_their_sequence():
    value, error = np.array([1e-17, 2e-17, 3e-17, 5.0]), np.array([1e-18, 1e-18, 1e-18, 1.0])
    offsets = np.array([0, 3, 4])
    scaled, scaled_error, log_scale = forward((ScaleByMedian(),), value, error, value, offsets)
    np.testing.assert_allclose(scaled, [0.5, 1.0, 1.5, 1.0])
    np.testing.assert_allclose(scaled_error, [0.05, 0.05, 0.05, 0.2])
    np.testing.assert_allclose(10**log_scale, [2e-17, 5.0])


@given(lengths=lengths_lists, seed=st.integers(0, 2**32))
def test_medians_are_numpys(lengths, seed):
    value, offsets = ragged(lengths, seed)
    medians = sample_medians(value, offsets)
    for found, (begin, end) in zip(medians, pairwise(offsets), strict=True):
        expected = np.median(value[begin:end]) if end > begin else np.nan
        np.testing.assert_equal(found, expected)


def test_a_sequence_of_zeros_keeps_its_scale():
    value = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 4.0])
    scaled, _, log_scale = forward((ScaleByMedian(),), value, None, value, np.array([0, 3, 6]))
    np.testing.assert_allclose(10**log_scale, [1.0, 4.0])
    np.testing.assert_allclose(scaled, [0, 0, 0, 0, 0, 1])


@given(lengths=lengths_lists, seed=st.integers(0, 2**32), width=st.sampled_from([1, 3, 5, 7]))
def test_the_median_filter_is_scipys_within_each_sample(lengths, seed, width):
    value, offsets = ragged(lengths, seed)
    position = np.arange(len(value)) * 1.0
    filtered = median_filter(value, position, offsets, width)
    for begin, end in pairwise(offsets):
        if end > begin:
            expected = reference_filter(value[begin:end], size=width, mode="nearest")
            assert np.array_equal(filtered[begin:end], expected)


@given(lengths=lengths_lists, seed=st.integers(0, 2**32))
def test_the_median_filter_goes_by_position_not_by_place(lengths, seed):
    value, offsets = ragged(lengths, seed)
    position = np.random.default_rng(seed).uniform(size=len(value))
    sample = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((position, sample))
    shuffled = median_filter(value, position, offsets, 3)
    ordered = median_filter(value[order], position[order], offsets, 3)
    assert np.array_equal(shuffled[order], ordered)


def test_what_a_logarithm_cannot_take_is_nan():
    value, _, _ = forward((Log10(),), np.array([-1.0, 10.0]), None, np.zeros(2), np.array([0, 2]))
    np.testing.assert_equal(value, [np.nan, 1.0])


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"kind": "median_filter", "width": 4}, "odd"),
        ({"kind": "arcsinh", "scale": 0}, "greater than 0"),
        ({"kind": "arcsin"}, "arcsinh"),
    ],
)
def test_a_wrong_step_is_one_clear_sentence(step, said):
    with pytest.raises(ConfigError, match=said):
        ModalityRecipe.parse({"value": [step]})


def test_a_median_filter_passes_through_the_inverse():
    value = np.array([1.0, 2.0])
    assert np.array_equal(inverse((MedianFilter(),), value, np.zeros(1), np.array([0, 2])), value)
