"""The exception tree.

    UserError            one sentence: what is wrong, the value, what is allowed, what to do
    |-- ConfigError      a setting, an override, a preset
    |-- DataError        survey files, shards, recipes
    |-- CheckpointError  a trained model's folder
    `-- StorageError     a path that cannot be read or written, a full disk

The command line prints a UserError as one line on standard error and exits 1 (usage errors: 2).
Anything else is a defect of ours and keeps its traceback. Our own invariants use `assert`.
An OSError that tells of the user's disk or path becomes a StorageError by `storage_error`.
"""

import errno
import os
import tempfile
from pathlib import Path


class UserError(Exception):
    """Something that the user can put right; the message says how, in one sentence."""


class ConfigError(UserError):
    """A setting, an override or a preset is wrong."""


class DataError(UserError):
    """Survey files, shards or a recipe are wrong."""


class CheckpointError(UserError):
    """A trained model's folder is incomplete or does not fit."""


class StorageError(UserError):
    """A path cannot be read or written."""


_REFUSED = {
    errno.EACCES: "permission is denied",
    errno.EPERM: "it is not permitted",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is too large for its file system",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOENT: "no such folder can be made there",
}


def storage_error(error: OSError, path: str | os.PathLike[str] | None = None) -> StorageError:
    """A full disk or a refused path as one sentence; `path` where the error names none."""
    where = os.fspath(path) if path is not None else error.filename
    reason = _REFUSED.get(error.errno or 0, error.strerror or str(error))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        cure = "free some space, or choose a folder on another disk"
    else:
        cure = "choose a folder that you can write to"
    what = repr(str(where)) if where else "the output"
    return StorageError(f"cannot write {what}: {reason}; {cure}")


def is_storage_fault(error: OSError) -> bool:
    """Whether an OSError tells of the user's disk or path rather than of a defect of ours."""
    # a missing file is as likely to be our mistake: writers check their folder first
    return error.errno in _REFUSED and error.errno != errno.ENOENT


def require_writable(folder: Path) -> None:
    """Check, leaving nothing behind, that `folder` exists or can be made, and takes files.

    Raises:
        StorageError: it cannot.
    """
    try:
        nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
        with tempfile.NamedTemporaryFile(dir=nearest) as probe:
            probe.write(b"\0" * 4096)
    except OSError as error:
        raise storage_error(error, folder) from None
