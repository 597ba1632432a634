"""Noise as data: the moments, independence, and that a place in the batch means nothing."""

import numpy as np
import torch
from scipy import stats

from daep_ray.stream.noise import Noise

IDS = tuple(f"object{i}/0" for i in range(400))


def offsets(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)


def test_it_is_standard_normal():
    drawn = Noise(1, 0, IDS).normal("x", offsets([250] * len(IDS))).numpy()
    assert abs(drawn.mean()) < 4 / np.sqrt(drawn.size)
    assert abs(drawn.var() - 1) < 4 * np.sqrt(2 / drawn.size)
    assert abs(stats.kurtosis(drawn)) < 4 * np.sqrt(24 / drawn.size)
    assert stats.kstest(drawn, "norm").pvalue > 1e-3


def test_neighbours_turns_names_and_samples_are_independent():
    noise = Noise(1, 0, IDS)
    lengths = offsets([250] * len(IDS))
    drawn = noise.normal("x", lengths).numpy()
    rows = drawn.reshape(len(IDS), -1)
    others = (
        (rows[:, 1:], rows[:, :-1]),
        (rows[1:], rows[:-1]),
        (drawn, noise.at(1).normal("x", lengths).numpy()),
        (drawn, noise.normal("y", lengths).numpy()),
        (drawn, noise.within("m").normal("x", lengths).numpy()),
        (drawn, Noise(2, 0, IDS).normal("x", lengths).numpy()),
    )
    for one, other in others:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4.5 / np.sqrt(one.size)


def test_a_sample_has_the_same_noise_in_any_batch():
    lengths = [3, 0, 7, 5]
    whole = Noise(1, 4, IDS[:4]).normal("x", offsets(lengths))
    alone = Noise(1, 4, IDS[2:3]).normal("x", offsets([7]))
    assert torch.equal(whole[3:10], alone)
    backwards = Noise(1, 4, IDS[3::-1]).normal("x", offsets(lengths[::-1]))
    assert torch.equal(backwards[5:12], alone)
    times = Noise(1, 4, IDS).uniform("t")
    assert torch.equal(times[5:6], Noise(1, 4, IDS[5:6]).uniform("t"))


def test_a_longer_sequence_begins_like_a_shorter_one():
    noise = Noise(1, 0, IDS[:1])
    assert torch.equal(noise.normal("x", offsets([9]))[:4], noise.normal("x", offsets([4])))


def test_uniforms_are_uniform_and_never_reach_an_end():
    drawn = Noise(7, 0, tuple(f"s{i}" for i in range(20_000))).uniform("t").numpy()
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3
    assert drawn.min() > 0
    assert drawn.max() < 1


def test_an_empty_batch_has_empty_noise():
    noise = Noise(1, 0, ())
    assert noise.normal("x", offsets([])).shape == (0,)
    assert noise.normal_per_sample("z", 2, 3).shape == (0, 2, 3)
    assert noise.uniform("t").shape == (0,)


def test_a_step_has_one_number_whatever_its_samples():
    """Uniform over steps, apart by epoch, seed and scope, the same on every worker."""
    noises = [Noise(1, 0, IDS, step=step) for step in range(2000)]
    drawn = np.array([noise.uniform_of_step("drop") for noise in noises])
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3
    alone = [Noise(1, 0, (), step=step).uniform_of_step("drop") for step in range(2000)]
    assert np.array_equal(alone, drawn)
    for other in (
        [noise.within("m").uniform_of_step("drop") for noise in noises],
        [noise.at(1).uniform_of_step("drop") for noise in noises],
        [Noise(2, 0, IDS, step=step).uniform_of_step("drop") for step in range(2000)],
    ):
        assert abs(np.corrcoef(drawn, other)[0, 1]) < 4.5 / np.sqrt(2000)
