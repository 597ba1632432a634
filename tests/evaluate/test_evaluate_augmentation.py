"""A class made rare, and what is put in place of what was taken: nothing else may differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.errors import ConfigError, DataError
from daep_ray.evaluate.augmentation import (
    ALL,
    FEW,
    GENERATED,
    REPEATED,
    arms,
    gains,
    kept_objects,
    scores,
    thinned,
)
from daep_ray.evaluate.classifier import ClassifierConfig
from daep_ray.evaluate.generation import Generator
from daep_ray.evaluate.labelled import Labelled, labelled
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.write import write_shards
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.pack import layouts

M, RARE, KEPT = "photometry", "II", 4


@dataclass(frozen=True)
class Teller:
    """Stands for a generator: says what it was given, whatever it is asked for."""

    known: Labelled | None  # None: repeats the objects whose places it gets

    def objects(self, places: Labelled, classes: Sequence[str]) -> Labelled:
        assert set(classes) == {RARE}
        return places if self.known is None else self.known


def all_rows(folder: ShardFolder) -> pa.Table:
    return pa.concat_tables(folder.read_row_group(*place) for place in folder.row_groups())


@pytest.fixture(scope="module")
def rarer(folder: ShardFolder, tmp_path_factory: pytest.TempPathFactory) -> ShardFolder:
    out = tmp_path_factory.mktemp("rarer") / "data"
    write_shards(thinned(folder, RARE, kept_objects(folder, RARE, KEPT, 0)), out)
    return ShardFolder.open(out)


@pytest.fixture(scope="module")
def split(
    folder: ShardFolder, rarer: ShardFolder, fitted: FittedRecipe
) -> tuple[Labelled, Labelled, Labelled]:
    """The objects left, those taken away, those held out."""
    few = labelled(rarer, fitted, M, "train")
    everything = labelled(folder, fitted, M, "train")
    left_out = everything.take(~np.isin(everything.sample_ids, few.sample_ids))
    return few, left_out, labelled(folder, fitted, M, "test")


def test_only_training_objects_of_the_class_are_gone(
    folder: ShardFolder, rarer: ShardFolder
) -> None:
    before, after = all_rows(folder), all_rows(rarer)
    is_there = pc.is_in(before["sample_id"], after["sample_id"].combine_chunks())
    assert before.filter(is_there).combine_chunks().equals(after.combine_chunks())
    gone = before.filter(pc.invert(is_there))
    assert set(gone["label.class"].to_pylist()) == {RARE}
    assert set(gone["split"].to_pylist()) == {"train"}
    is_left = pc.and_(pc.equal(after["split"], "train"), pc.equal(after["label.class"], RARE))
    assert len(after.filter(is_left)["object_id"].unique()) == KEPT


def test_who_stays_hangs_on_the_seed_alone_and_more_hold_fewer(folder: ShardFolder) -> None:
    one, more = (kept_objects(folder, RARE, num, 0) for num in (KEPT, 2 * KEPT))
    assert len(one) == KEPT
    assert one < more
    assert kept_objects(folder, RARE, KEPT, 1) != one
    for rare, many in ((RARE, 10_000), ("Ic", 1)):
        with pytest.raises(ConfigError, match=f"class '{rare}' are to be kept, and there are"):
            kept_objects(folder, rare, many, 0)


def test_arms_differ_in_the_rare_class_alone(split: tuple[Labelled, Labelled, Labelled]) -> None:
    few, left_out, _ = split
    assert set(left_out.classes) == {RARE}
    teller = cast(Generator, Teller(None))
    made = dict(arms(few, left_out, {"one": teller, "two": teller}))
    names = [FEW, REPEATED, GENERATED.format("one"), GENERATED.format("two"), ALL]
    assert list(made) == names
    for name, objects in made.items():
        assert objects.sample_ids[: len(few)] == few.sample_ids
        assert len(objects) == len(few) + (0 if name == FEW else len(left_out))
        assert set(objects.classes[len(few) :]) <= {RARE}
        assert len(set(objects.sample_ids)) == len(objects), "names key the noise"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=6, max_size=40))
def test_scores_are_those_of_counting(pairs: list[tuple[str, str]]) -> None:
    pairs = [*pairs, ("a", "b"), ("b", "b"), ("c", "a")]  # every class is there
    recalls = {
        name: np.mean([said == name for truth, said in pairs if truth == name]) for name in "abc"
    }
    named = [truth == "c" for truth, said in pairs if said == "c"]
    truth, said = (np.array(column) for column in zip(*pairs, strict=True))
    found = scores(truth, said, "c")
    assert found["balanced_accuracy"] == pytest.approx(np.mean(list(recalls.values())))
    assert found["rare_recall"] == pytest.approx(recalls["c"])
    assert found["rare_precision"] == pytest.approx(np.mean(named) if named else 0.0)


TINY: dict[str, Any] = {"num_features": 4, "width": 16, "num_heads": 2, "num_layers": 1}


def test_true_objects_gain_what_they_gained_and_repeated_ones_what_repeating_does(
    split: tuple[Labelled, Labelled, Labelled], fitted: FittedRecipe
) -> None:
    """The same training objects, the same classifier to the bit: nothing else is between arms."""
    few, left_out, held_out = split
    tellers = {
        "knows": cast(Generator, Teller(left_out)),
        "repeats": cast(Generator, Teller(None)),
    }
    config = ClassifierConfig(num_latents=4, num_objects=96, batch_size=16, **TINY)
    layout = layouts(fitted, (M,))[M]
    found = {s.arm: s for s in gains(few, left_out, held_out, tellers, layout, config)}
    for ours, same in ((GENERATED.format("knows"), ALL), (GENERATED.format("repeats"), REPEATED)):
        assert found[ours].encoder == found[same].encoder
        assert found[ours].scores == found[same].scores
        assert found[ours].num_rare == KEPT + len(left_out)
    assert len({s.encoder for s in found.values()}) == 3
    assert found[FEW].num_rare == KEPT


def test_a_class_that_nobody_has_is_one_sentence(
    split: tuple[Labelled, Labelled, Labelled], fitted: FittedRecipe
) -> None:
    few, left_out, held_out = split
    layout, config = layouts(fitted, (M,))[M], ClassifierConfig(**TINY)
    without = held_out.take(held_out.classes != RARE)
    with pytest.raises(DataError, match=f"no held-out object .* has the class '{RARE}'"):
        next(gains(few, left_out, without, {}, layout, config))
    nobody = few.take(few.classes != RARE)
    with pytest.raises(DataError, match=f"no training object .* has the class '{RARE}'"):
        next(gains(nobody, left_out, held_out, {}, layout, config))


def test_the_thinned_data_say_so(rarer: ShardFolder) -> None:
    assert rarer.manifest.source["thinned"] == {"class": RARE, "objects": KEPT}
