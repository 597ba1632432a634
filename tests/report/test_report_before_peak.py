"""A planted bias before the peak is told, an absent one is not, and codes that change nothing."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from daep_ray.report import before_peak
from daep_ray.report.evidence import gather
from daep_ray.report.source import Study, read
from daep_ray.report.text import answer
from daep_ray.study import tables
from tests.report.fake_study import Fake, make

PLANTED = {"daep": 0.0, "vae": 0.05}  # z, at every size of the code
OBJECTS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fake = Fake(models=("daep", "vae"), seeds=(0, 1))
    out = make(tmp_path_factory.mktemp("peak"), fake)
    rows = tables.read(out, "objects").to_pylist()
    template = next(r for r in rows if r["metric"] == "absolute_error")
    rng = np.random.default_rng(0)
    of_object = rng.normal(0, 0.05, OBJECTS)
    of_object -= of_object.mean()
    for cell in tables.read(out, "cells").to_pylist():
        if cell["model"] not in PLANTED:
            continue
        noise = rng.normal(0, 0.01, OBJECTS)
        values = PLANTED[cell["model"]] + of_object + noise - noise.mean()
        told = {"cell": cell["cell"], "metric": before_peak.METRIC}
        rows += [
            {**template, **told, "object_id": f"sn{i}", "value": float(v)}
            for i, v in enumerate(values)
        ]
    tables.write(out / "tables", {"objects": tables.from_rows("objects", rows)})
    spec = json.loads((out / "spec.json").read_text())
    (out / "spec.json").write_text(json.dumps({**spec, "asks": "bias_before_peak"}))
    return out


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return read(folder)


def test_a_planted_bias_is_seen_and_no_other(study: Study) -> None:
    found = before_peak.biases(study, gather(study, "spectrum"))
    assert {b.line.model for b in found} == set(PLANTED)
    for bias in found:
        assert bias.difference.mean == pytest.approx(PLANTED[bias.line.model], abs=1e-9)
        assert bias.difference.num_objects == OBJECTS
        assert bias.is_seen == (PLANTED[bias.line.model] > 0)


def test_it_is_the_answer_where_it_is_asked_for(study: Study) -> None:
    evidence = gather(study, "spectrum")
    told = answer(study, evidence)
    assert told.sentence.startswith("Before the peak no bias of daep's values is told from 0 (at")
    vae = next(s for s in told.more if s.startswith("Before the peak VAE's"))
    assert "too large by +0.050 z" in vae
    assert "no change is seen from 4 floats" in vae
    spec = {name: value for name, value in study.spec.items() if name != "asks"}
    other = answer(replace(study, spec=spec), evidence)
    assert not [s for s in (other.sentence, *other.more, *other.rest) if "Before the peak" in s]
