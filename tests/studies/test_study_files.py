"""Every study file's design holds at every preset: no unknown setting, no two equal cells.

Nothing is trained; a typo in a path is found here and not after an hour.
"""

import importlib.util
import runpy
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from daep_ray.config import PRESETS, preset, resolve
from daep_ray.errors import ConfigError
from daep_ray.shards.ingest import ingest
from daep_ray.shards.manifest import Manifest
from daep_ray.shards.read import ShardFolder
from daep_ray.study.spec import Cell, StudySpec, cells
from daep_ray.study.trial import trials
from daep_ray.study_cli import Options, Part

STUDIES = Path(__file__).parents[2] / "studies"
NAMES = sorted(p.stem for p in STUDIES.glob("*.py") if "study_cli import main" in p.read_text())
OF_PARTS = ["paper_tables", "paper_vs_code"]  # commands of several studies
PAIRS, ONE = "photometry,spectrum", "photometry"
NEED_PAIRS = {"modality_drop_sweep"}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"study_{name}", STUDIES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def manifest(synthetic_shards: Path) -> Manifest:
    return ShardFolder.open(synthetic_shards).manifest


def design(name: str, manifest: Manifest, size: str, modalities: str) -> StudySpec:
    return load(name).build(resolve(preset(size), manifest, modalities), size)


def trained(spec: StudySpec, manifest: Manifest) -> list[Cell]:
    return [cell for cell in cells(spec, manifest) if not cell.is_reference]


@pytest.mark.parametrize("size", PRESETS)
@pytest.mark.parametrize("name", NAMES)
def test_the_design_holds(name: str, size: str, manifest: Manifest) -> None:
    spec = design(name, manifest, size, PAIRS if name in NEED_PAIRS else ONE)
    assert spec.name == name
    assert trained(spec, manifest)


@pytest.mark.parametrize("name", [*NAMES, *OF_PARTS])
def test_a_study_says_question_design_expectation_and_cost(name: str) -> None:
    text = load(name).__doc__ or ""
    assert text.splitlines()[0].endswith("?")
    for part in ("Design:", "Expected:", "Cost:", f"python studies/{name}.py"):
        assert part in text
    assert "answer" in text.lower()


@pytest.mark.parametrize("is_given", [True, False])
@pytest.mark.parametrize("name", [*NAMES, *OF_PARTS, "generation"])
def test_a_job_of_any_study_refuses_a_folder_that_is_thrown_away(
    name: str,
    is_given: bool,
    synthetic_shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    option = "--photometry" if name == "paper_tables" else "--data"
    data = [option, str(synthetic_shards)] if is_given else []  # the built-in survey is not made
    file = str(STUDIES / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [file, *data, "--out", "runs/x"])
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(file, run_name="__main__")
    assert exit_.value.code == 1
    assert "--out 'runs/x" in (told := capsys.readouterr().err)
    assert "temporary copy" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", PRESETS)
def test_a_sweep_over_solvers_is_one_training_per_seed(size: str, manifest: Manifest) -> None:
    spec = design("ddim_steps_sweep", manifest, size, ONE)
    found = trained(spec, manifest)
    assert len(trials(found)) == len(spec.models) * len(spec.seeds)
    of = {m: [c for c in found if c.model == m and c.seed == 0] for m in spec.models}
    steps, solvers = (len(axis.assignments()) for axis in spec.axes)
    # one_step has no steps, the VAE no solver
    assert len(of["daep"]) == steps * (solvers - 1) + 1
    assert len(of["vae"]) == 1


def test_daep_has_no_mask_ratio(manifest: Manifest) -> None:
    spec = design("masking_sweep", manifest, "laptop", ONE)
    found = [cell for cell in trained(spec, manifest) if cell.seed == 0]
    shown = next(axis for axis in spec.axes if axis.paths == ("evaluation.visible_share",))
    # a decoder that sees the code alone is not asked how much it is shown
    evaluated = {"daep": 1, "maep": 5 * len(shown.values), "maep, code alone": 5}
    assert Counter(c.model for c in found) == evaluated
    assert len(trials(found)) == 1 + 5 + 5
    ratios = {c.config.model_dump()["objective"].get("mask_ratio") for c in found}
    assert ratios == {None, 0.15, 0.3, 0.5, 0.75, 0.9}


def test_modality_dropping_asks_for_two_modalities(manifest: Manifest) -> None:
    with pytest.raises(ConfigError, match="--modality photometry,spectrum"):
        design("modality_drop_sweep", manifest, "smoke", ONE)
    spec = design("modality_drop_sweep", manifest, "laptop", PAIRS)
    assert [c.model for c in trained(spec, manifest)] == ["daep"] * 5 + ["mmVAE"]


def test_the_hybrid_is_asked_of_pairs_alone(manifest: Manifest) -> None:
    one, pairs = (design("objectives", manifest, "smoke", m) for m in (ONE, PAIRS))
    assert pairs.models.keys() - one.models.keys() == load("objectives").HYBRID.keys()
    assert len(trials(trained(pairs, manifest))) == len(pairs.models)


def part_designs(parts: list[Part], manifest: Manifest, size: str) -> dict[str, StudySpec]:
    return {
        part.name: part.build(resolve(preset(size), manifest, part.modality, part.recipe), size)
        for part in parts
    }


@pytest.mark.parametrize("size", PRESETS)
def test_the_papers_tables_have_its_codes_and_models(
    size: str, manifest: Manifest, synthetic_shards: Path
) -> None:
    study = load("paper_tables")
    parts = study.parts(dict.fromkeys(study.TABLES, synthetic_shards))
    codes = {"lamost": (4, 8), "spectra": (4, 4), "photometry": (2, 2), "pairs": (4, 4)}
    for name, spec in part_designs(parts, manifest, size).items():
        found = trained(spec, manifest)
        assert study.TABLES[name].printed.keys() <= {cell.model for cell in found}
        for cell in found:
            bottleneck = cell.config.model.bottleneck
            assert (bottleneck.length, bottleneck.width) == codes[name]
            assert cell.config.evaluation.probe_label == "class"
    assert [part.name for part in parts] == list(codes)


def test_without_data_the_built_in_survey_has_two_tables() -> None:
    parts = load("paper_tables").parts({"lamost": None, "pairs": None})
    assert [(part.name, part.data) for part in parts] == [("photometry", None), ("pairs", None)]


def test_a_search_with_two_numbers_of_neighbours_is_one_training(
    manifest: Manifest, synthetic_shards: Path
) -> None:
    parts = load("paper_tables").parts({"pairs": synthetic_shards})
    found = trained(part_designs(parts, manifest, "laptop")["pairs"], manifest)
    assert len(found) == 4
    assert len(trials(found)) == 3


@pytest.mark.parametrize("size", PRESETS)
@pytest.mark.parametrize("recipe", [None, "lamost", "ztf-spectra"])
def test_every_choice_of_the_published_code_has_its_place(
    size: str, recipe: str | None, manifest: Manifest
) -> None:
    study = load("paper_vs_code")
    modality = "spectrum" if recipe else None
    given = Options(None, modality, size, None, (), None, 0.0, None, None, Path("out"), True)
    designs = part_designs(study.parts(replace(given, recipe=recipe)), manifest, size)
    models = {name: {c.model for c in trained(s, manifest)} for name, s in designs.items()}
    for name, choices in study.CHOICES.items():
        asked = {study._model(name, choice) for choice in choices}
        assert asked | {name} == models[name]
        assert next(iter(designs[name].models)) == name  # the control
    apart = {
        None: ["probe"],
        "lamost": ["probe", "log10", "no_cut", "recipe"],
        "ztf-spectra": ["probe", "recipe"],
    }[recipe]
    assert [name for name in designs if name not in study.CHOICES] == apart


def test_a_choice_of_scoring_is_no_training(manifest: Manifest) -> None:
    study = load("paper_vs_code")
    given = Options(None, None, "laptop", None, (), None, 0.0, None, None, Path("out"), True)
    designs = part_designs(study.parts(given), manifest, "laptop")
    base, other = (trained(designs[name], manifest)[0] for name in ("daep", "probe"))
    assert base.training == other.training
    assert base.evaluation != other.evaluation
    found = {c.model: c for c in trained(designs["daep"], manifest)}
    sampled = next(c for name, c in found.items() if "DDIM" in name)
    assert sampled.training == base.training
    everything = next(c for name, c in found.items() if "all of the code's" in name)
    assert everything.config.objective.model_dump()["prediction"] == "epsilon"


def test_clinical_sequences_need_nothing_but_their_data(shared_data: Path, tmp_path: Path) -> None:
    archive = shared_data / "physionet2012_subset.tar.gz"
    ingest("table", archive, tmp_path / "vitals", {"mapping": "physionet2012"})
    manifest = ShardFolder.open(tmp_path / "vitals").manifest
    spec = load("domain_transfer").build(resolve(preset("smoke"), manifest), "smoke")
    assert {c.config.modalities for c in cells(spec, manifest)} == {("vitals",)}
