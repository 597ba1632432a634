"""DESI: hand-made files with every quirk, and the counts of the real archive."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from daep_ray.errors import DataError
from daep_ray.sample import Ignored, Quarantined, Record, Sample, Sequence
from daep_ray.surveys import open_survey

Write = Callable[[dict[str, str | bytes]], Path]
Build = Callable[..., bytes]


def records(folder: Path) -> list[Record]:
    return list(open_survey("desi", folder, {}).records())


def spectrum(record: Record) -> Sequence:
    assert isinstance(record, Sample), record
    return record.sequences["spectrum"]


def test_arms_are_joined_and_sorted(write: Write, desi_file: Build) -> None:
    first, _, last = records(write({"coadd-1.fits": desi_file()}))
    # B 4000 4005 4010, R 4009 4014 4019, Z 4020 4025 4030; in row 0 each arm's middle is masked
    found = spectrum(first)
    np.testing.assert_array_equal(
        found.positions["wavelength"], [4000, 4009, 4010, 4019, 4020, 4030]
    )
    np.testing.assert_array_equal(found.value, [4000, 4009, 4002, 4011, 4020, 4022])
    np.testing.assert_array_equal(found.error, np.ones(6))
    found = spectrum(last)
    assert len(found) == 9
    assert (np.diff(found.positions["wavelength"]) > 0).all()
    np.testing.assert_array_equal(found.error, np.full(9, 0.5))  # 4**-0.5


def test_rows_of_one_target_are_one_object(write: Write, desi_file: Build) -> None:
    first, _, last = records(write({"coadd-1.fits": desi_file()}))
    assert isinstance(first, Sample)
    assert isinstance(last, Sample)
    assert (first.sample_id, last.sample_id) == ("coadd-1/0", "coadd-1/2")
    assert first.object_id == last.object_id == "desi-39627866878511337"  # all 17 digits
    assert first.labels == {"class": None, "subtype": None, "target": "TGT"}
    assert last.labels == {"class": None, "subtype": None, "target": "SKY"}
    assert [spectrum(r).metadata for r in (first, last)] == [{"mjd": 59311.5}, {"mjd": 59312.5}]


@pytest.mark.parametrize("is_flagged", [False, True])
def test_a_dead_spectrum_is_quarantined_alone(
    write: Write, desi_file: Build, is_flagged: bool
) -> None:
    """All variances 0 without a mask bit, or all points masked."""
    dead = {}
    if is_flagged:
        mask = np.zeros((3, 3), np.int32)
        mask[1] = 1
        dead = {f"{a}_IVAR": np.ones((3, 3)) for a in "BRZ"} | {f"{a}_MASK": mask for a in "BRZ"}
    found = records(write({"a.fits": desi_file(**dead)}))
    assert [type(r) for r in found] == [Sample, Quarantined, Sample]
    lost = found[1]
    assert isinstance(lost, Quarantined)
    assert lost.unit == "row 1"
    assert "target -2713437 has no measurement" in lost.reason


def test_what_may_be_absent(write: Write, desi_file: Build) -> None:
    """A whole arm, the object type, the date."""
    arm = {f"R_{name}": None for name in ("WAVELENGTH", "FLUX", "IVAR", "MASK")}
    sample = records(write({"a.fits": desi_file(OBJTYPE=None, MJD=None, **arm)}))[2]
    assert isinstance(sample, Sample)
    assert sample.labels["target"] is None
    assert spectrum(sample).metadata == {"mjd": None}
    assert len(spectrum(sample)) == 6


def test_faults_are_quarantined_by_row_and_the_rest_kept(write: Write, desi_file: Build) -> None:
    faults: dict[str, tuple[str | bytes, int, str]] = {
        "no.fits": ("no FITS", 1, "is no FITS file"),
        "cut.fits": (desi_file()[:-5761], 3, "no extension Z_MASK"),
        "cut_mid.fits": (desi_file()[:-2881], 1, "cut short"),
        "mask.fits": (desi_file(B_MASK=None), 3, "no extension B_MASK"),
        "rows.fits": (desi_file(Z_FLUX=np.ones((2, 3))), 3, "shape (2, 3)"),
        "bins.fits": (desi_file(R_IVAR=np.ones((3, 4))), 3, "shape (3, 4)"),
        "flat.fits": (desi_file(B_WAVELENGTH=np.ones((3, 3))), 3, "wavelengths"),
        "unit.fits": (desi_file(unit="Jy"), 3, "B_FLUX is in Jy"),
        "ids.fits": (desi_file(TARGETID=[1.5, 2.5, 3.5]), 1, "no integers"),
        "noid.fits": (desi_file(TARGETID=None), 1, "no column TARGETID"),
        "dates.fits": (desi_file(MJD=["a", "b", "c"]), 1, "holds no numbers"),
    }
    files = {name: content for name, (content, _, _) in faults.items()}
    found = records(write(files | {"whole.fits": desi_file()}))
    for name, (_, num_rows, words) in faults.items():
        lost = [r for r in found if isinstance(r, Quarantined) and r.file == name]
        assert len(lost) == num_rows, name
        assert all(words in r.reason for r in lost), (name, lost[0].reason)
    assert [r.sample_id for r in found if isinstance(r, Sample)] == ["whole/0", "whole/2"]


def test_no_fits_file_at_all_is_one_sentence(write: Write) -> None:
    with pytest.raises(DataError, match="no FITS file in"):
        open_survey("desi", write({"a.dat": "1 2\n"}), {})


def test_counts_of_the_real_archive(shared_data: Path) -> None:
    expected = json.loads((shared_data / "counts.json").read_text())["desi_spectra.tar.xz"]
    found = list(open_survey("desi", shared_data / "desi_spectra.tar.xz", {}).records())
    kinds = Counter(type(r) for r in found)
    samples = [r for r in found if isinstance(r, Sample)]
    assert kinds[Sample] + kinds[Quarantined] == sum(part["rows"] for part in expected.values())
    assert kinds[Ignored] == 1
    for name, part in expected.items():
        of_file = [s for s in samples if f"{s.sample_id.partition('/')[0]}.fits" == name]
        measured = sum(len(spectrum(s)) for s in of_file)
        # every masked point has inverse variance 0 as well
        assert measured == part["points"] - part["ivar_nonpositive"]
    assert len({s.object_id for s in samples}) == 3  # one galaxy has a coadd and an exposure
