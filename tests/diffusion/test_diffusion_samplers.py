"""Samplers on data whose answer is known: a Gaussian, where every formula has a closed form."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from daep_ray.diffusion.samplers import (
    DDIMConfig,
    DDPMConfig,
    DPMSolverConfig,
    GridName,
    OneStepConfig,
    SamplerConfig,
    UniPCConfig,
    num_evaluations,
    sample,
    time_grid,
)
from daep_ray.diffusion.schedule import Schedule, make_schedule

MEAN, SPREAD = 0.7, 0.4
SAMPLERS = [
    DDPMConfig(),
    DDIMConfig(num_steps=50),
    DDIMConfig(num_steps=50, eta=1.0, grid="log_snr"),
    DPMSolverConfig(num_steps=10),
    UniPCConfig(num_steps=10),
    UniPCConfig(num_steps=10, order=3),
    OneStepConfig(),
]


def test_every_registered_sampler_is_tested_here() -> None:
    assert {type(s) for s in SAMPLERS} == set(get_args(get_args(SamplerConfig)[0]))


SCHEDULES = [make_schedule("linear", 1000), make_schedule("cosine", 1000, zero_terminal=True)]


class Gaussian:
    """The exact denoiser of x0 ~ N(MEAN, SPREAD^2), and the exact path of its flow."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.num_calls = 0

    def __call__(self, x: Tensor, t: int) -> Tensor:
        self.num_calls += 1
        a, s = float(self.schedule.signal[t]), float(self.schedule.noise[t])
        return MEAN + a * SPREAD**2 / (a**2 * SPREAD**2 + s**2) * (x - a * MEAN)

    def at(self, t: int, start: Tensor) -> Tensor:
        """Where the flow is at time t that began at `start`, a standard normal."""
        a, s = float(self.schedule.signal[t]), float(self.schedule.noise[t])
        return a * MEAN + math.sqrt(a**2 * SPREAD**2 + s**2) * start


def normal_steps(seed: int, shape: tuple[int, ...]):
    generator = torch.Generator().manual_seed(seed)
    return lambda step: torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=["linear", "cosine zero terminal"])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: f"{s.kind} {getattr(s, 'eta', '')}")
def test_an_oracle_is_believed(sampler: SamplerConfig, schedule: Schedule) -> None:
    truth, x = torch.randn(2, 3, 5).double(), torch.randn(2, 3, 5).double()
    kept = x.clone()
    drawn = sample(lambda x, t: truth, x, sampler, schedule, normal_steps(0, (2, 3, 5)))
    torch.testing.assert_close(drawn, truth)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=["linear", "cosine zero terminal"])
@pytest.mark.parametrize(
    "sampler",
    [DDPMConfig(), DDIMConfig(num_steps=400), DDIMConfig(num_steps=400, eta=1.0, grid="log_snr")],
    ids=lambda s: f"{s.kind} {getattr(s, 'eta', '')}",
)
def test_draws_have_the_gaussians_mean_and_spread(
    sampler: SamplerConfig, schedule: Schedule
) -> None:
    num = 20_000
    start = normal_steps(1, (num,))(0)
    drawn = sample(Gaussian(schedule), start, sampler, schedule, normal_steps(2, (num,)))
    # five standard errors, plus the bias of 400 first-order steps
    assert abs(float(drawn.mean()) - MEAN) < 5 * SPREAD / math.sqrt(num) + 0.005
    assert abs(float(drawn.std()) / SPREAD - 1) < 5 / math.sqrt(2 * num) + 0.02


# steps are rounded to times, so let there be many. Of the usual chain an even time grid jumps in
# log SNR at its end, and no solver has its order there; it has where log SNR is smooth in time
LINEAR = make_schedule("linear", 100_000)
ANGLE = torch.linspace(0.1, 1.5, 100_000, dtype=torch.float64)
SMOOTH = Schedule(ANGLE.cos(), ANGLE.sin())
# (UniPC of order 3 has none to fit: its first steps, of lower order, err by h^3, the others by h^4;
# test_diffusion_reference holds it against diffusers')
ORDERS: list[tuple[type, dict[str, int], int]] = [
    (DDIMConfig, {}, 1),
    (DPMSolverConfig, {}, 2),
    (UniPCConfig, {"order": 1}, 2),
    (UniPCConfig, {"order": 2}, 3),
]


@pytest.mark.parametrize("schedule", [LINEAR, SMOOTH], ids=["linear", "smooth"])
@pytest.mark.parametrize("grid", ["time", "log_snr"])
@pytest.mark.parametrize(
    ("solver", "settings", "order"), ORDERS, ids=lambda x: getattr(x, "__name__", str(x))
)
def test_order_of_convergence(
    solver: type, settings: dict[str, int], order: int, grid: GridName, schedule: Schedule
) -> None:
    if schedule is LINEAR and grid == "time" and order > 1:
        pytest.skip("an even time grid jumps in log SNR at the end of this chain")
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)
    gaussian = Gaussian(schedule)
    exact = gaussian(gaussian.at(0, start), 0)
    x = gaussian.at(schedule.num_times - 1, start)
    numbers = [40, 80, 160, 320]
    errors = []
    for n in numbers:
        sampler = solver(num_steps=n, grid=grid, **settings)
        drawn = sample(gaussian, x, sampler, schedule, normal_steps(0, (9,)))
        errors.append(float((drawn - exact).abs().max()))
    logs = torch.tensor([[math.log(n), math.log(e)] for n, e in zip(numbers, errors, strict=True)])
    slope = float(torch.cov(logs.T)[0, 1] / logs[:, 0].var())
    assert -slope == pytest.approx(order, abs=0.25), errors


def test_ten_solver_steps_beat_fifty_of_ddim() -> None:
    schedule, start = SCHEDULES[0], torch.linspace(-2, 2, 9, dtype=torch.float64)
    gaussian = Gaussian(schedule)
    exact = gaussian(gaussian.at(0, start), 0)
    x = gaussian.at(999, start)
    error = {
        s.kind: float((sample(gaussian, x, s, schedule, normal_steps(0, (9,))) - exact).abs().max())
        for s in (DDIMConfig(num_steps=50), DPMSolverConfig(num_steps=10))
    }
    assert error["dpm_solver"] < error["ddim"]


def test_ancestral_steps_are_those_of_ho_et_al() -> None:
    """Eq. 6 and 7 of Ho et al. 2020, written out, on a short chain and the same noise."""
    schedule = make_schedule("linear", 20)
    gaussian = Gaussian(schedule)
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)
    ours = sample(gaussian, start, DDPMConfig(), schedule, normal_steps(3, (9,)))
    noise, x = normal_steps(3, (9,)), start
    abar = schedule.signal**2
    for step, t in enumerate(range(19, 0, -1)):
        alpha = abar[t] / abar[t - 1]
        clean = gaussian(x, t)
        mean = (abar[t - 1].sqrt() * (1 - alpha) * clean + alpha.sqrt() * (1 - abar[t - 1]) * x) / (
            1 - abar[t]
        )
        variance = (1 - abar[t - 1]) / (1 - abar[t]) * (1 - alpha)
        x = mean + variance.sqrt() * noise(step)
    torch.testing.assert_close(ours, gaussian(x, 0))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: f"{s.kind} {getattr(s, 'eta', '')}")
def test_num_evaluations_is_what_is_spent(sampler: SamplerConfig) -> None:
    gaussian = Gaussian(SCHEDULES[0])
    sample(gaussian, torch.zeros(1).double(), sampler, SCHEDULES[0], normal_steps(0, (1,)))
    assert gaussian.num_calls == num_evaluations(sampler, SCHEDULES[0])


@pytest.mark.parametrize("num_steps", [1, 2, 7, 200, 5000])
@pytest.mark.parametrize("grid", ["time", "log_snr"])
def test_grids_fall_from_the_last_time(grid: GridName, num_steps: int) -> None:
    times = time_grid(SCHEDULES[0], num_steps, grid)
    assert times[0] == 999
    assert times == sorted(set(times), reverse=True)
    assert len(times) <= num_steps
    assert num_steps == 1 or times[-1] == 0
