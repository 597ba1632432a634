"""The published probe: its split, its dependence on scale, and that it ends where torch's does."""

import numpy as np
import pytest
import torch

from daep_ray.evaluate.probe import Coded
from daep_ray.evaluate.published_probe import SEEDS, _fitted, published_probe


def codes_of(num: int, spread: float) -> Coded:
    """Two classes whose first code differs by two standard deviations."""
    rng = np.random.default_rng(0)
    is_second = np.arange(num) % 2 == 1
    codes = rng.normal(size=(num, 3))
    codes[:, 0] += 2 * is_second
    ids = np.array([f"o{i:04d}" for i in range(num)])
    return Coded(ids, ids, np.where(is_second, "b", "a"), spread * codes)


def scores(coded: Coded) -> dict[str, float]:
    return {s.metric: s.value for s in published_probe(coded)}


def test_a_probe_that_has_not_converged_depends_on_the_codes_scale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The best line is right for 84 %; codes a thousand times smaller end near chance."""
    monkeypatch.setattr("daep_ray.evaluate.published_probe.SEEDS", SEEDS[:3])
    whole, small = (scores(codes_of(800, spread)) for spread in (1.0, 0.001))
    assert whole["probe_accuracy"] == pytest.approx(0.84, abs=0.06)
    assert small["probe_accuracy"] < whole["probe_accuracy"] - 0.1
    assert whole["probe_majority_accuracy"] == pytest.approx(0.5, abs=0.01)


def test_the_spread_is_over_starting_weights() -> None:
    found = {s.metric: s for s in published_probe(codes_of(100, 1.0))}
    assert found["probe_accuracy"].count == len(SEEDS) == 10
    assert found["probe_num_classes"].value == 2
    assert published_probe(codes_of(4, 1.0)) == []


def test_it_learns_in_the_middle_of_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daep_ray.evaluate.published_probe.SEEDS", SEEDS[:2])
    outside = scores(codes_of(60, 1.0))
    with torch.inference_mode():
        assert scores(codes_of(60, 1.0)) == outside


def test_a_fit_is_torchs_linear_layer_trained_the_same_way() -> None:
    generator = torch.Generator().manual_seed(5)
    codes = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    classes = torch.arange(64) % 2
    bound = 3**-0.5
    layer = torch.nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_((torch.rand(2, 3, generator=generator) * 2 - 1) * bound)
        layer.bias.copy_((torch.rand(2, generator=generator) * 2 - 1) * bound)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=1e-3)  # decay 0.01, torch's own
    for _ in range(150):  # 64 samples are one batch: their order does not matter
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(layer(codes), classes).backward()
        optimiser.step()
    weight, bias = _fitted(codes, classes, 2, 5)
    torch.testing.assert_close(weight, layer.weight.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(bias, layer.bias.detach(), rtol=1e-4, atol=1e-5)
