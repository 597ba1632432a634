"""Bundles of files in an object store, which has no rename: an index is put last.

    <prefix>/<name>/<mark>/...      the files of one bundle, under a mark that nobody else uses
    <prefix>/<name>/LATEST.json     which mark is valid, its files, their sizes and sha256

`publish` uploads the files, then puts LATEST.json, then deletes the bundle before; `fetch` follows
LATEST.json and checks every file. So an upload that was cut is never loaded, and of two writers
the last one wins whole. pyarrow cannot create an object exclusively: two studies on one bucket
may compute the same training at once; that costs time and harms nothing.
"""

import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import pyarrow.fs as pafs

from daep_ray.errors import StorageError, storage_error
from daep_ray.study.address import Address, parse

INDEX = "LATEST.json"
_CHUNK_BYTES = 2**20
_ORPHAN_SECONDS = 3600.0  # a bundle without index that old belongs to a dead writer
_TRIES = 3  # a bundle may be replaced while we read it


# What the SDKs say where nobody answers, and where the answer is no.
_SILENT = ("NETWORK_CONNECTION", "curlCode", "Could not connect", "timed out", "UNAVAILABLE")
_REFUSED = (
    "ACCESS_DENIED",
    "HTTP status 401",
    "HTTP status 403",
    "SIGNATURE",
    "ACCESS_KEY",
    "redential",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
)


@dataclass(frozen=True)
class Index:
    """What LATEST.json says of a bundle."""

    mark: str
    files: dict[str, tuple[int, str]]  # name -> bytes, sha256
    about: dict[str, Any]


class Mirror:
    """A prefix of a bucket. Pickled as its address: each machine uses its own credentials."""

    def __init__(self, address: Address):
        self.address = address

    @classmethod
    def open(cls, text: str) -> "Mirror":
        """The store at an address; connects to nothing yet (`check` does).

        Raises:
            ConfigError: no such kind of address.
        """
        return cls(parse(text))

    def __reduce__(self) -> tuple[type["Mirror"], tuple[Address]]:
        return Mirror, (self.address,)

    def __str__(self) -> str:
        return str(self.address)

    @cached_property
    def filesystem(self) -> pafs.FileSystem:
        with self._sentences("open"):
            return self.address.filesystem()

    def path(self, name: str = "") -> str:
        """Full path of an object; names that would leave the prefix are refused.

        Raises:
            StorageError: such a name.
        """
        return f"{self.address.path}/{_checked(name)}" if name else self.address.path

    def check(self, writes: bool = True) -> None:
        """Refuse within seconds a store that cannot be used; leaves nothing behind.

        Raises:
            StorageError: no bucket, no answer, no permission.
        """
        if self.address.scheme != "file":
            with self._sentences("read"):
                hasty = self.address.filesystem(is_hasty=True)
                found = hasty.get_file_info(self.address.bucket)
            if found.type == pafs.FileType.NotFound:
                raise StorageError(
                    f"cannot use {self}: there is no bucket {self.address.bucket!r}; create it, or "
                    "give the name of one that is there"
                )
        if writes:
            probe = f".probe-{secrets.token_hex(8)}"
            self.put(probe, {})
            self.delete(probe)

    # ---- one object

    def put(self, name: str, content: Mapping[str, Any]) -> None:
        """Put a JSON object, whole or not at all.

        Raises:
            StorageError: it cannot be written.
        """
        text = json.dumps(content, indent=1, sort_keys=True).encode()
        with self._sentences("write"):
            self._write_object(self.path(name), text)

    def get(self, name: str) -> dict[str, Any] | None:
        """A JSON object; None if it is not there or no JSON.

        Raises:
            StorageError: the store does not answer.
        """
        try:
            return dict(json.loads(self.read(name) or b""))
        except (ValueError, TypeError):
            return None

    def read(self, name: str) -> bytes | None:
        """A whole object; None if it is not there.

        Raises:
            StorageError: the store does not answer.
        """
        try:
            with self._sentences("read"), self.filesystem.open_input_stream(self.path(name)) as s:
                return bytes(s.read())
        except FileNotFoundError:
            return None

    def delete(self, name: str) -> None:
        """Delete an object or, with everything below it, a folder; it may be gone already."""
        path = self.path(name)
        with suppress(OSError):
            if self.filesystem.get_file_info(path).type == pafs.FileType.Directory:
                self.filesystem.delete_dir(path)
            else:
                self.filesystem.delete_file(path)

    # ---- bundles

    def index(self, name: str) -> Index | None:
        """The bundle that is published under a name; None if there is none.

        Raises:
            StorageError: the store does not answer.
        """
        content = self.get(f"{name}/{INDEX}") or {}
        try:
            files = {_checked(n): (int(size), str(sha)) for n, (size, sha) in content["files"]}
            return Index(_checked(content["mark"]), files, dict(content["about"]))
        except (KeyError, TypeError, ValueError):
            return None

    def publish(
        self, name: str, files: Mapping[str, BinaryIO], about: Mapping[str, Any], label: str = ""
    ) -> Index:
        """Upload open files as the bundle `name`, replacing an earlier one.

        Raises:
            StorageError: the store cannot be written; what it had is kept.
        """
        before = self.index(name)
        mark = f"{label}-{secrets.token_hex(8)}".lstrip("-")
        with self._sentences("write"):
            done = {n: self._upload(f, f"{name}/{mark}/{n}") for n, f in files.items()}
        index = Index(mark, done, dict(about))
        self.put(f"{name}/{INDEX}", {**asdict(index), "files": list(done.items())})
        if before is not None and before.mark != mark:
            self.delete(f"{name}/{before.mark}")
        self._delete_orphans(name, mark)
        return index

    def fetch(
        self,
        name: str,
        folder: Path,
        wanted: Callable[[str], bool] = lambda file: True,
    ) -> Index | None:
        """Download the bundle's wanted files into `folder`; None if nothing is published.

        `folder` should be one that nobody else reads: a download that fails leaves it half full.

        Raises:
            StorageError: the store does not answer, a file is missing or not what was uploaded.
        """
        problem = ""
        for _ in range(_TRIES):
            index = self.index(name)
            if index is None:
                return None
            shutil.rmtree(folder, ignore_errors=True)
            problem = self._download(name, index, folder, wanted)
            if not problem:
                return index
        raise StorageError(
            f"{self}/{name} is damaged ({problem}): delete that folder, and it is computed again"
        )

    def _download(
        self, name: str, index: Index, folder: Path, wanted: Callable[[str], bool]
    ) -> str:
        """What is wrong with the bundle, nothing if all is well."""
        for file, (size, sha) in index.files.items():
            if not wanted(file):
                continue
            target, digest = folder / file, hashlib.sha256()
            _make_parent(target)
            try:
                with (
                    self._sentences("read"),
                    self.filesystem.open_input_stream(
                        self.path(f"{name}/{index.mark}/{file}")
                    ) as source,
                ):
                    for chunk in _save(_chunks(source), target):
                        digest.update(chunk)
            except FileNotFoundError:
                return f"{file} is missing"
            if target.stat().st_size != size or digest.hexdigest() != sha:
                return f"{file} is not what was uploaded"
        return ""

    def _upload(self, source: BinaryIO, name: str) -> tuple[int, str]:
        path, digest, size = self.path(name), hashlib.sha256(), 0
        self._make_folder(path)
        with self.filesystem.open_output_stream(path) as target:
            for chunk in _chunks(source):
                target.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        return size, digest.hexdigest()

    def _write_object(self, path: str, text: bytes) -> None:
        self._make_folder(path)
        staged = f"{path}.{secrets.token_hex(4)}.partial" if self._is_folder else path
        with self.filesystem.open_output_stream(staged) as stream:
            stream.write(text)
        if self._is_folder:
            self.filesystem.move(staged, path)

    @property
    def _is_folder(self) -> bool:
        return self.address.scheme == "file"

    def _make_folder(self, path: str) -> None:
        if self._is_folder:  # buckets have no folders
            self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)

    def _delete_orphans(self, name: str, mark: str) -> None:
        """What dead writers left; times are all the server's, no two clocks are compared."""
        with suppress(OSError):
            select = pafs.FileSelector(self.path(name), recursive=True, allow_not_found=True)
            newest: dict[str, float] = {}
            for info in self.filesystem.get_file_info(select):
                first, slash, _ = info.path.removeprefix(self.path(name) + "/").partition("/")
                if info.type == pafs.FileType.File and slash and info.mtime is not None:
                    newest[first] = max(newest.get(first, 0.0), info.mtime.timestamp())
            now = newest.get(mark, 0.0)
            for other, time in newest.items():
                if other != mark and time < now - _ORPHAN_SECONDS:
                    self.delete(f"{name}/{other}")

    @contextmanager
    def _sentences(self, action: str) -> Iterator[None]:
        """Turn the store's errors into one sentence; what is not there to read passes."""
        try:
            yield
        except StorageError:
            raise
        except (OSError, RuntimeError) as error:
            if action == "read" and isinstance(error, FileNotFoundError):
                raise
            raise StorageError(f"cannot {action} {self}: {_reason(error, self.address)}") from None


def _reason(error: Exception, address: Address) -> str:
    """What is wrong and what to do, without what the SDK adds (requests, keys)."""
    text = str(error)
    if address.scheme == "file":
        return f"{getattr(error, 'strerror', None) or text}; choose a folder that you can write to"
    if "NO_SUCH_BUCKET" in text or "not found" in text.lower():
        return f"there is no bucket {address.bucket!r}; create it, or give the name of one"
    server = f"{address.transport}://{address.endpoint}" if address.endpoint else "the service"
    if "OAuth2 access token" in text:  # Google's, without credentials or without a network
        return "no credentials; set GOOGLE_APPLICATION_CREDENTIALS, or check the network"
    if any(word in text for word in _SILENT):
        return (
            f"{server} does not answer; check the network and endpoint_override, scheme or "
            "AWS_ENDPOINT_URL"
        )
    if any(word in text for word in _REFUSED):
        return (
            f"{server} refuses us; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or "
            "AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS) and the bucket's permissions"
        )
    code = text.partition("AWS Error ")[2].partition(" during ")[0]
    return f"{server} answers {code or 'with an error'}; try again later or look at its log"


def _checked(name: str) -> str:
    """A relative name of plain parts.

    Raises:
        StorageError: it would leave its folder.
    """
    parts = name.split("/")
    is_plain = all(part not in ("", ".", "..") for part in parts) and "\\" not in name
    if not is_plain or "\0" in name or PurePosixPath(name).is_absolute():
        raise StorageError(f"{name!r} is no name for a file of a store: use letters and digits")
    return name


def _chunks(source: Any) -> Iterator[bytes]:
    while chunk := source.read(_CHUNK_BYTES):
        yield chunk


def _save(chunks: Iterator[bytes], target: Path) -> Iterator[bytes]:
    """Write the chunks to a file and hand them on."""
    try:
        with target.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
                yield chunk
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno is None:  # the store's, not the disk's
            raise
        raise storage_error(error, target) from error


def _make_parent(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, target) from error
