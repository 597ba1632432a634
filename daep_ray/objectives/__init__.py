"""What is learnt. One readable file per objective; a new one is its file and two lines here."""

from typing import Annotated, Any

import torch
from pydantic import Field

from daep_ray.nn.config import ModelConfig
from daep_ray.objectives.base import Code, Draws, Loss, Objective, Term
from daep_ray.objectives.contrastive import Contrastive, ContrastiveConfig
from daep_ray.objectives.daep import Daep, DaepConfig
from daep_ray.objectives.maep import Maep, MaepConfig
from daep_ray.objectives.mmvae import MmVae, MmVaeConfig
from daep_ray.objectives.multimodal import MultimodalDaep
from daep_ray.objectives.prior import Prior, PriorConfig
from daep_ray.objectives.vae import Vae, VaeConfig
from daep_ray.stream.batch import Layout

Variant = DaepConfig | VaeConfig | MaepConfig | MmVaeConfig | ContrastiveConfig | PriorConfig
ObjectiveConfig = Annotated[Variant, Field(discriminator="kind")]
OBJECTIVES: dict[str, type[Variant]] = {
    "daep": DaepConfig,
    "vae": VaeConfig,
    "maep": MaepConfig,
    "mmvae": MmVaeConfig,
    "contrastive": ContrastiveConfig,
    "prior": PriorConfig,
}

__all__ = [
    "OBJECTIVES",
    "Code",
    "Draws",
    "Loss",
    "Objective",
    "ObjectiveConfig",
    "Term",
    "as_trained",
    "asked_with",
    "build_objective",
    "num_parameters",
]


def build_objective(
    objective: ObjectiveConfig, model: ModelConfig, layouts: dict[str, Layout]
) -> Objective:
    """The untrained module; its weights follow from torch's seed, set by the caller.

    Raises:
        ConfigError: settings that do not fit each other or the data.
    """
    if isinstance(objective, DaepConfig):
        if len(layouts) > 1:
            return MultimodalDaep(objective, model, layouts)
        return Daep(objective, model, layouts)
    if isinstance(objective, MaepConfig):
        return Maep(objective, model, layouts)
    if isinstance(objective, MmVaeConfig):
        return MmVae(objective, model, layouts)
    if isinstance(objective, ContrastiveConfig):
        return Contrastive(objective, model, layouts)
    if isinstance(objective, PriorConfig):
        parent = build_objective(objective.parent_objective, model, layouts)
        return Prior(objective, model, parent)
    return Vae(objective, model, layouts)


def as_trained(objective: Variant) -> Variant:
    """What a training looks at: settings of inference alone are as they usually are.

    So a learning curve is the same whatever they say, as the training's fingerprint is.
    """
    fields = type(objective).model_fields
    names = _of_inference(objective)
    usual = {name: fields[name].get_default(call_default_factory=True) for name in names}
    return objective.model_copy(update=usual)


def asked_with(objective: Variant, other: Variant) -> Variant:
    """A trained model's settings, but those of inference alone, which are `other`'s."""
    taken: dict[str, Any] = {name: getattr(other, name) for name in _of_inference(objective)}
    return objective.model_copy(update=taken)


def _of_inference(objective: Variant) -> list[str]:
    return [path.removeprefix("objective.") for path in objective.unread.in_training]


def num_parameters(
    objective: ObjectiveConfig, model: ModelConfig, layouts: dict[str, Layout]
) -> int:
    """How many numbers such a model learns; nothing is allocated and no random number drawn.

    Raises:
        ConfigError: settings that do not fit each other or the data.
    """
    with torch.device("meta"):
        built = build_objective(objective, model, layouts)
    return sum(p.numel() for p in built.parameters() if p.requires_grad)
