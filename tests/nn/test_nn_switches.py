"""Switches of encoder and decoder: what each changes, and that it changes nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from daep_ray.nn import cost
from daep_ray.nn.config import (
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    OneStageEncoderConfig,
    SingleStageDecoderConfig,
    TokenizerConfig,
    TwoStageDecoderConfig,
    TwoStageEncoderConfig,
)
from daep_ray.nn.decoder import Decoder
from daep_ray.nn.perceiver import Encoder
from daep_ray.stream.batch import Layout, PackedSequence

LAYOUT = Layout("m", 2, category_sizes=(3,), num_metadata=1, metadata_sizes=(4,))
Make = Callable[[list[int], Layout], PackedSequence]


def model_of(
    encoder: EncoderConfig | None = None,
    decoder: DecoderConfig | None = None,
    tokenizer: TokenizerConfig | None = None,
) -> ModelConfig:
    return ModelConfig(
        width=16,
        num_heads=2,
        encoder=encoder or OneStageEncoderConfig(num_layers=3),
        decoder=decoder or TwoStageDecoderConfig(num_layers=3, num_latents=4),
        tokenizer=tokenizer or TokenizerConfig(),
    )


def encoder_of(model: ModelConfig) -> Encoder:
    torch.manual_seed(0)
    return Encoder(model, LAYOUT, 3)


def decoder_of(decoder: DecoderConfig) -> Decoder:
    torch.manual_seed(0)
    return Decoder(model_of(decoder=decoder), LAYOUT, is_noisy=True)


def num_parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def predict(decoder: Decoder, query: PackedSequence, noisy: Tensor, time: list[float]) -> Tensor:
    code = torch.ones(len(query.lengths), 4, 4)
    return decoder(decoder.condition(code, query), noisy[None], torch.tensor(time))[0]


@pytest.mark.parametrize("kind", [OneStageEncoderConfig, TwoStageEncoderConfig])
@torch.no_grad()
def test_shared_blocks_of_an_encoder_are_equal_blocks(kind: type, make_sequence: Make) -> None:
    """The same code as from separate blocks with the same weights, with one layer's parameters."""
    shared = encoder_of(model_of(kind(num_layers=3, is_shared=True)))
    apart = encoder_of(model_of(kind(num_layers=3)))
    one = encoder_of(model_of(kind(num_layers=1)))
    state = shared.state_dict()
    of_blocks = {n: x for n, x in state.items() if n.startswith("blocks.0.")}
    for i in (1, 2):
        state |= {n.replace("blocks.0.", f"blocks.{i}."): x for n, x in of_blocks.items()}
    apart.load_state_dict(state)
    sequence = make_sequence([5, 3], LAYOUT)
    assert torch.equal(shared(sequence), apart(sequence))
    assert num_parameters(shared) == num_parameters(one) < num_parameters(apart)


@pytest.mark.parametrize("kind", [SingleStageDecoderConfig, TwoStageDecoderConfig])
@torch.no_grad()
def test_shared_blocks_of_a_decoder_are_equal_blocks(kind: type, make_sequence: Make) -> None:
    shared = decoder_of(kind(num_layers=3, is_shared=True))
    apart = decoder_of(kind(num_layers=3))
    state = shared.state_dict()
    for name in apart.state_dict():
        *head, number, tail = name.split(".", 3) if name.startswith("stage.") else (name, "", "")
        if name not in state:
            # single stage has two norms a layer
            first = int(number) % 2 if head[1] == "norms" else 0
            state[name] = state[".".join([*head, str(first), tail])]
    apart.load_state_dict(state)
    query, noisy = make_sequence([5, 3], LAYOUT), torch.randn(8)
    found = [predict(d, query, noisy, [0.2, 0.9]) for d in (shared, apart)]
    assert torch.equal(*found)
    assert num_parameters(shared) == num_parameters(decoder_of(kind(num_layers=1)))


@pytest.mark.parametrize("kind", [SingleStageDecoderConfig, TwoStageDecoderConfig])
@torch.no_grad()
def test_adaln_without_its_weights_forgets_the_time(kind: type, make_sequence: Make) -> None:
    """The time reaches the answer through the norms alone, each sample its own."""
    decoder = decoder_of(kind(num_layers=2, time="adaln"))
    query, noisy = make_sequence([5, 3], LAYOUT), torch.randn(8)
    early, late = (predict(decoder, query, noisy, [t, 0.5]) for t in (0.1, 0.9))
    assert (early[:5] - late[:5]).abs().min() > 0
    assert torch.equal(early[5:], late[5:])
    for name, parameter in decoder.named_parameters():
        if "modulation" in name:
            parameter.zero_()
    early, late = (predict(decoder, query, noisy, [t, 0.5]) for t in (0.1, 0.9))
    assert torch.equal(early, late)


@torch.no_grad()
def test_one_time_for_all_is_the_same_time_for_each(make_sequence: Make) -> None:
    decoder = decoder_of(TwoStageDecoderConfig(num_layers=2, num_latents=4, time="adaln"))
    query, noisy = make_sequence([5, 3], LAYOUT), torch.randn(8)
    each, once = (predict(decoder, query, noisy, t) for t in ([0.3, 0.3], [0.3]))
    torch.testing.assert_close(each, once)


def test_layers_that_do_not_chain_leave_all_but_the_last_unlearnt(make_sequence: Make) -> None:
    """In the published wiring (D2) these and no others have no part in the answer."""
    config = TwoStageDecoderConfig(num_layers=3, num_latents=4, reads_noisy=False, is_chained=False)
    dead = dead_parameters(decoder_of(config), make_sequence)
    layers = {".".join(name.split(".")[1:3]) for name in dead}
    parts = ("read_blocks", "query_norms", "latent_norms")
    assert layers == {f"{part}.{i}" for part in parts for i in (0, 1)}
    chained = decoder_of(config.model_copy(update={"is_chained": True}))
    assert not dead_parameters(chained, make_sequence)
    assert num_parameters(chained) == num_parameters(decoder_of(config))


def dead_parameters(decoder: Decoder, make_sequence: Make) -> list[str]:
    """Parameters whose gradient is zero; none may lack one."""
    query = make_sequence([9, 7, 5, 8], LAYOUT)
    query = replace(query, category=torch.arange(29)[:, None] % 3)
    query = replace(query, metadata_category=torch.arange(4)[:, None])
    query.metadata_is_known[0] = False
    predict(decoder, query, torch.randn(29), [0.1, 0.4, 0.6, 0.9]).square().sum().backward()
    assert all(p.grad is not None for p in decoder.parameters())
    return [n for n, p in decoder.named_parameters() if p.grad is not None and not p.grad.any()]


@torch.no_grad()
def test_an_encoder_reads_errors_if_told_to(make_sequence: Make) -> None:
    sequence = make_sequence([5, 3], LAYOUT)
    one, other = (replace(sequence, error=torch.full((8,), e)) for e in (0.1, 1.0))
    plain = encoder_of(model_of())
    assert torch.equal(plain(one), plain(other))
    reader = encoder_of(model_of(tokenizer=TokenizerConfig(reads_error=True)))
    assert (reader(one) - reader(other)).abs().max() > 1e-3


@pytest.mark.parametrize("unknown", [0.0, -1.0, torch.nan, torch.inf])
@torch.no_grad()
def test_an_unknown_error_is_no_error(unknown: float, make_sequence: Make) -> None:
    """Whatever stands in its place, nothing of it is read, and it differs from every known one."""
    reader = encoder_of(model_of(tokenizer=TokenizerConfig(reads_error=True)))
    sequence = make_sequence([5, 3], LAYOUT)
    missing = reader(sequence)
    assert torch.equal(reader(replace(sequence, error=torch.full((8,), unknown))), missing)
    assert (reader(replace(sequence, error=torch.ones(8))) - missing).abs().max() > 1e-3


def test_a_decoder_never_reads_errors() -> None:
    model = model_of(tokenizer=TokenizerConfig(reads_error=True))
    assert Decoder(model, LAYOUT, is_noisy=True).tokenizer.error is None


def test_shared_blocks_cost_as_much_as_others() -> None:
    shared, apart = (
        cost.encode_flops(
            model_of(OneStageEncoderConfig(num_layers=3, is_shared=s)), {"m": LAYOUT}, {"m": [9]}
        )
        for s in (True, False)
    )
    assert shared == apart
