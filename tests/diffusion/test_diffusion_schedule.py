"""Schedules: variance preserving, monotonous, and equal to their papers' definitions."""

import pytest
import torch

from daep_ray.diffusion.schedule import ScheduleName, make_schedule


@pytest.mark.parametrize("zero_terminal", [False, True])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_signal_falls_and_variance_is_preserved(name: ScheduleName, zero_terminal: bool) -> None:
    schedule = make_schedule(name, 1000, zero_terminal)
    torch.testing.assert_close(schedule.signal**2 + schedule.noise**2, torch.ones(1000).double())
    assert (schedule.signal.diff() < 0).all()
    assert (schedule.log_snr.diff() < 0).all()
    assert (schedule.noise > 0).all()
    assert (schedule.signal[-1] == 0) == zero_terminal


def test_linear_is_the_published_product_of_betas() -> None:
    product, schedule = 1.0, make_schedule("linear", 1000)
    for i in range(1000):
        product *= 1 - (1e-4 + (0.02 - 1e-4) * i / 999)
        assert float(schedule.signal[i]) ** 2 == pytest.approx(product, rel=1e-9)


@pytest.mark.parametrize("num_times", [100, 4000])
def test_other_chain_lengths_end_as_noisy(num_times: int) -> None:
    end = make_schedule("linear", num_times).signal[-1]
    assert 0.003 < float(end) < 0.01
