"""Multimodal daep: an encoder per modality, a mixer to one code, a diffusion decoder per modality.

In training each present modality is hidden from the mixer with probability `modality_drop`, at
least one kept, and every present modality is decoded all the same: so the code answers for
modalities that it has not seen. Whatever is absent or hidden runs through the same modules and is
then left out, so every parameter gets a gradient (of zero) on every worker, whatever the pattern.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from daep_ray.diffusion.samplers import SamplerConfig
from daep_ray.errors import ConfigError
from daep_ray.nn.config import ModelConfig
from daep_ray.nn.decoder import Decoder
from daep_ray.nn.mixer import Mixer, modality_encoder
from daep_ray.objectives.base import Code, Draws, Loss, Term
from daep_ray.objectives.daep import DaepConfig
from daep_ray.objectives.denoising import Denoising
from daep_ray.objectives.infonce import Alignment
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise


class MultimodalDaep(Denoising):
    """Diffusion autoencoder of several modalities.

    Raises:
        ConfigError: fewer than two modalities; epsilon-prediction with a zero terminal SNR.
    """

    def __init__(self, config: DaepConfig, model: ModelConfig, layouts: dict[str, Layout]) -> None:
        super().__init__(config, model.bottleneck)
        if len(layouts) < 2:
            raise ConfigError(
                f"a mixer needs two modalities at least, got {len(layouts)}: "
                "name them in modalities"
            )
        self.config = config
        self.modalities = tuple(layouts)
        self.encoders = nn.ModuleDict({m: modality_encoder(model, x) for m, x in layouts.items()})
        self.mixer = Mixer(model, self.modalities)
        self.decoders = nn.ModuleDict(
            {m: Decoder(model, x, is_noisy=True) for m, x in layouts.items()}
        )
        self.alignment: Alignment | None = None
        if config.contrastive_weight > 0:
            self.alignment = Alignment(config.contrastive, model.bottleneck, self.modalities)

    def tokens(self, batch: PackedBatch) -> dict[str, Tensor]:
        """(B, T, D) of every modality; what an absent one holds means nothing."""
        return {
            m: self.encoders[m](batch.sequences[m])
            if m in batch.sequences
            else self.mixer.no_tokens(batch.num_samples)
            for m in self.modalities
        }

    def is_present(self, batch: PackedBatch) -> Tensor:
        """(B, modalities) bool; a batch without a modality has it in no sample."""
        none = torch.zeros(batch.num_samples, dtype=torch.bool, device=self.signal.device)
        return torch.stack(
            [batch.is_present(m) if m in batch.sequences else none for m in self.modalities], dim=1
        )

    def decoder(self, modality: str) -> Decoder:
        found = self.decoders[modality]
        assert isinstance(found, Decoder)
        return found

    def loss(self, batch: PackedBatch, noise: Noise) -> Loss:
        tokens, is_present = self.tokens(batch), self.is_present(batch)
        is_read = kept(is_present, self._luck(noise), self.config.modality_drop)
        code = self.dropped(self.mixer(tokens, is_read), noise)
        terms = {}
        for m in self.modalities:
            sequence = batch.sequences[m]
            conditions = self.decoder(m).condition(code, sequence)
            terms[m] = self.term(self.decoder(m), conditions, sequence, noise.within(m))
        found = {f"diffusion/{m}": term for m, term in self._weighted(terms).items()}
        if self.alignment is not None:
            compared = self.alignment.terms(
                self.alone(tokens, is_present), is_present, batch.objects
            )
            weight = self.config.contrastive_weight
            found |= {n: Term(t.sum, t.weight, weight * t.coefficient) for n, t in compared.items()}
        return Loss(found)

    def _luck(self, noise: Noise) -> Tensor:
        """(B, modalities) uniform in (0, 1), what decides who is dropped."""
        luck = [
            torch.full((len(noise.sample_ids),), here.uniform_of_step("drop"), device=noise.device)
            if self.config.drop_per == "batch"
            else here.uniform("drop")
            for here in map(noise.within, self.modalities)
        ]
        return torch.stack(luck, dim=1)

    def _weighted(self, terms: Mapping[str, Term]) -> dict[str, Term]:
        """`equal`: the mean of the modalities' means; `points`: one mean over everything."""
        if self.config.modality_weight == "equal":
            return {m: Term(t.sum, t.weight, 1 / len(terms)) for m, t in terms.items()}
        whole = torch.stack([t.weight for t in terms.values()]).sum()
        return {m: Term(t.sum, whole) for m, t in terms.items()}

    def encode(self, batch: PackedBatch) -> Code:
        """The code from all that a sample has, and from each modality alone.

        The code of a sample from a modality that it does not have is the same for all samples.
        """
        tokens, is_present = self.tokens(batch), self.is_present(batch)
        return Code(self.mixer(tokens, is_present), by_modality=self.alone(tokens, is_present))

    def alone(self, tokens: Mapping[str, Tensor], is_present: Tensor) -> dict[str, Tensor]:
        """(B, M, Z) the code from each modality alone."""
        own = torch.eye(len(self.modalities), dtype=torch.bool, device=is_present.device)
        return {m: self.mixer(tokens, is_present & own[i]) for i, m in enumerate(self.modalities)}

    def aligned(self, batch: PackedBatch) -> Mapping[str, Tensor]:
        if self.alignment is None:
            return super().aligned(batch)
        codes = self.encode(batch).by_modality or {}
        return {m: self.alignment.unit(m, code) for m, code in codes.items()}

    def decode(
        self,
        code: Code,
        query: PackedBatch,
        sampler: SamplerConfig,
        num_draws: int,
        noise: Noise,
    ) -> Draws:
        """Draws of every modality in the query, seen at encoding or not."""
        drawn = {
            m: self.draws(
                self.decoder(m), code.point, sequence, sampler, num_draws, noise.within(m)
            )
            for m, sequence in query.sequences.items()
        }
        return Draws(drawn)


def kept(is_present: Tensor, luck: Tensor, drop: float) -> Tensor:
    """(B, modalities) bool: which present modalities the mixer may read.

    Each is dropped where its `luck` is below `drop`; the luckiest present one always stays. With
    luck the same for a whole batch that is the paper's pattern per batch.
    """
    luck = luck.masked_fill(~is_present, -1.0)
    return is_present & ((luck >= drop) | (luck == luck.amax(1, keepdim=True)))
