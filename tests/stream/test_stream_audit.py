"""The audit: every fault planted in clean data is told, clean data pass, chance accuses nobody."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from daep_ray.cli import app, run_app
from daep_ray.sample import Sample, Sequence
from daep_ray.shards.ingest import ingest
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.split import SPLITS
from daep_ray.stream import audit_scale
from daep_ray.stream.audit_finding import MOST_FINDINGS
from daep_ray.stream.audit_names import spelling_key
from daep_ray.stream.audit_scale import chance_of, ks_distance
from daep_ray.stream.recipe import default_recipe, recipe_hash
from daep_ray.stream.statistics import fit_recipe
from daep_ray.surveys import Survey
from tests.stream.planted import Plant, changed, found, split


def test_clean_data_pass(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    path = plant(lambda samples: samples)
    fit_recipe(ShardFolder.open(path), default_recipe(ShardFolder.open(path).manifest))
    assert run_app(app, ["audit", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: nothing found\n"


@pytest.mark.parametrize("seed", range(5))
def test_few_clean_objects_pass(tmp_path: Path, seed: int) -> None:
    ingest("synthetic", None, tmp_path / "data", {"num_objects": 25, "seed": seed})
    assert found(tmp_path / "data") == []


@pytest.mark.slow
def test_real_spectra_pass(shared_data: Path, tmp_path: Path) -> None:
    ingest("snid", shared_data / "snid_templates.tar.xz", tmp_path / "data")
    assert run_app(app, ["audit", str(tmp_path / "data")]) == 0


# ---------------------------------------------------------------- spelling


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sn1999aa", "SN 1999aa"),
        ("sn1999aa", "1999AA"),
        ("sn1999aa", "sn1999aa_bsnip"),
        ("sn1993J", "SN-1993j"),
        ("sn2000cn", "sn00cn"),
        ("AT2018cow", "SN 2018cow"),
        ("DES_12", "des-12"),
    ],
)
def test_one_object_under_two_spellings(plant: Plant, one: str, other: str) -> None:
    def respell(samples: list[Sample]) -> list[Sample]:
        a, b = samples[0], next(s for s in samples if s.object_id != samples[0].object_id)
        rest = [s for s in samples if s.object_id not in (a.object_id, b.object_id)]
        a = replace(a, object_id=one, split="train")
        return [a, replace(b, object_id=other, split="test"), *rest]

    (finding,) = found(plant(respell))
    assert finding.check == "spelling"
    assert repr(one) in finding.what
    assert repr(other) in finding.what


@pytest.mark.parametrize(
    ("one", "other"), [("sn1999aa", "sn1999ab"), ("des-12", "des-13"), ("a-1-23", "a-12-3")]
)
def test_other_objects_keep_other_keys(one: str, other: str) -> None:
    assert spelling_key(one) != spelling_key(other)


# ---------------------------------------------------------------- duplicates


def copied(samples: list[Sample], into: str, length: int | None = None) -> list[Sample]:
    """The first training object's light curve under another name, with another peak."""
    donor = next(s for s in samples if split(s) == "train" and "photometry" in s.sequences)
    curve = donor.sequences["photometry"]
    if length is not None:
        curve = Sequence(
            curve.value[:length],
            {k: v[:length] for k, v in curve.positions.items()},
            None if curve.error is None else curve.error[:length],
            {k: v[:length] for k, v in curve.categories.items()},
            extras={k: v[:length] for k, v in curve.extras.items()},
        )
        donor = replace(donor, sequences={"photometry": curve})
    mine: dict[str, float | str | None] = dict.fromkeys(curve.metadata, 1.0)
    copy = Sample("copy", "copied", {"photometry": replace(curve, metadata=mine)}, split=into)
    first = [s for s in samples if s.sample_id != donor.sample_id]
    return [donor, *first, copy]


@pytest.mark.parametrize(("into", "where"), [("train", "within a split"), ("test", "across")])
def test_the_same_sequence_under_two_objects(plant: Plant, into: str, where: str) -> None:
    (finding,) = found(plant(lambda samples: copied(samples, into)))
    assert finding.check == "duplicate"
    assert where in finding.what
    assert "'copied'" in finding.what


def test_two_measurements_may_be_equal_by_chance(plant: Plant) -> None:
    assert not any(f.check == "duplicate" for f in found(plant(lambda s: copied(s, "test", 2))))
    assert any(f.check == "duplicate" for f in found(plant(lambda s: copied(s, "test", 3))))


def test_a_sequence_that_an_object_shares_is_no_duplicate(plant: Plant) -> None:
    def twice(samples: list[Sample]) -> list[Sample]:
        return samples + [replace(s, sample_id=f"{s.sample_id}-again") for s in samples[:50]]

    assert found(plant(twice)) == []


def test_many_findings_are_counted(plant: Plant) -> None:
    def all_copied(samples: list[Sample]) -> list[Sample]:
        with_curve = [s for s in samples if "photometry" in s.sequences][:30]
        return samples + [
            Sample(f"c{i}", f"copy{i}", {"photometry": s.sequences["photometry"]})
            for i, s in enumerate(with_curve)
        ]

    told = [f.what for f in found(plant(all_copied))]
    assert len(told) == MOST_FINDINGS + 1
    assert told[-1] == f"and {30 - MOST_FINDINGS} more like these"


# ---------------------------------------------------------------- scale


def flux_times_ten(sequence: Sequence) -> Sequence:
    return replace(sequence, value=10 * sequence.value)


def nanometres(sequence: Sequence) -> Sequence:
    return replace(sequence, positions={"wavelength": sequence.positions["wavelength"] / 10})


def julian(sequence: Sequence) -> Sequence:
    return replace(sequence, positions={"time": sequence.positions["time"] + 2400000.5})


def other_errors(sequence: Sequence) -> Sequence:
    assert sequence.error is not None
    return replace(sequence, error=sequence.error * 10)


@pytest.mark.parametrize("where", ["validation", "test"])
@pytest.mark.parametrize(
    ("modality", "column", "change"),
    [
        ("photometry", "value", flux_times_ten),
        ("spectrum", "value", flux_times_ten),
        ("spectrum", "wavelength", nanometres),
        ("photometry", "time", julian),
        ("photometry", "error", other_errors),
    ],
)
def test_columns_on_another_scale(
    plant: Plant, modality: str, column: str, change: Callable[[Sequence], Sequence], where: str
) -> None:
    path = plant(
        lambda samples: [
            changed(s, modality, change) if split(s) == where else s for s in samples
        ]
    )  # fmt: skip
    scale = [f.what for f in found(path) if f.check == "scale"]
    assert len(scale) == 1, scale
    assert scale[0].startswith(f"{modality}.{column} of {where} is on another scale")


def test_chance_accuses_no_more_than_the_bound() -> None:
    rng = np.random.default_rng(0)
    num_trials, num_alarms = 3000, 0
    for _ in range(num_trials):
        n, m = rng.integers(3, 40), rng.integers(20, 200)
        a, b = np.sort(rng.normal(size=n)), np.sort(rng.normal(size=m))
        num_alarms += chance_of(ks_distance(a, b), int(n), int(m)) <= 0.05
    # a rate of 0.05 would give 150 +- 12
    assert num_alarms <= 150 + 3 * 12


def test_the_distance_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = rng.integers(0, 9, 30).astype(float), rng.normal(4, 2, 50)  # ties too
        mine = ks_distance(np.sort(a), np.sort(b))
        assert mine == pytest.approx(stats.ks_2samp(a, b).statistic, abs=1e-12)


def test_random_splits_of_clean_objects_pass(
    clean: tuple[Survey, list[Sample]], plant: Plant
) -> None:
    rng = np.random.default_rng(2)
    for _ in range(5):
        objects = sorted({s.object_id for s in clean[1]})
        drawn = dict(
            zip(objects, rng.choice(SPLITS, len(objects), p=[0.8, 0.1, 0.1]).tolist(), strict=True)
        )
        path = plant(lambda samples, drawn=drawn: [  # type: ignore[misc]
            replace(s, split=drawn[s.object_id]) for s in samples
        ])  # fmt: skip
        assert found(path) == []


def test_a_survey_of_many_objects_is_sampled(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_scale, "MOST_OBJECTS", 20)
    path = plant(
        lambda samples: [
            changed(s, "spectrum", nanometres) if split(s) == "test" else s for s in samples
        ]
    )  # fmt: skip
    (finding,) = found(path)
    assert "wavelength" in finding.what


# ---------------------------------------------------------------- statistics


def test_statistics_of_test_rows(plant: Plant, tmp_path: Path) -> None:
    path = plant(lambda samples: [replace(s, split=split(s)) for s in samples])
    folder = ShardFolder.open(path)
    recipe = default_recipe(folder.manifest)
    fit_recipe(folder, recipe)
    assert found(path) == []
    kept = path / "recipes" / recipe_hash(recipe) / "statistics.json"
    right = json.loads(kept.read_text())

    everything = tmp_path / "everything"
    shutil.copytree(path, tmp_path / "right")
    leaky = plant(lambda samples: [replace(s, split="train") for s in samples])
    shutil.move(leaky, everything)
    fit_recipe(ShardFolder.open(everything), recipe)
    wrong = json.loads((everything / "recipes" / kept.parent.name / kept.name).read_text())

    audited = tmp_path / "right"
    kept = audited / "recipes" / kept.parent.name / "statistics.json"
    kept.write_text(json.dumps(wrong | {"manifest": right["manifest"]}))
    (finding,) = found(audited)
    assert finding.check == "statistics"
    assert kept.parent.name in finding.what
    # the counts alone put right: the means and spreads still tell
    for name, statistics in wrong["statistics"].items():
        for count in ("num_sequences", "num_measurements"):
            statistics[count] = right["statistics"][name][count]
    kept.write_text(json.dumps(wrong | {"manifest": right["manifest"]}))
    (finding,) = found(audited)
    assert "instead of" in finding.what
    # a file of other data is not used by any training
    kept.write_text(json.dumps(wrong | {"manifest": "of other data"}))
    assert found(audited) == []


def test_what_is_no_ingest_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(app, ["audit", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_not_finite_has_no_part_in_a_median() -> None:
    assert audit_scale._median_and_spread(np.array([np.nan, 1.0, np.inf])) == (1.0, 0.0)
    assert np.isnan(audit_scale._median_and_spread(np.full(2, np.nan))).all()
