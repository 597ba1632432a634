"""Does every survey of the paper train, and who reconstructs it better at a small budget?

Design: one code of 4 x 4 floats, daep and the VAE (of one modality, or the mixture of experts where
there are several), the training mean and PCA beside them. Run once per survey, each with its recipe
of `daep-ray recipes`; the commands and the answers stand in studies/README.md.
Expected: both models pass the learning gate everywhere.
Cost: laptop 2 to 4 minutes per survey on two quiet cores.

    python studies/paper_surveys.py --data DATA --recipe lamost --preset laptop --out runs/lamost
"""

from typing import Any

from daep_ray.config import RunConfig
from daep_ray.settings import override
from daep_ray.study.spec import Axis, StudySpec
from daep_ray.study_cli import main

NUM_OBJECTS = {"smoke": 4_000, "laptop": 12_000, "cluster": 1_000_000}
MAX_LENGTH = {"smoke": 64, "laptop": 128, "cluster": None}  # measurements of a spectrum
BETA = 0.001  # as in bottleneck_sweep.py


def build(base: RunConfig, preset: str) -> StudySpec:
    """The design of a preset."""
    settings: dict[str, Any] = {
        "optimisation.num_objects": NUM_OBJECTS[preset],
        "optimisation.optimizer.weight_decay": 0.1,
        "evaluation.example_percentiles": [10, 30, 50, 70, 90],
    }
    if "spectrum" in base.modalities:
        settings["recipe.modalities.spectrum.max_length"] = MAX_LENGTH[preset]
    vae = "vae" if len(base.modalities) < 2 else "mmvae"
    return StudySpec(
        name="paper_surveys",
        title="Does every survey of the paper train?",
        question="Do daep and the VAE learn this survey at a small budget, and who is ahead?",
        expectation="Both pass the learning gate.",
        base=override(base, settings),
        axes=(Axis(("model.bottleneck.length", "model.bottleneck.width"), [(4, 4)]),),
        models={
            "daep": {"objective.kind": "daep"},
            vae: {"objective.kind": vae, "objective.beta": BETA},
        },
    )


if __name__ == "__main__":
    main("paper_surveys", build)
