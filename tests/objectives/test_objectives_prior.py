"""The latent prior: codes of a known distribution are recovered, with and without classes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from daep_ray.config import OptimisationConfig
from daep_ray.diffusion.samplers import (
    DDIMConfig,
    DPMSolverConfig,
    OneStepConfig,
    SamplerConfig,
    UniPCConfig,
)
from daep_ray.errors import ConfigError
from daep_ray.nn.config import BottleneckConfig, ModelConfig
from daep_ray.objectives import build_objective
from daep_ray.objectives.base import Code, Draws, Objective
from daep_ray.objectives.daep import DaepConfig
from daep_ray.objectives.mmvae import MmVaeConfig
from daep_ray.objectives.prior import Prior, PriorConfig
from daep_ray.objectives.vae import VaeConfig
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.noise import Noise
from daep_ray.train.optimiser import Optimiser
from tests.objectives.conftest import LAYOUTS, layouts_of, make_sequence, model_of

Make = Callable[..., PackedBatch]
Pick = Callable[[PackedBatch, list[int]], PackedBatch]

# a mixture of two: 30 % "left", 70 % "right", far from standardised
CENTRES = torch.tensor([[3.0, -1.0], [7.0, 3.0]])
SPREADS = torch.tensor([0.8, 1.2])
SHARE = 0.3
CLASSES = ("left", "right")


class Mixture(Objective):
    """A parent whose codes are draws of the mixture, kept by the number in the sample's name."""

    def __init__(self, num: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.which = (torch.rand(num, generator=generator) >= SHARE).long()
        normal = torch.randn(num, 2, generator=generator)
        self.all = CENTRES[self.which] + SPREADS[self.which, None] * normal
        self.unused = nn.Parameter(torch.zeros(1))

    def rows(self, batch: PackedBatch) -> Tensor:
        return torch.tensor([int(name) for name in batch.sample_ids])

    def encode(self, batch: PackedBatch) -> Code:
        return Code(self.all[self.rows(batch)][:, None])


@pytest.fixture(scope="module")
def learnt() -> Prior:
    """A small prior after some seconds with the mixture."""
    torch.manual_seed(0)
    model = ModelConfig(bottleneck=BottleneckConfig(length=1, width=2))
    config = PriorConfig(
        width=48, num_heads=2, num_layers=2, label="class", classes=CLASSES, label_drop=0.5
    )
    parent = Mixture(4000)
    prior = Prior(config, model, parent)
    prior.prepare(parent.all[:, None])
    optimiser, num_steps = Optimiser(prior, OptimisationConfig()), 500
    for step in range(num_steps):
        rows = torch.randint(0, 4000, (256,))
        ids = tuple(str(int(i)) for i in rows)
        batch = PackedBatch(ids, {}, label=1 + parent.which[rows])
        prior(batch, Noise(0, step, ids)).total.backward()
        optimiser.step(step / num_steps)
    return prior.eval()


def parent_of(prior: Prior) -> Mixture:
    assert isinstance(prior.parent, Mixture)
    return prior.parent


@torch.no_grad()
def drawn(
    prior: Prior,
    labels: list[str | None] | None = None,
    sampler: SamplerConfig | None = None,
    guidance: float = 1.0,
) -> Tensor:
    """(4000, 2) codes."""
    ids = tuple(str(i) for i in range(1000))
    told = None if labels is None else labels * 1000
    noise = Noise(5, 0, ids)
    sampler = sampler or UniPCConfig(num_steps=20)
    codes = prior.sample_codes(1000, sampler, range(4), noise, told, guidance)
    return codes.flatten(0, 2)


def share_of_left(codes: Tensor) -> float:
    """A probe on codes: whose density is larger."""
    distance = (codes[:, None] - CENTRES).norm(dim=2) / SPREADS
    weights = torch.tensor([SHARE, 1 - SHARE])
    log_density = weights.log() - 2 * SPREADS.log() - distance**2 / 2
    return float((log_density.argmax(1) == 0).float().mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler", [UniPCConfig(num_steps=20), DDIMConfig(num_steps=100, eta=1.0)], ids=lambda s: s.kind
)
def test_a_mixture_is_recovered(learnt: Prior, sampler: SamplerConfig) -> None:
    """Its share of the left within 0.05, mean within 0.2, spread within 8 % (it is 2.1)."""
    codes, truth = drawn(learnt, sampler=sampler), parent_of(learnt).all
    assert abs(share_of_left(codes) - share_of_left(truth)) < 0.05
    assert float((codes.mean(0) - truth.mean(0)).abs().max()) < 0.2
    assert float((codes.std(0) / truth.std(0) - 1).abs().max()) < 0.08


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_each_class_is_recovered(learnt: Prior, which: int) -> None:
    """Mean within 0.15, spread within 15 % (it is 0.8 and 1.2)."""
    codes = drawn(learnt, [CLASSES[which]])
    assert float((codes.mean(0) - CENTRES[which]).abs().max()) < 0.15
    assert float((codes.std(0) / SPREADS[which] - 1).abs().max()) < 0.15


@pytest.mark.slow
def test_a_class_shifts_the_codes(learnt: Prior) -> None:
    """A probe finds the class asked for; nobody asked for is the mixture; guidance sharpens."""
    assert share_of_left(drawn(learnt, ["left"])) > 0.97
    assert share_of_left(drawn(learnt, ["right"])) < 0.03
    assert torch.equal(drawn(learnt, [None]), drawn(learnt))
    plain, guided = (drawn(learnt, ["left"], guidance=g) for g in (1.0, 3.0))
    away = [float((x - CENTRES[1]).norm(dim=1).mean()) for x in (plain, guided)]
    assert away[1] > away[0]


def small(parent: DaepConfig | VaeConfig | MmVaeConfig, **settings: object) -> Prior:
    torch.manual_seed(0)
    config = PriorConfig(width=16, num_heads=2, num_layers=1, parent_objective=parent, **settings)
    built = build_objective(config, model_of("two_stage"), layouts_of(("m",)))
    assert isinstance(built, Prior)
    return built


PARENTS = [DaepConfig(), VaeConfig(), VaeConfig(posterior="laplace"), MmVaeConfig()]


def test_standardisation_is_exact() -> None:
    prior, codes = small(DaepConfig()), torch.randn(500, 2, 3) * 7 + 3
    codes[:, 1, 1] = 4.0  # an entry that says nothing
    prior.prepare(codes)
    standard = (codes.double() - prior.mean) / prior.scale
    torch.testing.assert_close(standard.mean(0), torch.zeros(2, 3).double(), atol=1e-5, rtol=0)
    expected = torch.ones(2, 3).double()
    expected[1, 1] = 0
    torch.testing.assert_close(standard.std(0, correction=0), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("parent", PARENTS, ids=lambda p: f"{p.kind}")
def test_codes_are_the_parents(parent: VaeConfig, make_batch: Make) -> None:
    """The point, or a draw of the posterior: its mean over many draws is the point."""
    prior, batch = small(parent), make_batch([5, 9, 3])
    with torch.no_grad():
        code = prior.parent.encode(batch)
    turns = [prior.codes(batch, Noise(0, k, batch.sample_ids)) for k in range(400)]
    mean, spread = torch.stack(turns).mean(0), torch.stack(turns).std(0)
    if code.scale is None:
        assert torch.equal(turns[0], code.point)
        return
    assert float(((mean - code.point) / code.scale).abs().max()) < 5 / 20
    assert float((spread / code.scale - 1).abs().max()) < 0.3
    assert not any(p.requires_grad for p in prior.parent.parameters())


@pytest.mark.parametrize("parent", PARENTS, ids=lambda p: f"{p.kind}")
@torch.no_grad()
def test_a_draw_does_not_depend_on_its_company(
    parent: VaeConfig, make_batch: Make, pick: Pick
) -> None:
    prior, batch = small(parent), make_batch([5, 9, 3])
    sampler = DPMSolverConfig(num_steps=3)

    def draws(part: PackedBatch, num_draws: int) -> Tensor:
        found = prior.sample(part.query(), sampler, num_draws, Noise(7, 0, part.sample_ids))
        return found.values["m"]

    whole = draws(batch, 4)
    assert whole.shape == (4, 17)
    assert torch.isfinite(whole).all()
    torch.testing.assert_close(draws(batch, 2), whole[:2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(draws(pick(batch, [1]), 4), whole[:, 5:14], rtol=1e-4, atol=1e-5)
    assert float((whole[0] - whole[1]).abs().max()) > 1e-4
    assert torch.equal(draws(batch, 4), whole)


@torch.no_grad()
def test_values_cannot_leak_into_a_draw(make_batch: Make) -> None:
    prior, batch = small(DaepConfig()), make_batch([5, 9])
    how = (DPMSolverConfig(num_steps=3), 2, Noise(7, 0, batch.sample_ids))
    bare = prior.sample(batch.query(), *how).values["m"]
    assert torch.equal(prior.sample(batch, *how).values["m"], bare)


def test_many_draws_are_one_pass(make_batch: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    prior, batch = small(DaepConfig()), make_batch([5, 9])
    decode, calls = prior.parent.decode, []

    def counted(*args: Any) -> Draws:
        calls.append(args)
        return decode(*args)

    monkeypatch.setattr(prior.parent, "decode", counted)
    with torch.no_grad():
        prior.sample(batch.query(), DDIMConfig(num_steps=2), 16, Noise(7, 0, batch.sample_ids))
    assert len(calls) == 1


@torch.no_grad()
def test_two_modalities_come_of_one_code(make_batch: Make) -> None:
    torch.manual_seed(0)
    config = PriorConfig(width=16, num_heads=2, num_layers=1)
    prior = build_objective(config, model_of("two_stage"), layouts_of(("m", "n")))
    assert isinstance(prior, Prior)
    lengths = {"m": [4, 0], "n": [3, 6]}
    query = PackedBatch(
        ("a", "b"), {m: make_sequence(LAYOUTS[m], n) for m, n in lengths.items()}
    ).query()
    found = prior.sample(query, DDIMConfig(num_steps=2), 3, Noise(7, 0, ("a", "b"))).values
    assert {m: x.shape for m, x in found.items()} == {"m": (3, 4), "n": (3, 9)}
    assert all(torch.isfinite(x).all() for x in found.values())


@pytest.mark.parametrize(
    ("sampler", "labels", "guidance", "told"),
    [
        (OneStepConfig(), None, 1.0, "one_step"),
        (DDIMConfig(num_steps=2), ["SN Ia", None], 1.0, "it knows left, right"),
        (DDIMConfig(num_steps=2), ["left", None], 2.0, "label_drop"),
        (DDIMConfig(num_steps=2), None, 2.0, "name a label"),
        (DDIMConfig(num_steps=2), ["left", None], -1.0, "0 or more"),
        (DDIMConfig(num_steps=2), ["left", None], float("nan"), "0 or more"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(
    sampler: SamplerConfig,
    labels: list[str | None] | None,
    guidance: float,
    told: str,
    make_batch: Make,
) -> None:
    prior = small(DaepConfig(), label="class", classes=CLASSES, label_drop=0.0)
    query = make_batch([2, 3]).query()
    with pytest.raises(ConfigError, match=told):
        prior.sample(query, sampler, 1, Noise(0, 0, query.sample_ids), labels, guidance)
    with pytest.raises(ConfigError, match="num_heads"):
        Prior(PriorConfig(width=15), model_of("two_stage"), Objective())
