"""Every sample that a recipe empties gets a reason, and it is the step that did it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.sample import Axis, Category, Modality, Sample, Sequence
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import table_from_samples
from daep_ray.shards.write import write_shards
from daep_ray.stream import excluded
from daep_ray.stream.fitted import unfitted
from daep_ray.stream.position_chain import DivideByOnePlus
from daep_ray.stream.recipe import ModalityRecipe, Recipe
from daep_ray.stream.selection import Crop, KeepCategory, Positive, SignalToNoise
from daep_ray.stream.statistics import excluded_samples
from daep_ray.stream.value_chain import Log10
from tests.stream.conftest import FakeSurvey

CURVES = Modality(
    name="photometry",
    value=Axis("flux", "FLUXCAL"),
    positions=(Axis("time", "day", is_time=True, frame="observer"),),
    categories=(Category("band", ("unknown", "g", "r")),),
    metadata=(Axis("redshift", ""),),
)


def sample(name: str, value: float, band: int = 1, redshift: float | None = 0.1) -> Sample:
    curve = Sequence(
        value=np.full(4, value),
        error=np.ones(4),
        positions={"time": np.arange(4.0)},
        categories={"band": np.full(4, band, np.int16)},
        metadata={"redshift": redshift},
    )
    return Sample(name, name, {"photometry": curve})


@pytest.mark.parametrize(
    ("bad", "part", "reason"),
    [
        (sample("a", -1.0), {"selection": (Positive(),)}, "no positive value"),
        (
            sample("a", 2.0),
            {"selection": (SignalToNoise(),)},
            "no measurement of 3 times its error",
        ),
        (
            sample("a", 9.0, band=2),
            {"selection": (SignalToNoise(), KeepCategory(words=("g",)))},
            "no measurement with band g",
        ),
        (
            sample("a", 9.0),
            {"selection": (Crop(position="time", low=5.0, high=9.0),)},
            "nothing with time from 5 to 9",
        ),
        (
            sample("a", 9.0, redshift=None),
            {"positions": {"time": (DivideByOnePlus(),)}},
            "no redshift",
        ),
        (sample("a", -9.0), {"value": (Log10(),)}, "no value that the value steps can take"),
    ],
)
def test_the_first_step_that_leaves_nothing_is_named(bad, part, reason):
    table = table_from_samples([bad], (CURVES,))
    assert unfitted(_recipe(part), [CURVES]).apply(table, ["photometry"])["photometry"].lengths == 0
    (said,) = excluded.reasons(ModalityRecipe(**part), CURVES, table)
    assert said.startswith(reason)


def _recipe(part: dict) -> Recipe:
    return Recipe(modalities={"photometry": ModalityRecipe(**part)})


@given(
    st.lists(
        st.tuples(st.floats(-9, 9), st.integers(1, 2), st.sampled_from([None, 0.1])), max_size=12
    ),
    st.sets(st.sampled_from(["snr", "band", "positive", "crop", "rest", "log"])),
)
def test_whoever_is_emptied_has_a_reason_of_a_step_that_is_there(rows, used):
    samples = [sample(f"s{i}", *row) for i, row in enumerate(rows)]
    steps = {
        "snr": SignalToNoise(),
        "band": KeepCategory(words=("g",)),
        "positive": Positive(),
        "crop": Crop(position="time", high=2.0),
    }
    words = {
        "snr": "times its error",
        "band": "with band g",
        "positive": "no positive",
        "crop": "nothing with time",
        "rest": "no redshift",
        "log": "value steps",
    }
    part = ModalityRecipe(
        selection=tuple(step for name, step in steps.items() if name in used),
        positions={"time": (DivideByOnePlus(),) if "rest" in used else ()},
        value=(Log10(),) if "log" in used else (),
    )
    table = table_from_samples(samples, (CURVES,))
    fitted = unfitted(Recipe(modalities={"photometry": part}), [CURVES])
    emptied = fitted.apply(table, ["photometry"])["photometry"].lengths == 0
    said = excluded.reasons(part, CURVES, table.filter(emptied))
    assert len(said) == emptied.sum()
    assert all(any(words[name] in reason for name in used) for reason in said)


def test_a_folder_that_cannot_keep_them_is_asked_again(tmp_path: Path, monkeypatch):
    survey = FakeSurvey(
        (CURVES,), lambda: iter([sample("a", -1.0), sample("b", 1.0)]), {"format": "fake"}
    )
    write_shards(survey, tmp_path / "data")
    folder = ShardFolder.open(tmp_path / "data")
    recipe = _recipe({"selection": (Positive(),)})
    kept = excluded_samples(folder, recipe)
    assert kept["sample_id"].to_pylist() == ["a"]
    monkeypatch.setattr(excluded, "read", lambda _: None)
    assert excluded_samples(folder, recipe).equals(kept)
