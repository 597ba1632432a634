"""A small study as a process of its own, for tests that kill it: `python driver.py DATA OUT`.

Prints `identity <hash>`. `--broken` adds a model whose trainings fail; `--search` uses Optuna;
`--storage=ADDRESS` keeps the trainings in a bucket; `--address=HOST:PORT` runs on that cluster;
`--short` is one code instead of two; with `--hold` every training waits at its third point of four
until it is killed there, or its folder in the store has a file `go`.
"""

import sys
import time
from pathlib import Path
from typing import Any

from daep_ray.config import RunConfig
from daep_ray.settings import override
from daep_ray.study.session import prepare_environment
from daep_ray.study.spec import Axis, Range, StudySpec

BUDGET = 2000  # objects
SETTINGS = {
    "modalities": ["photometry"],
    "model.width": 16,
    "model.num_heads": 2,
    "model.encoder.num_layers": 1,
    "model.decoder.num_layers": 1,
    "model.decoder.num_latents": 4,
    "optimisation.num_objects": BUDGET,
    "optimisation.token_budget": 512,
    "evaluation.max_objects": 8,
    "evaluation.num_draws": 2,
    "evaluation.sampler.num_steps": 2,
    "evaluation.num_probe_splits": 2,
    "runtime.validation_objects": 4,
    "runtime.num_curve_points": 4,
    "runtime.checkpoint_seconds": 0.2,
}


def study(is_broken: bool, is_search: bool, is_short: bool) -> StudySpec:
    """2 models, 1 or 2 codes, the training mean."""
    models: dict[str, dict[str, object]] = {
        "daep": {"objective.kind": "daep"},
        "vae": {"objective.kind": "vae"},
    }
    if is_broken:
        # a rate without bound makes the loss infinite within a few steps
        rate: dict[str, object] = {
            "optimisation.optimizer.rate": 1e30,
            "optimisation.optimizer.adamw_rate": 1e30,
        }
        models["broken"] = {"objective.kind": "vae", **rate}
    return StudySpec(
        name="killed",
        title="Killed",
        question="Does it resume?",
        expectation="It does.",
        base=override(
            RunConfig(), SETTINGS | ({"optimisation.num_objects": 100} if is_search else {})
        ),
        axes=(Range("model.bottleneck.length", 1, 4),)
        if is_search
        else (Axis("model.bottleneck.length", [1] if is_broken or is_short else [1, 2]),),
        models=models,
        references=("mean",),
        search="optuna" if is_search else "grid",
        num_trials=3,
    )


def hold(suggestion: dict[str, Any], **given: Any) -> None:
    """Ray sends it by value, in place of the trainable."""
    import daep_ray.study.trainable as module

    plain = module.run_trial

    def run_trial(trial: Any, data: Any, store: Any, report: Any) -> Any:
        def wait(point: dict[str, Any]) -> None:
            deadline = time.monotonic() + 600
            go = store.training(trial.training) / "go"
            while point["num_objects"] >= 0.75 * BUDGET and time.monotonic() < deadline:
                if go.exists():
                    break
                time.sleep(0.05)
            report(point)

        return plain(trial, data, store, wait)

    module.run_trial = run_trial  # type: ignore[assignment]
    module.trainable(suggestion, **given)


def run() -> None:
    """Run the study on DATA into OUT."""
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    prepare_environment(None)
    from daep_ray.study import tuner
    from daep_ray.study.launch import run_study
    from daep_ray.study.tables import identity

    if "--hold" in sys.argv:
        tuner.trainable = hold
    spec = study("--broken" in sys.argv, "--search" in sys.argv, "--short" in sys.argv)
    store, address = given("--storage"), given("--address")
    result = run_study(spec, data, out, store=store, address=address, echo=say)
    say(f"failed {result.num_failed} of {result.num_trials}, reused {result.num_reused}")
    say(f"identity {identity(out)}")


def given(option: str) -> str | None:
    """What follows `option=` on the command line."""
    found = [word.partition("=")[2] for word in sys.argv if word.startswith(f"{option}=")]
    return found[0] if found else None


def say(line: str) -> None:
    """At once, so that a test that waits for it sees it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run()
