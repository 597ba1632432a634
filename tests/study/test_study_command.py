"""The command in a report repeats the training: read back, it gives the same fingerprint."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daep_ray.config import configure, training_fingerprint
from daep_ray.settings import override, parse_assignment
from daep_ray.shards.manifest import Manifest
from daep_ray.study.command import changes, commands
from daep_ray.study.spec import Axis, StudySpec, cells

DATA = "my data/shards"


def read_back(command: str, manifest: Manifest) -> str:
    """The fingerprint of the training that a command line asks for."""
    words = shlex.split(command)
    assert words[:3] == ["daep-ray", "train", DATA]
    options = list(zip(words[3::2], words[4::2], strict=True))
    given: dict[str, Any] = dict(parse_assignment(v) for k, v in options if k == "--set")
    named = {k: v for k, v in options if k != "--set"}
    config = configure(manifest, named["--preset"], named.get("--modality"), given)
    assert Path(named["--out"]).parts[0] == "runs"
    return training_fingerprint(config, manifest.hash)


@pytest.mark.parametrize("preset", ["smoke", "laptop", ""])
def test_a_command_repeats_its_training(spec: StudySpec, manifest: Manifest, preset: str) -> None:
    axes = (
        Axis("objective.prediction", ["v", "epsilon"]),
        Axis("recipe.modalities.photometry.z_score", ["category:band", "modality"]),
        Axis(
            ("optimisation.optimizer.kind", "optimisation.optimizer.rate"),
            [("muon", 0.004), ("adamw", 1e-4)],
        ),
    )
    study = replace(spec, models={"daep": {}}, axes=axes, preset=preset)
    design = cells(study, manifest)
    found = commands(study, design, manifest, DATA)
    assert set(found) == {c.training for c in design if not c.is_reference}
    for training, command in found.items():
        assert read_back(command, manifest) == training


def test_a_command_names_several_modalities(spec: StudySpec, manifest: Manifest) -> None:
    names = tuple(m.name for m in manifest.modalities)
    assert len(names) == 2
    study = replace(spec, models={"daep": {}}, base=override(spec.base, {"modalities": names}))
    design = cells(study, manifest)
    for training, command in commands(study, design, manifest, DATA).items():
        assert read_back(command, manifest) == training


def test_a_variant_of_a_union_comes_before_its_settings(
    spec: StudySpec, manifest: Manifest
) -> None:
    vae = replace(spec, models={"vae": {"objective.kind": "vae", "objective.beta": 0.5}})
    start = spec.resolved(manifest).base
    goal = cells(vae, manifest)[0].config
    found = changes(start, goal)
    assert found["objective.kind"] == "vae"
    assert found["objective.beta"] == 0.5
    assert set(found) <= {
        "objective.kind",
        "objective.beta",
        "model.bottleneck.length",
        "model.bottleneck.width",
    }
    assert changes(goal, goal) == {}
