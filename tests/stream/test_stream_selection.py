"""Selections, the cut to a length, and augmentations that belong to a sample and an epoch."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.errors import ConfigError
from daep_ray.sample import Axis, Category, Modality, Sample, Sequence
from daep_ray.shards.schema import table_from_samples
from daep_ray.stream.fitted import unfitted
from daep_ray.stream.flat import FlatSequence, offsets_of
from daep_ray.stream.keyed import string_keys
from daep_ray.stream.recipe import ModalityRecipe, Recipe
from daep_ray.stream.selection import (
    Crop,
    Jitter,
    KeepCategory,
    NoiseFromErrors,
    Positive,
    RandomRemoval,
    SignalToNoise,
    Turn,
    cut_each_category,
    cut_to_length,
    is_inside,
    is_selected,
    with_jitter,
    with_noise,
    with_removal,
)

FLUX = Modality("photometry", Axis("flux", "FLUXCAL"), (Axis("time", "day", is_time=True),))

some_lengths = st.lists(st.integers(0, 40), min_size=1, max_size=8)


def make_flat(lengths: list[int], seed: int = 0) -> FlatSequence:
    rng = np.random.default_rng(seed)
    offsets, num = offsets_of(np.array(lengths)), sum(lengths)
    return FlatSequence(
        value=rng.normal(0, 5, num),
        error=rng.uniform(0.5, 2, num),
        position=rng.uniform(0, 100, (num, 1)),
        category=np.zeros((num, 0), np.int64),
        offsets=offsets,
        kept=np.arange(num),
        raw_start=offsets[:-1],
        metadata={},
        reference=np.zeros((len(lengths), 1)),
        one_plus_redshift=np.ones((len(lengths), 1)),
        log_scale=np.zeros(len(lengths)),
    )


def make_turn(num: int, epoch: int = 0, seed: int = 1) -> Turn:
    return Turn(string_keys(pa.array([f"s{i}" for i in range(num)], pa.string())), seed, epoch)


def one(flat: FlatSequence, i: int) -> FlatSequence:
    """Sample i alone."""
    chosen = np.zeros(len(flat.value), bool)
    chosen[flat.offsets[i] : flat.offsets[i + 1]] = True
    alone = flat.where(chosen)
    part = slice(i, i + 1)
    return replace(
        alone,
        offsets=np.array([0, chosen.sum()]),
        reference=flat.reference[part],
        one_plus_redshift=flat.one_plus_redshift[part],
        log_scale=flat.log_scale[part],
        raw_start=flat.raw_start[part],
    )


def test_value_selections():
    flat = replace(
        make_flat([4]), value=np.array([2.0, -7.0, 3.0, np.nan]), error=np.array([1, 2, np.nan, 1])
    )
    assert is_selected((), flat, FLUX).tolist() == [True, True, True, False]
    assert is_selected((SignalToNoise(minimum=3),), flat, FLUX).tolist() == [
        False,
        True,
        False,
        False,
    ]
    assert is_selected((Positive(),), flat, FLUX).tolist() == [True, False, True, False]


def test_crops_and_lost_positions():
    position = np.array([[0.0], [5.0], [np.nan], [10.0]])
    crop = Crop(position="time", low=1, high=10)
    assert is_inside((crop,), ["time"], position).tolist() == [False, True, False, True]
    half_open = Crop(position="time", high=5)
    assert is_inside((half_open,), ["time"], position).tolist() == [True, True, False, False]


def test_a_crop_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="low < high"):
        ModalityRecipe.parse(
            {"selection": [{"kind": "crop", "position": "time", "low": 2, "high": 1}]}
        )


@given(some_lengths, st.integers(1, 20), st.sampled_from([None, 0, 7]))
def test_a_cut_keeps_just_so_many_distinct_measurements_in_order(lengths, length, epoch):
    flat = make_flat(lengths)
    turn = None if epoch is None else make_turn(len(lengths), epoch)
    cut = cut_to_length(flat, length, turn)
    assert cut.lengths.tolist() == [min(n, length) for n in lengths]
    for i in range(len(lengths)):
        here = cut.kept[cut.offsets[i] : cut.offsets[i + 1]]
        assert (np.diff(here) > 0).all()
        assert ((here >= flat.offsets[i]) & (here < flat.offsets[i + 1])).all()
    assert np.array_equal(cut.value, flat.value[cut.kept])


@given(some_lengths, st.integers(1, 20), st.data())
def test_a_sample_is_cut_alike_alone_and_in_a_batch(lengths, length, data):
    flat = make_flat(lengths)
    i = data.draw(st.integers(0, len(lengths) - 1))
    turn = make_turn(len(lengths))
    batch = cut_to_length(flat, length, turn)
    alone = cut_to_length(one(flat, i), length, Turn(turn.keys[i : i + 1], turn.seed, turn.epoch))
    assert np.array_equal(one(batch, i).value, alone.value)


def test_an_even_cut_is_evenly_spread():
    cut = cut_to_length(make_flat([10]), 5, None)
    assert cut.kept.tolist() == [1, 3, 5, 7, 9]
    assert cut_to_length(make_flat([7]), 7, None).kept.tolist() == list(range(7))


def test_a_redrawn_cut_gives_each_measurement_the_same_chance():
    """300 places of 7 in 10: each is kept 0.7 of the time, whatever stretch it lies in."""
    flat = make_flat([10] * 300)
    counts = np.zeros(10)
    for epoch in range(20):
        counts += np.bincount(cut_to_length(flat, 7, make_turn(300, epoch)).raw_index, minlength=10)
    expected = 300 * 20 * 0.7
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected * 0.3)).all()


def test_a_cut_is_redrawn_every_epoch_and_repeats():
    flat = make_flat([40] * 5)
    draws = [cut_to_length(flat, 10, make_turn(5, epoch)).kept for epoch in (0, 1, 0)]
    assert np.array_equal(draws[0], draws[2])
    assert not np.array_equal(draws[0], draws[1])


def test_noise_has_the_size_of_the_errors_and_grows_them():
    flat = make_flat([200] * 100)
    noisy = with_noise(NoiseFromErrors(scale=2.0), flat, make_turn(100), False)
    pulls = (noisy.value - flat.value) / flat.error
    assert abs(pulls.std() - 2.0) < 0.05
    np.testing.assert_allclose(noisy.error, flat.error * np.sqrt(5))


def test_noise_leaves_positive_values_positive_before_a_logarithm():
    flat = make_flat([50] * 20)
    flat = replace(flat, value=np.abs(flat.value) + 1e-3)
    noisy = with_noise(NoiseFromErrors(), flat, make_turn(20), True)
    assert (noisy.value > 0).all()
    assert (noisy.value != flat.value).mean() > 0.5


def test_noise_leaves_values_of_unknown_error_alone():
    flat = make_flat([5])
    flat = replace(flat, error=np.where(flat.raw_index == 2, np.nan, flat.error))
    noisy = with_noise(NoiseFromErrors(), flat, make_turn(1), False)
    assert noisy.value[2] == flat.value[2]
    assert np.isfinite(noisy.value).all()


@given(some_lengths, st.floats(0.05, 0.99))
def test_removal_leaves_something_of_everything(lengths, fraction):
    cut = with_removal(
        RandomRemoval(fraction=fraction), make_flat(lengths), make_turn(len(lengths))
    )
    assert ((cut.lengths > 0) == (np.array(lengths) > 0)).all()


def test_removal_removes_its_fraction():
    cut = with_removal(RandomRemoval(fraction=0.3), make_flat([100] * 100), make_turn(100))
    assert abs(len(cut.value) / 10_000 - 0.7) < 0.02


def test_jitter_moves_values_and_positions_by_its_size():
    flat = make_flat([100] * 100)
    moved = with_jitter(Jitter(value=0.1, position=0.01), flat, make_turn(100))
    assert abs((moved.value - flat.value).std() - 0.1) < 0.01
    assert abs((moved.position - flat.position).std() - 0.01) < 0.001


@pytest.mark.parametrize("kind", ["noise", "jitter", "removal"])
def test_augmentations_belong_to_the_sample_and_the_epoch(kind):
    def drawn(flat: FlatSequence, turn: Turn) -> np.ndarray:
        if kind == "noise":
            return with_noise(NoiseFromErrors(), flat, turn, False).value
        if kind == "jitter":
            return with_jitter(Jitter(), flat, turn).value
        return with_removal(RandomRemoval(fraction=0.5), flat, turn).value

    flat, turn = make_flat([6, 9, 4]), make_turn(3)
    alone = drawn(one(flat, 1), Turn(turn.keys[1:2], turn.seed, turn.epoch))
    whole = drawn(flat, turn)
    assert set(alone) <= set(whole)
    assert not np.array_equal(whole, drawn(flat, make_turn(3, epoch=1)))
    assert not np.array_equal(whole, drawn(flat, make_turn(3, seed=2)))
    assert np.array_equal(whole, drawn(flat, make_turn(3)))


BANDS = Modality(
    name="photometry",
    value=Axis("flux", "FLUXCAL"),
    positions=(Axis("time", "day", is_time=True),),
    categories=(Category("band", ("unknown", "g", "r", "i")),),
)


def with_bands(lengths: list[int], seed: int = 0) -> FlatSequence:
    flat = make_flat(lengths, seed)
    codes = np.random.default_rng(seed).integers(0, 4, (len(flat.value), 1))
    return replace(flat, category=codes)


@given(some_lengths, st.sets(st.sampled_from(["g", "r", "i"]), min_size=1))
def test_categories_are_kept_by_word(lengths, words):
    flat = with_bands(lengths)
    kept = is_selected((KeepCategory(words=tuple(words)),), flat, BANDS)
    expected = [BANDS.categories[0].vocabulary[code] in words for code in flat.category[:, 0]]
    assert kept.tolist() == expected


def test_three_sigma_of_a_magnitude_is_three_sigma_of_its_flux():
    flux, error = np.array([10.0, 10.0, 10.0]), np.array([3.2, 3.4, np.nan])
    magnitudes = replace(BANDS, value=Axis("magnitude", "mag"))
    flat = replace(make_flat([3]), value=-2.5 * np.log10(flux), error=1.0857362 * error / flux)
    assert is_selected((SignalToNoise(),), flat, magnitudes).tolist() == [True, False, False]
    flat = replace(flat, value=flux, error=error)
    assert is_selected((SignalToNoise(),), flat, BANDS).tolist() == [True, False, False]


@given(some_lengths, st.integers(1, 12), st.sampled_from([None, 0, 7]), st.integers(0, 99))
def test_a_cut_per_category_keeps_so_many_of_each_in_order(lengths, length, epoch, seed):
    flat = with_bands(lengths, seed)
    turn = None if epoch is None else make_turn(len(lengths), epoch)
    cut = cut_each_category(flat, 0, length, turn)
    for i in range(len(lengths)):
        before, after = one(flat, i), one(cut, i)
        assert (np.diff(after.kept) > 0).all()
        for code in range(4):
            num = (before.category[:, 0] == code).sum()
            assert (after.category[:, 0] == code).sum() == min(num, length)
    assert np.array_equal(cut.value, flat.value[cut.kept])


@given(some_lengths, st.integers(1, 12), st.data())
def test_a_sample_is_cut_per_category_alike_alone_and_in_a_batch(lengths, length, data):
    flat = with_bands(lengths)
    i = data.draw(st.integers(0, len(lengths) - 1))
    turn = make_turn(len(lengths))
    batch = cut_each_category(flat, 0, length, turn)
    own = Turn(turn.keys[i : i + 1], turn.seed, turn.epoch)
    assert np.array_equal(
        one(batch, i).value, cut_each_category(one(flat, i), 0, length, own).value
    )


def test_frozen_copies_come_round_again():
    part = ModalityRecipe(
        augmentation=(NoiseFromErrors(), RandomRemoval(fraction=0.3)), max_length=9, frozen_copies=5
    )
    fitted = unfitted(Recipe(modalities={"photometry": part}), [BANDS])
    rng = np.random.default_rng(0)
    sequence = Sequence(
        value=rng.normal(0, 5, 20),
        error=np.ones(20),
        positions={"time": np.arange(20.0)},
        categories={"band": np.ones(20, np.int16)},
    )
    table = table_from_samples([Sample("s", "s", {"photometry": sequence})], (BANDS,))

    def drawn(epoch: int | None) -> tuple[float, ...]:
        return tuple(fitted.apply(table, ["photometry"], epoch=epoch)["photometry"].value)

    assert len({drawn(epoch) for epoch in range(20)}) == 5
    assert drawn(3) == drawn(8)
    assert drawn(None) not in {drawn(epoch) for epoch in range(5)}
