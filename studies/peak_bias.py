"""Does a larger code remove the overestimate before peak brightness?

Design: light curves, daep and the VAE at codes from 2 x 2 (the paper's) to 8 x 8; the residuals
against time are in the report and in `tables/profiles.parquet`. Time is counted from the peak (the
default recipe of light curves; `--recipe ztf-photometry` fits it, as the paper does). Before it
only detections are kept, so the brighter half of the noise is: some overestimate is in the data and
no code removes it.
Expected: the overestimate shrinks from 4 to 16 floats and then stays.
Answer (laptop, ZTF SNe Ia): no overestimate beyond 0.02 z is seen at any size, so none shrinks.
Cost: estimated, smoke 5 minutes on two cores; laptop half an hour.

    python studies/peak_bias.py
    python studies/peak_bias.py --data data/bts --recipe ztf-photometry --preset laptop
"""

from daep_ray.config import RunConfig
from daep_ray.settings import override
from daep_ray.study.spec import Axis, StudySpec
from daep_ray.study_cli import main

CODES = {  # (length, width)
    "smoke": [(2, 2), (4, 4)],
    "laptop": [(2, 2), (4, 2), (4, 4), (8, 4), (8, 8)],
    "cluster": [(2, 2), (4, 2), (4, 4), (8, 4), (8, 8)],
}
NUM_OBJECTS = {"smoke": 16_000, "laptop": 48_000, "cluster": 10_000_000}  # seen in training
SEEDS = {"smoke": 1, "laptop": 2, "cluster": 5}
BETA = 0.001  # as in bottleneck_sweep.py


def build(base: RunConfig, preset: str) -> StudySpec:
    """The design of a preset."""
    return StudySpec(
        name="peak_bias",
        title="Does a larger code remove the overestimate before peak?",
        question="Does a larger code remove the overestimate before peak brightness?",
        expectation="It shrinks from 4 to 16 floats, then stays.",
        base=override(
            base,
            {
                "optimisation.num_objects": NUM_OBJECTS[preset],
                "evaluation.example_percentiles": [10, 30, 50, 70, 90],
            },
        ),
        axes=(Axis(("model.bottleneck.length", "model.bottleneck.width"), CODES[preset]),),
        models={
            "daep": {"objective.kind": "daep"},
            "vae": {"objective.kind": "vae", "objective.beta": BETA},
        },
        seeds=tuple(range(SEEDS[preset])),
        asks="bias_before_peak",
    )


if __name__ == "__main__":
    main("peak_bias", build)
