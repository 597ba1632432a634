"""What one modality says of another: the right samples, the right numbers, for models and PCA."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from daep_ray.config import EvaluationConfig, RunConfig, resolve
from daep_ray.diffusion.samplers import DPMSolverConfig
from daep_ray.evaluate.embed import embed_folder
from daep_ray.evaluate.run import evaluate, evaluate_reference
from daep_ray.nn.config import (
    MixerConfig,
    ModelConfig,
    OneStageEncoderConfig,
    SingleStageDecoderConfig,
)
from daep_ray.objectives import build_objective
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.bins import evaluation_batches
from daep_ray.stream.noise import Noise
from daep_ray.stream.pack import layouts
from daep_ray.stream.statistics import fit_recipe
from daep_ray.train.checkpoint import Trained

NAMES = ("photometry", "spectrum")
SMALL = ModelConfig(
    width=16,
    num_heads=2,
    encoder=OneStageEncoderConfig(num_layers=1),
    mixer=MixerConfig(num_layers=1, num_tokens=2),
    decoder=SingleStageDecoderConfig(num_layers=1),
)
SETTINGS = EvaluationConfig(
    sampler=DPMSolverConfig(num_steps=2), num_draws=2, max_objects=40, probe_label=None
)


@pytest.fixture(scope="module")
def shards(synthetic_shards: Path) -> ShardFolder:
    return ShardFolder.open(synthetic_shards)


def untrained(shards: ShardFolder, names: tuple[str, ...]) -> Trained:
    torch.manual_seed(0)
    config = resolve(RunConfig(modalities=names, model=SMALL), shards.manifest)
    assert config.recipe is not None
    fitted = fit_recipe(shards, config.recipe)
    objective = build_objective(config.objective, config.model, layouts(fitted, names))
    return Trained(objective.eval(), config, fitted, {})


def counts(metrics: pa.Table) -> dict[tuple[str, str], int]:
    rows = [r for r in metrics.to_pylist() if r["metric"] == "absolute_error"]
    return {(r["modality"], r["estimate"]): r["count"] for r in rows}


def test_a_model_and_pca_are_asked_over_the_samples_that_have_both(shards: ShardFolder) -> None:
    trained = untrained(shards, NAMES)
    lengths = trained.fitted.lengths(shards)
    has: Counter[str] = Counter()
    for split, photometry, spectrum in zip(
        *(lengths[c].to_pylist() for c in ("split", "photometry.length", "spectrum.length")),
        strict=True,
    ):
        if split == "test":
            has.update(
                {"photometry": photometry > 0, "spectrum": spectrum > 0},
                both=photometry > 0 and spectrum > 0,
            )
    assert 0 < has["both"] < has["photometry"]
    model = counts(evaluate(trained, shards, SETTINGS)["metrics"])
    for estimate in ("one_draw", "mean_of_draws", "one_step"):
        assert {m: model[m, estimate] for m in NAMES} == {m: has[m] for m in NAMES}
    assert model["spectrum", "from_photometry"] == has["both"]
    assert model["photometry", "from_spectrum"] == has["both"]
    assert len(model) == 8
    pca = evaluate_reference("pca", 2, shards, trained.fitted, NAMES, SETTINGS)
    assert counts(pca["metrics"]) == {
        **{(m, "reference"): has[m] for m in NAMES},
        ("spectrum", "from_photometry"): has["both"],
        ("photometry", "from_spectrum"): has["both"],
    }


@torch.inference_mode()
def test_the_error_is_that_of_the_mean_of_draws_from_one_modality(shards: ShardFolder) -> None:
    """Against the objective itself, asked sample by sample with nothing else in the batch."""
    trained = untrained(shards, NAMES)
    rows = evaluate(trained, shards, SETTINGS)["objects"].to_pylist()
    found = {
        r["object_id"]: r["value"]
        for r in rows
        if (r["estimate"], r["metric"]) == ("from_photometry", "absolute_error")
    }
    expected = {}
    for batch, table in evaluation_batches(shards, trained.fitted, NAMES, "test", 1):
        spectrum = batch.sequences["spectrum"]
        if not spectrum.num_tokens or not batch.sequences["photometry"].num_tokens:
            continue
        assert spectrum.value is not None
        code = trained.objective.encode(batch.only("photometry"))
        noise = Noise(SETTINGS.seed, 0, batch.sample_ids)
        drawn = trained.objective.decode(code, batch.query(), SETTINGS.sampler, 2, noise)
        error = (drawn.values["spectrum"].mean(0) - spectrum.value).abs().mean()
        expected.setdefault(table["object_id"][0].as_py(), []).append(float(error))
    assert found.keys() == expected.keys()
    for name, errors in expected.items():
        assert found[name] == pytest.approx(np.mean(errors), rel=1e-4)


def test_one_modality_is_asked_of_itself_alone(shards: ShardFolder) -> None:
    trained = untrained(shards, ("photometry",))
    estimates = {e for _, e in counts(evaluate(trained, shards, SETTINGS)["metrics"])}
    assert estimates == {"one_draw", "mean_of_draws", "one_step"}


def test_pca_tells_one_modality_from_another_better_than_the_mean(shards: ShardFolder) -> None:
    """On the training split, where the directions were fitted."""
    settings = SETTINGS.model_copy(update={"split": "train", "max_objects": 200})
    fitted = untrained(shards, NAMES).fitted

    def error(kind: str) -> float:
        metrics = evaluate_reference(kind, 2, shards, fitted, NAMES, settings)["metrics"]
        return next(
            r["value"]
            for r in metrics.to_pylist()
            if (r["estimate"], r["metric"]) == ("from_spectrum", "squared_error")
        )

    assert error("pca") < error("mean")


def test_the_code_of_a_modality_is_null_where_the_sample_lacks_it(
    shards: ShardFolder, tmp_path: Path
) -> None:
    trained = untrained(shards, NAMES)
    path, num_rows = embed_folder(trained, shards, tmp_path)
    codes, lengths = pq.read_table(path), trained.fitted.lengths(shards)
    assert codes["sample_id"].to_pylist() == lengths["sample_id"].to_pylist()
    assert num_rows == len(codes)
    assert codes["code"].null_count == 0
    for name in NAMES:
        is_null = [code is None for code in codes[f"code.{name}"].to_pylist()]
        assert is_null == [n == 0 for n in lengths[f"{name}.length"].to_pylist()]
        assert any(is_null)
