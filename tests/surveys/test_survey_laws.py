"""Laws that hold for every registered survey format."""

import json
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from daep_ray.errors import ConfigError, UserError
from daep_ray.sample import Axis, Category, Ignored, Modality, Quarantined, Record, Sample, Sequence
from daep_ray.surveys import READERS, Survey, open_survey

Open = Callable[[str], Survey]
every_format = pytest.mark.parametrize("format", sorted(READERS))


def samples(survey: Survey) -> list[Sample]:
    return [r for r in survey.records() if isinstance(r, Sample)]


def same(a: Record, b: Record) -> bool:
    """Equal to the last bit, arrays included."""

    def plain(value: object) -> object:
        if isinstance(value, np.ndarray):
            return (value.dtype.str, value.shape, value.tobytes())
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, Sample | Sequence | Quarantined | Ignored):
            return (type(value), plain(vars(value)))
        return value

    return plain(a) == plain(b)


@every_format
def test_modalities_are_declared_whole(format: str, open_example: Open) -> None:
    survey = open_example(format)
    assert survey.format == format
    assert len({m.name for m in survey.modalities}) == len(survey.modalities) > 0
    for modality in survey.modalities:
        assert Modality.from_json(json.loads(json.dumps(modality.to_json()))) == modality
        for category in modality.categories:
            assert len(set(category.vocabulary)) == len(category.vocabulary) > 1


@every_format
def test_samples_follow_the_declaration(format: str, open_example: Open) -> None:
    survey = open_example(format)
    declared = {m.name: m for m in survey.modalities}
    found = samples(survey)
    assert found
    for sample in found:
        assert sample.sequences
        for name, sequence in sample.sequences.items():
            check_sequence(sequence, declared[name])


def check_sequence(sequence: Sequence, modality: Modality) -> None:
    num_points = len(sequence.value)
    assert num_points > 0
    assert set(sequence.positions) == {p.name for p in modality.positions}
    assert set(sequence.categories) == {c.name for c in modality.categories}
    assert set(sequence.metadata) <= {m.name for m in modality.metadata}
    assert set(sequence.extras) == {e.name for e in modality.extras}
    for array in [sequence.value, *sequence.positions.values(), *sequence.extras.values()]:
        assert array.shape == (num_points,)
        assert array.dtype.kind == "f"
        assert np.isfinite(array).all()
    assert (sequence.error is not None) == modality.has_error
    if sequence.error is not None:
        assert sequence.error.shape == (num_points,)
        assert (sequence.error > 0).all()
        assert np.isfinite(sequence.error).all()
    for category in modality.categories:
        codes = sequence.categories[category.name]
        assert codes.shape == (num_points,)
        assert codes.dtype == np.int16
        assert (codes >= 0).all()
        assert (codes < len(category.vocabulary)).all()
    for entry in modality.metadata:
        check_metadata(sequence.metadata.get(entry.name), entry)
    assert (np.diff(sequence.positions[modality.positions[0].name]) >= 0).all()


def check_metadata(value: float | str | None, entry: Axis | Category) -> None:
    if isinstance(entry, Category):
        assert value is None or value in entry.vocabulary
    else:
        assert value is None or (isinstance(value, float) and np.isfinite(value))


@every_format
def test_sample_ids_are_unique_and_labels_uniform(format: str, open_example: Open) -> None:
    found = samples(open_example(format))
    assert len({s.sample_id for s in found}) == len(found)
    assert all(s.object_id == s.object_id.strip() != "" for s in found)
    for one, other in pairwise(found):
        assert list(one.labels) == list(other.labels)
    assert {"class", "subtype"} <= set(found[0].labels)
    for name in found[0].labels:
        kinds = {type(s.labels[name]) for s in found} - {type(None)}
        assert len(kinds) <= 1, name
        assert kinds <= {str, float}


@every_format
def test_reading_twice_gives_the_same_to_the_last_bit(format: str, open_example: Open) -> None:
    first = list(open_example(format).records())
    survey = open_example(format)
    for _ in range(2):
        again = list(survey.records())
        assert len(again) == len(first)
        assert all(same(a, b) for a, b in zip(first, again, strict=True))


@every_format
def test_lost_samples_have_reasons(format: str, open_example: Open) -> None:
    lost = [r for r in open_example(format).records() if isinstance(r, Quarantined)]
    assert all(r.reason and r.file and "\n" not in r.reason for r in lost)
    assert bool(lost) == READERS[format].needs_source  # the examples hold a broken file


@every_format
def test_the_source_is_plain_json_without_absolute_paths(format: str, open_example: Open) -> None:
    source = open_example(format).source
    assert json.loads(json.dumps(source)) == source
    assert source["format"] == format
    assert not source["name"].startswith("/")
    READERS[format].settings.parse(source["options"])


@every_format
def test_wrong_use_is_one_sentence(format: str) -> None:
    with pytest.raises(ConfigError, match="no_such_option") as error:
        open_survey(format, None if format == "synthetic" else "x", {"no_such_option": 1})  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    needs_source = READERS[format].needs_source
    with pytest.raises(UserError, match=r"source|folder"):
        open_survey(format, None if needs_source else "x", {})  # type: ignore[arg-type]


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'snana'.*known: "):
        open_survey("snanna", None, {})
