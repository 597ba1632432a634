"""Which choices inside daep matter: what is predicted, how finely positions are told, the noise?

Design: daep with one choice changed at a time, one code of 4 x 4 floats, one budget of objects:
prediction of v, the noise or the clean value; the sinusoids' scale 1 (published), 10, 30 (the
control) and 100 rad per z unit; measurement errors read, weighted per object, per point, or both;
min-SNR weights; with several modalities a contrastive term (the hybrid). `--set` a larger budget
before believing a tie.
Expected: v and the clean value are level and the noise is behind at few evaluations; scale 1 is far
behind on spectra and not on light curves; weights gain where errors differ between objects.
Answer (laptop, SALT3 spectra): v; a scale of 10 or more (1 costs 14 %); errors change no mean.
Cost: estimated, smoke 10 to 15 minutes on two cores.

    python studies/objectives.py
    python studies/objectives.py --data DATA --preset laptop --out runs/objectives
"""

from typing import Any

from daep_ray.config import RunConfig
from daep_ray.settings import override
from daep_ray.study.spec import Axis, StudySpec
from daep_ray.study_cli import main

MAX_LENGTH = {"smoke": 64, "laptop": 128, "cluster": None}  # measurements per sequence
NUM_OBJECTS = {"smoke": 16_000, "laptop": 12_000, "cluster": 10_000_000}  # seen in training
SEEDS = {"smoke": 1, "laptop": 2, "cluster": 5}

MODELS: dict[str, dict[str, Any]] = {
    "daep": {},
    "daep, predicts the noise": {"objective.prediction": "epsilon"},
    "daep, predicts the clean value": {"objective.prediction": "x0"},
    "daep, position scale 1": {"model.tokenizer.position_scale": 1.0},
    "daep, position scale 10": {"model.tokenizer.position_scale": 10.0},
    "daep, position scale 100": {"model.tokenizer.position_scale": 100.0},
    "daep, errors read": {"model.tokenizer.reads_error": True},
    "daep, weights per object": {"objective.error_weighting": "object"},
    "daep, weights per point": {"objective.error_weighting": "point"},
    "daep, errors read, weights per object": {
        "model.tokenizer.reads_error": True,
        "objective.error_weighting": "object",
    },
    "daep, min-SNR weights": {"objective.weighting": "min_snr"},
}
HYBRID: dict[str, dict[str, Any]] = {
    "daep, contrastive 0.01": {"objective.contrastive_weight": 0.01},
    "daep, contrastive 0.1": {"objective.contrastive_weight": 0.1},
}


def build(base: RunConfig, preset: str) -> StudySpec:
    """The design of a preset."""
    settings: dict[str, Any] = {"optimisation.num_objects": NUM_OBJECTS[preset]}
    for modality in base.modalities:
        settings[f"recipe.modalities.{modality}.max_length"] = MAX_LENGTH[preset]
    return StudySpec(
        name="objectives",
        title="Which choices inside daep matter?",
        question="Which choices inside daep move its error: prediction, positions, or the noise?",
        expectation="The position scale most on spectra; weights where errors differ.",
        base=override(base, settings),
        axes=(Axis(("model.bottleneck.length", "model.bottleneck.width"), [(4, 4)]),),
        models=MODELS | (HYBRID if len(base.modalities) > 1 else {}),
        seeds=tuple(range(SEEDS[preset])),
    )


if __name__ == "__main__":
    main("objectives", build)
