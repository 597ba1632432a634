"""A model in a bucket: from a study's store, or a folder that somebody has copied there."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from daep_ray.errors import CheckpointError, ConfigError
from daep_ray.pretrained import Autoencoder
from daep_ray.shards.read import ShardFolder
from daep_ray.study.mirror import Mirror


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "daep_ray"


def codes(model: Autoencoder, pairs: ShardFolder) -> np.ndarray:
    rows = pairs.read_row_group(0, 0)
    lengths = np.array([len(v or []) for v in rows["photometry.value"].to_pylist()])
    found = model.embed(rows.take(np.flatnonzero(lengths)[:4]))
    return np.array(found["code"].to_pylist())


def test_a_folder_that_was_copied(
    model: Autoencoder, run: Path, pairs: ShardFolder, tmp_path: Path
) -> None:
    expected = codes(model, pairs)
    shutil.copytree(run, tmp_path / "copied")
    for name in ("optimizer.pt", "rng.pt", "weights.safetensors"):
        (tmp_path / "copied" / "checkpoint" / name).unlink()  # a user needs none of them
    for address in (f"file://{tmp_path}/copied", f"file://{tmp_path}/copied/checkpoint/"):
        np.testing.assert_array_equal(codes(Autoencoder.from_pretrained(address), pairs), expected)


def test_a_training_of_a_store_is_fetched_once(
    model: Autoencoder, run: Path, pairs: ShardFolder, tmp_path: Path, cache: Path
) -> None:
    store = Mirror.open(f"file://{tmp_path}/store")
    files = {f"checkpoint/{p.name}": p.open("rb") for p in (run / "checkpoint").iterdir()}
    store.publish("abc/training", files, {})
    for _ in range(2):
        found = Autoencoder.from_pretrained(f"file://{tmp_path}/store/abc")
        np.testing.assert_array_equal(codes(found, pairs), codes(model, pairs))
        index = store.index("abc/training")
        assert index is not None
        store.delete(f"abc/training/{index.mark}")  # the second time it is not asked for
    assert len(list(cache.iterdir())) == 1
    assert not list(cache.rglob("optimizer.pt"))


def test_nothing_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no trained model at file://"):
        Autoencoder.from_pretrained(f"file://{tmp_path}/nothing")
    with pytest.raises(ConfigError, match="unknown kind of storage"):
        Autoencoder.from_pretrained("ftp://somewhere/model")


def test_a_model_is_there_within_a_second_after_torch(run: Path) -> None:
    """Of the processor's time: what else runs on the machine does not count.

    A second of a machine that imports torch in 0.8; a slower one takes longer for both.
    """
    code = (
        "import sys, time; start = time.process_time();"
        "import torch; middle = time.process_time();"
        "from daep_ray.pretrained import Autoencoder;"
        "Autoencoder.from_pretrained(sys.argv[1]);"
        "print(middle - start, time.process_time() - middle)"
    )
    command = [sys.executable, "-c", code, str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    torch, ours = map(float, done.stdout.split())
    assert ours < torch / 0.8


def test_loading_imports_no_ray_and_no_scikit_learn() -> None:
    """What would take seconds: a model is there within one after torch is."""
    code = (
        "import sys; from daep_ray.pretrained import Autoencoder;"
        "print(*({'ray', 'sklearn', 'scipy', 'astropy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout.split()
