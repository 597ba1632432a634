"""daep: a diffusion model of the values, conditioned on a code that the encoder learns with it.

One modality: the encoder's output is the code. Several: `multimodal.py`.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from daep_ray.diffusion.samplers import SamplerConfig
from daep_ray.nn.config import ModelConfig
from daep_ray.nn.decoder import Decoder
from daep_ray.nn.perceiver import Encoder
from daep_ray.objectives.base import (
    MIXER,
    SHOWN_VALUES,
    Code,
    Draws,
    Loss,
    Unread,
    only_layout,
)
from daep_ray.objectives.denoising import Denoising, DiffusionConfig
from daep_ray.objectives.infonce import InfoNceConfig
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise


class DaepConfig(DiffusionConfig):
    """The settings of diffusion, and with several modalities what becomes of them in training.

    `modality_drop`: the probability that the encoder is not shown a modality, at least one kept.
    `drop_per`: one pattern for the whole step (the paper), or one per sample.
    `modality_weight`: the mean over a modality's own points, every modality the same (`equal`, the
    published code), or the mean over all points, so that the longer modality counts more (`points`,
    what the published code does where nothing is padded).
    `contrastive_weight`: of InfoNCE between the codes from each modality alone (`contrastive`),
    beside the diffusion; 0 is the paper's daep, without anything of it.
    """

    kind: Literal["daep"] = "daep"
    modality_drop: Annotated[float, Field(ge=0, le=1)] = 0.2
    drop_per: Literal["batch", "sample"] = "batch"
    modality_weight: Literal["equal", "points"] = "equal"
    contrastive_weight: NonNegativeFloat = 0.0
    contrastive: InfoNceConfig = InfoNceConfig()

    unread: ClassVar[Unread] = Unread(
        ever=(SHOWN_VALUES,),
        alone=(
            MIXER,
            "objective.modality_drop",
            "objective.drop_per",
            "objective.modality_weight",
            "objective.contrastive_weight",
            "objective.contrastive",
        ),
    )


class Daep(Denoising):
    """Unimodal diffusion autoencoder.

    Raises:
        ConfigError: several modalities; epsilon-prediction with a zero terminal SNR.
    """

    def __init__(self, config: DaepConfig, model: ModelConfig, layouts: dict[str, Layout]) -> None:
        super().__init__(config, model.bottleneck)
        layout = only_layout(layouts, config.kind)
        self.modality = layout.modality
        self.encoder = Encoder(model, layout, model.bottleneck.width)
        self.decoder = Decoder(model, layout, is_noisy=True)

    def loss(self, batch: PackedBatch, noise: Noise) -> Loss:
        sequence = batch.sequences[self.modality]
        code = self.dropped(self.encoder(sequence), noise)
        conditions = self.decoder.condition(code, sequence)
        return Loss({"diffusion": self.term(self.decoder, conditions, sequence, noise)})

    def encode(self, batch: PackedBatch) -> Code:
        return Code(self.encoder(batch.sequences[self.modality]))

    def decode(
        self,
        code: Code,
        query: PackedBatch,
        sampler: SamplerConfig,
        num_draws: int,
        noise: Noise,
    ) -> Draws:
        sequence = query.sequences[self.modality]
        drawn = self.draws(self.decoder, code.point, sequence, sampler, num_draws, noise)
        return Draws({self.modality: drawn})
