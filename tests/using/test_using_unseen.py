"""What a model has never seen: refused in one sentence or flagged, never NaN in silence."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from daep_ray.errors import DataError
from daep_ray.pretrained import Autoencoder
from daep_ray.sample import Sample
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import samples_from_table, table_from_samples


@pytest.fixture(scope="module")
def both(pairs: ShardFolder) -> Sample:
    found = samples_from_table(pairs.read_row_group(0, 0), tuple(pairs.modalities.values()))
    return next(s for s in found if len(s.sequences) == 2)


def changed(sample: Sample, modality: str, **changes: Any) -> Sample:
    sequence = replace(sample.sequences[modality], **changes)
    return replace(sample, sequences={**sample.sequences, modality: sequence})


def flag_of(model: Autoencoder, sample: Sample) -> str:
    (found,) = model.reconstruct([sample], num_draws=2)
    for one in found.values():
        assert np.isfinite(one.draws).all()
        assert np.isfinite(one.mean).all()
    return next(iter(found.values())).flag


def test_a_sample_of_the_training_has_no_flag(model: Autoencoder, both: Sample) -> None:
    assert flag_of(model, both) == ""


def test_a_wavelength_outside_the_training_is_flagged(model: Autoencoder, both: Sample) -> None:
    wavelength = both.sequences["spectrum"].positions["wavelength"].astype(np.float64)
    wavelength[:3] = [50_000.0, 60_000.0, 1.0]
    flag = flag_of(model, changed(both, "spectrum", positions={"wavelength": wavelength}))
    assert f"3 of {len(wavelength)} measurements of spectrum lie outside the wavelength" in flag
    assert "Angstrom" in flag


def test_a_code_from_outside_the_training_is_flagged(model: Autoencoder, both: Sample) -> None:
    wavelength = both.sequences["spectrum"].positions["wavelength"].astype(np.float64) / 10
    far = changed(both, "spectrum", positions={"wavelength": wavelength})
    with pytest.warns(UserWarning, match="lie outside the wavelength of the training"):
        code = model.embed([both, far])
    assert np.isfinite(code).all()
    table = table_from_samples([both, far], tuple(model.modalities.values()), labels={})
    flag = model.embed(table)["flag"].to_pylist()
    assert flag[0] == ""
    assert "lie outside the wavelength of the training" in flag[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.embed([both])


def test_values_in_another_unit_are_flagged(model: Autoencoder, both: Sample) -> None:
    loud = changed(both, "photometry", value=both.sequences["photometry"].value * 1e6)
    assert "most values of photometry lie outside those of the training" in flag_of(model, loud)


def test_an_empty_object_is_refused(model: Autoencoder) -> None:
    nothing: dict[str, Any] = {"photometry": {"value": [], "time": [], "band": []}}
    with pytest.raises(DataError, match="has no measurement, but this model reads photometry or"):
        model.embed(nothing)


def test_asked_outside_the_training_it_answers_and_says_so(
    model: Autoencoder, both: Sample
) -> None:
    at = {"wavelength": [5000.0, 90_000.0], "log_scale": 0.0}
    (found,) = model.translate([both], "photometry", "spectrum", at)
    assert "1 of 2 measurements of spectrum lie outside" in found["spectrum"].flag
    assert np.isfinite(found["spectrum"].draws).all()


def test_a_band_that_no_training_sample_had_is_flagged(model: Autoencoder, both: Sample) -> None:
    codes = np.zeros_like(both.sequences["photometry"].categories["band"])
    flag = flag_of(model, changed(both, "photometry", categories={"band": codes}))
    assert "have the band 'unknown', which no training sample had" in flag


def test_nan_is_left_out_and_said(model: Autoencoder, both: Sample) -> None:
    value = both.sequences["photometry"].value.copy()
    value[:2] = np.nan
    broken = changed(both, "photometry", value=value)
    assert "2 measurements that are not finite were left out" in flag_of(model, broken)
    table = table_from_samples([both], tuple(model.modalities.values()))
    place = table.column_names.index("photometry.value")
    table = table.set_column(place, "photometry.value", [[value.tolist()]])
    found = model.reconstruct(table, num_draws=2)
    assert found["flag"].to_pylist() == ["2 measurements that are not finite were left out"]
    assert np.isfinite(found["photometry.draws"].to_pylist()[0]).all()


def test_a_modality_that_is_not_there_is_refused_or_flagged(
    model: Autoencoder, both: Sample
) -> None:
    alone = replace(both, sequences={"spectrum": both.sequences["spectrum"]})
    with pytest.raises(DataError, match="has no finite measurement of photometry"):
        model.translate([alone], "photometry", "spectrum")
    with pytest.raises(DataError, match="photometry to be answered at: say where"):
        model.translate([alone], "spectrum", "photometry")
    table = table_from_samples([alone, both], tuple(model.modalities.values()))
    found = model.translate(table, "photometry", "spectrum", num_draws=2)
    assert found["flag"].to_pylist() == ["has no finite measurement of photometry", ""]
    assert found["spectrum.mean"].is_null().to_pylist() == [True, False]


def test_a_scale_and_a_reference_that_nobody_knows(model: Autoencoder, both: Sample) -> None:
    light = replace(both, sequences={"photometry": both.sequences["photometry"]})
    (found,) = model.translate([light], "photometry", "spectrum", {"wavelength": [5000.0]})
    assert "in units of its own median" in found["spectrum"].flag
    dark = replace(both, sequences={"spectrum": both.sequences["spectrum"]})
    at = {"time": [0.0, 10.0], "band": "g"}
    with pytest.raises(DataError, match="counted from there, with from_reference"):
        model.translate([dark], "spectrum", "photometry", at)
    (found,) = model.translate([dark], "spectrum", "photometry", at, from_reference=True)
    assert np.isfinite(found["photometry"].draws).all()


def test_values_beyond_all_bounds_never_give_nan(model: Autoencoder, both: Sample) -> None:
    value = np.full(len(both.sequences["photometry"].value), 1e30)
    (found,) = model.reconstruct([changed(both, "photometry", value=value)], num_draws=2)
    assert np.isfinite(found["photometry"].draws).all()


def test_a_checkpoint_of_before_ranges_were_kept_flags_nothing(
    model: Autoencoder, both: Sample
) -> None:
    fitted = model.trained.fitted
    bare = {m: replace(s, seen=None) for m, s in fitted.statistics.items()}
    old = Autoencoder(replace(model.trained, fitted=replace(fitted, statistics=bare)))
    codes = np.zeros_like(both.sequences["photometry"].categories["band"])
    assert flag_of(old, changed(both, "photometry", categories={"band": codes})) == ""
