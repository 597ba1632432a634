"""The laws of the design over every registered objective: a new one is tested by being listed."""

from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from daep_ray.diffusion.samplers import (
    DDIMConfig,
    DDPMConfig,
    DPMSolverConfig,
    OneStepConfig,
    SamplerConfig,
)
from daep_ray.errors import ConfigError
from daep_ray.nn.config import ModelConfig
from daep_ray.objectives import OBJECTIVES, Code, Objective, build_objective
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise

SAMPLERS: list[SamplerConfig] = [
    DDIMConfig(num_steps=4),
    DDIMConfig(num_steps=4, eta=1.0),
    DPMSolverConfig(num_steps=4),
    OneStepConfig(),
]
LENGTHS = [5, 9, 3, 7]
Make = Callable[[list[int]], PackedBatch]
Pick = Callable[[PackedBatch, list[int]], PackedBatch]
Changed = Callable[..., PackedBatch]
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: s.kind)


def noise_of(batch: PackedBatch, turn: int = 0) -> Noise:
    return Noise(seed=7, turn=turn, sample_ids=batch.sample_ids)


def tensors(batch: PackedBatch) -> dict[str, Tensor]:
    s = batch.sequences["m"]
    return {f.name: v for f in fields(s) if isinstance(v := getattr(s, f.name), Tensor)}


@torch.no_grad()
def reconstruct(
    objective: Objective, batch: PackedBatch, sampler: SamplerConfig, num_draws: int = 2
) -> Tensor:
    code = objective.encode(batch)
    return objective.decode(code, batch.query(), sampler, num_draws, noise_of(batch)).values["m"]


def gradients(objective: Objective, batch: PackedBatch) -> dict[str, Tensor]:
    objective.zero_grad(set_to_none=True)
    objective(batch, noise_of(batch)).total.backward()
    assert all(p.grad is not None for p in objective.parameters())
    return {n: p.grad.clone() for n, p in objective.named_parameters() if p.grad is not None}


@torch.no_grad()
def test_1_a_code_depends_on_its_sample_alone(
    objective: Objective, make_batch: Make, pick: Pick
) -> None:
    batch = make_batch(LENGTHS)
    whole = objective.encode(batch).point
    for order in ([3, 1, 0, 2], [1], [2, 2, 0]):
        torch.testing.assert_close(objective.encode(pick(batch, order)).point, whole[order])


@torch.no_grad()
def test_1_a_code_ignores_the_order_of_measurements(
    objective: Objective, make_batch: Make, changed: Changed
) -> None:
    batch = make_batch(LENGTHS)
    offsets = batch.sequences["m"].offsets
    order = torch.cat([int(a) + torch.randperm(n) for a, n in zip(offsets, LENGTHS, strict=False)])
    parts = {n: tensors(batch)[n][order] for n in ("value", "error", "position", "category")}
    torch.testing.assert_close(
        objective.encode(changed(batch, **parts)).point, objective.encode(batch).point
    )


@every_sampler
def test_1_a_reconstruction_does_not_depend_on_packing(
    objective: Objective, sampler: SamplerConfig, make_batch: Make, pick: Pick
) -> None:
    batch = make_batch(LENGTHS)
    whole = reconstruct(objective, batch, sampler)
    alone = [reconstruct(objective, pick(batch, [b]), sampler) for b in range(len(LENGTHS))]
    torch.testing.assert_close(torch.cat(alone, dim=1), whole, rtol=1e-4, atol=1e-5)


def test_2_every_parameter_gets_a_gradient(objective: Objective, make_batch: Make) -> None:
    batch = make_batch([8, 20, 5, 13, 17, 4])
    dead = [n for n, g in gradients(objective, batch).items() if not g.any()]
    assert not dead


@every_sampler
def test_3_a_reconstruction_depends_on_data_through_the_code_alone(
    objective: Objective, sampler: SamplerConfig, make_batch: Make, changed: Changed
) -> None:
    batch = make_batch(LENGTHS)
    other = changed(batch, value=torch.randn(sum(LENGTHS)), error=torch.rand(sum(LENGTHS)))
    with torch.no_grad():
        code = objective.encode(batch)
        drawn = [
            objective.decode(code, query, sampler, 2, noise_of(batch)).values["m"]
            for query in (batch.query(), batch, other)
        ]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


@torch.no_grad()
def test_3_a_reconstruction_depends_on_code_and_metadata(
    objective: Objective, make_batch: Make, changed: Changed
) -> None:
    batch = make_batch(LENGTHS)
    code, query = objective.encode(batch), batch.query()
    plain = objective.decode(code, query, OneStepConfig(), 1, noise_of(batch)).values["m"]
    other = Code(code.point + 1, code.scale)
    metadata = changed(query, metadata=query.sequences["m"].metadata + 1)
    for c, q in ((other, query), (code, metadata)):
        moved = objective.decode(c, q, OneStepConfig(), 1, noise_of(batch)).values["m"]
        assert (moved - plain).abs().max() > 1e-5


@torch.no_grad()
def test_4_missing_metadata_and_absent_sequences_hold_nothing(
    objective: Objective, make_batch: Make, changed: Changed
) -> None:
    batch = make_batch([4, 0, 6])
    s = batch.sequences["m"]
    hidden = ~(s.metadata_is_known & (s.lengths > 0)[:, None])
    other = changed(
        batch,
        metadata=s.metadata.masked_fill(hidden, torch.nan),
        metadata_is_known=s.metadata_is_known | (s.lengths == 0)[:, None],
        metadata_category=s.metadata_category.masked_fill((s.lengths == 0)[:, None], 1),
    )
    assert hidden[0].any()
    assert torch.equal(objective.encode(batch).point, objective.encode(other).point)
    assert torch.equal(
        reconstruct(objective, batch, OneStepConfig()),
        reconstruct(objective, other, OneStepConfig()),
    )


def test_6_losses_of_parts_add_up(objective: Objective, make_batch: Make, pick: Pick) -> None:
    batch = make_batch(LENGTHS)
    whole = objective(batch, noise_of(batch)).terms
    parts = [pick(batch, rows) for rows in ([0, 2], [3, 1])]
    terms = [objective(part, noise_of(part)).terms for part in parts]
    for name, term in whole.items():
        torch.testing.assert_close(sum(t[name].sum for t in terms), term.sum)
        torch.testing.assert_close(sum(t[name].weight for t in terms), term.weight)


@pytest.mark.parametrize("lengths", [[], [0, 0]])
def test_6_an_empty_batch_has_no_weight_and_gives_every_parameter_a_gradient(
    objective: Objective, make_batch: Make, lengths: list[int]
) -> None:
    batch = make_batch(lengths)
    found = gradients(objective, batch)
    assert all(torch.isfinite(g).all() for g in found.values())
    assert objective(batch, noise_of(batch)).total.isfinite()
    if not lengths:
        assert all(float(t.weight) == 0 for t in objective(batch, noise_of(batch)).terms.values())
        assert not any(g.any() for g in found.values())
    assert reconstruct(objective, batch, DPMSolverConfig(num_steps=2)).shape == (2, 0)


def test_8_one_seed_one_model_one_loss(objective: Objective, make_batch: Make) -> None:
    batch = make_batch(LENGTHS)
    first, second = gradients(objective, batch), gradients(objective, batch)
    assert all(torch.equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_8_the_untrained_model_follows_from_torchs_seed(kind: str) -> None:
    def build(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        layouts = {"m": Layout("m", 1)}
        return build_objective(OBJECTIVES[kind](), ModelConfig(), layouts).state_dict()

    first, second, other = build(0), build(0), build(1)
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert any(not torch.equal(first[n], other[n]) for n in first)


@every_sampler
def test_9_a_state_dict_holds_all(
    objective: Objective, sampler: SamplerConfig, make_batch: Make
) -> None:
    batch = make_batch(LENGTHS)
    before = reconstruct(objective, batch, sampler)
    saved = {n: p.clone() for n, p in objective.state_dict().items()}
    with torch.no_grad():
        for p in objective.parameters():
            p.add_(torch.randn_like(p))
    assert not torch.equal(reconstruct(objective, batch, sampler), before)
    objective.load_state_dict(saved)
    assert torch.equal(reconstruct(objective, batch, sampler), before)


def curves(num: int, length: int, make_batch: Make, changed: Changed) -> PackedBatch:
    """Sines of different phase at random places, and no metadata to tell them apart."""
    batch = make_batch([length] * num)
    position = torch.rand(num * length, 2) * 3 - 1.5
    phase = torch.linspace(0, 5, num).repeat_interleave(length)
    return changed(
        batch,
        value=torch.sin(3 * position[:, 0] + phase),
        position=position,
        category=torch.zeros(num * length, 1, dtype=torch.long),
        metadata_is_known=torch.zeros(num, 2, dtype=torch.bool),
        metadata_category=torch.zeros(num, 1, dtype=torch.long),
    )


def test_11_overfits_eight_curves(objective: Objective, make_batch: Make, changed: Changed) -> None:
    """Mean absolute error of the mean of 8 draws below 0.15, where the curves' spread is 0.64."""
    batch = curves(8, 16, make_batch, changed)
    optimiser = torch.optim.AdamW(objective.parameters(), lr=1e-2, weight_decay=0)
    num_steps = 800
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, num_steps)
    for step in range(num_steps):
        optimiser.zero_grad()
        objective(batch, noise_of(batch, step)).total.backward()
        optimiser.step()
        schedule.step()
    drawn = reconstruct(objective, batch, DPMSolverConfig(num_steps=10), num_draws=8)
    truth = batch.sequences["m"].value
    assert truth is not None
    assert float((drawn.mean(0) - truth).abs().mean()) < 0.15
    one_step = reconstruct(objective, batch, OneStepConfig())[0]
    assert float((one_step - truth).abs().mean()) < 0.15


def test_12_inputs_are_not_modified(objective: Objective, make_batch: Make) -> None:
    batch = make_batch(LENGTHS)
    before = {n: x.clone() for n, x in tensors(batch).items()}
    objective(batch, noise_of(batch)).total.backward()
    with torch.no_grad():
        code = objective.encode(batch)
        point = code.point.clone()
        for sampler in SAMPLERS:
            objective.decode(code, batch.query(), sampler, 2, noise_of(batch))
    assert torch.equal(code.point, point)
    assert all(torch.equal(x, before[n]) for n, x in tensors(batch).items())


@every_sampler
def test_draw_k_is_the_same_whatever_is_drawn_with_it(
    objective: Objective,
    sampler: SamplerConfig,
    make_batch: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = make_batch(LENGTHS)
    five = reconstruct(objective, batch, sampler, 5)
    assert five.shape == (1 if sampler.kind == "one_step" else 5, sum(LENGTHS))
    monkeypatch.setattr("daep_ray.objectives.base.TOKENS_PER_PASS", 2 * sum(LENGTHS) + 1)
    torch.testing.assert_close(reconstruct(objective, batch, sampler, 5), five)
    torch.testing.assert_close(reconstruct(objective, batch, sampler, 2), five[:2])


def test_draws_differ(objective: Objective, make_batch: Make) -> None:
    first, second = reconstruct(objective, make_batch(LENGTHS), DDIMConfig(num_steps=3))
    assert (first - second).abs().max() > 1e-3


def test_ancestral_sampling_runs_through_the_whole_chain(make_batch: Make) -> None:
    from daep_ray.objectives.daep import DaepConfig

    layout = {"m": Layout("m", 2, (3,), 2, (3,))}
    small = ModelConfig(width=8, num_heads=1)
    objective = build_objective(DaepConfig(num_times=12), small, layout)
    assert torch.isfinite(reconstruct(objective, make_batch([3]), DDPMConfig())).all()


@pytest.mark.parametrize("kind", OBJECTIVES)
@pytest.mark.parametrize("names", [[], ["spectrum", "photometry"]])
def test_a_unimodal_objective_takes_one_modality(kind: str, names: list[str]) -> None:
    layouts = {name: Layout(name, 1) for name in names}
    with pytest.raises(ConfigError, match="one modality") as caught:
        build_objective(OBJECTIVES[kind](), ModelConfig(), layouts)
    assert "\n" not in str(caught.value)
