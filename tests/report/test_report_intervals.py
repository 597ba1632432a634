"""The table of conformal intervals: every configuration, references too; none in older studies."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from daep_ray.report import source
from daep_ray.report.evidence import gather
from daep_ray.report.results_intervals import intervals
from tests.report.fake_study import Fake, make


def test_every_configuration_has_a_row_and_older_studies_no_table(tmp_path: Path) -> None:
    fake = Fake()
    study = source.read(make(tmp_path, fake))
    evidence = gather(study, fake.modality)
    assert intervals(study, evidence) is None

    metrics = study.tables["metrics"]
    more = [
        {
            "cell": cell.cell,
            "modality": fake.modality,
            "split": "test",
            "estimate": "conformal",
            "metric": f"{what}_{level}",
            "value": 0.01 * level,
            "count": 40,
        }
        for cell in study.cells
        if cell.state == "done"
        for what in ("coverage", "width")
        for level in (50, 68, 90, 95)
    ]
    told = pa.concat_tables([metrics, pa.Table.from_pylist(more, schema=metrics.schema)])
    grid = intervals(replace(study, tables={**study.tables, "metrics": told}), evidence)
    assert grid is not None
    columns = {column.key: column for column in grid.columns}
    models = [entry.text for entry in columns["model"].entries]
    assert {"daep", "VAE", "PCA", "training mean"} <= set(models)
    covered = columns["coverage_90_conformal"].entries
    assert len(covered) == len(models)
    assert all(entry.raw == 0.9 for entry in covered)
