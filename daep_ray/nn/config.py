"""The model's settings: width, bottleneck, tokenizer, encoder, decoder. Plain numbers in, no torch.

Variants (`encoder`, `decoder`) are unions on `kind`.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from daep_ray.settings import Settings


class BottleneckConfig(Settings):
    """The code: `length` x `width` floats per sample (M x Z)."""

    length: PositiveInt = 4
    width: PositiveInt = 4


class TokenizerConfig(Settings):
    """Fixed sinusoids of each continuous position.

    Frequencies run log-spaced from `position_scale` (rad per z unit; one number for all positions
    or one per position) down to `lowest_scale`. The published code has 1 rad per z unit, too coarse
    to tell neighbouring pixels apart.

    `reads_error`: the encoder is told the measurement error of each value (its logarithm, and
    whether it is known), so that it can trust a good measurement more than a poor one.

    `has_mlp`: an MLP on the sinusoids (the published daep), or one matrix (its VAE).
    """

    position_scale: PositiveFloat | tuple[PositiveFloat, ...] = 30.0
    lowest_scale: PositiveFloat = 0.5
    num_frequencies: PositiveInt = 32
    reads_error: bool = False
    has_mlp: bool = True

    def scales(self, num_positions: int) -> tuple[float, ...]:
        """The highest frequency of each of `num_positions` axes, rad per z unit."""
        if isinstance(self.position_scale, tuple):
            return self.position_scale
        return (self.position_scale,) * num_positions


class OneStageEncoderConfig(Settings):
    """The code's queries read the tokens themselves, once per layer (published, LAMOST).

    `is_shared`: all layers are the same block, its weights used again (an option in the paper's
    text that its code does not have): the parameters of one layer, the arithmetic of all.
    """

    kind: Literal["one_stage"] = "one_stage"
    num_layers: PositiveInt = 4
    is_shared: bool = False


class TwoStageEncoderConfig(Settings):
    """Latents read the tokens, once per layer; the code's queries read the latents at the end.

    `is_shared`: as in one stage; the last reading has weights of its own.
    """

    kind: Literal["two_stage"] = "two_stage"
    num_layers: PositiveInt = 4
    num_latents: PositiveInt = 32
    is_shared: bool = False


EncoderConfig = Annotated[
    OneStageEncoderConfig | TwoStageEncoderConfig, Field(discriminator="kind")
]


TimeInput = Literal["token", "adaln"]


class TwoStageDecoderConfig(Settings):
    """Latents read the context and are read by the queries: linear in the number of points.

    `reads_noisy`: the latents read the noisy tokens too, so that points see each other (the paper);
    False is the published code's wiring, independent points given the code. A masked autoencoder's
    visible values and mask tokens are read in place of noisy ones.

    `is_chained`: a layer works on what the layer before made of the points (the paper). In the
    published code each begins with the points' own tokens again, and only the last one's answer is
    used: the point side is one layer deep, and the other layers' weights there never learn. They
    are kept here, so that the number of parameters is the published one, but not computed.

    `is_shared`: all layers have the same weights (an option in the paper's text).

    `time`: the diffusion time is a `token` beside the code's (the paper), or sets gain and offset
    of the layer norms that points and noise are read through (`adaln`, Peebles & Xie 2023): then it
    reaches every point directly instead of through attention.
    """

    kind: Literal["two_stage"] = "two_stage"
    num_layers: PositiveInt = 4
    num_latents: PositiveInt = 32
    reads_noisy: bool = True
    is_chained: bool = True
    is_shared: bool = False
    time: TimeInput = "token"


class SingleStageDecoderConfig(Settings):
    """Queries attend to themselves and to the context: quadratic, for short sequences.

    `is_shared` and `time`: as in two stages.
    """

    kind: Literal["single_stage"] = "single_stage"
    num_layers: PositiveInt = 4
    is_shared: bool = False
    time: TimeInput = "token"


DecoderConfig = Annotated[
    TwoStageDecoderConfig | SingleStageDecoderConfig, Field(discriminator="kind")
]


class MixerConfig(Settings):
    """Several modalities: each is encoded to `num_tokens` rows of the model's width, and the code's
    queries read them all, once per layer.

    `context_mixes`: those rows read each other first, in every layer (the paper, A.4; 64 tokens and
    4 layers there).
    """

    num_layers: PositiveInt = 4
    num_tokens: PositiveInt = 16
    context_mixes: bool = True


class ModelConfig(Settings):
    """Tokenizer, encoder and decoder of one model; every objective is built from it."""

    width: PositiveInt = 128
    num_heads: PositiveInt = 8
    feedforward_ratio: PositiveFloat = 4.0
    bottleneck: BottleneckConfig = BottleneckConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    encoder: EncoderConfig = TwoStageEncoderConfig()
    mixer: MixerConfig = MixerConfig()
    decoder: DecoderConfig = TwoStageDecoderConfig()

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(
                f"width {self.width} is not a multiple of num_heads {self.num_heads}: "
                "choose a width that is"
            )
        return self

    @property
    def feedforward_width(self) -> int:
        return max(1, round(self.width * self.feedforward_ratio))
