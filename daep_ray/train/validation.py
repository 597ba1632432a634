"""The learning curve's other half: held-out validation objects, on the same noise at every point.

The reconstruction error, or the loss of an objective that is judged by it (a prior's). One decoding
pass per object (the one-step estimate, or four solver steps where there is none): cheap, and
comparable between models. Reports measure properly, on the test split. A masked autoencoder is
shown a tenth of an object's values and judged by the others.
"""

import torch

from daep_ray.diffusion.samplers import DPMSolverConfig, OneStepConfig, SamplerConfig
from daep_ray.objectives.base import Objective
from daep_ray.objectives.masking import is_shown, shown_query
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.noise import Noise

SHOWN = 0.1  # to an objective that asks for values, whatever its evaluation shows
TURNS = 8  # times and noises per sample that a loss is averaged over


def point(objective: Objective, batches: list[PackedBatch]) -> dict[str, float]:
    """What stands under `validation/` at one point of the curve; nothing without batches."""
    if not batches:
        return {}
    if objective.is_judged_by_loss():
        return {"validation/loss": loss(objective, batches)}
    errors = absolute_errors(objective, batches)
    return {f"validation/absolute_error{'/' * bool(m)}{m}": error for m, error in errors.items()}


@torch.inference_mode()
def loss(objective: Objective, batches: list[PackedBatch]) -> float:
    """The training's loss, its terms averaged over all samples and `TURNS` noises of each."""
    sums: dict[str, list[float]] = {}
    for batch in batches:
        for turn in range(TURNS):
            noise = Noise(0, turn, batch.sample_ids, _device(batch))
            for name, term in objective.loss(batch, noise).terms.items():
                both = sums.setdefault(name, [0.0, 0.0, term.coefficient])
                both[0] += float(term.sum)
                both[1] += float(term.weight)
    return sum(c * s / max(weight, 1.0) for s, weight, c in sums.values())


@torch.inference_mode()
def absolute_errors(objective: Objective, batches: list[PackedBatch]) -> dict[str, float]:
    """Mean absolute error (standardised units): per sample first, then over samples.

    Under "" over all, with several modalities also under each that any sample has.
    """
    sampler: SamplerConfig = OneStepConfig()
    if not objective.has_one_step():
        sampler = DPMSolverConfig(num_steps=4)
    errors: dict[str, list[torch.Tensor]] = {}
    for batch in batches:
        noise = Noise(0, 0, batch.sample_ids, _device(batch))
        query = shown_query(batch, SHOWN if objective.asks_for_values() else 0.0, noise)
        draws = objective.decode(objective.encode(batch), query, sampler, 1, noise)
        shown = is_shown(query)
        for modality, sequence in batch.sequences.items():
            assert sequence.value is not None
            error = (draws.values[modality][0] - sequence.value).abs()
            zeros, sample = error.new_zeros(batch.num_samples), sequence.sample_index
            sums = zeros.index_add(0, sample, error)  # a shown value is its own reconstruction
            counts = zeros.index_add(0, sample, (~shown[modality]).to(error.dtype))
            found = (sums / counts.clamp(min=1))[sequence.lengths > 0]
            for name in ("", modality) if len(batch.sequences) > 1 else ("",):
                errors.setdefault(name, []).append(found)
    joined = {name: torch.cat(parts).double() for name, parts in errors.items()}
    return {name: float(found.mean()) for name, found in joined.items() if len(found)}


def _device(batch: PackedBatch) -> torch.device:
    return next(iter(batch.sequences.values())).position.device
