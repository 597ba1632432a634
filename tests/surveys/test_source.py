"""Walking a source: order, archives as they are, and nothing that harms."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daep_ray.errors import DataError
from daep_ray.sample import Ignored, Quarantined
from daep_ray.surveys import source
from daep_ray.surveys.source import (
    Found,
    LargeFile,
    RawFile,
    check_source,
    is_document,
    walk,
    walk_or_stream,
)

FILES: dict[str, str | bytes] = {
    "b/two.lnw": "two",
    "a.lnw": "one",
    "b/LICENSE": "MIT",
    ".hidden": "x",
    "c d.lnw": b"\0binary",
}
SHARED_FOLDER = [HealthCheck.function_scoped_fixture]  # every example writes the same file anew
Write = Callable[[dict[str, str | bytes]], Path]
Find = Callable[[Path], Iterator[Found | LargeFile]]


def tar(path: Path, folder: Path, mode: str) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(folder, arcname=".")
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {f.name: f.content for f in walk(path) if isinstance(f, RawFile)}


def test_a_folder_is_read_recursively_in_sorted_order(write: Write) -> None:
    found = list(walk(write(FILES)))
    assert [f.name if isinstance(f, RawFile) else f.file for f in found] == sorted(FILES)
    assert [f.file for f in found if isinstance(f, Ignored)] == [".hidden", "b/LICENSE"]
    assert list(walk(write(FILES))) == found


@pytest.mark.parametrize(
    ("name", "mode"), [("s.tar.xz", "w:xz"), ("s.tgz", "w:gz"), ("s.tar", "w")]
)
def test_an_archive_reads_as_its_folder(write: Write, tmp_path: Path, name: str, mode: str) -> None:
    folder = write(FILES)
    archive = tar(tmp_path / name, folder, mode)
    before = sorted(tmp_path.rglob("*"))
    assert contents(archive) == contents(folder)
    assert sorted(tmp_path.rglob("*")) == before  # nothing unpacked


def test_an_archive_in_a_folder_and_a_single_file(write: Write, tmp_path: Path) -> None:
    folder = write(FILES)
    outer = tmp_path / "outer"
    outer.mkdir()
    tar(outer / "s.tar.gz", folder, "w:gz")
    (outer / "x.dat.gz").write_bytes(gzip.compress(b"plain"))
    assert set(contents(outer)) == {
        "s.tar.gz/a.lnw",
        "s.tar.gz/b/two.lnw",
        "s.tar.gz/c d.lnw",
        "x.dat",
    }
    assert contents(outer)["x.dat"] == b"plain"
    assert contents(folder / "a.lnw") == {"a.lnw": b"one"}


@pytest.mark.parametrize("name", ["LICENCE.astrodash", "README", "x.README", "read/.git/config",
                                  "__MACOSX/a.lnw", "a/readme.txt", "notes.md"])  # fmt: skip
def test_documents_are_no_data(name: str) -> None:
    assert is_document(name)


@pytest.mark.parametrize("name", ["sn1999aa.lnw", "a.dat", "c d.dat", "unreadme.dat"])
def test_data_is_no_document(name: str) -> None:
    assert not is_document(name)


def test_links_and_devices_are_quarantined_not_followed(write: Write, tmp_path: Path) -> None:
    folder = write({"a.lnw": "one"})
    (folder / "loop").symlink_to(folder)
    (folder / "broken").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "pipe")
    found = {f.file: f.reason for f in walk(folder) if isinstance(f, Quarantined)}
    assert set(found) == {"loop", "broken", "pipe"}
    assert "link" in found["loop"]


@pytest.mark.parametrize("find", [walk, walk_or_stream])
def test_a_link_that_leaves_the_folder_is_not_followed(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, find: Find
) -> None:
    monkeypatch.setattr(source, "STREAMED_BYTES", 2)  # a large file must not be led out either
    folder = write({"a.lnw": "good", "deep/b.lnw": "good"})
    (tmp_path / "secret.lnw").write_text("out")
    (tmp_path / "secret.tar").write_text("out")
    for name in ("c.lnw", "c.tar"):
        (folder / name).symlink_to(tmp_path / f"secret{name[1:]}")
    (folder / "deep" / "up.lnw").symlink_to("../../secret.lnw")
    (folder / "deep" / "inside.lnw").symlink_to("../a.lnw")
    lost = {f.file: f.reason for f in find(folder) if isinstance(f, Quarantined)}
    assert set(lost) == {"c.lnw", "c.tar", "deep/up.lnw"}
    assert all("leads out of the folder" in reason for reason in lost.values())
    kept = [f.name for f in find(folder) if not isinstance(f, Quarantined | Ignored)]
    assert kept == ["a.lnw", "deep/b.lnw", "deep/inside.lnw"]
    (tmp_path / "name").symlink_to(folder)  # the source itself may be a link
    assert len(list(find(tmp_path / "name"))) == 6


def hostile_archive(path: Path) -> Path:
    def member(name: str, **attributes: object) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        for key, value in attributes.items():
            setattr(info, key, value)
        return info

    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(member("../../escape.lnw", size=1), io.BytesIO(b"x"))
        archive.addfile(member("/etc/escape.lnw", size=1), io.BytesIO(b"x"))
        archive.addfile(member("soft.lnw", type=tarfile.SYMTYPE, linkname="/etc/passwd"))
        archive.addfile(member("hard.lnw", type=tarfile.LNKTYPE, linkname="good.lnw"))
        archive.addfile(member("device.lnw", type=tarfile.CHRTYPE))
        archive.addfile(member("good.lnw", size=4), io.BytesIO(b"good"))
    return path


def test_hostile_members_are_quarantined_with_a_reason(tmp_path: Path) -> None:
    found = list(walk(hostile_archive(tmp_path / "s.tar.gz")))
    assert [f.content for f in found if isinstance(f, RawFile)] == [b"good"]
    reasons = [f.reason for f in found if isinstance(f, Quarantined)]
    assert len(reasons) == 5
    assert sum("leads out" in r for r in reasons) == 2


def test_a_bomb_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "FREE_EXPANSION_BYTES", 2**20)
    monkeypatch.setattr(source, "MAX_FILE_BYTES", 2**20)
    info = tarfile.TarInfo("bomb.lnw")
    info.size = 64 * 2**20
    with tarfile.open(tmp_path / "bomb.tar.xz", "w:xz", preset=0) as archive:
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(DataError, match=r"bomb\.tar\.xz.*unpacks to more than") as error:
        list(walk(tmp_path / "bomb.tar.xz"))
    assert "\n" not in str(error.value)


def test_an_endless_header_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_HEADER_BYTES", 2**16)
    info = tarfile.TarInfo("a.lnw")
    info.pax_headers = {"comment": "x" * 2**18}
    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    with pytest.raises(DataError, match="endless header"):
        list(walk(tmp_path / "s.tar"))


def test_files_too_large_are_quarantined(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "MAX_FILE_BYTES", 1000)
    folder = write(
        {"small.lnw": "x", "huge.lnw": "x" * 1001, "z.lnw.gz": gzip.compress(bytes(5000))}
    )
    for path in (folder, tar(tmp_path / "s.tar.gz", folder, "w:gz")):
        assert set(contents(path)) == {"small.lnw"}
        assert sum(isinstance(f, Quarantined) for f in walk(path)) == 2


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress, bytes])
def test_archives_that_are_none_or_cut(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "s.tar.gz"
    path.write_bytes(pack(b"no tar archive, only text" * 40))
    with pytest.raises(DataError, match="damaged"):
        list(walk(path))


def test_a_cut_archive_is_one_sentence(write: Write, tmp_path: Path) -> None:
    folder = write({f"{k}.lnw": os.urandom(5000) for k in range(9)})
    whole = tar(tmp_path / "s.tar.xz", folder, "w:xz").read_bytes()
    (tmp_path / "s.tar.xz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged or cut short after '"):
        list(walk(tmp_path / "s.tar.xz"))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6))
def test_damaged_headers_raise_nothing_but_data_errors(
    tmp_path: Path, flips: list[tuple[int, int]]
) -> None:
    path = tmp_path / "f.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("ä" * 120)
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    content = bytearray(path.read_bytes())
    for place, value in flips:
        content[place] = value
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        list(walk(path))


def test_nothing_to_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "only" / "folders").mkdir(parents=True)
    with pytest.raises(DataError, match="is empty"):
        check_source(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        check_source(tmp_path / "nowhere")
