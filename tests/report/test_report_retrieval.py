"""The table of retrieval says what was measured: k, recall, chance, how many were searched."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daep_ray.evaluate.retrieval import RANKS
from daep_ray.report import sections
from daep_ray.report.evidence import gather
from daep_ray.report.grid import Grid
from daep_ray.report.html import render
from daep_ray.report.page import compose
from daep_ray.report.results_retrieval import retrieval
from daep_ray.report.source import read
from tests.report.fake_study import Fake, make

MODELS = ("contrastive", "daep", "vae")
SIZES = ((2, 2), (4, 4))


def table(tmp_path: Path, sources: tuple[str, ...] = ("photometry",), **design: Any) -> Grid | None:
    """Of a study with recalls of all its contrastive and daep cells: 0.01 x k x (1 + seed)."""
    out = make(tmp_path, Fake(models=MODELS, **design))
    path = out / "tables" / "metrics.parquet"
    cells = pq.read_table(out / "tables" / "cells.parquet").to_pylist()
    metrics = pq.read_table(path)
    rows = [
        {
            "cell": cell["cell"],
            "modality": "spectrum",
            "split": "test",
            "estimate": f"from_{source}",
            "metric": f"recall_at_{k}{end}",
            "value": k / 100 if end else 0.01 * k * (1 + cell["seed"]),
            "sd": None,
            "count": 100 + (cell["model"] == "daep"),
        }
        for cell in cells
        if cell["model"] in ("contrastive", "daep") and cell["state"] == "done"
        for source in sources
        for k in RANKS
        for end in ("", "_chance")
    ]
    more = pa.Table.from_pylist(rows, metrics.schema) if rows else metrics.slice(0, 0)
    pq.write_table(pa.concat_tables([metrics, more]), path)
    study = read(out)
    return retrieval(study, gather(study, "spectrum"))


def columns_of(grid: Grid) -> dict[str, list[Any]]:
    return {c.key: [e.raw for e in c.entries] for c in grid.columns}


def test_a_row_per_configuration_and_k(tmp_path: Path) -> None:
    grid = table(tmp_path, sizes=SIZES, seeds=(0, 1))
    assert grid is not None
    found = columns_of(grid)
    assert found["model"] == ["contrastive"] * 4 + ["daep"] * 4  # nothing of a VAE or a reference
    assert found["k"] == ["1", "10"] * 4
    assert found["recall"] == pytest.approx([0.015, 0.15] * 4)
    assert found["chance"] == pytest.approx([0.01, 0.1] * 4)
    assert found["gallery"] == ["100"] * 4 + ["101"] * 4
    assert found["x"] == ["4", "4", "16", "16"] * 2
    # of two seeds that are d apart, t_1 x d / 2
    recall = next(c for c in grid.columns if c.key == "recall").entries[1]
    assert recall.high == pytest.approx(0.15 + 12.706 * 0.05, rel=1e-3)


def test_who_asks_is_told(tmp_path: Path) -> None:
    grid = table(tmp_path, sources=("photometry", "image"), sizes=((4, 4),), seeds=(0,))
    assert grid is not None
    found = columns_of(grid)
    assert found["from"] == ["image", "image", "photometry", "photometry"] * 2
    assert "x" not in found, "one place of the design is not worth a column"


def test_a_study_without_pairs_has_no_such_table(tmp_path: Path) -> None:
    assert table(tmp_path, sources=(), sizes=((4, 4),), seeds=(0,)) is None


def test_the_page_shows_it(tmp_path: Path) -> None:
    table(tmp_path, sizes=((4, 4),), seeds=(0,))
    page = compose(read(tmp_path))
    (grid,) = [g for g in page.tables if g.name == "retrieval-spectrum"]
    text = render(page)
    assert grid.caption in text
    assert text.count("recall@k") >= 1
    make(tmp_path / "plain", Fake(models=MODELS, sizes=((4, 4),), seeds=(0,)))
    plain = read(tmp_path / "plain")
    shown = sections.says(plain, gather(plain, "spectrum"), ())
    assert not [g for g in shown.grids if g.name.startswith("retrieval")]
