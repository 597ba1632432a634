"""The position chain: references, rest frame, logarithm, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.errors import ConfigError
from daep_ray.stream.flat import offsets_of
from daep_ray.stream.position_chain import DivideByOnePlus, Log, Reference, forward, inverse
from daep_ray.stream.recipe import ModalityRecipe

TIME = np.array([10.0, 11.0, 12.0, 7.0, 9.0, 8.0])
FLUX = np.array([1.0, 5.0, 2.0, 3.0, -1.0, 3.0])
OFFSETS = np.array([0, 3, 3, 6])  # the second sample is empty
METADATA = {"redshift": np.array([1.0, 0.5, np.nan]), "peak": np.array([11.5, 1.0, np.nan])}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Reference(at="peak"), [11.0, 0.0, 7.0]),  # of equal values the earliest
        (Reference(at="first"), [10.0, 0.0, 7.0]),
        (Reference(at="column:peak"), [11.5, 1.0, 7.0]),  # missing: the peak
        (Reference(at="column:peak", otherwise="first"), [11.5, 1.0, 7.0]),
    ],
)
def test_references(step, expected):
    moved, taken = forward((step,), TIME, FLUX, False, METADATA, OFFSETS)
    np.testing.assert_array_equal(taken.reference, expected)
    np.testing.assert_array_equal(moved, TIME - np.repeat(expected, [3, 0, 3]))


def test_the_brightest_magnitude_is_the_smallest():
    _, taken = forward((Reference(),), TIME, FLUX, True, METADATA, OFFSETS)
    np.testing.assert_array_equal(taken.reference, [10.0, 0.0, 9.0])


def test_without_a_redshift_there_is_no_rest_frame():
    moved, _ = forward((DivideByOnePlus(),), TIME, FLUX, False, METADATA, OFFSETS)
    np.testing.assert_array_equal(moved, [5.0, 5.5, 6.0, np.nan, np.nan, np.nan])


@pytest.mark.parametrize(
    "chain",
    [
        (),
        (Reference(),),
        (Reference(at="first"), DivideByOnePlus()),
        (DivideByOnePlus(), Reference()),
        (Log(),),
        (DivideByOnePlus(), Log(), Reference(at="first")),
    ],
    ids=lambda chain: "+".join(step.kind for step in chain) or "nothing",
)
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=6), seed=st.integers(0, 2**32))
def test_the_chain_inverts(chain, lengths, seed):
    rng = np.random.default_rng(seed)
    offsets = offsets_of(np.array(lengths))
    position = rng.uniform(1.0, 6e4, sum(lengths))
    metadata = {"redshift": rng.uniform(0, 3, len(lengths))}
    value = rng.normal(size=sum(lengths))
    there, taken = forward(chain, position, value, False, metadata, offsets)
    # days since a reference are as exact as the reference is, however near zero the position
    rounding = 4 * np.spacing(position.max(initial=0.0))
    back = inverse(chain, there, taken, offsets)
    np.testing.assert_allclose(back, position, rtol=1e-14, atol=rounding)


def test_a_kept_reference_leaves_days_from_it():
    chain = (Reference(at="first"), DivideByOnePlus())
    there, taken = forward(
        chain, TIME[:3], FLUX[:3], False, {"redshift": np.array([1.0])}, OFFSETS[:2]
    )
    days = inverse(chain, there, taken, OFFSETS[:2], keep_reference=True)
    np.testing.assert_allclose(days, [0.0, 1.0, 2.0])


def test_an_unknown_reference_is_one_clear_sentence():
    with pytest.raises(ConfigError, match="'column:<metadata name>'"):
        ModalityRecipe.parse({"positions": {"time": [{"kind": "reference", "at": "brightest"}]}})
