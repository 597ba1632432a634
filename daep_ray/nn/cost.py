"""The arithmetic of a model, counted from its settings: floating point operations of matmuls.

A product and a sum are two operations. `linear` are matrices of weights, `attention` the scores
and the weighted means. Norms, activations, sinusoids and padding are not counted. A training step
is three forward passes' worth (one forward, two in the backward pass), by convention.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from daep_ray.nn.attention import folds
from daep_ray.nn.config import (
    BottleneckConfig,
    ModelConfig,
    TwoStageDecoderConfig,
    TwoStageEncoderConfig,
)
from daep_ray.stream.batch import Layout

Lengths = Mapping[str, Sequence[int]]  # per modality, the measurements of each sample


@dataclass(frozen=True)
class Flops:
    """Floating point operations."""

    linear: float = 0.0
    attention: float = 0.0

    @property
    def total(self) -> float:
        return self.linear + self.attention

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.linear + other.linear, self.attention + other.attention)

    def __rmul__(self, factor: float) -> "Flops":
        return Flops(factor * self.linear, factor * self.attention)


def training_flops(
    model: ModelConfig, layouts: Mapping[str, Layout], lengths: Lengths, is_noisy: bool = True
) -> Flops:
    """One training step on samples of these lengths; `is_noisy` for diffusion, False for a VAE."""
    encode = encode_flops(model, layouts, lengths, model.bottleneck.width * (1 if is_noisy else 2))
    return 3 * (
        encode
        + condition_flops(model, layouts, lengths)
        + denoise_flops(model, layouts, lengths, is_noisy)
    )


def masked_training_flops(
    model: ModelConfig, layouts: Mapping[str, Layout], lengths: Lengths, visible: Lengths
) -> Flops:
    """One training step of a masked autoencoder: of `lengths` measurements the encoder reads
    `visible` many."""
    encode = encode_flops(model, layouts, visible)
    condition = condition_flops(model, layouts, lengths)
    return 3 * (encode + condition + fill_flops(model, layouts, lengths, visible))


def fill_flops(
    model: ModelConfig, layouts: Mapping[str, Layout], lengths: Lengths, visible: Lengths
) -> Flops:
    """A masked decoder once: as diffusion's without a time, all rows read and the hidden answered.

    Every reconstruction, whatever the number of draws, is one of these.
    """
    shown = sum(n for ns in visible.values() for n in ns)
    one = [
        _decode(model, layouts[m], n, max(ns), True, has_time=False)
        for m, ns in lengths.items()
        for n in ns
    ]
    return sum(one, Flops(-2.0 * shown * model.width))


def experts_training_flops(
    model: ModelConfig, layouts: Mapping[str, Layout], lengths: Lengths, num_draws: int
) -> Flops:
    """One training step of a mixture of experts with `num_draws` codes per expert; the samples'
    lengths stand side by side in every modality, 0: absent."""
    outputs = 2 * model.bottleneck.width
    encode = [encode_flops(model, layouts, {m: ns}, outputs) for m, ns in lengths.items()]
    return 3 * sum(encode, all_pairs_flops(model, layouts, lengths, num_draws))


def all_pairs_flops(
    model: ModelConfig, layouts: Mapping[str, Layout], lengths: Lengths, num_draws: int
) -> Flops:
    """Every code of every present modality's expert decoded to every modality that is present."""
    num_present = [sum(n > 0 for n in ns) for ns in zip(*lengths.values(), strict=True)]
    asked = {
        m: [n for n, times in zip(ns, num_present, strict=True) if n for _ in range(times)]
        for m, ns in lengths.items()
    }
    code = model.bottleneck.length * model.bottleneck.width * model.width
    num_pairs = sum(map(len, asked.values()))
    once = condition_flops(model, layouts, asked) + Flops(2.0 * (num_draws - 1) * num_pairs * code)
    return once + num_draws * denoise_flops(model, layouts, asked, is_noisy=False)


def contrastive_training_flops(
    model: ModelConfig,
    layouts: Mapping[str, Layout],
    lengths: Lengths,
    projection: Sequence[int],
) -> Flops:
    """One training step of contrastive learning; the samples' lengths side by side in every
    modality."""
    one = [encode_flops(model, {m: layouts[m]}, {m: ns}) for m, ns in lengths.items()]
    return 3 * sum(one, alignment_flops(model, lengths, projection))


def compared_training_flops(
    model: ModelConfig,
    layouts: Mapping[str, Layout],
    lengths: Lengths,
    projection: Sequence[int],
) -> Flops:
    """One training step of daep with a contrastive term: each modality is mixed alone besides."""
    alone = [_mix_all(model, {m: ns}, model.bottleneck.width) for m, ns in lengths.items()]
    term = sum(alone, alignment_flops(model, lengths, projection))
    return training_flops(model, layouts, lengths) + 3 * term


def alignment_flops(model: ModelConfig, lengths: Lengths, projection: Sequence[int]) -> Flops:
    """Codes -> vectors, all samples in every modality, and the cosines of those that have both."""
    widths = (model.bottleneck.length * model.bottleneck.width, *projection)
    head = sum(2.0 * a * b for a, b in pairwise(widths))
    num_codes = sum(len(ns) for ns in lengths.values())
    both = [
        sum(a > 0 and b > 0 for a, b in zip(*pair, strict=True))
        for pair in combinations(lengths.values(), 2)
    ]
    return Flops(num_codes * head + sum(2.0 * n**2 * widths[-1] for n in both))


def encode_flops(
    model: ModelConfig,
    layouts: Mapping[str, Layout],
    lengths: Lengths,
    num_outputs: int | None = None,
) -> Flops:
    """Encoding these samples once; `num_outputs` per code entry (default: the code's width).

    With several modalities, each to its tokens and then the mixer over those of each sample (0
    measurements: absent); the codes of each modality alone, which inference makes too, are not
    counted.
    """
    outputs = num_outputs or model.bottleneck.width
    queries, width = model.bottleneck.length, outputs
    if len(lengths) > 1:
        queries, width = model.mixer.num_tokens, model.width
    one = [
        _encode(model, layouts[m], n, max(ns), queries, width)
        for m, ns in lengths.items()
        for n in ns
    ]
    return sum(one, _mix_all(model, lengths, outputs) if len(lengths) > 1 else Flops())


def condition_flops(model: ModelConfig, layouts: Mapping[str, Layout], lengths: Lengths) -> Flops:
    """What a decoder computes once per sampling run: places, code and metadata tokens."""
    code = model.bottleneck.length * model.bottleneck.width * model.width
    one = [
        _place(model, layouts[m], n) + Flops(2.0 * code) + _metadata(model, layouts[m])
        for m, ns in lengths.items()
        for n in ns
    ]
    return sum(one, Flops())


def denoise_flops(
    model: ModelConfig, layouts: Mapping[str, Layout], lengths: Lengths, is_noisy: bool = True
) -> Flops:
    """One evaluation of the decoder: a sampling step, for one draw of these samples.

    With a diffusion time of its own for every sample, as in training.
    """
    one = [
        _decode(model, layouts[m], n, max(ns), is_noisy) for m, ns in lengths.items() for n in ns
    ]
    return sum(one, Flops())


def code_denoise_flops(
    bottleneck: BottleneckConfig, width: int, num_layers: int, num_samples: int
) -> Flops:
    """One evaluation of a prior's network (`code.py`) on codes of so many samples, a diffusion time
    and class of each: a sampling step of one draw; a training step is three, and an encoding."""
    length = bottleneck.length
    rows = Flops(4.0 * length * bottleneck.width * width)  # in and out
    layer = Flops(8.0 * length * width**2, 4.0 * length**2 * width)
    layer += Flops(16.0 * length * width**2)  # a feed-forward of four widths
    layer += Flops(8.0 * width**2)  # two norms' gains and offsets
    time = Flops(2.0 * (64 * width + width**2))
    return num_samples * (rows + num_layers * layer + time)


def _cross(model: ModelConfig, num_queries: int, num_rows: int, longest: int) -> Flops:
    """`longest` context of the batch decides how the attention is computed."""
    width = model.width
    if folds(num_queries, longest, width, model.num_heads):
        columns = num_queries * model.num_heads
        return Flops(8.0 * num_queries * width**2, 4.0 * columns * num_rows * width)
    linear = 4.0 * (num_queries + num_rows) * width**2
    return Flops(linear, 4.0 * num_queries * num_rows * width)


def _self(model: ModelConfig, num_rows: int) -> Flops:
    return Flops(8.0 * num_rows * model.width**2, 4.0 * num_rows**2 * model.width)


def _think(model: ModelConfig, num_rows: int) -> Flops:
    return Flops(4.0 * num_rows * model.width * model.feedforward_width)


def _latent_block(model: ModelConfig, num_latents: int, num_rows: int, longest: int) -> Flops:
    read = _cross(model, num_latents, num_rows, longest)
    return read + _self(model, num_latents) + _think(model, num_latents)


def _place(model: ModelConfig, layout: Layout, num_rows: int) -> Flops:
    features = 2 * model.tokenizer.num_frequencies * layout.num_positions
    second = model.width**2 if model.tokenizer.has_mlp else 0
    return Flops(2.0 * num_rows * (features * model.width + second))


def _number(model: ModelConfig, num_features: int) -> Flops:
    return Flops(2.0 * (num_features * model.width + model.width**2))


def _metadata(model: ModelConfig, layout: Layout) -> Flops:
    return layout.num_metadata * _number(model, 32)


def _num_metadata(layout: Layout) -> int:
    return layout.num_metadata + len(layout.metadata_sizes)


def _mix_all(model: ModelConfig, lengths: Lengths, num_outputs: int) -> Flops:
    """The mixer over samples whose lengths stand side by side in every modality."""
    present = [sum(n > 0 for n in ns) for ns in zip(*lengths.values(), strict=True)]
    one = [_mix(model, number, max(present), num_outputs) for number in present]
    return sum(one, Flops())


def _mix(model: ModelConfig, num_present: int, most: int, num_outputs: int) -> Flops:
    """One sample with `num_present` modalities, in a batch where one has `most`."""
    config, num_queries = model.mixer, model.bottleneck.length
    rows, longest = num_present * config.num_tokens, most * config.num_tokens
    layer = _latent_block(model, num_queries, rows, longest)
    if config.context_mixes:
        layer += _self(model, rows)
    return config.num_layers * layer + Flops(2.0 * num_queries * model.width * num_outputs)


def _encode(
    model: ModelConfig,
    layout: Layout,
    length: int,
    longest: int,
    num_queries: int,
    num_outputs: int,
) -> Flops:
    config = model.encoder
    rows, longest = length + _num_metadata(layout), longest + _num_metadata(layout)
    out = _place(model, layout, length) + _metadata(model, layout)
    out += Flops(2.0 * num_queries * model.width * num_outputs)
    if isinstance(config, TwoStageEncoderConfig):
        out += config.num_layers * _latent_block(model, config.num_latents, rows, longest)
        read = _cross(model, num_queries, config.num_latents, config.num_latents)
        return out + read + _think(model, num_queries)
    return out + config.num_layers * _latent_block(model, num_queries, rows, longest)


def _decode(
    model: ModelConfig,
    layout: Layout,
    length: int,
    longest: int,
    is_noisy: bool,
    has_time: bool = True,
) -> Flops:
    config, has_time = model.decoder, is_noisy and has_time
    has_token = has_time and config.time == "token"
    num_front = model.bottleneck.length + _num_metadata(layout) + has_token
    out = Flops(2.0 * length * model.width)
    if has_time:
        out += _number(model, 64)
    # gain and offset of a norm that is told the time
    modulate = Flops(4.0 * model.width**2) if has_time and not has_token else Flops()
    if not isinstance(config, TwoStageDecoderConfig):
        rows = length + num_front
        layer = _self(model, rows) + _think(model, rows) + 2 * modulate
        return out + config.num_layers * layer
    latents, sees_queries = config.num_latents, is_noisy and config.reads_noisy
    rows = length + num_front if sees_queries else length
    seen, most = (rows, longest + num_front) if sees_queries else (num_front, num_front)
    layer = _latent_block(model, latents, seen, most) + modulate
    answer = _cross(model, rows, latents, latents) + _think(model, rows)
    return (
        out + config.num_layers * layer + (config.num_layers if config.is_chained else 1) * answer
    )
