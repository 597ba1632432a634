"""Packing: a sample's numbers are its own, whatever stands beside it."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.errors import DataError
from daep_ray.sample import Sample
from daep_ray.shards.schema import table_from_samples
from daep_ray.stream.batch import PackedBatch, PackedSequence
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.pack import layouts, pack
from daep_ray.stream.position_chain import DivideByOnePlus, Reference
from daep_ray.stream.recipe import ModalityRecipe, Recipe
from daep_ray.stream.selection import Jitter, NoiseFromErrors, RandomRemoval
from daep_ray.stream.value_chain import Arcsinh, Log10, MedianFilter, ScaleByMedian
from tests.stream.conftest import PHOTOMETRY, SPECTRUM, make_samples

BOTH = ("photometry", "spectrum")
AUGMENTED = Recipe(
    modalities={
        "photometry": ModalityRecipe(
            value=(Arcsinh(scale=5.0),),
            positions={"time": (Reference(), DivideByOnePlus())},
            max_length=12,
            augmentation=(NoiseFromErrors(), RandomRemoval(fraction=0.2), Jitter()),
        ),
        "spectrum": ModalityRecipe(
            value=(MedianFilter(width=3), ScaleByMedian(), Log10()),
            max_length=50,
            augmentation=(NoiseFromErrors(), RandomRemoval(fraction=0.2)),
            metadata=("log_scale", "phase", "instrument"),
        ),
    }
)


@pytest.fixture(scope="session")
def table(samples: list[Sample]) -> pa.Table:
    return table_from_samples(samples[:60], (PHOTOMETRY, SPECTRUM))


@pytest.fixture(scope="session")
def augmented(fitted: FittedRecipe) -> FittedRecipe:
    statistics = dict(fitted.statistics)
    statistics["photometry"] = dataclasses.replace(
        statistics["photometry"], value=statistics["photometry"].value[1:2]
    )
    return FittedRecipe(AUGMENTED, fitted.modalities, statistics)


def same(one: PackedSequence, other: PackedSequence) -> bool:
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one)]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def sample_of(batch: PackedBatch, name: str, i: int) -> list[torch.Tensor]:
    """All numbers of sample i."""
    s = batch.sequences[name]
    part = slice(int(s.offsets[i]), int(s.offsets[i + 1]))
    error = s.value if s.error is None else s.error
    assert s.value is not None
    assert error is not None
    ragged = [s.value[part], error[part], s.position[part], s.category[part]]
    return [*ragged, s.metadata[i], s.metadata_is_known[i], s.metadata_category[i]]


@given(rows=st.lists(st.integers(0, 59), min_size=1, max_size=12), epoch=st.sampled_from([None, 3]))
def test_a_sample_packs_alike_alone_and_in_any_batch(table, augmented, rows, epoch):
    batch = pack(augmented, table.take(rows), BOTH, seed=1, epoch=epoch)
    for place, row in enumerate(rows):
        alone = pack(augmented, table.slice(row, 1), BOTH, seed=1, epoch=epoch)
        for name in BOTH:
            found, expected = sample_of(batch, name, place), sample_of(alone, name, 0)
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_augmentation_is_redrawn_every_epoch_and_repeats(table, augmented):
    first, again, later = (pack(augmented, table, BOTH, seed=1, epoch=e) for e in (0, 0, 1))
    plain = pack(augmented, table, BOTH, seed=1)
    for name in BOTH:
        assert same(first.sequences[name], again.sequences[name])
        assert not same(first.sequences[name], later.sequences[name])
        assert not same(first.sequences[name], plain.sequences[name])
        other_seed = pack(augmented, table, BOTH, seed=2, epoch=0).sequences[name]
        assert not same(first.sequences[name], other_seed)


def test_augmentation_never_makes_a_batch_longer_than_planned(table, augmented):
    plain = pack(augmented, table, BOTH)
    drawn = pack(augmented, table, BOTH, seed=1, epoch=0)
    for name in BOTH:
        assert (drawn.sequences[name].lengths <= plain.sequences[name].lengths).all()
        present = plain.sequences[name].lengths > 0
        assert torch.equal(drawn.sequences[name].lengths > 0, present)


def test_types_and_shapes(table, fitted):
    batch = pack(fitted, table, BOTH)
    layout = layouts(fitted, BOTH)
    assert batch.sample_ids == tuple(table.column("sample_id").to_pylist())
    for name, s in batch.sequences.items():
        num = s.num_tokens
        assert s.value is not None
        assert s.error is not None
        assert (s.value.dtype, s.value.shape) == (torch.float32, (num,))
        assert (s.error.dtype, s.error.shape) == (torch.float32, (num,))
        assert (s.position.dtype, s.position.shape) == (torch.float32, (num, 1))
        assert (s.category.dtype, s.category.shape[1]) == (
            torch.int64,
            len(layout[name].category_sizes),
        )
        assert (s.offsets.dtype, s.offsets.shape) == (torch.int32, (len(table) + 1,))
        assert s.max_length == int(s.lengths.max())
        assert s.metadata.shape == (len(table), layout[name].num_metadata)
        assert s.metadata_is_known.dtype == torch.bool
        assert s.metadata_category.shape == (len(table), len(layout[name].metadata_sizes))
        assert all(t.isfinite().all() for t in (s.value, s.error, s.position, s.metadata))
    assert layout["spectrum"].num_metadata == 2
    assert layout["spectrum"].metadata_sizes == (3,)


def test_whose_samples_they_are(table, fitted):
    """Known where the table says so; otherwise each sample stands for itself."""
    batch = pack(fitted, table, BOTH)
    assert batch.objects == batch.object_ids == tuple(table.column("object_id").to_pylist())
    assert len(set(batch.objects)) < len(set(batch.sample_ids))
    assert batch.to("cpu").query().only("spectrum").objects == batch.objects
    bare = pack(fitted, table.drop_columns("object_id"), BOTH)
    assert bare.objects == batch.sample_ids
    assert "object_id" in fitted.columns(BOTH)


def test_names_and_scales_of_metadata(table, fitted):
    layout = layouts(fitted, BOTH)["spectrum"]
    phase = table.column("spectrum.phase").to_numpy()
    packed = pack(fitted, table, BOTH).sequences["spectrum"].metadata
    place = layout.metadata_names.index("phase")
    known = np.flatnonzero(np.isfinite(phase))[:2]
    apart = float(packed[known[1], place] - packed[known[0], place])
    expected = phase[known[1]] - phase[known[0]]
    assert apart * layout.metadata_scales[place] == pytest.approx(expected, rel=1e-4)


def test_missing_metadata_is_zero_and_unknown(table, fitted):
    s = pack(fitted, table, ["spectrum"]).sequences["spectrum"]
    phase = table.column("spectrum.phase").to_numpy()
    assert torch.equal(s.metadata_is_known[:, 0], torch.from_numpy(np.isfinite(phase)))
    assert (s.metadata[~s.metadata_is_known] == 0).all()
    assert 0 < (~s.metadata_is_known[:, 0]).sum() < len(table)


def test_an_absent_modality_has_no_tokens(table, fitted):
    batch = pack(fitted, table, BOTH)
    absent = table.column("photometry.value").is_null().to_numpy(zero_copy_only=False)
    assert absent.any()
    assert torch.equal(batch.is_present("photometry"), torch.from_numpy(~absent))
    without = pack(fitted, table.select(["sample_id"]), ["photometry"])
    assert without.num_tokens == 0
    assert without.num_samples == len(table)


def test_an_empty_table_is_an_empty_batch(table, augmented):
    batch = pack(augmented, table.slice(0, 0), BOTH, seed=1, epoch=0)
    assert (batch.num_samples, batch.num_tokens) == (0, 0)
    assert batch.sequences["spectrum"].offsets.tolist() == [0]
    assert batch.sequences["spectrum"].metadata.shape == (0, 2)


def test_packing_leaves_the_rows_as_they_were(samples, augmented):
    table = table_from_samples(samples[:20], (PHOTOMETRY, SPECTRUM))
    before = table_from_samples(samples[:20], (PHOTOMETRY, SPECTRUM))
    pack(augmented, table, BOTH, seed=1, epoch=0)
    assert table.equals(before)


def test_chunks_and_slices_change_nothing(table, fitted):
    whole = pack(fitted, table, BOTH)
    chunked = pa.concat_tables([table.slice(0, 7), table.slice(7, 20), table.slice(27)])
    for name in BOTH:
        assert same(pack(fitted, chunked, BOTH).sequences[name], whole.sequences[name])


def test_float64_times_survive_until_the_reference_is_subtracted(fitted):
    """At MJD 59,000 float32 is 337 s wrong; days from the peak must not be."""
    samples = [s for s in make_samples(10) if "photometry" in s.sequences]
    table = table_from_samples(samples, (PHOTOMETRY, SPECTRUM))
    position = pack(fitted, table, ["photometry"]).sequences["photometry"].position[:, 0]
    expected = []
    for sample in samples:
        curve = sample.sequences["photometry"]
        peak = curve.positions["time"][np.argmax(curve.value)]
        expected += list(curve.positions["time"] - peak)
    scale = fitted.statistics["photometry"].positions[0]
    days = position.double().numpy() * scale.sd + scale.mean
    assert np.abs(days - expected).max() * 86400 < 2.0


def test_an_unknown_modality_is_one_clear_sentence(table, fitted):
    with pytest.raises(DataError, match=r"no modality 'images'.*photometry, spectrum"):
        pack(fitted, table, ["images"])
