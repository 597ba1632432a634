"""Every study from its command to its page, at `--preset smoke` and a budget that learns nothing.

All of them are run by one job on one Ray head, on one tiny survey and one store of trainings; the
job runs each as `ray job submit` of its own would. Not here: `generation` (test_generation.py),
`archives` and `throughput`, which train nothing through Ray and have tests of their own.
"""

import html
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from daep_ray.config import preset, resolve
from daep_ray.shards.manifest import Manifest
from daep_ray.shards.read import ShardFolder
from daep_ray.study import tables
from daep_ray.study.spec import StudySpec, cells
from tests.ray_head import ROOT, Head
from tests.studies.test_study_files import ONE, PAIRS, load

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(3600)]  # all wait in one queue

DRIVER = Path(__file__).with_name("driver.py")
SETTINGS = {  # what no study varies
    "model.width": 16,
    "optimisation.num_objects": 64,
    "evaluation.max_objects": 8,
    "evaluation.num_probe_splits": 2,
    "evaluation.num_conformal_objects": 8,
    "runtime.validation_objects": 4,
    "runtime.num_curve_points": 3,
}
CODE = "model.bottleneck.length"


@dataclass(frozen=True)
class Expected:
    """What a study must leave."""

    cells: dict[str, int]  # by model, one seed
    num_trainings: int
    axes: dict[str, set[Any]] = field(default_factory=lambda: {CODE: {4}})  # values of the cells
    modality: str = ONE


REFERENCES = {"pca": 1, "mean": 1, "gp": 1}
STUDIES = {
    "paper_surveys": Expected({"daep": 1, "vae": 1, **REFERENCES}, 2),
    "bottleneck_sweep": Expected(
        {"daep": 3, "vae": 3, **REFERENCES, "pca": 3},
        6,
        {CODE: {1, 2, 4}, "model.bottleneck.width": {2, 4}},
    ),
    "all_models": Expected(dict.fromkeys(load("all_models").ONE, 1) | REFERENCES, 10),
    "all_models_pairs": Expected(
        dict.fromkeys(load("all_models").SEVERAL, 1) | REFERENCES, 5, modality=PAIRS
    ),
    "modality_drop_sweep": Expected(
        {"daep": 3, "mmVAE": 1, **REFERENCES},
        4,
        {"objective.modality_drop": {0.0, 0.2, 0.5}},
        PAIRS,
    ),
    "masking_sweep": Expected(
        {"daep": 1, "maep": 6, "maep, code alone": 3, **REFERENCES},
        7,
        {"objective.mask_ratio": {0.15, 0.75, 0.9}, "evaluation.visible_share": {0.1, 0.5}},
    ),
    "ddim_steps_sweep": Expected(  # one training of daep for five ways of drawing
        {"daep": 5, "vae": 1, **REFERENCES},
        2,
        {
            "evaluation.sampler.num_steps": {5, 20},
            "evaluation.sampler.kind": {"ddim", "dpm_solver", "one_step"},
        },
    ),
    "objectives": Expected(dict.fromkeys(load("objectives").MODELS, 1) | REFERENCES, 11),
    "peak_bias": Expected({"daep": 2, "vae": 2, **REFERENCES, "pca": 2}, 4, {CODE: {2, 4}}),
    "domain_transfer": Expected({"daep": 1, "vae": 1, "maep": 1, **REFERENCES}, 3),
}
# commands of several studies: a folder and a page for each, and one over them
PARTS = {
    "paper_tables": {
        "photometry": Expected(
            dict.fromkeys(load("paper_tables").ONE, 1) | REFERENCES, 5, {CODE: {2}}
        ),
        "pairs": Expected(
            dict.fromkeys(load("paper_tables").SEVERAL, 1) | REFERENCES, 3, modality=PAIRS
        ),
    },
    "paper_vs_code": {
        "daep": Expected({}, 10),
        "maep": Expected({}, 6),
        "vae": Expected({}, 7),
        "probe": Expected({"daep": 1, **REFERENCES}, 1),
    },
}


def flags(**options: object) -> list[str]:
    return [str(word) for name, value in options.items() for word in (f"--{name}", value)]


def commands(data: Path, folder: Path, model: Path) -> dict[str, list[str]]:
    """The command lines by name; `model` is the folder of a training that the first one makes."""
    settings = [word for path, value in SETTINGS.items() for word in ("--set", f"{path}={value}")]

    def command(study: str, name: str, **options: object) -> list[str]:
        shared = {"preset": "smoke", "seeds": 1, "storage": folder / "store", "out": folder / name}
        return [f"studies/{study}.py", *flags(**options, **shared), *settings]

    one = {"data": data, "modality": ONE}
    found = {
        name: command(name.removesuffix("_pairs"), name, data=data, modality=expected.modality)
        for name, expected in STUDIES.items()
    }
    return found | {
        "paper_tables": command("paper_tables", "paper_tables", photometry=data, pairs=data),
        "paper_vs_code": command("paper_vs_code", "paper_vs_code", **one),
        "few_steps": ["studies/few_steps.py", str(model), str(data), *flags(objects=2, draws=2)],
        "noise_aware": ["studies/noise_aware.py", str(data), str(model), *flags(draws=2)],
    }


@dataclass(frozen=True)
class Running:
    """The job that runs all of them."""

    folder: Path
    submitted: subprocess.Popen[bytes]

    def printed(self, name: str) -> str:
        """What a command printed, when it has ended well."""
        code, log = (self.folder / f"{name}.{kind}" for kind in ("code", "log"))
        while not code.is_file():
            has_ended = self.submitted.poll() is not None  # asked first: it may end meanwhile
            assert code.is_file() or not has_ended, (self.folder / "job.log").read_text()
            time.sleep(0.2)
        assert code.read_text() == "0", log.read_text()
        return log.read_text()


@pytest.fixture(scope="module")
def manifest(synthetic_shards: Path) -> Manifest:
    return ShardFolder.open(synthetic_shards).manifest


@pytest.fixture(scope="module")
def job(
    head: Head, synthetic_shards: Path, manifest: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("smoke")
    model = folder / "store" / training("paper_surveys", manifest)
    (folder / "commands.json").write_text(json.dumps(commands(synthetic_shards, folder, model)))
    with (folder / "job.log").open("w") as log:
        submitted = subprocess.Popen(
            head.command("python", DRIVER, folder / "commands.json", folder),
            cwd=ROOT,
            env=head.environment,
            stdout=log,
            stderr=log,
        )
    yield Running(folder, submitted)
    submitted.terminate()
    submitted.wait()


def training(name: str, manifest: Manifest) -> str:
    """Fingerprint of a study's first training."""
    spec: StudySpec = load(name).build(resolve(preset("smoke"), manifest, ONE), "smoke")
    return cells(spec.with_settings(SETTINGS), manifest)[0].training


def check(out: Path, expected: Expected) -> None:
    """The design is there, all of it is done, and the page is about it."""
    rows = tables.read(out, "cells").to_pylist()
    assert [row["reason"] for row in rows if row["state"] != "done"] == []
    trained = [row for row in rows if row["seed"] is not None]
    if expected.cells:
        assert Counter(row["model"] for row in rows) == expected.cells
    assert len({row["training"] for row in trained}) == expected.num_trainings
    assert all(64 <= row["num_objects"] < 128 for row in trained)  # to the end of a step
    settings = [json.loads(row["settings"]) for row in trained]
    for path, values in expected.axes.items():
        assert {found[path] for found in settings if path in found} == values
    measured = set(tables.read(out, "metrics")["cell"].to_pylist())
    assert measured == {row["cell"] for row in rows}
    spec = json.loads((out / "spec.json").read_text())
    assert tuple(spec["base"]["modalities"]) == tuple(expected.modality.split(","))
    page = html.unescape((out / "report" / "index.html").read_text())
    assert spec["question"] in page
    for model in {row["model"] for row in trained}:
        assert model in page


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_ends_in_its_tables_and_page(name: str, job: Running) -> None:
    printed = job.printed(name)
    out = job.folder / name
    check(out, STUDIES[name])
    assert printed.strip().endswith(f"report: {out / 'report' / 'index.html'}")
    spec = json.loads((out / "spec.json").read_text())
    assert spec["name"] == name.removesuffix("_pairs")
    assert spec["preset"] == "smoke"


@pytest.mark.parametrize("name", PARTS)
def test_a_command_of_several_studies_ends_in_a_page_over_them(name: str, job: Running) -> None:
    printed = job.printed(name)
    out = job.folder / name
    for part, expected in PARTS[name].items():
        check(out / part, expected)
    assert printed.strip().endswith(f"page: {out / name}.md")
    page = (out / f"{name}.md").read_text()
    study = load(name)
    if name == "paper_tables":
        for part in PARTS[name]:
            assert f"Table {study.TABLES[part].number}" in page
    else:
        choices = [c for several in study.CHOICES.values() for c in several]
        for choice in [*choices, study.APART["probe"]]:
            assert choice.what in page


def test_solvers_are_compared_on_one_model(job: Running) -> None:
    rows = json.loads(job.printed("few_steps").splitlines()[-1])
    names = {row["solver"] for row in rows}
    assert names == {"ddim, time", "ddim, log_snr", "dpm_solver", "unipc 2", "unipc 3", "one_step"}
    assert all(0 < row["one draw"] < 100 for row in rows)


def test_the_distance_to_the_truth_is_printed(job: Running) -> None:
    row = job.printed("noise_aware").splitlines()[-1]
    distance = float(row.split("|")[2])
    assert 0 < distance < 1000
