"""Page, Markdown and CSV carry the same numbers."""

import csv
import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from daep_ray.report.grid import Column, Entry, Grid
from daep_ray.report.twins import comma_separated, table
from tests.report.fake_study import SHOWN, Fake

GRIDS = ("reconstruction-photometry", "probe-photometry", "comparisons-photometry", "trainings")


def plain(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


@pytest.fixture
def page(page_of: Callable[[Fake], Path]) -> Path:
    return page_of(SHOWN)


def test_markdown_has_every_number_of_the_page(page: Path) -> None:
    markdown = (page.parent / "report.md").read_text().replace("\\", "")
    rows = re.findall(r"<tr>(.*?)</tr>", page.read_text(), flags=re.DOTALL)
    cells = [plain(c) for row in rows for c in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)]
    numbers = {c for c in cells if re.search(r"\d\.\d", c)}
    assert len(numbers) > 50
    there = " ".join(markdown.replace("*", "").split())
    assert [n for n in numbers if n not in there] == []


@pytest.mark.parametrize("name", GRIDS)
def test_csv_numbers_round_to_the_page_s(page: Path, name: str) -> None:
    with (page.parent / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    shown = plain(page.read_text()).replace("\u2212", "-").replace("\u202f", "")
    key = {"comparisons-photometry": "difference", "probe-photometry": "probe_accuracy"}.get(name)
    key = key or ("absolute_error" if name.startswith("recon") else "error")
    numbers = [float(row[key]) for row in rows if not row[key].startswith("missing")]
    assert numbers
    for number in numbers:
        assert any(f"{number:.{d}f}" in shown for d in (2, 3, 4)), number


def test_csv_says_what_is_missing_and_has_both_ends(page: Path) -> None:
    with (page.parent / "trainings.csv").open() as file:
        rows = list(csv.DictReader(file))
    failed = [row for row in rows if row["state"] == "failed"]
    assert [row["error"] for row in failed] == ["missing: failed"]
    assert failed[0]["reason"].startswith("the loss became non-finite")
    assert failed[0]["command"].startswith("daep-ray train")
    with (page.parent / "comparisons-photometry.csv").open() as file:
        for row in csv.DictReader(file):
            assert float(row["difference_low"]) <= float(row["difference"])
            assert float(row["difference"]) <= float(row["difference_high"])


def test_a_word_of_a_survey_is_no_formula_and_no_column() -> None:
    words = ("=HYPERLINK(1)", "a|b", "-")
    grid = Grid("g", "", (Column("word", "word", tuple(Entry(w, w) for w in words)),))
    assert comma_separated(grid).splitlines() == ["word", "'=HYPERLINK(1)", "a|b", "-"]
    assert table(grid).splitlines()[3] == "| a\\|b |"
