"""One page over several studies: every answer, every link, the same bytes, nothing hidden."""

import re
from pathlib import Path

import pytest

from daep_ray.cli import app, run_app
from daep_ray.errors import DataError
from daep_ray.report.evidence import gather
from daep_ray.report.index import write_index
from daep_ray.report.source import read
from daep_ray.report.text import answer
from tests.report.fake_study import Fake, make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two studies, of which one has a page, a third that is broken, and what is no study."""
    make(tmp_path / "first", Fake(seeds=(0,)))
    (tmp_path / "first" / "report").mkdir()
    (tmp_path / "first" / "report" / "index.html").write_text("the page")
    make(tmp_path / "second", Fake(seeds=(0,), is_trained=False))
    make(tmp_path / "third", Fake(seeds=(0,)))
    (tmp_path / "third" / "spec.json").write_text("{")
    (tmp_path / "trainings").mkdir()
    return tmp_path


def test_every_study_says_its_answer(folder: Path) -> None:
    page = write_index(folder).read_text()
    assert re.findall(r'<p class="eyebrow">(.*)</p>', page) == ["first", "second", "third"]
    for name in ("first", "second"):
        study = read(folder / name)
        sentence = answer(study, gather(study, "spectrum")).sentence
        assert sentence in page.replace("&#39;", "'").replace("&lt;", "<")
    assert page.count("missing: no report") == 1
    assert page.count("is no readable JSON") == 1


def test_links_lead_to_pages_beside_it_and_nowhere_else(folder: Path) -> None:
    page = write_index(folder).read_text()
    links = re.findall(r'href="([^"]*)"', page)
    assert links == ["data:,", "first/report/index.html"]
    assert (folder / links[1]).is_file()
    assert "<script" not in page
    assert not re.search(r'(src|href)="https?:', page)


def test_a_page_beside_the_tables_is_linked_too(folder: Path) -> None:
    (folder / "second" / "index.html").write_text("the page")
    page = write_index(folder).read_text()
    assert 'href="second/index.html"' in page
    assert "missing: no report" not in page


def test_the_same_studies_give_the_same_bytes(folder: Path) -> None:
    once = write_index(folder).read_bytes()
    assert write_index(folder).read_bytes() == once
    assert [p.name for p in folder.glob(".*")] == []


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app, ["report", "--index", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == f"index: {folder / 'index.html'}"


def test_a_folder_without_studies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no study in"):
        write_index(tmp_path)
    assert list(tmp_path.iterdir()) == []
