"""Bundles in an object store: whole or not at all, the last one wins, nothing leaves the prefix.

Against a server that speaks S3 on this machine, and a folder as the cheapest store.
"""

import json
import pickle
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from daep_ray.errors import ConfigError, StorageError
from daep_ray.study.address import parse
from daep_ray.study.mirror import INDEX, Mirror


@pytest.fixture(params=["s3", "file"])
def mirror(request: pytest.FixtureRequest, tmp_path: Path) -> Mirror:
    if request.param == "file":
        return Mirror.open(f"file://{tmp_path}/store")
    return Mirror.open(request.getfixturevalue("bucket"))


def publish(mirror: Mirror, folder: Path, content: dict[str, bytes], name: str = "a/b") -> None:
    with ExitStack() as stack:
        files = {}
        for file, data in content.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data)
            files[file] = stack.enter_context((folder / file).open("rb"))
        mirror.publish(name, files, {"num_objects": len(content)})


def objects(mirror: Mirror) -> list[str]:
    """Every object below the prefix."""
    select = pafs.FileSelector(mirror.path(), recursive=True, allow_not_found=True)
    found = mirror.filesystem.get_file_info(select)
    prefix = mirror.path() + "/"
    return sorted(f.path.removeprefix(prefix) for f in found if f.type == pafs.FileType.File)


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_what_is_published_is_fetched_and_the_older_one_is_gone(
    mirror: Mirror, tmp_path: Path
) -> None:
    assert mirror.index("a/b") is None
    assert mirror.fetch("a/b", tmp_path / "none") is None
    large = bytes(range(256)) * 30_000  # more than one part of an upload
    first = {"sub/one": b"1", "two": b"", "large": large}
    publish(mirror, tmp_path / "first", first)
    index = mirror.fetch("a/b", tmp_path / "got")
    assert index is not None
    assert index.about == {"num_objects": 3}
    assert content_of(tmp_path / "got") == first
    publish(mirror, tmp_path / "second", {"two": b"22"})
    mirror.fetch("a/b", tmp_path / "got")
    assert content_of(tmp_path / "got") == {"two": b"22"}
    now = mirror.index("a/b")
    assert now is not None
    assert objects(mirror) == sorted([f"a/b/{now.mark}/two", f"a/b/{INDEX}"])


def test_only_wanted_files_are_fetched(mirror: Mirror, tmp_path: Path) -> None:
    publish(mirror, tmp_path / "first", {"curve": b"1", "checkpoint/weights": b"2"})
    mirror.fetch("a/b", tmp_path / "got", lambda name: name == "curve")
    assert content_of(tmp_path / "got") == {"curve": b"1"}


def test_the_index_is_put_last_and_a_cut_upload_is_never_loaded(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(mirror, tmp_path / "first", {"one": b"old", "two": b"old"})
    real = Mirror._upload

    def cut(self: Mirror, source: Any, name: str) -> tuple[int, str]:
        if name.endswith("two"):
            raise OSError("AWS Error NETWORK_CONNECTION during UploadPart operation: cut")
        return real(self, source, name)

    with monkeypatch.context() as patch:
        patch.setattr(Mirror, "_upload", cut)
        with pytest.raises(StorageError, match="cannot write"):
            publish(mirror, tmp_path / "second", {"one": b"new", "two": b"new"})
    assert len(objects(mirror)) == 4  # the file that got through lies there, and is nobody's
    mirror.fetch("a/b", tmp_path / "got")
    assert content_of(tmp_path / "got") == {"one": b"old", "two": b"old"}


def test_leftovers_of_dead_writers_go_after_an_hour(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mirror.filesystem.open_output_stream(_made(mirror, "a/b/dead/one")) as stream:
        stream.write(b"x")
    publish(mirror, tmp_path / "first", {"one": b"1"})
    assert "a/b/dead/one" in objects(mirror)  # its writer may live
    monkeypatch.setattr("daep_ray.study.mirror._ORPHAN_SECONDS", -3600.0)
    publish(mirror, tmp_path / "second", {"one": b"2"})
    assert len(objects(mirror)) == 2


def _made(mirror: Mirror, name: str) -> str:
    mirror._make_folder(mirror.path(name))
    return mirror.path(name)


@pytest.mark.parametrize("damage", ["missing", "other"])
def test_a_damaged_bundle_is_refused(damage: str, mirror: Mirror, tmp_path: Path) -> None:
    publish(mirror, tmp_path / "first", {"one": b"good"})
    index = mirror.index("a/b")
    assert index is not None
    path = mirror.path(f"a/b/{index.mark}/one")
    if damage == "missing":
        mirror.filesystem.delete_file(path)
    else:
        with mirror.filesystem.open_output_stream(path) as stream:
            stream.write(b"evil")  # of the same size
    with pytest.raises(StorageError, match="is damaged"):
        mirror.fetch("a/b", tmp_path / "got")


def test_a_bundle_replaced_while_it_is_read_is_read_again(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(mirror, tmp_path / "first", {"one": b"old"})
    real, calls = Mirror.index, []

    def late(self: Mirror, name: str) -> Any:
        found = real(self, name)
        calls.append(name)
        if len(calls) == 1:  # between the index and the files
            monkeypatch.setattr(Mirror, "index", real)
            publish(self, tmp_path / "second", {"one": b"new"})
        return found

    monkeypatch.setattr(Mirror, "index", late)
    mirror.fetch("a/b", tmp_path / "got")
    assert content_of(tmp_path / "got") == {"one": b"new"}


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a//x", "", ".", "a\\..\\x"])
def test_names_never_leave_the_prefix(name: str, mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no name"):
        mirror.put(name or "/", {})
    content = {"mark": "m", "about": {}, "files": [[name, [1, "0"]]]}
    mirror.put(f"a/b/{INDEX}", content)
    with pytest.raises(StorageError, match="no name"):
        mirror.fetch("a/b", tmp_path / "deep" / "got")
    assert not list(tmp_path.rglob("x"))


def test_one_object_whole_absent_or_broken(mirror: Mirror) -> None:
    assert mirror.get("note.json") is None
    mirror.put("note.json", {"reason": "because"})
    assert mirror.get("note.json") == {"reason": "because"}
    with mirror.filesystem.open_output_stream(mirror.path("note.json")) as stream:
        stream.write(b'{"reason": ')
    assert mirror.get("note.json") is None
    mirror.delete("note.json")
    mirror.delete("note.json")
    assert objects(mirror) == []


def test_a_mirror_travels_without_credentials(bucket: str) -> None:
    mirror = Mirror.open(bucket)
    mirror.put("x", {"a": 1})
    packed = pickle.dumps(mirror)
    assert b"test-secret" not in packed
    assert b"test-key" not in packed
    assert pickle.loads(packed).get("x") == {"a": 1}
    assert "?" not in str(mirror)


def test_a_good_store_is_left_as_it_was(mirror: Mirror) -> None:
    mirror.check()
    assert objects(mirror) == []


def test_the_environment_may_name_the_server(
    bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3_server}")
    Mirror.open(bucket.partition("?")[0]).check()


# ---- what is wrong is told in one sentence, soon


def told(address: str) -> str:
    started = time.monotonic()
    with pytest.raises((ConfigError, StorageError)) as caught:
        Mirror.open(address).check()
    assert time.monotonic() - started < 20
    sentence = str(caught.value)
    assert "\n" not in sentence
    for hidden in ("test-secret", "test-key", "hunter2", "endpoint_override="):
        assert hidden not in sentence
    return sentence


def test_a_bucket_that_is_not_there(bucket: str) -> None:
    assert "no bucket 'absent'" in told(bucket.replace("studies", "absent"))


@pytest.mark.parametrize("server", ["127.0.0.1:1", "nowhere.invalid"])
def test_a_server_that_does_not_answer(server: str, bucket: str) -> None:
    sentence = told(f"s3://studies/x?endpoint_override={server}&scheme=http")
    assert f"http://{server} does not answer" in sentence


def test_a_server_that_is_silent_is_no_reason_to_wait(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the connection and says nothing."""
    monkeypatch.setattr("daep_ray.study.address._HASTY_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "does not answer" in told(f"s3://b/x?endpoint_override=127.0.0.1:{port}&scheme=http")


def test_credentials_that_are_refused(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moto.core.responses.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0.0)
    sentence = told(bucket)
    assert "refuses us" in sentence
    assert "AWS_ACCESS_KEY_ID" in sentence


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ftp://host/x", "unknown kind of storage 'ftp://'"),
        ("s3://", "names no bucket"),
        ("s3:///x", "names no bucket"),
        ("s3://b/../x", "'..' part"),
        ("s3://key:hunter2@b/x", "s3://b/x has credentials in it"),
        ("s3://b/x?secret_key=hunter2", "not secret_key"),
        ("s3://b/x?endpoint_override=http://k:hunter2@h:1", "must be HOST:PORT"),
        ("s3://b/x?scheme=gopher", "http or https"),
        ("gs://b/x?region=y", "takes no options"),
        ("file://host/x", "no folder of this machine"),
    ],
)
def test_addresses_that_cannot_be(address: str, message: str) -> None:
    assert message in told(address)


def test_an_address_is_read_as_it_is_written() -> None:
    found = parse("s3://b/a/c/?endpoint_override=h:9000&scheme=http&region=eu")
    assert (found.path, found.endpoint, found.transport, found.region) == (
        "b/a/c",
        "h:9000",
        "http",
        "eu",
    )
    assert str(found) == "s3://b/a/c"
    assert json.dumps(str(parse("file:///x/y"))) == '"file:///x/y"'
