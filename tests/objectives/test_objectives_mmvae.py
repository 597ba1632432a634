"""mmVAE: its bounds against a loop and an integral, and the VAE that one modality makes it."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from torch import Tensor
from torch.distributions import Laplace, Normal, kl_divergence

from daep_ray.diffusion.samplers import DDIMConfig, OneStepConfig
from daep_ray.errors import ConfigError
from daep_ray.nn.config import BottleneckConfig, ModelConfig
from daep_ray.objectives import build_objective
from daep_ray.objectives.base import Code
from daep_ray.objectives.experts import Experts
from daep_ray.objectives.mmvae import MmVae, MmVaeConfig, outside, picked, pooled
from daep_ray.objectives.vae import Vae, VaeConfig
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.noise import Noise
from tests.objectives.conftest import LAYOUTS, make_sequence, model_of, pick_sequence

NAMES = ("m", "n")
LENGTHS = {"m": [5, 0, 9, 4], "n": [3, 2, 0, 6]}  # both, one, the other, both
patterns = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5)


def mmvae(model: ModelConfig | None = None, names: tuple[str, ...] = NAMES, **settings: object):
    torch.manual_seed(0)
    layouts = {m: LAYOUTS[m] for m in names}
    objective = build_objective(MmVaeConfig(**settings), model or model_of("two_stage"), layouts)
    assert isinstance(objective, MmVae)
    with torch.no_grad():
        for m in names:  # decoders that say something: an untrained one is nearly silent
            objective.decoder(m).output.weight.mul_(10)
    return objective


def batch_of(lengths: dict[str, list[int]]) -> PackedBatch:
    torch.manual_seed(1)
    num = len(next(iter(lengths.values())))
    ids = tuple(f"sample{i}" for i in range(num))
    return PackedBatch(ids, {m: make_sequence(LAYOUTS[m], n) for m, n in lengths.items()})


def sample_of(batch: PackedBatch, i: int) -> PackedBatch:
    sequences = {m: pick_sequence(s, [i]) for m, s in batch.sequences.items()}
    return PackedBatch((batch.sample_ids[i],), sequences)


def family_of(name: str) -> Callable[[Tensor, Tensor], Normal | Laplace]:
    """A distribution by its mean and standard deviation."""
    return Normal if name == "gaussian" else lambda mean, sd: Laplace(mean, sd / 2**0.5)


def loop_bound(objective: MmVae, one: PackedBatch, noise: Noise) -> tuple[float, float]:
    """(bound x beta, weighted number of points) of one sample, draw after draw, as defined."""
    config = objective.config
    family = family_of(config.posterior)
    prior = family(torch.zeros(()), torch.tensor(1.0 if config.posterior == "gaussian" else 2**0.5))
    present = [m for m in objective.modalities if one.sequences[m].num_tokens]
    if not present:
        return 0.0, 0.0
    code = objective.encode(one)
    assert code.experts is not None
    of = {
        m: family(code.experts.mean[0, e], code.experts.scale[0, e])
        for e, m in enumerate(objective.modalities)
    }
    number = {m: one.sequences[m].num_tokens for m in present}
    if config.point_weight == "longest":
        s = {m: max(number.values()) / number[m] for m in present}
    else:
        given = config.point_weight if isinstance(config.point_weight, dict) else {}
        s = {m: given.get(m, 1.0) for m in present}
    whole = sum(s[m] * number[m] for m in present)
    divisor = whole if config.reduction == "mean" else 1.0

    shape = (config.num_draws, len(objective.modalities), *objective.code_shape)
    unit = noise.normal_per_sample("posterior", *shape)[0]
    if config.posterior == "laplace":
        unit = Laplace(0.0, 2**-0.5).icdf(Normal(0.0, 1.0).cdf(unit.double())).float()
    log_weights: dict[str, list[float]] = {m: [] for m in present}
    for e, m in enumerate(objective.modalities):
        for k in range(config.num_draws if m in present else 0):
            z = of[m].mean + of[m].stddev * unit[k, e]
            told = objective.decode(Code(z[None]), one.query(), OneStepConfig(), 1, noise).values
            likelihood = 0.0
            for d in present:
                r = told[d][0] - one.sequences[d].value
                each = 0.5 * r**2 if config.likelihood == "gaussian" else r.abs()
                likelihood -= float(s[d] * each.sum()) / divisor
            of_z = {d: float(of[d].log_prob(z).sum()) for d in present}
            mixture = math.log(sum(math.exp(x - of_z[m]) for x in of_z.values()) / len(present))
            ratio = float(prior.log_prob(z).sum()) - of_z[m] - mixture
            alone = 1 if config.bound == "outside" else len(present)
            if config.num_draws * alone == 1:
                ratio = -float(kl_divergence(of[m], prior).sum()) - mixture
            log_weights[m].append(likelihood / config.beta + ratio)

    def log_mean(values: list[float]) -> float:
        top = max(values)
        return top + math.log(sum(math.exp(v - top) for v in values) / len(values))

    if config.bound == "pooled":
        bound = log_mean([w for ws in log_weights.values() for w in ws])
    else:
        bound = sum(log_mean(ws) for ws in log_weights.values()) / len(present)
    return config.beta * bound, whole if config.reduction == "sum" else 1.0


@pytest.mark.parametrize("bound", ["outside", "pooled"])
@pytest.mark.parametrize("num_draws", [1, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"beta": 1.0, "point_weight": "equal"},
        {"likelihood": "laplace", "posterior": "laplace", "point_weight": {"n": 3.5}},
        {"reduction": "mean", "beta": 0.4},
    ],
    ids=["default", "evidence", "published", "mean"],
)
@torch.no_grad()
def test_the_loss_is_the_bound_of_each_object(bound: str, num_draws: int, settings: dict) -> None:
    objective = mmvae(bound=bound, num_draws=num_draws, **settings)
    batch = batch_of(LENGTHS)
    noise = Noise(3, 1, batch.sample_ids)
    term = objective(batch, noise).terms["bound"]
    parts = [
        loop_bound(objective, sample_of(batch, i), replace(noise, sample_ids=(name,)))
        for i, name in enumerate(batch.sample_ids)
    ]
    expected = torch.tensor(parts, dtype=torch.float32).sum(0)
    torch.testing.assert_close(term.sum, -expected[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(term.weight, expected[1])


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace"])
@pytest.mark.parametrize("posterior", ["gaussian", "laplace"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("bound", ["outside", "pooled"])
def test_with_one_modality_and_one_draw_it_is_the_vae(
    likelihood: str, posterior: str, reduction: str, bound: str
) -> None:
    """Loss, every gradient, code and draws."""
    common = {"likelihood": likelihood, "posterior": posterior, "reduction": reduction, "beta": 0.3}
    layouts = {"m": LAYOUTS["m"]}
    mixture = MmVae(MmVaeConfig(num_draws=1, bound=bound, **common), model_of("two_stage"), layouts)
    vae = Vae(VaeConfig(**common), model_of("two_stage"), layouts)
    vae.encoder.load_state_dict(mixture.encoders["m"].state_dict())
    vae.decoder.load_state_dict(mixture.decoder("m").state_dict())
    batch = batch_of({"m": [5, 3, 8]})
    noise = Noise(0, 4, batch.sample_ids)
    totals = [objective(batch, noise).total for objective in (mixture, vae)]
    torch.testing.assert_close(*totals)
    for total in totals:
        total.backward()
    ours = {n.replace("coders.m", "coder"): p.grad for n, p in mixture.named_parameters()}
    torch.testing.assert_close(ours, {n: p.grad for n, p in vae.named_parameters()})
    with torch.no_grad():
        codes = [objective.encode(batch) for objective in (mixture, vae)]
        torch.testing.assert_close(codes[0].point, codes[1].point)
        torch.testing.assert_close(codes[0].scale, codes[1].scale)
        for sampler in (DDIMConfig(), OneStepConfig()):
            drawn = [
                objective.decode(code, batch.query(), sampler, 3, noise).values["m"]
                for objective, code in zip((mixture, vae), codes, strict=True)
            ]
            torch.testing.assert_close(*drawn)


def repeated(one: PackedBatch, num: int) -> PackedBatch:
    """The same sample under other names."""
    copies = torch.zeros(num, dtype=torch.long)
    ids = tuple(f"copy{i}" for i in range(num))
    return PackedBatch(ids, {m: picked(s, copies) for m, s in one.sequences.items()})


@torch.no_grad()
def bounds(objective: MmVae, one: PackedBatch, num: int) -> tuple[float, float]:
    """Mean of the bound of one sample over `num` draws of the noise, and its standard error."""
    terms = []
    for turn in range(20):
        batch = repeated(one, num // 20)
        terms.append(objective(batch, Noise(9, turn, batch.sample_ids)).terms["bound"].sum)
    found = -torch.stack(terms).double() / objective.config.beta / (num // 20)
    return float(found.mean()), float(found.std()) / len(found) ** 0.5


def tiny_model() -> ModelConfig:
    return model_of("single_stage").model_copy(
        update={"bottleneck": BottleneckConfig(length=1, width=1)}
    )


@torch.no_grad()
def limits(objective: MmVae, one: PackedBatch) -> dict[str, float]:
    """What endless draws give, by the trapezoidal rule over a code of one number.

    `pooled`: log p(X). `outside`: the mean over experts r of log of the integral of
    p(z) p(X | z) q_r(z) / q(z | X), which is log p(X) only where the experts agree.
    """
    z = torch.linspace(-7, 7, 1401)
    many = repeated(one, len(z))
    noise = Noise(0, 0, many.sample_ids)
    told = objective.decode(Code(z[:, None, None]), many.query(), OneStepConfig(), 1, noise).values
    total = Normal(0.0, 1.0).log_prob(z).double()
    for m, s in many.sequences.items():
        assert s.value is not None
        total = total - (0.5 * (told[m][0] - s.value) ** 2).view(len(z), -1).sum(1).double()
    experts = objective.encode(one).experts
    assert experts is not None
    each = Normal(experts.mean.view(2, 1), experts.scale.view(2, 1)).log_prob(z).double()
    of_expert = total + each - (each.logsumexp(0) - math.log(2))
    step = math.log(float(z[1] - z[0]))
    return {
        "pooled": float(total.logsumexp(0)) + step,
        "outside": float(of_expert.logsumexp(1).mean()) + step,
    }


@pytest.mark.parametrize("bound", ["outside", "pooled"])
def test_the_bound_rises_with_draws_towards_its_limit(bound: str) -> None:
    """Each step up is above 4 standard errors, the last is 0.02 nats from the limit at most, and
    the limits are the evidence (pooled) and below it (outside, by 0.11 nats here)."""
    one, found = batch_of({"m": [6], "n": [4]}), []
    for num_draws, num in ((1, 2000), (4, 2000), (128, 400)):
        objective = mmvae(
            tiny_model(), bound=bound, num_draws=num_draws, beta=1.0, point_weight="equal"
        )
        found.append(bounds(objective, one, num))
    for (low, its), (high, error) in pairwise(found):
        assert high - low > 4 * math.hypot(its, error)
    exact = limits(objective, one)
    assert found[-1][0] == pytest.approx(exact[bound], abs=0.02)
    assert all(mean < exact[bound] + 4 * error for mean, error in found)
    assert exact["pooled"] - exact["outside"] == pytest.approx(0.11, abs=0.01)


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(present=st.lists(st.sampled_from([(1, 0), (0, 1), (1, 1)]), max_size=5))
def test_pooled_is_never_below_outside(present: list[tuple[int, int]]) -> None:
    is_present = torch.tensor(present, dtype=torch.bool).reshape(-1, 2)
    nothing = torch.zeros(len(present), 2, 1, 1)
    experts = Experts("gaussian", nothing, nothing + 1, is_present)
    sample, expert = is_present.nonzero(as_tuple=True)
    log_weight = 5 * torch.randn(3, len(sample))
    tight = pooled(log_weight, experts, sample, expert)
    loose = outside(log_weight, experts, sample, expert)
    assert (tight >= loose - 1e-4).all()
    single = experts.num_present == 1
    torch.testing.assert_close(tight[single], loose[single])


@pytest.mark.parametrize("family", ["gaussian", "laplace"])
def test_what_is_taken_in_closed_form_has_the_sampled_expectation(family: str) -> None:
    """E log p(z) - log q(z | X) over 20,000 draws of each expert, within 4 standard errors; the
    closed form is also the sharper one."""
    objective = mmvae(num_draws=20_000, posterior=family)
    experts = objective.encode(batch_of({"m": [5], "n": [4]})).experts
    assert experts is not None
    sample, expert = experts.is_present.nonzero(as_tuple=True)
    z = objective._codes(experts, sample, expert, Noise(0, 0, ("sample0",)))
    sampled = objective._prior_ratio(z, experts, sample, expert).double()
    once = mmvae(num_draws=1, posterior=family)
    closed = once._prior_ratio(z, experts, sample, expert).double()
    difference = (sampled - closed).detach()
    error = difference.std(0) / len(z) ** 0.5
    assert (error > 0).all()
    assert (difference.mean(0).abs() < 4 * error).all()
    assert (closed.std(0) < sampled.std(0)).all()


@pytest.mark.parametrize("bound", ["outside", "pooled"])
@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(lengths=patterns)
def test_any_presence_pattern_adds_up(bound: str, lengths: list[tuple[int, int]]) -> None:
    """The batch's sums are those of its samples, whatever an absent modality's fields hold, and
    every gradient is finite; of a modality that nobody has it is 0."""
    objective = mmvae(bound=bound)
    batch = batch_of({m: [p[i] for p in lengths] for i, m in enumerate(NAMES)})
    objective(batch, Noise(0, 0, batch.sample_ids)).total.backward()
    for name, p in objective.named_parameters():
        assert p.grad is not None
        assert torch.isfinite(p.grad).all()
        here = name.split(".")[1]
        if not batch.sequences[here].num_tokens:
            assert not p.grad.any()
    other = batch
    for m, s in batch.sequences.items():
        is_absent = (s.lengths == 0)[:, None]
        known = s.metadata_is_known | is_absent
        strange = replace(
            s, metadata=s.metadata.masked_fill(is_absent, torch.nan), metadata_is_known=known
        )
        other = replace(other, sequences={**other.sequences, m: strange})
    with torch.no_grad():
        terms = [objective(b, Noise(0, 0, b.sample_ids)).terms["bound"] for b in (batch, other)]
        ones = [sample_of(batch, i) for i in range(len(lengths))]
        parts = [objective(b, Noise(0, 0, b.sample_ids)).terms["bound"] for b in ones]
    assert torch.equal(terms[0].sum, terms[1].sum)
    torch.testing.assert_close(sum(p.sum for p in parts), terms[0].sum, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sum(p.weight for p in parts), terms[0].weight)


@torch.no_grad()
def test_the_weight_of_points() -> None:
    lengths = torch.tensor([[60, 1000], [60, 0], [0, 0]])
    for point_weight, expected, whole in (
        ("longest", [1000 / 60, 1.0], 2060.0),
        ("equal", [1.0, 1.0], 1120.0),
        ({"m": 4.0}, [4.0, 1.0], 1480.0),
    ):
        of_point, weight = mmvae(point_weight=point_weight)._weights(lengths)
        torch.testing.assert_close(of_point[0], torch.tensor(expected))
        assert float(weight) == pytest.approx(whole)
        mean = mmvae(point_weight=point_weight, reduction="mean")
        of_point, weight = mean._weights(lengths)
        torch.testing.assert_close((of_point * lengths).sum(1), torch.tensor([1.0, 1.0, 0.0]))
        assert float(weight) == 2
        assert float(of_point[0, 0] / of_point[0, 1]) == pytest.approx(expected[0] / expected[1])


def test_a_weight_of_an_unknown_modality_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'spectrum'.*weights of m, n"):
        mmvae(point_weight={"spectrum": 2.0})
    with pytest.raises(ConfigError, match="point_weight"):
        MmVaeConfig.parse({"kind": "mmvae", "point_weight": {"m": -1.0}})
