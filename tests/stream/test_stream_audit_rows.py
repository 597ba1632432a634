"""What the audit says of rows that a recipe leaves out: findings for faults, notes for choices."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from daep_ray.cli import app, run_app
from daep_ray.sample import Sample, Sequence
from daep_ray.shards.flat import Flat
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.audit import audit
from daep_ray.stream.audit_finding import MOST_FINDINGS
from daep_ray.stream.recipe import ModalityRecipe, Recipe
from daep_ray.stream.selection import Crop
from daep_ray.stream.statistics import fit_recipe
from daep_ray.stream.value_chain import Log10
from daep_ray.surveys import Survey
from tests.stream.planted import Plant, changed, found


def test_a_row_without_a_positive_error(plant: Plant) -> None:
    def spoil(samples: list[Sample]) -> list[Sample]:
        curve = samples[0].sequences["photometry"]
        assert curve.error is not None
        bad = replace(curve, error=-np.ones_like(curve.error))
        sequences = samples[0].sequences | {"photometry": bad}
        return [replace(samples[0], sequences=sequences), *samples[1:]]

    told = [f for f in found(plant(spoil)) if "no error" in f.what]
    assert [f.check for f in told] == ["rejected"]


def test_a_survey_without_most_errors_is_how_it_is(plant: Plant) -> None:
    def some(samples: list[Sample]) -> list[Sample]:
        return [
            changed(s, "photometry", lambda q: replace(q, error=None)) if i % 2 else s
            for i, s in enumerate(samples)
        ]

    assert not [f for f in found(plant(some)) if "no error" in f.what]


def test_a_row_of_nothing_finite(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(samples: list[Sample]) -> list[Sample]:
        nothing = {
            m: replace(q, value=np.full_like(q.value, np.nan))
            for m, q in samples[0].sequences.items()
        }
        return [replace(samples[0], sequences=nothing), *samples[1:]]

    # an ingest would quarantine it: the shards of another program need not have
    with monkeypatch.context() as other_program:
        other_program.setattr(Flat, "is_finite", lambda flat: np.ones(flat.offsets[-1], bool))
        path = plant(spoil)
    told = [f for f in found(path) if f.what.endswith("no measurement can be used")]
    assert [f.check for f in told] == ["rejected"]


def blue(samples: list[Sample], which: tuple[int, ...]) -> list[Sample]:
    """Some samples' spectra cut to three points at 100 Angstrom."""

    def cut(q: Sequence) -> Sequence:
        assert q.error is not None
        extras = {k: v[:3] for k, v in q.extras.items()}
        place = {"wavelength": np.array([100.0, 101.0, 102.0])}
        return Sequence(q.value[:3], place, q.error[:3], metadata=q.metadata, extras=extras)

    return [changed(s, "spectrum", cut) if i in which else s for i, s in enumerate(samples)]


def of_spectra(samples: list[Sample], num: int) -> tuple[int, ...]:
    return tuple(i for i, s in enumerate(samples) if "spectrum" in s.sequences)[:num]


def spectra_of(**steps: Any) -> Recipe:
    return Recipe(modalities={"spectrum": ModalityRecipe(**steps)})


def test_what_a_recipe_in_use_leaves_out_is_noted_and_counted(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    path = plant(lambda samples: blue(samples, of_spectra(samples, 3)))
    fit_recipe(
        ShardFolder.open(path), spectra_of(selection=(Crop(position="wavelength", low=1000.0),))
    )
    assert run_app(app, ["audit", str(path)]) == 0
    line, last = capsys.readouterr().out.splitlines()
    assert line.startswith("note: recipe ")
    assert line.endswith("leaves out 3 samples of spectrum: nothing with wavelength from 1000")
    assert last == f"{path}: nothing found"


def test_a_finding_beside_notes_is_still_one(
    plant: Plant, clean: tuple[Survey, list[Sample]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A logarithm takes no value of a spectrum that is negative throughout: nobody meant that."""
    first, second = of_spectra(clean[1], 2)

    def change(samples: list[Sample]) -> list[Sample]:
        bad = changed(samples[second], "spectrum", lambda q: replace(q, value=-abs(q.value) - 1))
        return blue([bad if i == second else s for i, s in enumerate(samples)], (first,))

    path = plant(change)
    crop = Crop(position="wavelength", low=1000.0)
    fit_recipe(ShardFolder.open(path), spectra_of(selection=(crop,), value=(Log10(),)))
    assert run_app(app, ["audit", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    notes, found = ([x for x in lines if x.startswith(w)] for w in ("note:", "rejected:"))
    assert len(notes) == 1
    assert "leaves out 1 sample of spectrum" in notes[0]
    assert len(found) == 1
    assert f"sample {clean[1][second].sample_id!r}: recipe" in found[0]
    assert found[0].endswith("no value that the value steps can take, such as a logarithm")


def test_many_samples_at_fault_are_counted(
    plant: Plant, clean: tuple[Survey, list[Sample]]
) -> None:
    every = of_spectra(clean[1], MOST_FINDINGS + 5)

    def dark(samples: list[Sample]) -> list[Sample]:
        return [
            changed(s, "spectrum", lambda q: replace(q, value=-abs(q.value) - 1))
            if i in every
            else s
            for i, s in enumerate(samples)
        ]

    path = plant(dark)
    fit_recipe(ShardFolder.open(path), spectra_of(value=(Log10(),)))
    told = [f for f in audit(path) if f.check == "rejected"]
    assert len(told) == MOST_FINDINGS + 1
    assert told[-1].what == "and 5 more like these"
    assert not any(f.is_note for f in told)
