"""A model's files from a bucket: a study's bundle once, copied files as they are now."""

import io
from pathlib import Path

import pytest

from daep_ray.errors import ConfigError, StorageError
from daep_ray.study.download import downloaded
from daep_ray.study.mirror import Mirror
from daep_ray.train.checkpoint import FILES, FILES_OF_INFERENCE


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "daep_ray"


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return f"file://{tmp_path}/store"
    return str(request.getfixturevalue("bucket"))


def address(place: str, name: str) -> str:
    path, mark, server = place.partition("?")
    return f"{path}/{name}{mark}{server}"


def copy(store: Mirror, name: str, content: bytes) -> None:
    for file in FILES_OF_INFERENCE:
        store._make_folder(store.path(f"{name}/{file}"))
        with store.filesystem.open_output_stream(store.path(f"{name}/{file}")) as stream:
            stream.write(content)


def test_a_bundle_is_fetched_once_and_without_what_only_a_resume_needs(
    place: str, cache: Path
) -> None:
    store = Mirror.open(place)
    files = {f"checkpoint/{file}": io.BytesIO(file.encode()) for file in FILES}
    index = store.publish("abc/training", files, {})
    folder = downloaded(address(place, "abc"))
    assert folder is not None
    found = {p.name: p.read_bytes() for p in (folder / "checkpoint").iterdir()}
    assert found == {file: file.encode() for file in FILES_OF_INFERENCE}
    store.delete(f"abc/training/{index.mark}")
    assert downloaded(address(place, "abc")) == folder
    assert [p.name for p in cache.iterdir()] == [folder.name]


def test_another_bundle_is_another_folder(place: str) -> None:
    store = Mirror.open(place)
    folders = []
    for content in (b"one", b"two"):
        store.publish("abc", {"ema.safetensors": io.BytesIO(content)}, {})
        folders.append(downloaded(address(place, "abc")))
        assert folders[-1] is not None
        assert (folders[-1] / "ema.safetensors").read_bytes() == content
    assert folders[0] != folders[1]


@pytest.mark.parametrize("name", ["mine", "mine/checkpoint"])
def test_copied_files_are_those_of_now(place: str, name: str) -> None:
    store = Mirror.open(place)
    for content in (b"one", b"two"):
        copy(store, name, content)
        folder = downloaded(address(place, "mine"))
        assert folder is not None
        assert {p.read_bytes() for p in folder.iterdir()} == {content}


def test_nothing_is_none_and_an_unknown_place_a_sentence(place: str, bucket: str) -> None:
    assert downloaded(address(place, "nothing")) is None
    with pytest.raises(ConfigError, match="unknown kind of storage"):
        downloaded("ftp://somewhere/model")
    server = bucket.partition("?")[2]
    with pytest.raises(StorageError, match="there is no bucket"):
        downloaded(f"s3://no-such-bucket/a/b?{server}")
