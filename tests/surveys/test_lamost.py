"""LAMOST: one hand-made file per layout, each quirk, and the counts of the real archive."""

import gzip
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from daep_ray.errors import DataError
from daep_ray.sample import Ignored, Quarantined, Record, Sample, Sequence
from daep_ray.surveys import open_survey

Write = Callable[[dict[str, str | bytes]], Path]
Build = Callable[..., bytes]
WAVELENGTH = 10 ** (3.6 + 1e-4 * np.arange(5))
MEASURED = [0, 4]  # 1 and 3 have no positive inverse variance, 2 is in ANDMASK


def records(folder: Path) -> list[Record]:
    return list(open_survey("lamost", folder, {}).records())


def only(folder: Path) -> Sample:
    (record,) = records(folder)
    assert isinstance(record, Sample), record
    return record


def spectrum(sample: Sample) -> Sequence:
    return sample.sequences["spectrum"]


@pytest.mark.parametrize("layout", ["dr1", "dr7", "dr9"])
def test_the_layouts_give_one_spectrum(write: Write, lamost_file: Build, layout: str) -> None:
    sample = only(write({"spec-1.fits.gz": gzip.compress(lamost_file(layout))}))
    assert sample.sample_id == "spec-1"
    assert sample.object_id == "lamost-j063759.9+270908"
    assert sample.labels == {"class": "M", "subtype": "M0"}
    found = spectrum(sample)
    assert found.metadata == {"redshift": -0.0003}
    np.testing.assert_allclose(found.positions["wavelength"], WAVELENGTH[MEASURED], rtol=1e-7)
    np.testing.assert_array_equal(found.value, [3.0, 4.0])
    assert found.error is not None
    np.testing.assert_array_equal(found.error, [0.5, 2.0])  # 4**-0.5, 0.25**-0.5


def test_exten0_decides_and_not_the_shape(write: Write, lamost_file: Build) -> None:
    """The same pixels: the third row is a wavelength only where EXTEN0 says so."""
    words = "Flux, Inverse, Wavelength, Andmask, Ormask"
    found = spectrum(only(write({"a.fits": lamost_file("dr1", EXTEN0=words)})))
    np.testing.assert_array_equal(found.positions["wavelength"], [1.0, 1.0])


def test_the_arms_of_a_medium_resolution_spectrum_are_joined(
    write: Write, lamost_file: Build
) -> None:
    sample = only(write({"med-1.fits": lamost_file("mrs")}))
    assert sample.labels == {"class": None, "subtype": None}
    found = spectrum(sample)
    assert found.metadata == {"redshift": None}
    # the red arm begins two pixels later: its first point lies between the blue arm's two
    np.testing.assert_allclose(
        found.positions["wavelength"], 10 ** (3.6 + 1e-4 * np.array([0, 2, 4, 6])), rtol=1e-12
    )
    np.testing.assert_array_equal(found.value, [3.0, 3.0, 4.0, 4.0])


def test_ormask_is_not_looked_at(write: Write, lamost_file: Build) -> None:
    measured = lamost_file("dr9", {"ORMASK": [1] * 5, "ANDMASK": [0] * 5, "IVAR": [1.0] * 5})
    assert len(spectrum(only(write({"a.fits": measured})))) == 5


def test_one_star_in_two_releases_is_one_object(write: Write, lamost_file: Build) -> None:
    """The designations of the real archive: 0.2 arcsec apart."""
    found = records(
        write({
            "a.fits": lamost_file("dr7", DESIG="LAMOST J192814.09+435530.8"),
            "b.fits": lamost_file("mrs", DESIG="LAMOST J192814.09+435531.0"),
            "c.fits": lamost_file("mrs", DESIG=None),
            "d.fits": lamost_file("dr1", DESIG=None),
        })
    )  # fmt: skip
    assert [s.object_id for s in found if isinstance(s, Sample)] == [
        "lamost-j192814.1+435531", "lamost-j192814.1+435531", "lamost-747412076", "d",
    ]  # fmt: skip


def test_classes_that_say_nothing_are_missing(write: Write, lamost_file: Build) -> None:
    sample = only(write({"a.fits": lamost_file("dr9", CLASS="Unknown", SUBCLASS="Non", Z="?")}))
    assert sample.labels == {"class": None, "subtype": None}
    assert spectrum(sample).metadata == {"redshift": None}


@pytest.mark.parametrize(
    ("subclass", "letter"),
    [
        *(("A5V", "A"), ("G2", "G"), ("K", "K"), ("dM0", "M"), ("gM0", "M"), ("sdM1", "M")),
        *(("WD", "WD"), ("CV", "CV"), ("Carbon", "Carbon"), ("Binary", "Binary")),
    ],
)
def test_a_stars_class_is_its_spectral_letter(
    write: Write, lamost_file: Build, subclass: str, letter: str
) -> None:
    sample = only(write({"a.fits": lamost_file("dr7", SUBCLASS=subclass)}))
    assert sample.labels == {"class": letter, "subtype": subclass}


def test_faults_are_quarantined_and_the_rest_kept(write: Write, lamost_file: Build) -> None:
    whole = lamost_file("dr9")
    faults: dict[str, tuple[str | bytes, str]] = {
        "no.fits": ("no FITS at all", "is no FITS file"),
        "cut.fits": (whole[: len(whole) - 2881], "cut short"),
        "cut_image.fits": (lamost_file("dr1")[:2900], "cut short"),
        "dead.fits": (lamost_file("dr9", {"IVAR": [0.0] * 5}), "no measurement"),
        "masked.fits": (lamost_file("mrs", {"ANDMASK": [1] * 5}), "no measurement"),
        "other.fits": (lamost_file("dr1", EXTEN0=None), "no LAMOST layout"),
        "four.fits": (lamost_file("dr1", EXTEN0="Flux Inverse Andmask Ormask"), "names 4 rows"),
        "steps.fits": (lamost_file("dr1", COEFF1=None), "no wavelengths"),
        "huge.fits": (lamost_file("dr1", COEFF0=1e9), "no wavelengths"),
        "air.fits": (lamost_file("dr7", VACUUM=False), "in air"),
    }
    found = records(
        write({name: content for name, (content, _) in faults.items()} | {"whole.fits": whole})
    )
    reasons = {r.file: r.reason for r in found if isinstance(r, Quarantined)}
    assert reasons.keys() == faults.keys()
    for name, (_, words) in faults.items():
        assert words in reasons[name], name
    assert [s.sample_id for s in found if isinstance(s, Sample)] == ["whole"]


def test_columns_of_another_type_or_length(write: Write, lamost_table: Build) -> None:
    faults = {
        "text.fits": (lamost_table(IVAR=("5A", np.array(["words"]))), "IVAR"),
        "short.fits": (lamost_table(IVAR=("4E", np.ones((1, 4)))), "unequal lengths"),
        "rows.fits": (lamost_table(num_rows=2), "instead of one vector"),
        "none.fits": (lamost_table(IVAR=None), "no column IVAR"),
    }
    found = records(write({name: content for name, (content, _) in faults.items()}))
    for record in found:
        assert isinstance(record, Quarantined)
        assert faults[record.file][1] in record.reason


@pytest.fixture
def lamost_table() -> Build:
    """A COADD table whose columns (format, rows) are replaced by name."""

    def build(num_rows: int = 1, **changes: tuple[str, np.ndarray] | None) -> bytes:
        columns: dict[str, tuple[str, np.ndarray] | None] = {
            name: ("5E", np.ones((num_rows, 5)))
            for name in ("FLUX", "IVAR", "WAVELENGTH", "ANDMASK", "ORMASK")
        }
        made = [
            fits.Column(name, column[0], array=column[1])
            for name, column in (columns | changes).items()
            if column is not None
        ]
        file = io.BytesIO()
        table = fits.BinTableHDU.from_columns(made, name="COADD")
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(file)
        return file.getvalue()

    return build


def test_no_fits_file_at_all_is_one_sentence(write: Write) -> None:
    with pytest.raises(DataError, match="no FITS file in"):
        open_survey("lamost", write({"a.dat": "1 2\n", "LICENSE": "MIT"}), {})


def test_counts_of_the_real_archive(shared_data: Path) -> None:
    expected = json.loads((shared_data / "counts.json").read_text())["lamost_spectra.tar.gz"]
    found = list(open_survey("lamost", shared_data / "lamost_spectra.tar.gz", {}).records())
    samples = [r for r in found if isinstance(r, Sample)]
    assert Counter(type(r) for r in found) == {
        Sample: sum(part["files"] for part in expected.values()),
        Ignored: 3,
    }
    # no point with a positive inverse variance is in ANDMASK
    assert sum(len(spectrum(s)) for s in samples) == sum(
        part["points"] - part["ivar_nonpositive"] for part in expected.values()
    )
    classes: Counter[str] = Counter()
    for part in expected.values():
        classes.update(part["classes"])
    letters = Counter(
        f"STAR/{s.labels['class']}" if s.labels["class"] else "None/N" for s in samples
    )
    assert letters == classes
    assert len({s.object_id for s in samples}) == len(samples) - 1  # one star, two resolutions
    redshifts = [spectrum(s).metadata["redshift"] for s in samples]
    known = np.array([z for z in redshifts if z is not None], float)
    assert len(known) == len(samples) - 1
    assert np.abs(known).max() < 0.0007
