"""Rate, clipping and running average against hand computation."""

import math

import pytest
import torch
from torch import nn

from daep_ray.config import AdamWConfig, ConstantRate, CosineRate, MuonConfig, OptimisationConfig
from daep_ray.train.optimiser import Optimiser, RunningAverage


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 8)
        self.hidden = nn.Linear(8, 8)
        self.out = nn.Linear(8, 1)
        self.queries = nn.Parameter(torch.randn(3, 8))

    def forward(self) -> torch.Tensor:
        x = self.embedding(torch.arange(5)).mean(0) + self.queries.mean(0)
        return self.out(torch.tanh(self.hidden(x))).sum()


def test_cosine_rate_warms_up_and_falls_to_its_end() -> None:
    config = OptimisationConfig(rate=CosineRate(warmup=0.1, final=0.2))
    optimiser = Optimiser(Net(), config)
    assert optimiser.rate(0.05) == pytest.approx(0.5)
    assert optimiser.rate(0.1) == pytest.approx(1.0)
    assert optimiser.rate(0.55) == pytest.approx(0.2 + 0.8 * 0.5)
    assert optimiser.rate(1.0) == pytest.approx(0.2)
    assert Optimiser(Net(), OptimisationConfig(rate=ConstantRate())).rate(0.9) == 1.0


def test_muon_takes_the_maps_between_activations_and_nothing_else() -> None:
    net = Net()
    muon, adamw = Optimiser(net, OptimisationConfig(optimizer=MuonConfig())).parts
    assert [p is net.hidden.weight for p in muon.param_groups[0]["params"]] == [True]
    others = {id(p) for p in adamw.param_groups[0]["params"]}
    assert others == {id(p) for p in net.parameters()} - {id(net.hidden.weight)}


@pytest.mark.parametrize("config", [MuonConfig(rate=0.1), AdamWConfig(rate=0.1)])
def test_a_step_lowers_the_loss(config: MuonConfig | AdamWConfig) -> None:
    torch.manual_seed(0)
    net = Net()
    optimiser = Optimiser(net, OptimisationConfig(optimizer=config))
    before = net()
    before.backward()
    optimiser.step(0.5)
    assert net() < before
    assert all(p.grad is None for p in net.parameters())


def test_clipping_bounds_the_gradient() -> None:
    net = Net()
    optimiser = Optimiser(net, OptimisationConfig(clip_norm=0.01, optimizer=AdamWConfig()))
    (1000 * net()).backward()
    true_norm = math.sqrt(
        sum(float((p.grad**2).sum()) for p in net.parameters() if p.grad is not None)
    )
    assert float(optimiser.step(0.5)) == pytest.approx(true_norm, rel=1e-5)


def test_running_average_follows_its_formula() -> None:
    net = Net()
    average = RunningAverage(net, decay=0.9)
    expected = net.queries.detach().clone()
    for step in range(1, 40):
        with torch.no_grad():
            net.queries += 1.0
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * net.queries.detach()
    torch.testing.assert_close(average.objective.queries, expected)
    assert average.objective.queries is not net.queries
