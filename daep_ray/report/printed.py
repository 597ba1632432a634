"""What the paper prints in its Tables 1 to 4 (arXiv 2510.20595), entry by entry: value (SD).

By our names of its models. Errors: "abs. reconstruction error", unit and number of draws not said;
probe accuracy and F1; Table 4: MSE of spectra told from light curves at -10, 0, 10, 20, 30 days.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Printed:
    """One model's entries in Tables 1 to 3."""

    error: str
    accuracy: str
    f1: str


def value_of(entry: str) -> float:
    """The number of `0.038 (0.034)`."""
    return float(entry.split()[0])


LAMOST: Mapping[str, Printed] = {
    "daep": Printed("0.038 (0.034)", "0.57 (0.003)", "0.25 (0.003)"),
    "vae": Printed("0.076 (0.075)", "0.54 (0.002)", "0.24 (0.004)"),
    "maep 75 %": Printed("0.036 (0.034)", "0.55 (0.002)", "0.23 (0.002)"),
    "maep 30 %": Printed("0.036 (0.029)", "0.56 (0.002)", "0.23 (0.003)"),
}
ZTF_SPECTRA: Mapping[str, Printed] = {
    "daep": Printed("0.040 (0.028)", "0.82 (0.009)", "0.45 (0.020)"),
    "vae": Printed("0.070 (0.047)", "0.81 (0.002)", "0.40 (0.009)"),
    "maep 75 %": Printed("0.047 (0.026)", "0.79 (0.002)", "0.34 (0.010)"),
    "maep 30 %": Printed("0.066 (0.032)", "0.79 (0.001)", "0.30 (0.003)"),
}
ZTF_PHOTOMETRY: Mapping[str, Printed] = {
    "daep": Printed("0.078 (0.038)", "0.82 (0.023)", "0.41 (0.061)"),
    "vae": Printed("0.11 (0.064)", "0.77 (0.040)", "0.41 (0.052)"),
    "maep 75 %": Printed("0.10 (0.083)", "0.88 (0.014)", "0.55 (0.024)"),
    "maep 30 %": Printed("0.091 (0.066)", "0.89 (0.003)", "0.63 (0.044)"),
}
PAIRS: Mapping[str, tuple[str, ...]] = {
    "mmvae": (
        *("0.080 (0.05)", "0.0057 (0.005)", "0.0053 (0.0051)"),
        *("0.0064 (0.009)", "0.1108 (0.021)"),
    ),
    "daep": (
        *("0.16 (0.10)", "0.017 (0.015)", "0.012 (0.011)"),
        *("0.011 (0.013)", "0.019 (0.027)"),
    ),
    "contrastive": (
        *("0.55 (0.43)", "0.073 (0.032)", "0.10 (0.050)"),
        *("0.090 (0.048)", "0.11 (0.057)"),
    ),
}
