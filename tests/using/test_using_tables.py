"""Tables and dicts made by hand: whatever is wrong with them is told in one sentence."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from daep_ray.errors import DataError
from daep_ray.pretrained import Autoencoder
from daep_ray.shards.read import ShardFolder

Change = Callable[[pa.Table], pa.Table]
GOOD = {"value": [1.0, 2.0], "time": [0.0, 1.0], "band": ["g", "r"]}


@pytest.fixture(scope="module")
def table(model: Autoencoder, pairs: ShardFolder) -> pa.Table:
    """Four rows of a shard, with the columns that the model reads."""
    columns = model.trained.fitted.columns(model.modalities)
    shard, group = next(iter(pairs.row_groups()))
    return pairs.read_row_group(shard, group, list(dict.fromkeys(columns))).slice(0, 4)


def put(name: str, of: Callable[[list[Any]], Any]) -> Change:
    """Another column in the place of `name`, made of that column's entries."""

    def change(table: pa.Table) -> pa.Table:
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array(of(table[name].to_pylist())))

    return change


def each(word: Any) -> Callable[[list[Any]], Any]:
    return lambda rows: [None if row is None else [word] * len(row) for row in rows]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.drop_columns(["spectrum.value"]), "lacks spectrum.value"),
        (lambda t: t.append_column("sample_id", t["sample_id"]), "twice"),
        (put("photometry.value", each("bright")), "'photometry.value' holds list<"),
        (put("photometry.value", lambda rows: [1.0] * len(rows)), "holds double"),
        (put("photometry.value", lambda rows: [[1.0]] * len(rows)), "another length"),
        (put("photometry.band", each("g")), "words of a category are codes"),
        (put("photometry.band", each(99)), "outside its vocabulary"),
        (put("photometry.band", each(10**6)), "'photometry.band' holds"),
        (put("sample_id", lambda rows: pa.nulls(len(rows), pa.string())), "without a sample_id"),
    ],
)
def test_a_table_made_by_hand(
    model: Autoencoder, table: pa.Table, change: Change, sentence: str
) -> None:
    for use in (model.embed, model.reconstruct):
        with pytest.raises(DataError, match=sentence) as caught:
            use(change(table))
        assert "\n" not in str(caught.value)


def test_numbers_of_other_types_are_the_same_numbers(model: Autoencoder, table: pa.Table) -> None:
    name = "photometry.value"
    place, expected = table.column_names.index(name), model.embed(table)["code"]
    for dtype in (pa.list_(pa.float64()), pa.large_list(pa.float32())):
        other = table.set_column(place, name, table[name].cast(dtype))
        assert model.embed(other)["code"] == expected
    assert model.embed(table.slice(0, 0)).num_rows == 0


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        ([{"photometry": GOOD}, 3], "entry 1 of samples is a int"),
        ([1, 2], "entry 0"),
        ({"photometry": [1, 2]}, "has a list as photometry"),
    ],
)
def test_a_list_of_other_things(model: Autoencoder, samples: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        model.embed(samples)


@pytest.mark.parametrize(
    ("at", "sentence"),
    [
        (5, "write {'wavelength'"),
        ([5], "write {'wavelength'"),
        ({"wavelength": [[5000.0, 6000.0]]}, "plain"),
        ({"wavelength": [[5000.0], [6000.0, 7000.0]]}, "plain"),
    ],
)
def test_places_of_another_shape(model: Autoencoder, at: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        model.translate({"photometry": GOOD}, "photometry", "spectrum", at)


def test_what_is_said_of_all_places_is_said_once(model: Autoencoder) -> None:
    at = {"time": [0.0], "band": "g", "peak": [1.0, 2.0]}
    with pytest.raises(DataError, match="2 of peak"):
        model.translate({"photometry": GOOD}, "photometry", "photometry", at)


def test_how_many_and_of_what(model: Autoencoder) -> None:
    with pytest.raises(DataError, match="whole number"):
        model.reconstruct({"photometry": GOOD}, num_draws=1.5)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no modality is asked for"):
        model.translate({"photometry": GOOD}, "photometry", ())
    with pytest.raises(DataError, match="no modality is read"):
        model.translate({"photometry": GOOD}, (), "photometry")
