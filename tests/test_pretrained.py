"""A trained model in a user's hands: codes, reconstructions in physical units, clear answers."""

import copy
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from daep_ray.config import RunConfig
from daep_ray.diffusion.samplers import DDIMConfig
from daep_ray.errors import CheckpointError, DataError, StorageError
from daep_ray.evaluate.embed import embed_folder
from daep_ray.objectives import build_objective
from daep_ray.objectives.vae import VaeConfig
from daep_ray.pretrained import Autoencoder
from daep_ray.sample import Axis, Category, Modality, Record, Sample, Sequence
from daep_ray.settings import override
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import table_from_samples
from daep_ray.shards.write import write_shards
from daep_ray.stream.pack import layouts
from daep_ray.stream.position_chain import Reference
from daep_ray.stream.recipe import ModalityRecipe, Recipe
from daep_ray.stream.selection import Crop
from daep_ray.stream.statistics import fit_recipe
from daep_ray.stream.value_chain import Arcsinh
from daep_ray.train import checkpoint
from daep_ray.train.checkpoint import Trained

PHOTOMETRY = Modality(
    name="photometry",
    value=Axis("flux", "FLUXCAL"),
    positions=(Axis("time", "day", is_time=True),),
    categories=(Category("band", ("unknown", "g", "r")),),
    extras=(Axis("noiseless", "FLUXCAL"),),
)
SPECTRUM = Modality("spectrum", Axis("flux", ""), (Axis("wavelength", "Angstrom"),))
RECIPE = Recipe(
    modalities={
        "photometry": ModalityRecipe(
            value=(Arcsinh(scale=10.0),),
            positions={"time": (Reference(at="first"),)},
            selection=(Crop(position="time", low=-1.0, high=90.0),),
        )
    }
)


@dataclass(frozen=True)
class Survey:
    modalities: tuple[Modality, ...]
    records: Callable[[], Iterator[Record]]
    source: dict[str, Any]


def sample(number: int) -> Sample:
    rng = np.random.default_rng(number)
    length = int(rng.integers(5, 40))
    time = 59000 + np.sort(rng.uniform(0, 120, length))
    value = rng.normal(50, 20, length)
    photometry = Sequence(
        value=value,
        error=np.full(length, 2.0),
        positions={"time": time},
        categories={"band": rng.integers(1, 3, length).astype(np.int16)},
        extras={"noiseless": value},
    )
    return Sample(f"o{number}/0", f"o{number}", {"photometry": photometry}, {"class": "Ia"})


LENGTH = len(sample(0).sequences["photometry"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ShardFolder:
    out = tmp_path_factory.mktemp("data") / "data"
    samples = [sample(i) for i in range(60)]
    write_shards(Survey((PHOTOMETRY, SPECTRUM), lambda: iter(samples), {"format": "fake"}), out)
    return ShardFolder.open(out)


@pytest.fixture(scope="module", params=["daep", "vae"])
def run(
    request: pytest.FixtureRequest,
    folder: ShardFolder,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A checkpoint folder of an untrained model."""
    torch.manual_seed(0)
    config = override(
        RunConfig(modalities=("photometry",), recipe=RECIPE),
        {
            "model.width": 16,
            "model.num_heads": 2,
            "model.encoder.num_layers": 1,
            "model.decoder.num_layers": 1,
            "model.bottleneck.length": 3,
            "model.bottleneck.width": 2,
            "evaluation.sampler.num_steps": 3,
        },
    )
    if request.param == "vae":
        config = config.model_copy(update={"objective": VaeConfig()})
    fitted = fit_recipe(folder, RECIPE)
    objective = build_objective(config.objective, config.model, layouts(fitted, ("photometry",)))
    weights = objective.state_dict()
    out = tmp_path_factory.mktemp("run") / "checkpoint"
    checkpoint.save(out, checkpoint.State(weights, weights, {}, {}, {}), config, fitted)
    return out.parent


@pytest.fixture(scope="module")
def model(run: Path) -> Autoencoder:
    return Autoencoder.from_pretrained(run)


def with_budget(model: Autoencoder, budget: int) -> Autoencoder:
    config = override(model.trained.config, {"evaluation.token_budget": budget})
    return Autoencoder(replace(model.trained, config=config))


def changed(number: int, **changes: Any) -> Sample:
    plain = sample(number)
    return replace(
        plain, sequences={"photometry": replace(plain.sequences["photometry"], **changes)}
    )


def test_a_code_does_not_depend_on_company_or_order(model: Autoencoder) -> None:
    samples = [sample(i) for i in range(12)]
    codes = model.embed(samples)
    assert codes.shape == (12, 3, 2)
    assert codes.dtype == np.float32
    alone = np.concatenate([model.embed([s]) for s in samples])
    np.testing.assert_allclose(codes, alone, atol=1e-5)
    np.testing.assert_allclose(model.embed(samples[::-1])[::-1], codes, atol=1e-5)
    np.testing.assert_allclose(with_budget(model, 30).embed(samples), codes, atol=1e-5)
    assert np.ptp(codes, axis=0).min() > 1e-3, "codes must differ between samples"


def test_samples_words_and_tables_are_the_same_thing(model: Autoencoder) -> None:
    samples = [sample(i) for i in range(5)]
    codes = model.embed(samples)
    words = np.array(PHOTOMETRY.categories[0].vocabulary)
    in_words = [
        changed(i, categories={"band": words[s.sequences["photometry"].categories["band"]]})
        for i, s in enumerate(samples)
    ]
    np.testing.assert_array_equal(model.embed(in_words), codes)
    table = table_from_samples(samples, (PHOTOMETRY,))
    np.testing.assert_array_equal(model.embed(table)["code"].to_pylist(), codes.reshape(5, -1))


def test_a_reconstruction_stands_at_the_measurements_in_their_units(model: Autoencoder) -> None:
    samples = [sample(i) for i in range(6)]
    found = model.reconstruct(samples, num_draws=5)
    for given, by_modality in zip(samples, found, strict=True):
        picture, sequence = by_modality["photometry"], given.sequences["photometry"]
        time = sequence.positions["time"]
        kept = time - time.min() <= 90.0
        np.testing.assert_array_equal(picture.positions["time"], time[kept])
        np.testing.assert_allclose(picture.measured, sequence.value[kept], rtol=1e-6)
        words = np.array(["unknown", "g", "r"])[sequence.categories["band"][kept]]
        assert (picture.categories["band"] == words).all()
        assert picture.draws.shape == (5, kept.sum())
        assert np.isfinite(picture.draws).all()
        # the mean is taken before the arcsinh is inverted
        inner = np.sinh(np.arcsinh(picture.draws / 10).mean(0)) * 10
        np.testing.assert_allclose(picture.mean, inner, rtol=1e-9)


def test_draws_are_keyed_by_seed_and_sample(model: Autoencoder) -> None:
    samples = [sample(i) for i in range(6)]

    def draws(model: Autoencoder, samples: list[Sample], **more: Any) -> np.ndarray:
        found = model.reconstruct(samples, num_draws=3, **more)
        return np.concatenate([f["photometry"].draws for f in found], axis=1)

    first = draws(model, samples)
    np.testing.assert_array_equal(draws(model, samples), first)
    np.testing.assert_allclose(draws(with_budget(model, 20), samples), first, rtol=1e-3, atol=1e-3)
    other = draws(model, samples, seed=1)
    assert np.abs(other - first).max() > 1e-3
    assert np.isfinite(draws(model, samples, sampler=DDIMConfig(num_steps=2))).all()


def test_no_samples_give_no_codes(model: Autoencoder) -> None:
    assert model.embed([]).shape == (0, 3, 2)
    assert model.reconstruct([]) == []


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        ([Sample("s1", "s", {})], "'s1' has no measurement, but this model reads photometry"),
        (
            [Sample("s1", "s", {"spectrum": Sequence(np.ones(3), {"wavelength": np.arange(3.0)})})],
            "'s1' has spectrum, but this model reads photometry",
        ),
        (
            [changed(0, categories={"band": np.array(["Q"] * LENGTH)})],
            "'o0/0' has the band 'Q', but this model knows g, r",
        ),
        (
            [changed(0, categories={"band": np.full(LENGTH, 9)})],
            "'o0/0' has the band code 9, but this model knows 0 to 2",
        ),
        (
            [sample(1), changed(0, value=np.full(LENGTH, np.nan))],
            "'o0/0' has no finite measurement of photometry",
        ),
        ([changed(0, positions={})], "'o0/0' cannot be used: photometry: positions are none"),
        (sample(0), "samples is a Sample: give a list"),
        (pa.table({"sample_id": ["a"]}), "the table lacks photometry.value"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_sentence(
    model: Autoencoder, samples: Any, sentence: str
) -> None:
    for ask in (model.embed, model.reconstruct):
        with pytest.raises(DataError) as error:
            ask(samples)
        assert sentence in str(error.value)
        assert "\n" not in str(error.value)


def test_a_sample_that_selection_empties_is_named(model: Autoencoder) -> None:
    recipe = Recipe(
        modalities={
            "photometry": ModalityRecipe(
                selection=(Crop(position="time", low=0.0, high=1.0),),
            )
        }
    )
    fitted = replace(model.trained.fitted, recipe=recipe)
    narrow = Autoencoder(replace(model.trained, fitted=fitted))
    with pytest.raises(DataError, match=r"'o0/0' has no measurement .* the recipe's selection"):
        narrow.embed([sample(0)])


def test_too_few_draws_are_refused(model: Autoencoder) -> None:
    with pytest.raises(DataError, match="num_draws is 0"):
        model.reconstruct([sample(0)], num_draws=0)


def test_values_out_of_all_bounds_never_give_nan(model: Autoencoder) -> None:
    extreme = changed(0, value=np.full(LENGTH, 1e30))
    assert np.isfinite(model.embed([extreme])).all()
    assert np.isfinite(model.reconstruct([extreme])[0]["photometry"].draws).all()


def test_an_answer_that_is_not_finite_is_an_error(model: Autoencoder) -> None:
    broken = copy.deepcopy(model.trained.objective)
    with torch.no_grad():
        for parameter in broken.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(DataError, match="'o0/0' has a code that is not finite"):
        Autoencoder(replace(model.trained, objective=broken)).embed([sample(0)])


def test_inputs_are_not_modified(model: Autoencoder) -> None:
    given, kept = sample(3), sample(3)
    model.reconstruct([given], num_draws=2)
    before, after = kept.sequences["photometry"], given.sequences["photometry"]
    np.testing.assert_array_equal(after.value, before.value)
    np.testing.assert_array_equal(after.categories["band"], before.categories["band"])
    np.testing.assert_array_equal(after.positions["time"], before.positions["time"])


def test_a_checkpoint_with_a_file_missing_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no trained model"):
        Autoencoder.from_pretrained(tmp_path / "nothing")
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "checkpoint" / "modalities.json").unlink()
    with pytest.raises(CheckpointError, match=r"modalities\.json"):
        Autoencoder.from_pretrained(tmp_path / "run")


def test_embed_folder_has_a_row_per_sample_with_its_code(
    model: Autoencoder, folder: ShardFolder, tmp_path: Path
) -> None:
    path, num_rows = embed_folder(model.trained, folder, tmp_path / "codes")
    table = pq.read_table(path)
    assert num_rows == table.num_rows == 60
    assert table.column_names == ["sample_id", "object_id", "split", "label.class", "code", "flag"]
    assert set(table["flag"].to_pylist()) == {""}
    assert table.schema.field("code").type == pa.list_(pa.float32())
    codes = dict(zip(table["sample_id"].to_pylist(), table["code"].to_pylist(), strict=True))
    direct = model.embed([sample(i) for i in range(60)])
    for i in range(60):
        np.testing.assert_allclose(codes[f"o{i}/0"], direct[i].ravel(), atol=1e-5)
    ids = ["sample_id", "object_id", "split", "label.class"]
    assert table.select(ids).to_pylist() == folder.labels().select(ids).to_pylist()
    assert [p.name for p in path.parent.iterdir()] == ["codes.parquet"]


def test_embed_folder_replaces_whole_files_and_leaves_no_half(
    model: Autoencoder, folder: ShardFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = embed_folder(model.trained, folder, tmp_path)
    before = path.read_bytes()
    embed_folder(model.trained, folder, tmp_path)
    assert path.read_bytes() == before

    def fail(*_: Any) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(type(model.trained.objective), "encode", fail)
    with pytest.raises(RuntimeError, match="killed"):
        embed_folder(model.trained, folder, tmp_path)
    assert [p.name for p in tmp_path.glob("[!.]*")] == ["codes.parquet"]
    assert path.read_bytes() == before


def test_embed_folder_refuses_other_data_and_places(
    model: Autoencoder, folder: ShardFolder, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        embed_folder(model.trained, folder, Path("/proc/codes"))
    other = replace(PHOTOMETRY, value=Axis("flux", "uJy"))
    samples = [sample(i) for i in range(5)]
    write_shards(Survey((other,), lambda: iter(samples), {"format": "fake"}), tmp_path / "data")
    with pytest.raises(DataError, match="declared otherwise"):
        embed_folder(model.trained, ShardFolder.open(tmp_path / "data"), tmp_path / "out")


def test_trained_is_what_the_checkpoint_says(model: Autoencoder) -> None:
    assert isinstance(model.trained, Trained)
    assert model.modalities == {"photometry": PHOTOMETRY}
    assert model.code_shape == (3, 2)
