"""The published code's choices: independent points, unlearnt layers, its losses done directly."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Laplace, kl_divergence

from daep_ray.config import RunConfig, preset
from daep_ray.objectives import Objective, build_objective
from daep_ray.objectives.daep import Daep
from daep_ray.objectives.maep import Maep
from daep_ray.objectives.masking import choose, take
from daep_ray.objectives.vae import Vae
from daep_ray.settings import override
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise
from tests.objectives.test_objectives_mmvae import (
    LENGTHS,
    batch_of,
    loop_bound,
    mmvae,
    sample_of,
)

LAYOUTS = {"m": Layout("m", 2, category_sizes=(3,), num_metadata=2, metadata_sizes=(3,))}
HEADS = 2
Make = Callable[[list[int]], PackedBatch]
TINY = {"model.width": 16, "model.num_heads": HEADS, "model.decoder.num_latents": 5}


def build(name: str, **settings: Any) -> Objective:
    torch.manual_seed(0)
    dotted = {path.replace("__", "."): value for path, value in settings.items()}
    config: RunConfig = override(preset(f"laptop{name}"), {**TINY, **dotted})
    return build_objective(config.objective, config.model, LAYOUTS)


def noise_of(batch: PackedBatch) -> Noise:
    return Noise(3, 1, batch.sample_ids)


@pytest.mark.parametrize(("name", "is_dense"), [("", True), ("+published_code", False)])
def test_the_published_decoders_points_are_independent(
    name: str, is_dense: bool, make_batch: Make
) -> None:
    """The Jacobian of the prediction is diagonal there and dense within a sample here (D1)."""
    objective = build(name)
    assert isinstance(objective, Daep)
    batch = make_batch([5, 3])
    code = objective.encode(batch).point.detach()
    conditions = objective.decoder.condition(code, batch.sequences["m"])

    def predict(noisy: Tensor) -> Tensor:
        return objective.decoder(conditions, noisy[None], torch.tensor([0.4, 0.7]))[0]

    jacobian = torch.autograd.functional.jacobian(predict, torch.randn(8))
    inside = torch.block_diag(torch.ones(5, 5), torch.ones(3, 3)).bool()
    assert torch.equal(jacobian != 0, inside if is_dense else torch.eye(8).bool())


@pytest.mark.parametrize(
    ("name", "num_unlearnt"), [("", 0), ("+published_code", 1), ("+published_code_maep", 1)]
)
def test_only_the_last_published_layer_of_points_learns(
    name: str, num_unlearnt: int, make_batch: Make
) -> None:
    objective, batch = build(name), make_batch([8, 9, 7, 6, 8, 5])
    objective(batch, noise_of(batch)).total.backward()
    dead = {n for n, p in objective.named_parameters() if p.grad is not None and not p.grad.any()}
    parts = [f"decoder.stage.{part}_" for part in ("read", "query", "latent")]
    expected = {
        n
        for n, _ in objective.named_parameters()
        for i in range(num_unlearnt)
        if n.startswith(
            (f"{parts[0]}blocks.{i}.", f"{parts[1]}norms.{i}.", f"{parts[2]}norms.{i}.")
        )
    }
    assert dead == expected
    assert all(p.grad is not None for p in objective.parameters())


def attention(query: Tensor, context: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    """(Q, D), (N, D) -> (Q, D), head after head."""
    q = F.linear(query, w[f"{name}.to_query.weight"])
    k, v = F.linear(context, w[f"{name}.to_key_value.weight"]).chunk(2, 1)
    heads = []
    for qh, kh, vh in zip(q.chunk(HEADS, 1), k.chunk(HEADS, 1), v.chunk(HEADS, 1), strict=True):
        heads.append((qh @ kh.T / math.sqrt(qh.shape[1])).softmax(1) @ vh)
    return F.linear(torch.cat(heads, 1), w[f"{name}.to_output.weight"])


def norm(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    return F.layer_norm(x, x.shape[1:], w[f"{name}.weight"], w[f"{name}.bias"])


def think(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    hidden = F.silu(F.linear(x, w[f"{name}.0.weight"], w[f"{name}.0.bias"]))
    return F.linear(hidden, w[f"{name}.2.weight"], w[f"{name}.2.bias"])


def two_stages(front: Tensor, x: Tensor, w: dict[str, Tensor], num_layers: int) -> Tensor:
    """field: hidden = block1_i(hidden, context); h = block2_i(x, hidden), x never replaced."""
    hidden, context = w["latents"][0], norm(front, w, "front_norm")
    h = x
    for i in range(num_layers):
        block = f"latent_blocks.{i}"
        hidden = hidden + attention(
            norm(hidden, w, f"{block}.norms.0"), context, w, f"{block}.read"
        )
        normalised = norm(hidden, w, f"{block}.norms.1")
        both = w[f"{block}.mix.to_query_key_value.weight"]
        mixed = {
            "mix.to_query.weight": both[: x.shape[1]],
            "mix.to_key_value.weight": both[x.shape[1] :],
            "mix.to_output.weight": w[f"{block}.mix.to_output.weight"],
        }
        hidden = hidden + attention(normalised, normalised, mixed, "mix")
        hidden = hidden + think(norm(hidden, w, f"{block}.norms.2"), w, f"{block}.think")
        read = f"read_blocks.{i}"
        latent = norm(hidden, w, f"latent_norms.{i}")
        h = x + attention(norm(x, w, f"query_norms.{i}"), latent, w, f"{read}.read")
        h = h + think(norm(h, w, f"{read}.norm"), w, f"{read}.think")
    return h


@torch.no_grad()
def test_the_published_loss_is_that_of_its_wiring_written_down(make_batch: Make) -> None:
    """Noise predicted, one time per object, all points pooled, the points' layers not chained."""
    objective, batch = build("+published_code", model__decoder__num_layers=3), make_batch([5, 3])
    assert isinstance(objective, Daep)
    sequence, noise, decoder = batch.sequences["m"], noise_of(batch), objective.decoder
    assert sequence.value is not None
    code, weights = objective.encode(batch).point, decoder.stage.state_dict()
    metadata = decoder.tokenizer.metadata(sequence)
    assert metadata is not None
    assert decoder.time is not None
    # as published: betas 1e-4 .. 0.02, t a whole number below 1000
    abar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).float()
    times = (noise.uniform("time") * 1000).long()
    epsilon = noise.normal("epsilon", sequence.offsets)
    place, squared = decoder.tokenizer.place(sequence), []
    for b, (start, end) in enumerate([(0, 5), (5, 8)]):
        a, e = abar[times[b]], epsilon[start:end]
        noisy = a.sqrt() * sequence.value[start:end] + (1 - a).sqrt() * e
        time = decoder.time(times[b : b + 1] / 1000)
        front = torch.cat([decoder.code(code[b]) + decoder.code_place[0], metadata[b], time])
        assert decoder.tokenizer.value is not None
        x = place[start:end] + noisy[:, None] * decoder.tokenizer.value[0]
        out = decoder.output(decoder.output_norm(two_stages(front, x, weights, 3)))[:, 0]
        squared.append((out - e) ** 2)
    torch.testing.assert_close(objective(batch, noise).total, torch.cat(squared).mean())


@torch.no_grad()
def test_the_published_masked_loss_is_over_all_points(make_batch: Make) -> None:
    objective, batch = build("+published_code_maep"), make_batch([9, 6])
    assert isinstance(objective, Maep)
    sequence, noise = batch.sequences["m"], noise_of(batch)
    assert sequence.value is not None
    hidden = choose(sequence, 0.75, noise, "mask", "bernoulli")
    code = objective.encoder(take(sequence, ~hidden))
    said = objective.decoder.fill(
        objective.decoder.condition(code, sequence),
        sequence.value,
        hidden,
        torch.ones_like(hidden),
    )
    expected = F.mse_loss(said, sequence.value)
    torch.testing.assert_close(objective(batch, noise).total, expected)


@torch.no_grad()
def test_the_published_vae_loss_is_its_elbo(make_batch: Make) -> None:
    """L1 summed over points, Laplace KL in closed form: ours is per point, times beta (D14)."""
    objective, batch = build("+published_code_vae"), make_batch([9, 6])
    assert isinstance(objective, Vae)
    sequence, noise = batch.sequences["m"], noise_of(batch)
    assert sequence.value is not None
    code = objective.encode(batch)
    assert code.scale is not None
    posterior = Laplace(code.point, code.scale / math.sqrt(2))
    kl = kl_divergence(posterior, Laplace(0.0, 1.0)).sum()
    z = objective._draw(code, noise)
    out = objective.decoder(objective.decoder.condition(z, sequence))[0]
    # log Laplace(x; out, 1) = -|x - out| - log 2, the constant left out
    published = (out - sequence.value).abs().sum() / 0.1 + kl
    torch.testing.assert_close(objective(batch, noise).total, 0.1 * published / 15)


@torch.no_grad()
def test_the_published_mixture_loss_is_its_pooled_bound() -> None:
    """Laplace throughout, K 2, both experts inside the logarithm, against a loop over draws."""
    config: RunConfig = override(preset("laptop+published_code_mmvae"), TINY)
    settings = config.objective.model_dump(exclude={"kind"})
    assert (settings["num_draws"], settings["beta"], settings["bound"]) == (2, 1.0, "pooled")
    objective = mmvae(config.model, **settings)
    batch = batch_of(LENGTHS)
    noise = noise_of(batch)
    each = [
        loop_bound(objective, sample_of(batch, i), replace(noise, sample_ids=(name,)))
        for i, name in enumerate(batch.sample_ids)
    ]
    expected = -sum(bound for bound, _ in each) / sum(weight for _, weight in each)
    torch.testing.assert_close(float(objective(batch, noise).total), expected, rtol=1e-4, atol=1e-5)


def test_positions_are_the_published_sinusoids() -> None:
    """w_k = 10000^(-k / D), D = 128 (D20), and the VAE's have no MLP (D18)."""
    daep, vae = build("+published_code"), build("+published_code_vae")
    assert isinstance(daep, Daep)
    assert isinstance(vae, Vae)
    expected = 10_000 ** (-torch.arange(128, dtype=torch.float64) / 128)
    found = daep.encoder.tokenizer.sinusoids.frequencies
    torch.testing.assert_close(found, expected.float().expand(2, -1), rtol=1e-5, atol=0)
    assert isinstance(daep.encoder.tokenizer.position, torch.nn.Sequential)
    assert isinstance(vae.encoder.tokenizer.position, torch.nn.Linear)
