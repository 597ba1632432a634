"""What an objective computes: matrix products of a training step, an encoding, a reconstruction.

In: the settings of an objective and its model, and lengths of samples, side by side in every
modality (0: absent). Out: floating point operations as `nn/cost.py` counts them. Searching a
contrastive model's gallery and hiding modalities from a mixer are not counted.
"""

from collections.abc import Mapping

from daep_ray.diffusion.samplers import OneStepConfig, SamplerConfig, num_evaluations
from daep_ray.diffusion.schedule import make_schedule
from daep_ray.nn import cost
from daep_ray.nn.config import ModelConfig
from daep_ray.nn.cost import Flops, Lengths
from daep_ray.objectives import ObjectiveConfig
from daep_ray.objectives.contrastive import ContrastiveConfig
from daep_ray.objectives.daep import DaepConfig
from daep_ray.objectives.maep import MaepConfig
from daep_ray.objectives.mmvae import MmVaeConfig
from daep_ray.objectives.prior import PriorConfig
from daep_ray.objectives.vae import VaeConfig
from daep_ray.stream.batch import Layout

Layouts = Mapping[str, Layout]


def training_flops(
    objective: ObjectiveConfig, model: ModelConfig, layouts: Layouts, lengths: Lengths
) -> Flops:
    """One training step on these samples."""
    shape = (model, layouts, lengths)
    if isinstance(objective, MaepConfig):
        hidden = chosen(lengths, objective.mask_ratio)
        seen = {m: [n - k for n, k in zip(ns, hidden[m], strict=True)] for m, ns in lengths.items()}
        return cost.masked_training_flops(*shape, seen)
    if isinstance(objective, MmVaeConfig):
        return cost.experts_training_flops(*shape, objective.num_draws)
    if isinstance(objective, ContrastiveConfig):
        return cost.contrastive_training_flops(*shape, objective.projection)
    if isinstance(objective, PriorConfig):
        size = (model.bottleneck, objective.width, objective.num_layers)
        denoise = cost.code_denoise_flops(*size, num_samples(lengths))
        return 3 * denoise + encoding_flops(objective, *shape)
    if isinstance(objective, DaepConfig) and objective.contrastive_weight and len(lengths) > 1:
        return cost.compared_training_flops(*shape, objective.contrastive.projection)
    return cost.training_flops(*shape, is_noisy=isinstance(objective, DaepConfig))


def encoding_flops(
    objective: ObjectiveConfig, model: ModelConfig, layouts: Layouts, lengths: Lengths
) -> Flops:
    """Encoding these samples once."""
    if isinstance(objective, PriorConfig):
        return encoding_flops(objective.parent_objective, model, layouts, lengths)
    width = model.bottleneck.width
    outputs = 2 * width if isinstance(objective, VaeConfig | MmVaeConfig) else width
    if isinstance(objective, MmVaeConfig | ContrastiveConfig):  # no mixer
        alone = [cost.encode_flops(model, layouts, {m: ns}, outputs) for m, ns in lengths.items()]
        return sum(alone, Flops())
    return cost.encode_flops(model, layouts, lengths, outputs)


def decoding_flops(
    objective: ObjectiveConfig,
    model: ModelConfig,
    layouts: Layouts,
    lengths: Lengths,
    sampler: SamplerConfig,
    num_draws: int,
    visible_share: float = 0.0,
) -> Flops:
    """`num_draws` reconstructions of these samples from their codes."""
    shape = (model, layouts, lengths)
    if isinstance(objective, PriorConfig):
        parent = objective.parent_objective
        return decoding_flops(parent, *shape, sampler, num_draws, visible_share)
    if isinstance(objective, ContrastiveConfig):
        return Flops()
    if isinstance(objective, MaepConfig):
        share = visible_share if objective.context == "visible" else 0.0
        return cost.condition_flops(*shape) + cost.fill_flops(*shape, chosen(lengths, share))
    num_passes = 1 if isinstance(sampler, OneStepConfig) else num_draws
    is_noisy = isinstance(objective, DaepConfig)
    if isinstance(objective, DaepConfig):
        chain = (objective.schedule, objective.num_times, objective.zero_terminal)
        num_passes *= num_evaluations(sampler, make_schedule(*chain))
    return cost.condition_flops(*shape) + num_passes * cost.denoise_flops(*shape, is_noisy)


def measuring_flops(
    objective: ObjectiveConfig,
    model: ModelConfig,
    layouts: Layouts,
    lengths: Lengths,
    sampler: SamplerConfig,
    num_draws: int,
    visible_share: float = 0.0,
) -> Flops:
    """All reconstructions of these samples in an evaluation: draws, in one step, and with several
    modalities from each of them alone."""
    shape, drawn = (objective, model, layouts), (sampler, num_draws, visible_share)
    found = encoding_flops(*shape, lengths) + decoding_flops(*shape, lengths, *drawn)
    if not (isinstance(objective, DaepConfig) and objective.prediction == "epsilon"):
        found += decoding_flops(*shape, lengths, OneStepConfig(), 1, visible_share)
    for source in lengths if len(lengths) > 1 else ():
        alone = {m: ns if m == source else [0] * len(ns) for m, ns in lengths.items()}
        found += encoding_flops(*shape, alone) + decoding_flops(*shape, lengths, *drawn)
    return found


def num_samples(lengths: Lengths) -> int:
    """How many samples these are."""
    return max(len(ns) for ns in lengths.values())


def chosen(lengths: Lengths, share: float) -> dict[str, list[int]]:
    """How many measurements of each sample `masking.choose` takes; none where nothing is asked."""
    if share == 0:
        return {m: [0] * len(ns) for m, ns in lengths.items()}
    return {
        m: [max(0, min(max(1, round(share * n)), n - 1)) for n in ns] for m, ns in lengths.items()
    }
