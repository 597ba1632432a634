"""One sample in four forms: the same numbers come back, in the same form and in its units."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from astropy import units
from astropy.table import Table

from daep_ray.errors import ConfigError, DataError
from daep_ray.objectives.base import Code
from daep_ray.pretrained import Autoencoder
from daep_ray.sample import Sample
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import samples_from_table


@pytest.fixture(scope="module")
def rows(pairs: ShardFolder) -> pa.Table:
    """Five samples that have both modalities."""
    table = pairs.read_row_group(0, 0)
    both = [i for i in range(table.num_rows) if table["spectrum.value"][i].as_py()]
    has_light = [i for i in both if table["photometry.value"][i].as_py()]
    return table.take(has_light[:5])


@pytest.fixture(scope="module")
def samples(rows: pa.Table, pairs: ShardFolder) -> list[Sample]:
    return list(samples_from_table(rows, tuple(pairs.modalities.values())))


def as_dict(sample: Sample, pairs: ShardFolder) -> dict[str, Any]:
    found: dict[str, Any] = {"sample_id": sample.sample_id}
    for m, sequence in sample.sequences.items():
        words = {
            c.name: np.array(c.vocabulary)[sequence.categories[c.name]]
            for c in pairs.modalities[m].categories
        }
        known = {k: v for k, v in sequence.metadata.items() if v is not None}
        arrays = {"value": sequence.value, "error": sequence.error}
        found[m] = {**arrays, **sequence.positions, **words, **known}
    return found


def as_tables(samples: list[Sample], pairs: ShardFolder) -> dict[str, Table]:
    found = {}
    for m in pairs.modalities:
        parts = []
        for sample in samples:
            raw = as_dict(sample, pairs)[m]
            num = len(raw["value"])
            full = {k: np.broadcast_to(v, num) for k, v in raw.items()}
            parts.append({"sample_id": np.repeat(sample.sample_id, num), **full})
        found[m] = Table({k: np.concatenate([p[k] for p in parts]) for k in parts[0]})
    return found


def test_four_forms_give_equal_numbers(
    model: Autoencoder, rows: pa.Table, samples: list[Sample], pairs: ShardFolder
) -> None:
    ask: dict[str, Any] = {"num_draws": 3, "seed": 5}
    arrow = model.reconstruct(rows, **ask)
    plain = model.reconstruct(samples, **ask)
    dicts = model.reconstruct([as_dict(s, pairs) for s in samples], **ask)
    tables = model.reconstruct(as_tables(samples, pairs), **ask)
    assert isinstance(arrow, pa.Table)
    assert isinstance(tables["spectrum"], Table)
    for i, sample in enumerate(samples):
        for m in ("photometry", "spectrum"):
            first = plain[i][m]
            assert first.draws.shape == (3, len(first.mean))
            np.testing.assert_array_equal(arrow[f"{m}.mean"][i].as_py(), first.mean)
            np.testing.assert_array_equal(arrow[f"{m}.draws"][i].as_py(), first.draws)
            np.testing.assert_array_equal(dicts[i][m]["draws"], first.draws)
            mine = tables[m][tables[m]["sample_id"] == sample.sample_id]
            np.testing.assert_array_equal(mine["draws"].T, first.draws)
            np.testing.assert_array_equal(mine["measured"], sample.sequences[m].value)


def test_codes_come_back_in_the_form_of_the_samples(
    model: Autoencoder, rows: pa.Table, samples: list[Sample], pairs: ShardFolder
) -> None:
    codes = model.embed(samples)
    assert codes.shape == (5, *model.code_shape)
    np.testing.assert_array_equal(model.embed([as_dict(s, pairs) for s in samples]), codes)
    arrow, table = model.embed(rows), model.embed(as_tables(samples, pairs))
    assert isinstance(arrow, pa.Table)
    assert isinstance(table, Table)
    assert (
        arrow["sample_id"].to_pylist() == list(table["sample_id"]) == [s.sample_id for s in samples]
    )
    np.testing.assert_array_equal(arrow["code"].to_pylist(), codes.reshape(5, -1))
    np.testing.assert_array_equal(table["code"], codes)
    assert arrow["flag"].to_pylist() == list(table["flag"]) == [""] * 5
    alone = model.embed(rows, source="spectrum")
    assert "code.spectrum" in alone.column_names
    assert "code.photometry" not in alone.column_names
    assert alone["code"] == alone["code.spectrum"] == arrow["code.spectrum"]
    assert alone["code"] != arrow["code"]


def test_a_row_without_an_answer_leaves_the_others_theirs(
    model: Autoencoder, rows: pa.Table
) -> None:
    """Alone in its batch as well as among others."""
    empty = rows.slice(0, 1)
    for name in ("photometry.value", "spectrum.value"):
        nothing = pa.array([[np.nan] * len(empty[name][0])], empty.schema.field(name).type)
        empty = empty.set_column(empty.column_names.index(name), name, nothing)
    both = pa.concat_tables([empty, rows.slice(1, 1)])
    found = model.embed(both)
    assert found["code"].is_null().to_pylist() == [True, False]
    codes = [t["code"].to_pylist()[1] for t in (found, model.embed(rows))]
    np.testing.assert_allclose(codes[0], codes[1], atol=1e-6)
    assert "has no finite measurement of photometry or spectrum" in found["flag"][0].as_py()
    alone = model.embed(empty)
    assert alone["code"].null_count == alone["code.spectrum"].null_count == 1
    assert alone.schema == model.embed(rows.slice(0, 0)).schema == found.schema


def test_one_dict_gives_one_dict(
    model: Autoencoder, samples: list[Sample], pairs: ShardFolder
) -> None:
    found = model.reconstruct(as_dict(samples[0], pairs), num_draws=2)
    assert set(found) == {"sample_id", "photometry", "spectrum", "flag"}
    assert set(found["photometry"]["band"]) <= {"g", "r", "i", "z"}
    assert model.embed(as_dict(samples[0], pairs)).shape == (1, *model.code_shape)


def test_a_column_with_a_unit_is_converted_or_refused(
    model: Autoencoder, samples: list[Sample], pairs: ShardFolder
) -> None:
    plain, nanometre = as_tables(samples, pairs), as_tables(samples, pairs)
    wavelength = np.asarray(plain["spectrum"]["wavelength"], np.float64)
    nanometre["spectrum"]["wavelength"] = wavelength / 10 * units.nm
    np.testing.assert_allclose(
        model.embed(nanometre)["code"], model.embed(plain)["code"], atol=1e-5
    )
    back = model.reconstruct(nanometre, num_draws=1)["spectrum"]
    assert back["wavelength"].unit == units.Angstrom
    np.testing.assert_allclose(back["wavelength"], wavelength, rtol=1e-6)
    nanometre["spectrum"]["wavelength"] = wavelength * units.kg
    with pytest.raises(DataError, match="'wavelength' is in kg, but this model reads Angstrom"):
        model.embed(nanometre)


def test_quantities_in_a_dict_and_in_places_are_converted_or_refused(
    model: Autoencoder, samples: list[Sample], pairs: ShardFolder
) -> None:
    plain, other = as_dict(samples[0], pairs), as_dict(samples[0], pairs)
    wavelength = np.asarray(plain["spectrum"]["wavelength"], np.float64)
    other["spectrum"]["wavelength"] = wavelength / 10 * units.nm
    np.testing.assert_allclose(model.embed(other), model.embed(plain), atol=1e-5)
    ask: dict[str, Any] = {"source": "photometry", "target": "spectrum", "num_draws": 1}
    metres = model.translate(plain, at={"wavelength": [5e-7, 6e-7] * units.m}, **ask)["spectrum"]
    numbers = model.translate(plain, at={"wavelength": [5000.0, 6000.0]}, **ask)["spectrum"]
    np.testing.assert_allclose(metres["wavelength"], [5000.0, 6000.0])
    np.testing.assert_allclose(metres["mean"], numbers["mean"], rtol=1e-4)
    with pytest.raises(DataError, match="wavelength is in kg, but this model reads Angstrom"):
        model.translate(plain, at={"wavelength": [5.0] * units.kg}, **ask)
    other["spectrum"]["wavelength"] = wavelength * units.s
    with pytest.raises(DataError, match="wavelength is in s, but this model reads Angstrom"):
        model.embed(other)


def test_translation_reads_the_source_alone(model: Autoencoder, samples: list[Sample]) -> None:
    at = {"wavelength": np.linspace(4000, 7000, 30), "log_scale": 0.0}

    def told(samples: list[Sample]) -> list[np.ndarray]:
        found = model.translate(samples, "photometry", "spectrum", at, num_draws=4)
        return [one["spectrum"].draws for one in found]

    both = told(samples)
    assert [d.shape for d in both] == [(4, 30)] * 5
    alone = [replace(s, sequences={"photometry": s.sequences["photometry"]}) for s in samples]
    np.testing.assert_allclose(told(alone), both, rtol=1e-5, atol=1e-6)
    others = [
        replace(s, sequences={**s.sequences, "photometry": samples[i - 1].sequences["photometry"]})
        for i, s in enumerate(samples)
    ]
    assert np.abs(np.array(told(others)) - both).max() > 1e-6


def test_asked_at_its_own_places_a_sample_answers_the_same(
    model: Autoencoder, samples: list[Sample]
) -> None:
    """Reference, scale and z-scores of a query against those that the recipe takes itself."""
    plain = model.reconstruct(samples, num_draws=2)
    at = []
    for one in plain:
        light = one["photometry"]
        at.append({**light.positions, **light.categories})
    asked = model.reconstruct(samples, num_draws=2, at={"photometry": at})
    spectra = [one["spectrum"].positions for one in plain]
    lines = model.reconstruct(samples, num_draws=2, at={"spectrum": spectra})
    for one, light, line in zip(plain, asked, lines, strict=True):
        assert set(light) == {"photometry"}
        assert light["photometry"].measured is None
        for found, m, atol in [(light, "photometry", 1e-2), (line, "spectrum", 1e-5)]:
            np.testing.assert_allclose(found[m].draws, one[m].draws, rtol=1e-4, atol=atol)


def test_positions_counted_from_the_reference(model: Autoencoder, samples: list[Sample]) -> None:
    days = np.linspace(-10, 30, 5)
    peaks = [float(s.sequences["photometry"].metadata["peak"] or 0) for s in samples]
    ask: dict[str, Any] = {"source": None, "target": "photometry", "num_draws": 2}
    counted = model.translate(samples, at={"time": days, "band": "r"}, from_reference=True, **ask)
    absolute = model.translate(samples, at=[{"time": days + p, "band": "r"} for p in peaks], **ask)
    for one, other in zip(counted, absolute, strict=True):
        np.testing.assert_array_equal(one["photometry"].positions["time"], days)
        np.testing.assert_allclose(
            one["photometry"].mean, other["photometry"].mean, rtol=1e-3, atol=1e-2
        )


def test_quantiles_are_those_of_the_draws(model: Autoencoder, samples: list[Sample]) -> None:
    wanted = (0.05, 0.5, 0.95)
    draws = model.reconstruct(samples, num_draws=9)
    found = model.reconstruct(samples, num_draws=9, quantiles=wanted)
    for one, other in zip(found, draws, strict=True):
        expected = np.quantile(other["spectrum"].draws, wanted, axis=0)
        np.testing.assert_array_equal(one["spectrum"].draws, expected)
    with pytest.raises(DataError, match="between 0 and 1"):
        model.reconstruct(samples, quantiles=(5.0,))


def test_what_cannot_be_asked_is_told_in_one_sentence(
    model: Autoencoder, samples: list[Sample]
) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"wavelength": [4000.0], "color": 1}, "has 'color', which is none of wavelength"),
        ({"phase": 0.0}, "lacks wavelength"),
        ({"wavelength": [np.nan]}, "not finite"),
        ({"wavelength": "blue"}, "give numbers"),
    ]
    for at, sentence in wrong:
        with pytest.raises(DataError, match=sentence):
            model.translate(samples, "photometry", "spectrum", at)
    with pytest.raises(DataError, match="choose of g, r, i, z"):
        model.translate(samples, "spectrum", "photometry", {"time": [0.0], "band": "Q"})
    with pytest.raises(DataError, match="different lengths"):
        model.translate(samples, "spectrum", "photometry", {"time": [0, 1], "band": ["g"] * 3})
    with pytest.raises(DataError, match="no modality 'radio'"):
        model.translate(samples, "radio", "spectrum")
    with pytest.raises(ConfigError, match="has no prior to sample from"):
        model.sample({"spectrum": {"wavelength": [5000.0]}})


def test_the_prior_is_asked_through_the_objective(
    model: Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An objective with `sample(query, sampler, num_draws, noise)` is all that it takes."""
    objective = model.trained.objective

    asked = []

    def sample(query: Any, *how: Any, **told: Any) -> Any:
        asked.append(told)
        return objective.decode(Code(torch.zeros(query.num_samples, 3, 2)), query, *how)

    monkeypatch.setattr(objective, "sample", sample, raising=False)
    found = model.sample({"photometry": {"time": [0.0, 5.0], "band": "g"}}, num_draws=3)
    assert found["photometry"].draws.shape == (3, 2)
    assert np.isfinite(found["photometry"].draws).all()
    at = {"photometry": {"time": [0.0], "band": "g"}}
    model.sample(at, label="Ia", guidance=2.0)
    assert asked == [{}, {"labels": ["Ia"], "guidance": 2.0}]
