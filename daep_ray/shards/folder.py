"""A folder that appears whole or not at all: written beside its place, renamed at the end.

A killed process leaves a hidden `.<name>.partial-...` folder that nothing opens; the next writer of
the same place removes it.
"""

import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daep_ray.errors import DataError, StorageError
from daep_ray.shards.manifest import MANIFEST, Manifest


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Check that `out` may be written, before any work is done.

    Raises:
        StorageError: `out` is a file, or a folder that holds something else than an ingest.
        DataError: `out` holds an ingest and `overwrite` is False.
    """
    with storage(out):
        if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
            return
        if not out.is_dir():
            raise StorageError(f"{str(out)!r} is a file: give a folder that does not exist yet")
        if not (out / MANIFEST).is_file():
            raise StorageError(
                f"{str(out)!r} holds files but no manifest.json, so it is no earlier ingest "
                "to replace: give a folder that is empty or does not exist"
            )
    if not overwrite:
        raise DataError(
            f"{str(out)!r} holds an ingest already{_described(out)}: "
            "give another folder or --overwrite"
        )


def _described(out: Path) -> str:
    try:
        manifest = Manifest.read(out)
    except DataError:
        return ""
    form = manifest.source.get("format", "unknown format")
    return f" ({form}, {manifest.num_written:,} samples, {manifest.hash})"


@contextmanager
def storage(out: Path) -> Iterator[None]:
    """Turn an operating system's error about `out` into a StorageError of one sentence."""
    try:
        yield
    except OSError as error:
        # pyarrow puts its own words around the system's
        why = os.strerror(error.errno) if error.errno else str(error)
        raise StorageError(
            f"{str(out)!r} cannot be written ({why}): give a folder on a disk that is "
            "writable and has room"
        ) from error


@contextmanager
def whole_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary folder beside `out` that becomes `out` when the block ends without an error.

    Raises:
        StorageError, DataError: `out` cannot be written or is taken, as `refuse_existing` says.
    """
    refuse_existing(out, overwrite)
    prefix = f".{out.name}.partial-{socket.gethostname()}-"
    partial = out.parent / f"{prefix}{os.getpid()}-{secrets.token_hex(4)}"
    with storage(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(out.parent, prefix)
        partial.mkdir()
    try:
        yield partial
        with storage(out):
            _commit(partial, out, overwrite)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _commit(partial: Path, out: Path, overwrite: bool) -> None:
    if out.is_dir() and (out / MANIFEST).is_file():
        if not overwrite:
            _accept_same(partial, out)
            return
        # the old ingest is out of the way for an instant only, and never half deleted
        old = partial.with_name(f"{partial.name}-old")
        os.rename(out, old)
        os.rename(partial, out)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(partial, out)


def _accept_same(partial: Path, out: Path) -> None:
    """Another process finished first: fine if it wrote the same data."""
    if Manifest.read(out).hash != Manifest.read(partial).hash:
        raise DataError(
            f"{str(out)!r} was written by another process meanwhile, with other data: "
            "give another folder or --overwrite"
        )


def _remove_abandoned(parent: Path, prefix: str) -> None:
    """Remove the partial folders of this machine's dead processes."""
    for path in parent.iterdir():
        pid = path.name.removeprefix(prefix).partition("-")[0]
        if path.name.startswith(prefix) and pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
