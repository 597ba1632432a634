"""A page without files beside it links to nothing, and says what the page with them says."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from daep_ray.report import build
from tests.report.fake_study import SHOWN, Fake

WORDS = re.compile(r">([^<>]+)<")


def words(page: str) -> set[str]:
    return {" ".join(word.split()).rstrip(" ,.") for word in WORDS.findall(page)}


def test_a_page_alone_has_no_address_and_the_same_words(
    page_of: Callable[[Fake], Path], tmp_path: Path
) -> None:
    page = page_of(SHOWN)
    whole = page.read_text()
    out = shutil.copytree(page.parent.parent, tmp_path / "copy")
    assert (out / "report" / "report.md").is_file()
    alone = build(out, is_alone=True).read_text()
    assert [p.name for p in (out / "report").rglob("*") if p.is_file()] == ["index.html"]
    assert set(re.findall(r'href="([^#"]*)"', alone)) <= {"data:,"}
    lost = words(whole) - words(alone) - {"SVG", "PDF", "CSV", "Markdown", ""}
    others = {w for w in lost if not w.endswith(".csv")}
    assert len(others) == 1, others
    assert "Twins with the same numbers" in others.pop()
