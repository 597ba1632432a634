"""How much should a masked autoencoder hide, and does any ratio reach daep?

Design: maep at mask ratios 0.15 to 0.90, as published, where the decoder sees the values that were
not hidden, and with a decoder that sees the code alone, which is what daep must do; daep, which
hides nothing, drawn as a flat line. One code of 4 x 4 floats, one budget of objects, several seeds.
How much is shown at evaluation is an axis of its own, because a ratio and a shown share that differ
are a task which was not trained; errors are of values that were not shown.
Expected: maep is best somewhere between 0.5 and 0.8 (a low ratio leaves the code idle, a high one
starves the encoder), ahead of daep only while values are shown, behind it from the code alone.
Answer (laptop, SNID spectra): the best ratio falls from 0.9 to 0.5 as more is shown at evaluation;
from the code alone 0.3 to 0.5 are best, and level with daep.
Cost: smoke estimated at 5 to 10 minutes on two cores; laptop 20 trainings of a minute of one core.

    python studies/masking_sweep.py
    python studies/masking_sweep.py --data DATA --preset laptop --out runs/masking
"""

from typing import Any

from daep_ray.config import RunConfig
from daep_ray.settings import override
from daep_ray.study.spec import Axis, StudySpec
from daep_ray.study_cli import main

RATIOS = {  # 0.75 is the paper's
    "smoke": [0.15, 0.75, 0.9],
    "laptop": [0.15, 0.3, 0.5, 0.75, 0.9],
    "cluster": [0.15, 0.3, 0.45, 0.6, 0.75, 0.9],
}
SHOWN = {"smoke": [0.1, 0.5], "laptop": [0.1, 0.25, 0.5], "cluster": [0.1, 0.25, 0.5, 0.75]}
NUM_OBJECTS = {"smoke": 16_000, "laptop": 12_000, "cluster": 10_000_000}  # seen in training
SEEDS = {"smoke": 2, "laptop": 2, "cluster": 3}
MAX_LENGTH = {"smoke": 64, "laptop": 128, "cluster": None}  # measurements per sequence


def build(base: RunConfig, preset: str) -> StudySpec:
    """The design of a preset."""
    settings: dict[str, Any] = {"optimisation.num_objects": NUM_OBJECTS[preset]}
    for modality in base.modalities:
        settings[f"recipe.modalities.{modality}.max_length"] = MAX_LENGTH[preset]
    return StudySpec(
        name="masking_sweep",
        title="How much should a masked autoencoder hide?",
        question="How much should a masked autoencoder hide, and does any ratio reach daep?",
        expectation="Best between 0.5 and 0.8; ahead of daep only while values are shown.",
        base=override(base, settings),
        axes=(
            Axis("objective.mask_ratio", RATIOS[preset], is_conditional=True, control=0.75),
            Axis("evaluation.visible_share", SHOWN[preset], is_conditional=True),
        ),
        models={
            "daep": {"objective.kind": "daep"},
            "maep": {"objective.kind": "maep"},
            "maep, code alone": {"objective.kind": "maep", "objective.context": "nothing"},
        },
        seeds=tuple(range(SEEDS[preset])),
    )


if __name__ == "__main__":
    main("masking_sweep", build)
