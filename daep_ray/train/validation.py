"""The learning curve's other half: reconstruction error on held-out validation objects.

One decoding pass per object (the one-step estimate, or four solver steps where there is none):
cheap, and comparable between models. Reports measure properly, on the test split.
"""

import torch

from daep_ray.diffusion.samplers import DPMSolverConfig, OneStepConfig, SamplerConfig
from daep_ray.objectives.base import Objective
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.noise import Noise


@torch.inference_mode()
def absolute_error(objective: Objective, batches: list[PackedBatch]) -> float:
    """Mean absolute error (standardised units): per sample first, then over samples."""
    sampler: SamplerConfig = OneStepConfig()
    if not objective.has_one_step():
        sampler = DPMSolverConfig(num_steps=4)
    errors: list[torch.Tensor] = []
    for batch in batches:
        noise = Noise(0, 0, batch.sample_ids, _device(batch))
        draws = objective.decode(objective.encode(batch), batch.query(), sampler, 1, noise)
        for modality, sequence in batch.sequences.items():
            assert sequence.value is not None
            error = (draws.values[modality][0] - sequence.value).abs()
            sums = torch.zeros(batch.num_samples, device=error.device)
            sums = sums.index_add(0, sequence.sample_index, error)
            present = sequence.lengths > 0
            errors.append((sums / sequence.lengths.clamp(min=1))[present])
    return float(torch.cat(errors).double().mean())


def _device(batch: PackedBatch) -> torch.device:
    return next(iter(batch.sequences.values())).position.device
