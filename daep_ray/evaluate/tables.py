"""The tables of one evaluation: the contract with studies and reports.

metrics    one number with its spread: over objects for reconstruction, over splits for the probe
objects    every object's own error, the mean over its samples: what paired statistics need
examples   the measurements of a few samples with the reconstruction and its draws, physical units
profiles   the residual (reconstruction - truth, z units) against the first position, per category
calibration
           numbers by bin, z units: what draws cover, how wide they are and their CRPS, and errors,
           by position, phase and both; the residual (16, 50, 84 %) of what is told from one
           modality, and of all at a phase; the rank histogram; power by scale
groups     errors by group of objects: by class, by signal to noise; of spectra by named line
confusion  which class the linear probe says of which, shares of the true class
codes      a map of the codes: one point per object of the training split and the evaluated one

A study adds the column `cell` in front.
"""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

Tables = dict[str, pa.Table]

SCHEMAS: dict[str, pa.Schema] = {
    "metrics": pa.schema(
        {
            "modality": pa.string(),
            "split": pa.string(),  # "test"; for the probe also "train+validation+test"
            "estimate": pa.string(),
            "metric": pa.string(),  # a key of METRICS
            "value": pa.float64(),
            "sd": pa.float64(),
            "count": pa.int64(),  # how many numbers `value` and `sd` are taken over
        }
    ),
    "objects": pa.schema(
        {
            "modality": pa.string(),
            "object_id": pa.string(),
            "estimate": pa.string(),
            "metric": pa.string(),
            "value": pa.float64(),
        }
    ),
    "examples": pa.schema(
        {
            "modality": pa.string(),
            "sample_id": pa.string(),
            "object_id": pa.string(),
            "label": pa.string(),
            "percentile": pa.int64(),
            "category": pa.string(),
            "position": pa.float64(),
            "truth": pa.float64(),
            "error": pa.float64(),  # null where unknown
            "noiseless": pa.float64(),  # null where the survey does not know it
            "mean": pa.float64(),
            "low": pa.float64(),  # 5 % of the draws or of a Gaussian process; else null
            "high": pa.float64(),  # 95 %
        }
    ),
    "profiles": pa.schema(
        {
            "modality": pa.string(),
            "category": pa.string(),
            "position_low": pa.float64(),
            "position_high": pa.float64(),
            "median": pa.float64(),
            "low": pa.float64(),  # 16 %
            "high": pa.float64(),  # 84 %
            "count": pa.int64(),
        }
    ),
    "calibration": pa.schema(
        {
            "modality": pa.string(),
            "split": pa.string(),
            # "draws": all draws together; "conformal": intervals about the point estimate;
            # "predictive": those of a Gaussian process; else as in `metrics`
            "estimate": pa.string(),
            "metric": pa.string(),
            # what the bin is of: "position" (the first, its unit), "position in g" (of one
            # category), "position at phase -10" (of the samples within 5 days of it), "phase" (its
            # unit), "phase of spectrum" (that a light curve is told from), "rank" (of the truth, 0
            # to the number of draws), "scale" (measurements)
            "axis": pa.string(),
            "low": pa.float64(),
            "high": pa.float64(),
            "value": pa.float64(),
            "target": pa.float64(),  # what calibrated draws would give; null where nobody knows
            "sd": pa.float64(),  # over objects, by phase alone
            "count": pa.int64(),  # measurements; by phase and scale objects
        }
    ),
    "groups": pa.schema(
        {
            "modality": pa.string(),
            "split": pa.string(),
            "estimate": pa.string(),
            "metric": pa.string(),
            "axis": pa.string(),  # "class", "signal_to_noise", "line"
            "name": pa.string(),  # of the class or line; else null
            "low": pa.float64(),  # of the bin of signal to noise, of the line (Angstrom); else null
            "high": pa.float64(),  # null: without end
            "value": pa.float64(),
            "sd": pa.float64(),  # over objects
            "count": pa.int64(),  # objects
        }
    ),
    "confusion": pa.schema(
        {
            "modality": pa.string(),  # all that the code is made of: `photometry+spectrum`
            "split": pa.string(),
            "estimate": pa.string(),  # "probe"
            "truth": pa.string(),
            "said": pa.string(),
            "value": pa.float64(),  # share of the true class
            "count": pa.int64(),  # objects of the true class, over all of the probe's splits
        }
    ),
    "codes": pa.schema(
        {
            "modality": pa.string(),
            "split": pa.string(),
            "object_id": pa.string(),
            "class": pa.string(),  # null where unknown
            "x": pa.float64(),  # of the map, -1 to 1; without unit
            "y": pa.float64(),
        }
    ),
}


def table(name: str, rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Rows as the table `name`, columns in the schema's order."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMAS[name])
