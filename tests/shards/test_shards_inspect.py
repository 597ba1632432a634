"""The summary that `daep-ray inspect` prints, against plain Python over the samples."""

import json
import statistics

import numpy as np

from daep_ray.sample import Sample
from daep_ray.shards.inspect import summarise
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.write import write_shards


def test_summary_counts_what_is_there(folder, make):
    summary = summarise(ShardFolder.open(folder))
    samples = make.some_samples(60)
    for name in ("spectrum", "photometry"):
        sequences = [s.sequences[name] for s in samples if name in s.sequences]
        lengths = [len(s) for s in sequences]
        of = summary["modalities"][name]
        assert of["num_samples"] == len(sequences)
        assert of["num_measurements"] == sum(lengths)
        assert of["length"] == {
            "low": min(lengths),
            "median": statistics.median_low(lengths),
            "high": max(lengths),
        }
        value = np.concatenate([s.value for s in sequences]).astype(np.float32)
        assert of["ranges"]["flux"]["low"] == value.min()
        assert of["ranges"]["flux"]["high"] == value.max()
    bands = np.concatenate([s.sequences["photometry"].categories["band"] for s in samples])
    words = ("unknown", "g", "r")
    expected = {word: int((bands == code).sum()) for code, word in enumerate(words)}
    assert summary["modalities"]["photometry"]["categories"]["band"] == expected
    spectra = summary["modalities"]["spectrum"]
    assert spectra["metadata"]["instrument"] == {"blue": 48}
    assert spectra["metadata"]["phase"] == {
        "unit": "day",
        "low": -3.5,
        "high": -3.5,
        "num_known": 48,
    }
    assert sum(split["num_samples"] for split in summary["splits"].values()) == 60
    assert summary["num_objects"] == 30
    json.dumps(summary, allow_nan=False)


def test_summary_of_a_modality_that_no_sample_has(tmp_path, make, make_survey):
    sample = Sample("a", "a", {"photometry": make.light_curve(3)})
    write_shards(make_survey([sample]), tmp_path / "data")
    spectra = summarise(ShardFolder.open(tmp_path / "data"))["modalities"]["spectrum"]
    assert spectra["num_samples"] == 0
    assert spectra["ranges"]["flux"] == {"unit": "", "low": None, "high": None, "num_known": 0}
