"""The small network stands beside the linear probe where it was asked, and only there."""

from pathlib import Path

import pyarrow as pa
import pytest

from daep_ray.report.evidence import gather
from daep_ray.report.grid import Grid
from daep_ray.report.results import probe
from daep_ray.report.source import read
from daep_ray.study import tables
from tests.report.fake_study import Fake, make


def grid_of(out: Path) -> Grid:
    study = read(out)
    found = probe(study, gather(study, "spectrum"))
    assert found is not None
    return found


def test_a_networks_scores_are_columns_beside_the_linear_ones(tmp_path: Path) -> None:
    out = make(tmp_path / "study", Fake(seeds=(0,)))
    before = grid_of(out)
    metrics = tables.read(out, "metrics")
    linear = [r for r in metrics.to_pylist() if r["estimate"] == "probe"]
    asked = [r for r in linear if r["metric"] in ("probe_accuracy", "probe_macro_f1")]
    rows = [{**r, "estimate": "network_probe", "value": r["value"] / 2} for r in asked]
    more = pa.concat_tables([metrics, tables.from_rows("metrics", rows)])
    tables.write(out / "tables", {"metrics": tables.sort("metrics", more)})
    after = grid_of(out)
    assert after.columns[: len(before.columns)] == before.columns
    new = after.columns[len(before.columns) :]
    assert [c.title for c in new] == ["network, accuracy", "network, macro F1"]
    for column, metric in zip(new, ("probe_accuracy", "probe_macro_f1"), strict=True):
        own = next(c for c in before.columns if c.key == metric)
        for half, whole in zip(column.entries, own.entries, strict=True):
            assert (half.raw is None) == (whole.raw is None)
            if isinstance(whole.raw, float):
                assert half.raw == pytest.approx(whole.raw / 2)
    assert "network" not in before.notes[0].lower()
    assert "Network: one hidden layer" in after.notes[0]
