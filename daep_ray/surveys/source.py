"""Walk a survey's source: a folder (recursively), an archive (never unpacked), or one file.

In: a path. Out: its files one after another as (name, bytes), in an order that never changes:
names sorted in a folder, the archive's own order in an archive (which can only be read forwards).
Archives inside a folder are read too. What is no data (a licence, a readme, a hidden file) comes
as `Ignored`, what cannot be read safely (a link, a device, a huge file) as `Quarantined`.

Nothing is written to disk, so a member's name can lead nowhere; sizes are bounded, so a bomb ends
in one sentence.
"""

import gzip
import io
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from lzma import LZMAError, LZMAFile
from pathlib import Path, PurePosixPath
from typing import IO, Any

from daep_ray.errors import DataError
from daep_ray.sample import Ignored, Quarantined

MAX_FILE_BYTES = 512 * 2**20  # one text file of a survey is far below this
STREAMED_BYTES = 32 * 2**20  # a plain file above this need not be read whole
MAX_HEADER_BYTES = 64 * 2**20  # what an archive may hold between two members
MAX_EXPANSION = 250  # text of mostly zeros shrinks about 50 times, a bomb 1000 and more
FREE_EXPANSION_BYTES = 256 * 2**20  # below this an archive may expand as it likes

_ARCHIVE_SUFFIXES = (".tar.xz", ".tar.gz", ".txz", ".tgz", ".tar")
# a malformed header makes tarfile raise nearly anything, a chain of long names a RecursionError
_DAMAGE = (tarfile.TarError, EOFError, LZMAError, zlib.error, OSError, ValueError, RecursionError)
_IGNORED_NAME = re.compile(
    r"^(\.|licen[cs]e|copying|copyright|notice|readme|authors|citation|changelog|changes"
    r"|contributing|md5sums?|sha256sums?|__macosx)"
    r"|\.(readme|md|rst|pdf|html?|bib|md5|sha256)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class RawFile:
    """A file as the source holds it; `name` is its path within the source, with `/`."""

    name: str
    content: bytes


@dataclass(frozen=True)
class LargeFile:
    """A plain file left on disk for a reader that streams it (see `walk_or_stream`)."""

    name: str
    path: Path


Found = RawFile | Quarantined | Ignored


def is_document(name: str) -> bool:
    """A licence, a readme, a checksum list, a hidden file: no data of any format."""
    path = PurePosixPath(name)
    is_hidden = any(folder.startswith((".", "__MACOSX")) for folder in path.parts[:-1])
    return is_hidden or bool(_IGNORED_NAME.search(path.name))


def check_source(source: Path) -> None:
    """Raise one sentence if there is nothing to read.

    Raises:
        DataError: the path does not exist, cannot be read, or is an empty folder.
    """
    if not source.exists():
        raise DataError(f"no such folder or archive: {str(source)!r}; check the path")
    if not os.access(source, os.R_OK):
        raise DataError(f"{str(source)!r} may not be read: change its permissions")
    if source.is_dir() and next(_paths(source), None) is None:
        raise DataError(f"the folder {str(source)!r} is empty: it must hold survey files")


def walk(source: Path, is_ignored: Callable[[str], bool] = is_document) -> Iterator[Found]:
    """Every file of the source, read; `is_ignored(name)` says which are no data.

    Raises:
        DataError: an archive is damaged, cut short, or expands beyond all measure.
    """
    if not source.is_dir():
        yield from _one(source, source.name, is_ignored)
        return
    for path in _paths(source):
        yield from _one(path, path.relative_to(source).as_posix(), is_ignored, source)


def walk_or_stream(source: Path) -> Iterator[Found | LargeFile]:
    """As `walk`, but a plain file above `STREAMED_BYTES` is left on disk as a `LargeFile`.

    Raises:
        DataError: as `walk`.
    """
    folder = source if source.is_dir() else None
    for path in _paths(folder) if folder else [source]:
        name = path.relative_to(folder).as_posix() if folder else source.name
        is_packed = name.lower().endswith((*_ARCHIVE_SUFFIXES, ".gz"))
        is_plain = path.is_file() and os.access(path, os.R_OK) and not is_packed
        is_data = is_plain and not is_document(name) and not _leads_out(path, folder)
        if is_data and path.stat().st_size > STREAMED_BYTES:
            yield LargeFile(name, path)
        else:
            yield from _one(path, name, is_document, folder)


def _paths(folder: Path) -> Iterator[Path]:
    """Everything below a folder that is no folder, sorted by name; links are not followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError:
        yield folder  # `_one` says what is wrong with it
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _paths(Path(entry.path))
        else:
            yield Path(entry.path)


def _leads_out(path: Path, folder: Path | None) -> bool:
    """A link to what lies outside the folder that is read: a survey is what its folder holds."""
    if folder is None or not path.is_symlink():
        return False
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _one(
    path: Path, name: str, is_ignored: Callable[[str], bool], folder: Path | None = None
) -> Iterator[Found]:
    """One path of the source (in `folder`, or the source): an archive's members, or the file."""
    if is_ignored(name):
        yield Ignored(name)
    elif path.is_dir():
        why = "a link to a folder: name its target" if path.is_symlink() else "cannot be opened"
        yield Quarantined(name, "", why)
    elif not path.is_file():
        yield Quarantined(name, "", "neither a file nor a folder (a broken link or a device)")
    elif _leads_out(path, folder):
        yield Quarantined(name, "", "a link that leads out of the folder: copy the file into it")
    elif name.lower().endswith(_ARCHIVE_SUFFIXES):
        yield from _members(path, f"{name}/" if folder else "", is_ignored)
    else:
        yield _read(path, name)


def _read(path: Path, name: str) -> Found:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return _too_large(name, path.stat().st_size)
        return _unzipped(name, path.read_bytes())
    except OSError as error:
        return Quarantined(name, "", f"cannot be read: {error.strerror or error}")


def _too_large(name: str, num_bytes: int) -> Quarantined:
    limit = MAX_FILE_BYTES // 2**20
    return Quarantined(name, "", f"{num_bytes:,} bytes are above the {limit} MiB of one file")


def _unzipped(name: str, content: bytes) -> Found:
    """A file that is compressed by itself (`x.dat.gz`) is opened, its name loses the suffix."""
    if not name.lower().endswith(".gz"):
        return RawFile(name, content)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as unpacked:
            plain = unpacked.read(MAX_FILE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        return Quarantined(name, "", f"is no whole gzip file: {error}")
    if len(plain) > MAX_FILE_BYTES:
        return _too_large(name, len(plain))
    return RawFile(name[: -len(".gz")], plain)


# ---------------------------------------------------------------- archives


def _members(path: Path, prefix: str, is_ignored: Callable[[str], bool]) -> Iterator[Found]:
    """The files of a tar archive, read forwards at constant memory."""
    last = "its beginning"
    try:
        with (
            path.open("rb") as packed,
            _Unpacked(packed, path.name) as stream,
            # "r|": tarfile never seeks, so each byte is unpacked once
            tarfile.open(fileobj=stream, mode="r|") as archive,  # type: ignore[call-overload]
        ):
            for member in archive:
                stream.allow(member.size)
                if not member.isdir():
                    yield _member(archive, member, prefix, is_ignored)
                archive.members.clear()  # tarfile would keep one entry per member
                last = repr(member.name)
    except _DAMAGE as error:
        why = str(error) or type(error).__name__
        raise DataError(
            f"the archive {path.name!r} is damaged or cut short after {last} ({why}): "
            "fetch it again"
        ) from None


def _member(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    prefix: str,
    is_ignored: Callable[[str], bool],
) -> Found:
    path = PurePosixPath(member.name)
    name = prefix + str(path)
    if path.is_absolute() or ".." in path.parts:
        return Quarantined(name, "", "its name leads out of the archive's folder")
    if is_ignored(name):
        return Ignored(name)
    if not member.isreg():
        return Quarantined(name, "", "not a plain file (a link or a device)")
    if member.size > MAX_FILE_BYTES:
        return _too_large(name, member.size)
    handle = archive.extractfile(member)
    assert handle is not None  # isreg
    return _unzipped(name, handle.read())


class _Unpacked:
    """The unpacked bytes of an archive, counted: what `tarfile` reads from.

    Two bounds. Unpacked bytes against packed bytes, so that a bomb stops early; and bytes between
    two members (`allow`), since tarfile holds an extended header wholly in memory.
    """

    def __init__(self, packed: IO[bytes], name: str) -> None:
        self._packed, self._name = packed, name
        self._stream: Any = _decompressor(packed)
        self._num_bytes = 0
        self._budget = MAX_HEADER_BYTES

    def __enter__(self) -> "_Unpacked":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def allow(self, num_bytes: int) -> None:
        """A member of this size follows."""
        self._budget = num_bytes + MAX_HEADER_BYTES

    def read(self, size: int) -> bytes:
        content: bytes = self._stream.read(size)
        self._num_bytes += len(content)
        self._budget -= len(content)
        allowed = FREE_EXPANSION_BYTES + MAX_EXPANSION * self._packed.tell()
        if self._num_bytes > allowed or self._budget < 0:
            raise DataError(
                f"the archive {self._name!r} unpacks to more than {allowed:,} bytes or holds an "
                f"endless header (at most {MAX_EXPANSION} times its packed size is allowed): "
                "unpack it yourself and give the folder"
            )
        return content


def _decompressor(packed: IO[bytes]) -> Any:
    """By the first bytes, not by the name: xz, gzip, or a plain tar."""
    head = packed.read(6)
    packed.seek(0)
    if head == b"\xfd7zXZ\x00":
        return LZMAFile(packed)
    if head[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=packed)
    return io.BufferedReader(packed)
