"""A trained model of a bucket, in the user's cache folder.

In: the address of a training that a study has pushed (a bundle, `mirror.py`), or of a checkpoint
folder that somebody has copied there. Out: a local folder. A bundle that is here already is not
fetched again; files that somebody has copied are, for they may have changed.
"""

import os
import secrets
import shutil
from pathlib import Path

from daep_ray.errors import storage_error
from daep_ray.settings import canonical_hash
from daep_ray.study.mirror import Mirror
from daep_ray.train.checkpoint import FILES_OF_INFERENCE


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/daep_ray`, else `~/.cache/daep_ray`."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "daep_ray"


def downloaded(address: str) -> Path | None:
    """The local folder of the model at `s3://`, `gs://` or `file://`; None if there is none.

    Raises:
        ConfigError: no such kind of address. StorageError: the store does not answer.
    """
    place, query = address.partition("?")[::2]
    parent, _, name = place.rstrip("/").rpartition("/")
    store = Mirror.open(f"{parent}?{query}" if query else parent)
    bundle = next((b for b in (name, f"{name}/training") if store.index(b)), None)
    if bundle is None:
        return _copied(store, name, cache_folder() / canonical_hash([str(store), name]))
    return _fetched(store, bundle)


def _fetched(store: Mirror, name: str) -> Path | None:
    """A published bundle's files, fetched once."""
    index = store.index(name)
    assert index is not None
    folder = cache_folder() / canonical_hash([str(store), name, index.mark])
    if folder.is_dir():
        return folder
    staged = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        staged.parent.mkdir(parents=True, exist_ok=True)
        if store.fetch(name, staged, lambda file: Path(file).name in FILES_OF_INFERENCE) is None:
            return None
        if not folder.is_dir():
            staged.rename(folder)
    except OSError as error:
        raise storage_error(error, folder) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return folder


def _copied(store: Mirror, name: str, folder: Path) -> Path | None:
    """Plain files of a checkpoint folder, or of the training folder around it."""
    for inside in (f"{name}/checkpoint", name):
        found = {file: store.read(f"{inside}/{file}") for file in FILES_OF_INFERENCE}
        if any(content is not None for content in found.values()):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                for file, content in found.items():
                    (folder / file).unlink(missing_ok=True)
                    if content is not None:
                        (folder / file).write_bytes(content)
            except OSError as error:
                raise storage_error(error, folder) from error
            return folder
    store.check(writes=False)  # a bucket that is not there looks as empty as one that is
    return None
