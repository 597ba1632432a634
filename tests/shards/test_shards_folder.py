"""An ingest appears whole or not at all, and replaces nothing unasked."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from daep_ray.errors import DataError, StorageError
from daep_ray.shards import folder as folder_module
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.validate import validate
from daep_ray.shards.write import write_shards


def test_an_existing_ingest_is_replaced_only_when_asked(tmp_path, make, make_survey):
    out = tmp_path / "data"
    write_shards(make_survey(make.some_samples(4)), out)
    before = ShardFolder.open(out).manifest.hash
    more = make_survey(make.some_samples(6))
    with pytest.raises(DataError, match=rf"holds an ingest already \(fake, 4 samples, {before}\)"):
        write_shards(more, out)
    assert ShardFolder.open(out).manifest.hash == before
    write_shards(more, out, overwrite=True)
    assert ShardFolder.open(out).manifest.num_written == 6
    assert validate(out) == []
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_failed_overwrite_keeps_the_old_ingest(tmp_path, make, make_survey):
    out = tmp_path / "data"
    write_shards(make_survey(make.some_samples(4)), out)
    with pytest.raises(DataError, match="no fake data"):
        write_shards(make_survey([]), out, overwrite=True)
    assert validate(out) == []
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_files_are_never_replaced(tmp_path, make, make_survey, overwrite):
    survey = make_survey(make.some_samples(2))
    (tmp_path / "thesis.tex").write_text("words")
    with pytest.raises(StorageError, match="no earlier ingest"):
        write_shards(survey, tmp_path, overwrite=overwrite)
    with pytest.raises(StorageError, match="is a file"):
        write_shards(survey, tmp_path / "thesis.tex", overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "words"


def test_an_empty_folder_and_missing_parents_are_fine(tmp_path, make, make_survey):
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "a" / "b" / "[c]*"):
        write_shards(make_survey(make.some_samples(2)), out)
        assert validate(out) == []


@pytest.mark.parametrize("out", ["/proc/data", "/proc/no/data", "/dev/null/data"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_read(out, make_survey):
    survey = make_survey([])
    survey.records = lambda: pytest.fail("the survey was read")
    with pytest.raises(StorageError, match=f"'{out}.*cannot be written") as error:
        write_shards(survey, out)
    assert "\n" not in str(error.value)


def test_a_reader_that_dies_leaves_nothing(tmp_path, make, make_survey):
    def records():
        yield from make.some_samples(10)
        raise ZeroDivisionError

    survey = make_survey([])
    survey.records = records
    with pytest.raises(ZeroDivisionError):
        write_shards(survey, tmp_path / "data", row_group_bytes=300)
    assert list(tmp_path.iterdir()) == []


SURVEY = """
    import resource, sys, time
    from pathlib import Path
    import numpy as np
    from daep_ray.errors import UserError
    from daep_ray.sample import Axis, Modality, Sample, Sequence
    from daep_ray.shards.write import write_shards

    class Survey:
        modalities = (Modality("m", Axis("v", ""), (Axis("t", "day", is_time=True),)),)
        source = {"format": "fake"}

        def __init__(self, num, length, pause=0.0):
            self.num, self.length, self.pause = num, length, pause

        def records(self):
            rng = np.random.default_rng(0)
            for i in range(self.num):
                value = rng.normal(size=self.length)
                yield Sample(f"s{i}", f"o{i // 2}", {"m": Sequence(value, {"t": value}, value)})
                if i == 50 and self.pause:
                    print("half way", flush=True)
                    time.sleep(self.pause)
"""


def python(code: str, *arguments: object) -> list[str]:
    code = textwrap.dedent(SURVEY) + textwrap.dedent(code)
    return [sys.executable, "-c", code, *map(str, arguments)]


def test_a_killed_ingest_leaves_nothing_that_opens_and_the_next_one_cleans_up(
    tmp_path, make, make_survey
):
    code = "write_shards(Survey(100, 50, pause=60), Path(sys.argv[1]), row_group_bytes=5000)"
    out = tmp_path / "data"
    process = subprocess.Popen(python(code, out), stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half way\n"
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".data.partial-")
    for place in (out, left):
        with pytest.raises(DataError, match="data folder"):
            ShardFolder.open(place)
    write_shards(make_survey(make.some_samples(2)), out)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("limit", [100, 20_000, 100_000])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, limit):
    """A limit on file sizes fails writes as a full disk does, wherever it strikes."""
    code = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
        try:
            write_shards(Survey(200, 100), Path(sys.argv[1]), row_group_bytes=20_000)
        except UserError as error:
            print(type(error).__name__, error)
    """
    done = subprocess.run(
        python(code, tmp_path / "data", limit), capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("StorageError")
    assert "cannot be written (File too large)" in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_two_ingests_of_one_place_at_once(tmp_path, make, make_survey, monkeypatch):
    """The second to finish finds the first one's folder: fine with the same data only."""
    out = tmp_path / "data"

    def meanwhile(samples):
        """A survey during whose reading another process writes `samples` to the same place."""

        def records():
            write_shards(make_survey(samples), out)
            yield from make.some_samples(6)

        survey = make_survey([])
        survey.records = records
        return survey

    assert write_shards(meanwhile(make.some_samples(6)), out).written == 6
    assert validate(out) == []
    os.rename(out, tmp_path / "first")
    with pytest.raises(DataError, match="written by another process meanwhile, with other data"):
        write_shards(meanwhile(make.some_samples(4)), out)
    assert ShardFolder.open(out).manifest.num_written == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "first"]


def test_a_living_process_keeps_its_partial_folder(tmp_path):
    prefix = ".data.partial-host-"
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (tmp_path / f"{prefix}{sleeper.pid}-0").mkdir()
        folder_module._remove_abandoned(tmp_path, prefix)
        assert (tmp_path / f"{prefix}{sleeper.pid}-0").is_dir()
    finally:
        sleeper.kill()
        sleeper.wait()
    folder_module._remove_abandoned(tmp_path, prefix)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_samples(tmp_path):
    """Peak memory at 10^5 samples is at most 1.1 times that at 10^4 (64 measurements each)."""
    code = """
        write_shards(Survey(int(sys.argv[2]), 64), Path(sys.argv[1]))
        # not ru_maxrss, which begins at the peak of the process that started this one
        status = Path("/proc/self/status").read_text()
        print(int(status.partition("VmHWM:")[2].split()[0]))
    """
    peaks = []
    for num in (10_000, 100_000):
        command = python(code, tmp_path / str(num), num)
        peaks.append(int(subprocess.run(command, capture_output=True, check=True).stdout))
    assert peaks[1] <= 1.1 * peaks[0], peaks
