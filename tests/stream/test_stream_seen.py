"""What the training held, against a direct loop; what lies outside, named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import samples_from_table
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.position_chain import DivideByOnePlus, Log, Reference
from daep_ray.stream.recipe import ModalityRecipe, Recipe
from daep_ray.stream.seen import ranges_in_units, remarks
from daep_ray.stream.statistics import fit_recipe

RECIPE = Recipe(
    modalities={
        "photometry": ModalityRecipe(
            positions={"time": (Reference(at="first"), DivideByOnePlus())},
        ),
        "spectrum": ModalityRecipe(positions={"wavelength": (Log(),)}),
    }
)


@pytest.fixture(scope="module")
def folder(synthetic_shards: Path) -> ShardFolder:
    return ShardFolder.open(synthetic_shards)


@pytest.fixture(scope="module")
def fitted(folder: ShardFolder) -> FittedRecipe:
    return fit_recipe(folder, RECIPE)


def test_ranges_are_those_of_a_loop_over_the_training(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    times, lengths, values = [], [], []
    waves, bands = [], np.zeros(5, int)
    for shard, group in folder.row_groups():
        table = folder.read_row_group(shard, group)
        for sample in samples_from_table(table, tuple(folder.modalities.values())):
            if sample.split != "train":
                continue
            if light := sample.sequences.get("photometry"):
                time = light.positions["time"]
                times += ((time - time.min()) / (1 + light.metadata["redshift"])).tolist()
                bands += np.bincount(light.categories["band"], minlength=5)
                lengths.append(len(time))
                values += light.value.astype(np.float64).tolist()
            if spectrum := sample.sequences.get("spectrum"):
                waves += spectrum.positions["wavelength"].tolist()
    light, line = fitted.statistics["photometry"].seen, fitted.statistics["spectrum"].seen
    assert light is not None
    assert line is not None
    np.testing.assert_allclose(light.positions, [(min(times), max(times))], rtol=1e-12)
    assert light.lengths == (min(lengths), max(lengths))
    assert light.values == (min(values), max(values))
    assert light.categories == (tuple(bands.tolist()),)
    assert line.categories == ()
    np.testing.assert_allclose(line.positions, [(np.log(min(waves)), np.log(max(waves)))])
    np.testing.assert_allclose(ranges_in_units(fitted, "spectrum"), [(min(waves), max(waves))])


def test_the_training_itself_is_never_outside(folder: ShardFolder, fitted: FittedRecipe) -> None:
    for shard, group in folder.row_groups():
        table = folder.read_row_group(shard, group)
        train = table.filter([s == "train" for s in table["split"].to_pylist()])
        for name, flat in fitted.apply(train, RECIPE.modalities).items():
            assert remarks(fitted, name, flat) == {}


def test_values_in_another_unit_are_noticed(folder: ShardFolder, fitted: FittedRecipe) -> None:
    table = folder.read_row_group(*next(iter(folder.row_groups())))
    flat = fitted.apply(table, ["spectrum"])["spectrum"]
    (scale,) = fitted.statistics["spectrum"].value
    own = flat.value * scale.sd + scale.mean
    other = replace(flat, value=(own * 1e9 - scale.mean) / scale.sd)
    present = set(np.flatnonzero(flat.lengths).tolist())
    assert present
    found = remarks(fitted, "spectrum", other)
    assert {
        i for i, words in found.items() if any("check their unit" in w for w in words)
    } == present
    assert not any(
        "unit" in w for words in remarks(fitted, "spectrum", flat).values() for w in words
    )
    assert remarks(fitted, "spectrum", other, False) == remarks(fitted, "spectrum", flat, False)


def test_a_round_trip_keeps_them(fitted: FittedRecipe) -> None:
    assert FittedRecipe.from_json(fitted.to_json()) == fitted
    raw = fitted.to_json()
    for statistics in raw["statistics"].values():
        del statistics["seen"]
    old = FittedRecipe.from_json(raw)
    assert old.statistics["spectrum"].seen is None
