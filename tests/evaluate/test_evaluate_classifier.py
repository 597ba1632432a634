"""The frozen encoder: what it learns from, that it is the same again, and its laws."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from daep_ray.errors import DataError
from daep_ray.evaluate.classifier import Classifier, ClassifierConfig, train_classifier
from daep_ray.evaluate.labelled import Labelled, joined, labelled
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.batch import Layout
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.pack import layouts, pack

TINY = ClassifierConfig(
    num_features=4,
    width=16,
    num_heads=2,
    num_layers=1,
    num_latents=4,
    num_objects=1600,
    batch_size=16,
)


@pytest.fixture(scope="module")
def layout(fitted: FittedRecipe) -> Layout:
    return layouts(fitted, ("photometry",))["photometry"]


@pytest.fixture(scope="module")
def training(folder: ShardFolder, fitted: FittedRecipe) -> Labelled:
    return labelled(folder, fitted, "photometry", "train")


@pytest.fixture(scope="module")
def classifier(training: Labelled, layout: Layout) -> Classifier:
    return train_classifier(training, layout, TINY)


def test_every_labelled_object_of_the_split_is_there_once(
    folder: ShardFolder, fitted: FittedRecipe, training: Labelled
) -> None:
    rows = folder.labels()
    rows = rows.filter(pc.and_(pc.equal(rows["split"], "train"), rows["label.class"].is_valid()))
    first: dict[str, tuple[str, str]] = {}
    ours = ("object_id", "sample_id", "label.class")
    for owner, sample, kind in sorted(zip(*(rows[c].to_pylist() for c in ours), strict=True)):
        first.setdefault(owner, (sample, kind))
    assert dict(first.values()) == dict(zip(training.sample_ids, training.classes, strict=True))
    assert len(training) == len(first)


def test_what_is_held_is_what_packing_each_sample_alone_gives(
    folder: ShardFolder, fitted: FittedRecipe, training: Labelled
) -> None:
    table = folder.read_row_group(0, 0)
    ids = table["sample_id"].to_pylist()
    checked = [name for name in training.sample_ids if name in ids][:20]
    assert checked
    for name in checked:
        alone = pack(fitted, table.slice(ids.index(name), 1), ("photometry",))
        expected = alone.sequences["photometry"]
        found = training.take(np.array([training.sample_ids.index(name)])).sequence
        assert torch.equal(found.value, expected.value)
        assert torch.equal(found.position, expected.position)
        assert torch.equal(found.category, expected.category)
        assert torch.equal(found.offsets, expected.offsets)


def test_parts_joined_are_the_whole(training: Labelled) -> None:
    whole = joined(list(training.parts(7)))
    assert whole.sample_ids == training.sample_ids
    np.testing.assert_array_equal(whole.classes, training.classes)
    for name in ("value", "error", "position", "category", "offsets"):
        assert torch.equal(getattr(whole.sequence, name), getattr(training.sequence, name)), name
    bare = training.with_values(torch.zeros(training.sequence.num_tokens))
    assert joined([training, bare]).sequence.error is None


def planted(objects: Labelled) -> Labelled:
    """Every object's values moved by its class: 0, 1 or 2 z units."""
    number = np.searchsorted(["II", "Ia", "Ib"], objects.classes)
    shift = torch.from_numpy(number.astype(np.float32))[objects.sequence.sample_index]
    return objects.with_values(0.2 * objects.sequence.value + shift)


def test_it_finds_a_planted_difference_and_none_where_there_is_none(
    folder: ShardFolder, fitted: FittedRecipe, training: Labelled, layout: Layout
) -> None:
    held_out = planted(labelled(folder, fitted, "photometry", "test"))
    longer = TINY.model_copy(update={"num_objects": 3200})
    classifier = train_classifier(planted(training), layout, longer)
    assert (classifier.predict(held_out) == held_out.classes).mean() > 0.95
    mixed = np.random.default_rng(0).permutation(training.classes)
    nothing = train_classifier(replace(planted(training), classes=mixed), layout, TINY)
    assert (nothing.predict(held_out) == held_out.classes).mean() < 0.7


def test_one_seed_one_encoder_whatever_was_drawn_before(
    training: Labelled, layout: Layout, classifier: Classifier
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    short = TINY.model_copy(update={"num_objects": 200})
    first = train_classifier(training, layout, short).fingerprint
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert train_classifier(training, layout, short).fingerprint == first
    other = short.model_copy(update={"seed": 1})
    assert (
        len({first, classifier.fingerprint, train_classifier(training, layout, other).fingerprint})
        == 3
    )


def test_it_is_frozen_and_its_features_are_white(
    training: Labelled, classifier: Classifier
) -> None:
    assert not any(p.requires_grad for p in classifier.parameters())
    found = classifier.features(training)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(np.cov(found.T), np.eye(4), atol=1e-6)


def test_features_hang_on_neither_company_nor_order_nor_errors(
    training: Labelled, classifier: Classifier
) -> None:
    expected = classifier.features(training)[[3, 8]]
    few = training.take(np.array([3, 8]))
    sequence, ends = few.sequence, few.sequence.offsets.tolist()
    order = torch.cat([torch.arange(a, b).flip(0) for a, b in pairwise(ends)])
    turned = replace(
        sequence,
        value=sequence.value[order],
        error=None,
        position=sequence.position[order],
        category=sequence.category[order],
    )
    for objects in (few, replace(few, sequence=turned)):
        np.testing.assert_allclose(classifier.features(objects), expected, rtol=1e-3, atol=1e-3)


def test_what_cannot_be_learnt_from_is_one_sentence(
    folder: ShardFolder, fitted: FittedRecipe, training: Labelled, layout: Layout
) -> None:
    with pytest.raises(DataError, match="no classes 'kind': its labels in words are class"):
        labelled(folder, fitted, "photometry", "test", "kind")
    alike = training.take(training.classes == "Ia")
    with pytest.raises(DataError, match="all of the class 'Ia'"):
        train_classifier(alike, layout, TINY)
