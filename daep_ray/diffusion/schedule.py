"""How much signal and noise there is at each diffusion time: x_t = signal_t x_0 + noise_t e.

Times are integers 0 .. T-1; time 0 is nearly clean. signal^2 + noise^2 = 1 (variance preserving).
In the papers' symbols: signal = sqrt(abar) = a, noise = sqrt(1 - abar) = s.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

ScheduleName = Literal["linear", "cosine"]


@dataclass(frozen=True)
class Schedule:
    """`signal` and `noise` (T,) float64 on the CPU; signal falls, noise rises."""

    signal: Tensor
    noise: Tensor

    @property
    def num_times(self) -> int:
        return len(self.signal)

    @cached_property
    def log_snr(self) -> Tensor:
        """(T,) lambda = log(a / s), falling; the clamp matters for a zero terminal SNR alone."""
        return torch.log(self.signal.clamp(min=1e-5) / self.noise)


def _linear(num_times: int) -> Tensor:
    """abar of betas 1e-4 .. 0.02 over 1000 times (Ho et al. 2020); other T keep the same ends."""
    scale = 1000 / num_times
    beta = torch.linspace(1e-4 * scale, 0.02 * scale, num_times, dtype=torch.float64)
    return torch.cumprod(1 - beta.clamp(max=0.999), 0)


def _cosine(num_times: int) -> Tensor:
    """abar of Nichol & Dhariwal 2021, eq. 17, betas clipped at 0.999 as there."""
    t = torch.arange(num_times + 1, dtype=torch.float64) / num_times
    f = torch.cos((t + 0.008) / 1.008 * torch.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return torch.cumprod(1 - beta, 0)


def make_schedule(name: ScheduleName, num_times: int, zero_terminal: bool = False) -> Schedule:
    """`zero_terminal`: shift and scale a so that the last time is pure noise (Lin et al. 2024)."""
    abar = {"linear": _linear, "cosine": _cosine}[name](num_times)
    signal = abar.sqrt()
    if zero_terminal:
        signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
    return Schedule(signal, (1 - signal**2).sqrt())
