"""Does the same configuration learn sequences that are no astronomy?

Design: daep, the VAE and maep at 4 x 4 floats (on a cluster 8 x 4 too), PCA and the training mean
beside them, on irregular clinical sequences: 48 hours of a stay in intensive care, the parameter
(heart rate, pH, ...) a category, the outcome the probe's class. Nothing in this file knows that: a
mapping declares the columns, and only --data differs from a survey. The default recipe of a series
with channels, whose units differ, standardises each apart and counts time from the first reading.
Expected: all three pass the learning gate; the probe beats the majority class by little, because
one death in seven stays is hard to tell from 16 floats.
Answer (laptop): all three pass the gate, behind PCA and a Gaussian process; no probe beats always
guessing survival.
Cost: estimated, smoke 5 minutes on two cores.

    daep-ray ingest table physionet2012_subset.tar.gz --out data/vitals --set mapping=physionet2012
    python studies/domain_transfer.py --data data/vitals --out runs/vitals
"""

from typing import Any

from daep_ray.config import RunConfig
from daep_ray.settings import override
from daep_ray.study.spec import Axis, StudySpec
from daep_ray.study_cli import main

NUM_OBJECTS = {"smoke": 16_000, "laptop": 12_000, "cluster": 10_000_000}  # seen in training
CODES = {  # (length, width)
    "smoke": [(4, 4)],
    "laptop": [(4, 4)],
    "cluster": [(4, 4), (8, 4)],
}
SEEDS = {"smoke": 1, "laptop": 2, "cluster": 5}
MAX_LENGTH = {"smoke": 128, "laptop": 256, "cluster": None}  # measurements per sequence
BETA = 0.001  # as in bottleneck_sweep.py


def build(base: RunConfig, preset: str) -> StudySpec:
    """The design of a preset."""
    settings: dict[str, Any] = {"optimisation.num_objects": NUM_OBJECTS[preset]}
    for modality in base.modalities:
        settings[f"recipe.modalities.{modality}.max_length"] = MAX_LENGTH[preset]
    return StudySpec(
        name="domain_transfer",
        title="Does the same configuration learn sequences that are no astronomy?",
        question="Does the same configuration learn sequences that are no astronomy?",
        expectation="All models pass the learning gate.",
        base=override(base, settings),
        axes=(Axis(("model.bottleneck.length", "model.bottleneck.width"), CODES[preset]),),
        models={
            "daep": {"objective.kind": "daep"},
            "vae": {"objective.kind": "vae", "objective.beta": BETA},
            "maep": {"objective.kind": "maep"},
        },
        seeds=tuple(range(SEEDS[preset])),
    )


if __name__ == "__main__":
    main("domain_transfer", build)
