"""The analytic count against torch's own counter (its fused attention is switched off)."""

from collections.abc import Callable

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from daep_ray.nn import cost
from daep_ray.nn.code import CodeDenoiser
from daep_ray.nn.config import (
    BottleneckConfig,
    DecoderConfig,
    EncoderConfig,
    MixerConfig,
    ModelConfig,
    OneStageEncoderConfig,
    SingleStageDecoderConfig,
    TokenizerConfig,
    TwoStageDecoderConfig,
    TwoStageEncoderConfig,
)
from daep_ray.nn.decoder import Decoder, MaskedDecoder
from daep_ray.nn.mixer import Mixer, modality_encoder
from daep_ray.nn.perceiver import Encoder
from daep_ray.objectives import build_objective
from daep_ray.objectives.contrastive import ContrastiveConfig
from daep_ray.objectives.daep import DaepConfig
from daep_ray.objectives.maep import Maep, MaepConfig
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise

LAYOUT = Layout("m", 2, category_sizes=(3,), num_metadata=1, metadata_sizes=(4,))
LENGTHS = [50, 50, 50]
ENCODERS = [
    OneStageEncoderConfig(num_layers=2),
    TwoStageEncoderConfig(num_layers=1, num_latents=6),
    TwoStageEncoderConfig(num_layers=3, num_latents=6, is_shared=True),
]
DECODERS = [
    TwoStageDecoderConfig(num_layers=2, num_latents=5),
    TwoStageDecoderConfig(num_layers=1, num_latents=70, reads_noisy=False),
    SingleStageDecoderConfig(num_layers=2),
    TwoStageDecoderConfig(num_layers=3, num_latents=5, is_shared=True, time="adaln"),
    TwoStageDecoderConfig(num_layers=3, num_latents=5, reads_noisy=False, is_chained=False),
    SingleStageDecoderConfig(num_layers=2, is_shared=True, time="adaln"),
]


@pytest.mark.parametrize("tokenizer", [TokenizerConfig(), TokenizerConfig(has_mlp=False)])
@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda c: c.kind)
def test_encoding(
    encoder: EncoderConfig, tokenizer: TokenizerConfig, make_sequence: Callable
) -> None:
    model = ModelConfig(width=32, num_heads=4, encoder=encoder, tokenizer=tokenizer)
    module, sequence = Encoder(model, LAYOUT, 3), make_sequence(LENGTHS, LAYOUT)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        module(sequence)
    ours = cost.encode_flops(model, {"m": LAYOUT}, {"m": LENGTHS}, 3)
    assert ours.total == counter.get_total_flops()


@pytest.mark.parametrize("is_noisy", [True, False])
@pytest.mark.parametrize("decoder", DECODERS, ids=lambda c: c.kind)
def test_conditioning_and_denoising(
    decoder: DecoderConfig, is_noisy: bool, make_sequence: Callable
) -> None:
    model = ModelConfig(width=32, num_heads=4, feedforward_ratio=2.0, decoder=decoder)
    module, query = Decoder(model, LAYOUT, is_noisy), make_sequence(LENGTHS, LAYOUT)
    code = torch.randn(3, model.bottleneck.length, model.bottleneck.width)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        conditions = module.condition(code, query)
    ours = cost.condition_flops(model, {"m": LAYOUT}, {"m": LENGTHS})
    assert ours.total == counter.get_total_flops()
    assert ours.attention == 0
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        module(conditions, torch.randn(1, 150), torch.rand(3)) if is_noisy else module(conditions)
    ours = cost.denoise_flops(model, {"m": LAYOUT}, {"m": LENGTHS}, is_noisy)
    assert ours.total == counter.get_total_flops()


def test_linear_and_attention_apart(make_sequence: Callable) -> None:
    """The counter does not see the CPU's fused attention: what it sees is `linear`."""
    model = ModelConfig(width=32, num_heads=4, decoder=DECODERS[0])
    module, query = Decoder(model, LAYOUT, True), make_sequence(LENGTHS, LAYOUT)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        conditions = module.condition(torch.randn(3, 4, 4), query)
        module(conditions, torch.randn(1, 150), torch.rand(3))
    layouts, lengths = {"m": LAYOUT}, {"m": LENGTHS}
    ours = cost.condition_flops(model, layouts, lengths)
    ours += cost.denoise_flops(model, layouts, lengths)
    assert ours.attention > 0
    assert ours.linear == counter.get_total_flops()


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda c: c.kind)
def test_filling_what_is_hidden(decoder: DecoderConfig, make_sequence: Callable) -> None:
    model = ModelConfig(width=32, num_heads=4, feedforward_ratio=2.0, decoder=decoder)
    module, query = MaskedDecoder(model, LAYOUT), make_sequence(LENGTHS, LAYOUT)
    hidden = torch.arange(150) % 50 >= 10
    with torch.no_grad():
        conditions = module.condition(torch.randn(3, 4, 4), query)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        module.fill(conditions, torch.randn(150), hidden, hidden)
    layouts, lengths, visible = {"m": LAYOUT}, {"m": LENGTHS}, {"m": [10, 10, 10]}
    assert cost.fill_flops(model, layouts, lengths, visible).total == counter.get_total_flops()


def test_a_step_of_a_masked_autoencoder(make_sequence: Callable) -> None:
    """The forward pass of `Maep` itself, of which training is three."""
    model = ModelConfig(width=32, num_heads=4)
    objective = Maep(MaepConfig(mask_ratio=0.8), model, {"m": LAYOUT})
    batch = PackedBatch(("a", "b", "c"), {"m": make_sequence(LENGTHS, LAYOUT)})
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        objective(batch, Noise(0, 0, batch.sample_ids))
    lengths, visible = {"m": LENGTHS}, {"m": [10, 10, 10]}
    ours = cost.masked_training_flops(model, {"m": LAYOUT}, lengths, visible)
    assert ours.total == 3 * counter.get_total_flops()


@pytest.mark.parametrize("weight", [None, 0.5], ids=["contrastive", "hybrid"])
def test_a_step_that_compares_modalities(weight: float | None, make_sequence: Callable) -> None:
    """The forward pass of the objective itself, every sample complete and of even length."""
    model, layouts = ModelConfig(width=32, num_heads=4), {"m": LAYOUT, "n": Layout("n", 1)}
    lengths = {"m": [50, 50, 50], "n": [20, 20, 20]}
    config = ContrastiveConfig() if weight is None else DaepConfig(contrastive_weight=weight)
    objective = build_objective(config, model, layouts)
    batch = PackedBatch(
        ("a", "b", "c"), {m: make_sequence(lengths[m], layouts[m]) for m in layouts}
    )
    # a pattern in which no modality is dropped: the count is of a step that reads all
    noise = next(
        n
        for step in range(100)
        if (n := Noise(0, 0, batch.sample_ids, step=step))
        and all(n.within(m).uniform_of_step("drop") > 0.2 for m in layouts)
    )
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        objective(batch, noise)
    count = cost.contrastive_training_flops if weight is None else cost.compared_training_flops
    assert count(model, layouts, lengths, (16, 8)).total == 3 * counter.get_total_flops()


def test_training_is_three_forward_passes() -> None:
    model, layouts, lengths = ModelConfig(), {"m": LAYOUT}, {"m": [7, 20]}
    forward = (
        cost.encode_flops(model, layouts, lengths)
        + cost.condition_flops(model, layouts, lengths)
        + cost.denoise_flops(model, layouts, lengths)
    )
    assert cost.training_flops(model, layouts, lengths).total == pytest.approx(3 * forward.total)


@pytest.mark.parametrize("context_mixes", [True, False])
@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda c: c.kind)
def test_encoding_several_modalities(
    encoder: EncoderConfig, context_mixes: bool, make_sequence: Callable
) -> None:
    """Even lengths, so that no padding is computed; the counter sees every sample complete."""
    mixer = MixerConfig(num_layers=2, num_tokens=5, context_mixes=context_mixes)
    model = ModelConfig(width=32, num_heads=4, encoder=encoder, mixer=mixer)
    layouts = {"m": LAYOUT, "n": Layout("n", 1)}
    lengths = {"m": [50, 50, 50], "n": [20, 20, 20]}
    encoders = {m: modality_encoder(model, layout) for m, layout in layouts.items()}
    module = Mixer(model, tuple(layouts))
    sequences = {m: make_sequence(lengths[m], layouts[m]) for m in layouts}
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        tokens = {m: encoders[m](sequences[m]) for m in layouts}
        module(tokens, torch.ones(3, 2, dtype=torch.bool))
    assert cost.encode_flops(model, layouts, lengths).total == counter.get_total_flops()


def test_an_absent_modality_is_not_mixed() -> None:
    model, layouts = ModelConfig(), {"m": LAYOUT, "n": Layout("n", 1)}
    both = cost.encode_flops(model, layouts, {"m": [9, 9], "n": [7, 7]})
    one = cost.encode_flops(model, layouts, {"m": [9, 9], "n": [7, 0]})
    assert one.linear < both.linear
    assert one.attention < both.attention


def test_denoising_codes() -> None:
    bottleneck = BottleneckConfig(length=3, width=5)
    module = CodeDenoiser(bottleneck, width=32, num_heads=4, num_layers=2, num_labels=2)
    code, time, label = torch.randn(7, 3, 5), torch.rand(7), torch.ones(7, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        module(code, time, label)
    assert cost.code_denoise_flops(bottleneck, 32, 2, 7).total == counter.get_total_flops()
