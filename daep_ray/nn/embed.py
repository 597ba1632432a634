"""Numbers -> vectors: fixed sinusoids of a position, and the diffusion time."""

import math

import torch
from torch import Tensor, nn

from daep_ray.nn.attention import linear


class Sinusoids(nn.Module):
    """[sin(w x), cos(w x)] with frequencies w log-spaced from `highest` down to `lowest`.

    (N, P) -> (N, P * 2 * num_frequencies); `highest` has one entry per position, rad per unit.
    The highest frequency decides what can be told apart (Tancik et al. 2020).
    """

    frequencies: Tensor

    def __init__(self, highest: tuple[float, ...], lowest: float, num_frequencies: int) -> None:
        super().__init__()
        steps = torch.linspace(0, 1, num_frequencies, dtype=torch.float64)
        rows = [
            torch.exp(math.log(h) + steps * (math.log(min(lowest, h)) - math.log(h)))
            for h in highest
        ]
        table = torch.stack(rows) if rows else torch.zeros(0, num_frequencies)
        self.register_buffer("frequencies", table.float(), persistent=False)

    @property
    def num_features(self) -> int:
        return 2 * self.frequencies.numel()

    def forward(self, x: Tensor) -> Tensor:
        phase = (x[:, :, None] * self.frequencies).flatten(1)
        return torch.cat([phase.sin(), phase.cos()], dim=1)


class NumberEmbedding(nn.Module):
    """A number -> a vector: sinusoids, then a small MLP. (n,) -> (n, D)."""

    def __init__(self, width: int, highest: float, lowest: float, num_frequencies: int) -> None:
        super().__init__()
        self.sinusoids = Sinusoids((highest,), lowest, num_frequencies)
        self.mlp = nn.Sequential(
            linear(self.sinusoids.num_features, width), nn.SiLU(), linear(width, width, 3.0)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.sinusoids(x[:, None]))


class TimeEmbedding(NumberEmbedding):
    """Diffusion time as a fraction of the chain in [0, 1]: (B,) -> (B, D)."""

    def __init__(self, width: int) -> None:
        # 100 rad over the chain tells neighbouring tenths of a percent apart
        super().__init__(width, highest=100.0, lowest=1.0, num_frequencies=32)
