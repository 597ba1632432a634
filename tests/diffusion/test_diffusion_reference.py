"""Samplers against the schedulers of `diffusers`: the same noise, schedule and times."""

from typing import Any

import pytest
import torch
from torch import Tensor

from daep_ray.diffusion.samplers import (
    DDIMConfig,
    DDPMConfig,
    DPMSolverConfig,
    SamplerConfig,
    UniPCConfig,
    sample,
    time_grid,
)
from daep_ray.diffusion.schedule import Schedule, make_schedule

diffusers = pytest.importorskip("diffusers")

SCHEDULE = make_schedule("linear", 1000)
CHAIN = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "prediction_type": "sample",
}
UNCLIPPED = {"clip_sample": False, "thresholding": False}
TO_ZERO = {"final_sigmas_type": "zero", "lower_order_final": True}
SHAPES = [(7,), (3, 5), (2, 3, 4)]
# theirs computes in float32 throughout, and its 1 - abar loses digits at little noise
TOLERANCE: dict[str, Any] = {"rtol": 2e-4, "atol": 2e-4}


def denoise(x: Tensor, t: int) -> Tensor:
    """Not linear, of a value of order 1 and bent where the noise ends: a stand-in for a network."""
    a, s = float(SCHEDULE.signal[t]), float(SCHEDULE.noise[t])
    return torch.tanh(a * x / (0.3 * a**2 + s**2)) + 0.2 * torch.sin(x + t / 1000)


def noises(seed: int, shape: tuple[int, ...]):
    generator = torch.Generator().manual_seed(seed)
    return lambda _: torch.randn((1, *shape), generator=generator)


def theirs(scheduler: Any, times: list[int], x: Tensor, **settings: Any) -> Tensor:
    scheduler.timesteps = torch.tensor(times)
    for t in times:
        x = scheduler.step(denoise(x, t), t, x, **settings).prev_sample
    return x


def at_times(scheduler: Any, times: list[int]) -> Any:
    """A multistep scheduler on exactly these times, ending without noise."""
    scheduler.set_timesteps(len(times))
    at = torch.tensor(times)
    abar = scheduler.alphas_cumprod[at]
    scheduler.sigmas = torch.cat([((1 - abar) / abar).sqrt(), torch.zeros(1)])
    scheduler.timesteps = at
    return scheduler


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim(shape: tuple[int, ...], eta: float) -> None:
    """Theirs steps evenly: every 50th time, the last step to no noise at all."""
    scheduler = diffusers.DDIMScheduler(**CHAIN, **UNCLIPPED, set_alpha_to_one=False)
    scheduler.set_timesteps(20)
    times = list(range(950, -1, -50))
    assert scheduler.timesteps.tolist() == times
    x = noises(0, shape)(0)
    drawn = x
    generator = torch.Generator().manual_seed(1)
    for t in times[:-1]:
        drawn = scheduler.step(
            denoise(drawn, t), t, drawn, eta=eta, generator=generator
        ).prev_sample
    drawn = denoise(drawn, times[-1])
    cut = Schedule(SCHEDULE.signal[:951], SCHEDULE.noise[:951])
    sampler = DDIMConfig(num_steps=20, eta=eta)
    assert time_grid(cut, 20, "time") == times
    ours = sample(denoise, x, sampler, cut, noises(1, shape))
    torch.testing.assert_close(ours, drawn, **TOLERANCE)


def test_ddpm() -> None:
    scheduler = diffusers.DDPMScheduler(**CHAIN, **UNCLIPPED, variance_type="fixed_small")
    x = noises(0, (7,))(0)
    generator = torch.Generator().manual_seed(1)
    scheduler.set_timesteps(1000)
    drawn = theirs(scheduler, list(range(999, -1, -1)), x, generator=generator)
    ours = sample(denoise, x, DDPMConfig(), SCHEDULE, noises(1, (7,)))
    torch.testing.assert_close(ours, drawn, **TOLERANCE)


SOLVERS: list[tuple[SamplerConfig, str, dict[str, Any]]] = [
    (
        DPMSolverConfig(num_steps=n, grid=grid),
        "DPMSolverMultistepScheduler",
        {"solver_order": 2, "algorithm_type": "dpmsolver++", "solver_type": "midpoint"},
    )
    for grid in ("time", "log_snr")
    for n in (5, 20)
]
SOLVERS += [
    (
        UniPCConfig(num_steps=n, grid=grid, order=order),
        "UniPCMultistepScheduler",
        {"solver_order": order, "solver_type": "bh2", "predict_x0": True},
    )
    for grid in ("time", "log_snr")
    for n in (5, 20)
    for order in (1, 2, 3)
]


@pytest.mark.parametrize(
    ("sampler", "name", "settings"), SOLVERS, ids=lambda x: str(x) if isinstance(x, str) else ""
)
def test_multistep_solvers(sampler: Any, name: str, settings: dict[str, Any]) -> None:
    scheduler = getattr(diffusers, name)(**CHAIN, **settings, **TO_ZERO)
    times = time_grid(SCHEDULE, sampler.num_steps, sampler.grid)
    x = noises(0, (3, 5))(0)
    drawn = theirs(at_times(scheduler, times), times, x)
    ours = sample(denoise, x, sampler, SCHEDULE, noises(1, (3, 5)))
    torch.testing.assert_close(ours, drawn, **TOLERANCE)
