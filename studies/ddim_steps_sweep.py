"""How many solver steps does a reconstruction need, and which solver needs the fewest?

Design: one training of daep per seed, evaluated with every solver at every number of steps, all on
the same noise; the VAE (one pass, no solver) and one step of daep as flat lines. Axes below
`evaluation.` add evaluations, never trainings. few_steps.py asks the same of a single checkpoint
and adds coverage.
Expected: DDIM needs some 50 steps for the error of the mean of draws, second-order solvers 10; the
error of single draws rises a little with the steps, because few steps draw too narrowly.
Answer (laptop, SNID spectra): 10 steps of a second-order solver do what 200 of DDIM do; DDIM draws
too narrowly below 100.
Cost: estimated, smoke 2 minutes on two cores; laptop is mostly evaluation.

    python studies/ddim_steps_sweep.py
    python studies/ddim_steps_sweep.py --data DATA --preset laptop --out runs/steps
"""

from typing import Any

from daep_ray.config import RunConfig
from daep_ray.settings import override
from daep_ray.study.spec import Axis, StudySpec
from daep_ray.study_cli import main

STEPS = {
    "smoke": [5, 20],
    "laptop": [5, 10, 20, 50, 100, 200],
    "cluster": [5, 10, 20, 50, 100, 200, 1000],
}
SOLVERS = {
    "smoke": ["ddim", "dpm_solver", "one_step"],
    "laptop": ["ddim", "dpm_solver", "unipc", "one_step"],
    "cluster": ["ddim", "dpm_solver", "unipc", "one_step"],
}
MAX_LENGTH = {"smoke": 64, "laptop": 128, "cluster": None}  # measurements per sequence
EVALUATED = {"smoke": 60, "laptop": 60, "cluster": 2_000}  # test samples, each with every setting
BETA = 0.001  # as in bottleneck_sweep.py


def build(base: RunConfig, preset: str) -> StudySpec:
    """The design of a preset."""
    settings: dict[str, Any] = {"evaluation.max_objects": EVALUATED[preset]}
    for modality in base.modalities:
        settings[f"recipe.modalities.{modality}.max_length"] = MAX_LENGTH[preset]
    vae = "vae" if len(base.modalities) < 2 else "mmvae"
    return StudySpec(
        name="ddim_steps_sweep",
        title="How many solver steps does a reconstruction need?",
        question="How many solver steps does a reconstruction need, and which solver the fewest?",
        expectation="About 50 with DDIM, 10 with second-order solvers.",
        base=override(base, settings),
        axes=(
            Axis(
                "evaluation.sampler.num_steps",
                STEPS[preset],
                is_conditional=True,
                control=STEPS[preset][-1],
            ),
            Axis("evaluation.sampler.kind", SOLVERS[preset], is_conditional=True),
        ),
        models={
            "daep": {"objective.kind": "daep"},
            vae: {"objective.kind": vae, "objective.beta": BETA},
        },
        seeds=(0, 1, 2) if preset == "cluster" else (0,),
    )


if __name__ == "__main__":
    main("ddim_steps_sweep", build)
