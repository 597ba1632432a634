"""Which model reconstructs best, and which answers best for a modality that it was not shown?

Design: every objective at one code of 4 x 4 floats and one budget of objects. With one modality:
daep with each of its switches alone, VAE, masked autoencoders. With several (name them with
commas): daep with and without modality dropping, the mixture of experts, contrastive retrieval and
daep with a contrastive term; `from_<modality>` is the error where only that modality was shown.
Expected: daep and the mixture beat retrieval; without dropping a missing modality is fatal.
Answer: studies/README.md.
Cost: smoke 10 to 20 minutes on two quiet cores.

    python studies/all_models.py --out runs/all_models
    python studies/all_models.py --modality photometry,spectrum --out runs/all_models_pairs
"""

from typing import Any

from daep_ray.config import RunConfig
from daep_ray.settings import override
from daep_ray.study.spec import Axis, StudySpec
from daep_ray.study_cli import main

Models = dict[str, dict[str, Any]]

BETA = 0.001  # as in bottleneck_sweep.py
NUM_OBJECTS = {"smoke": 16_000, "laptop": 12_000, "cluster": 10_000_000}  # seen in training
NUM_PAIRS = {"smoke": 60_000, "laptop": 8_000, "cluster": 10_000_000}
MAX_LENGTH = {"smoke": 64, "laptop": 128, "cluster": None}  # measurements of a spectrum
SEEDS = {"smoke": 2, "laptop": 2, "cluster": 3}

ONE: Models = {
    "daep": {},
    "daep, cosine schedule": {"objective.schedule": "cosine"},
    "daep, min-SNR weights": {"objective.weighting": "min_snr"},
    "daep, time by adaLN": {"model.decoder.time": "adaln"},
    "daep, errors read and weighted": {
        "model.tokenizer.reads_error": True,
        "objective.error_weighting": "object",
    },
    "VAE": {"objective.kind": "vae", "objective.beta": BETA},
    "VAE, beta 0.1": {"objective.kind": "vae", "objective.beta": 0.1},
    "maep 75 %": {"objective.kind": "maep", "objective.mask_ratio": 0.75},
    "maep 30 %": {"objective.kind": "maep", "objective.mask_ratio": 0.3},
    "maep 75 %, nothing shown": {"objective.kind": "maep", "objective.context": "nothing"},
}
SEVERAL: Models = {
    "daep": {"objective.modality_drop": 0.2},
    "daep, drop 0": {"objective.modality_drop": 0.0},
    "daep + contrastive": {"objective.modality_drop": 0.2, "objective.contrastive_weight": 0.1},
    "mmVAE": {"objective.kind": "mmvae", "objective.beta": BETA},
    "contrastive": {"objective.kind": "contrastive"},
}


def build(base: RunConfig, preset: str) -> StudySpec:
    """The design of a preset."""
    is_paired = len(base.modalities) > 1
    settings: dict[str, Any] = {
        "optimisation.num_objects": (NUM_PAIRS if is_paired else NUM_OBJECTS)[preset],
        "optimisation.optimizer.weight_decay": 0.1,
    }
    if "spectrum" in base.modalities:
        settings["recipe.modalities.spectrum.max_length"] = MAX_LENGTH[preset]
    if is_paired:
        settings["recipe.modalities.spectrum.metadata"] = ["phase"]  # asked for at a phase
        settings["optimisation.token_budget"] = 4096  # contrast needs pairs: here about 20 a step
    return StudySpec(
        name="all_models",
        title="Which model reconstructs best?",
        question="Which model reconstructs best, and which answers best for what it was not shown?",
        expectation="daep and the mixture of experts beat retrieval.",
        base=override(base, settings),
        axes=(Axis(("model.bottleneck.length", "model.bottleneck.width"), [(4, 4)]),),
        models=SEVERAL if is_paired else ONE,
        seeds=tuple(range(1 if is_paired else SEEDS[preset])),
    )


if __name__ == "__main__":
    main("all_models", build)
