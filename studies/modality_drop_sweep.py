"""What does dropping modalities in training cost, and what does it buy when one is missing?

Design: daep on pairs with each modality dropped with probability 0 to 0.5, the mixture of experts
(which needs no dropping: one cell per seed) beside it, one code of 4 x 4 floats. The error with
both modalities is the price; `from_<modality>`, where only that modality was shown, the gain.
Expected: without dropping a missing modality is fatal; 0.1 to 0.2 repairs most of it for a few
per cent of the error with both; 0.5 costs more than it gains.
Answer (laptop, SALT3's pairs): 0.1 buys all that any rate buys for spectra told from light curves;
its price is a fifth of the error of light curves with both shown.
Cost: estimated, smoke 5 to 10 minutes on two cores.

    python studies/modality_drop_sweep.py --modality photometry,spectrum
    python studies/modality_drop_sweep.py --data DATA --modality photometry,spectrum --preset laptop
"""

from typing import Any

from daep_ray.config import RunConfig
from daep_ray.errors import ConfigError
from daep_ray.settings import override
from daep_ray.study.spec import Axis, StudySpec
from daep_ray.study_cli import main

RATES = {
    "smoke": [0.0, 0.2, 0.5],
    "laptop": [0.0, 0.1, 0.2, 0.35, 0.5],
    "cluster": [0.0, 0.1, 0.2, 0.35, 0.5],
}
NUM_OBJECTS = {"smoke": 6_000, "laptop": 8_000, "cluster": 10_000_000}  # seen in training
SEEDS = {"smoke": 1, "laptop": 1, "cluster": 3}
MAX_LENGTH = {"smoke": 64, "laptop": 128, "cluster": None}  # measurements of a spectrum
BETA = 0.001  # as in bottleneck_sweep.py


def build(base: RunConfig, preset: str) -> StudySpec:
    """The design of a preset.

    Raises:
        ConfigError: one modality alone, of which nothing can be dropped.
    """
    if len(base.modalities) == 1:
        raise ConfigError(
            f"modality_drop_sweep has {base.modalities[0]!r} alone, and nothing to drop: name two "
            "modalities, as in --modality photometry,spectrum"
        )
    settings: dict[str, Any] = {  # as in all_models.py, whose trainings are two of these
        "optimisation.num_objects": NUM_OBJECTS[preset],
        "optimisation.optimizer.weight_decay": 0.1,
        "optimisation.token_budget": 4096,
    }
    if "spectrum" in base.modalities:
        settings["recipe.modalities.spectrum.max_length"] = MAX_LENGTH[preset]
        settings["recipe.modalities.spectrum.metadata"] = ["phase"]  # asked for at a phase
    return StudySpec(
        name="modality_drop_sweep",
        title="What does dropping modalities cost, and what does it buy?",
        question="What does dropping modalities in training cost, and what does it buy?",
        expectation="0.1 to 0.2 repairs a missing modality at a few per cent of the full error.",
        base=override(base, settings),
        axes=(Axis("objective.modality_drop", RATES[preset], is_conditional=True, control=0.0),),
        models={
            "daep": {"objective.kind": "daep"},
            "mmVAE": {"objective.kind": "mmvae", "objective.beta": BETA},
        },
        seeds=tuple(range(SEEDS[preset])),
    )


if __name__ == "__main__":
    main("modality_drop_sweep", build)
