"""The table of intervals that are not of draws: conformal ones, and a Gaussian process' own.

Study and evidence in, a `Grid` out; None where the study was evaluated without them.
"""

from daep_ray.report.evidence import Evidence
from daep_ray.report.figures_calibration import LEVELS
from daep_ray.report.grid import Grid
from daep_ray.report.results import configurations, design, metric_column, place
from daep_ray.report.source import GP, Study
from daep_ray.report.style import title
from daep_ray.report.svg import slug

CONFORMAL, PREDICTIVE = "conformal", "predictive"


def intervals(study: Study, evidence: Evidence) -> Grid | None:
    """Coverage and width of conformal intervals of every configuration, references too."""
    modality = evidence.modality
    known = study.values(modality, "coverage_90", CONFORMAL)
    found = configurations(study, evidence)
    rows = [row for row in found if any(c.cell in known for c in row.cells)]
    if not rows:
        return None
    columns = design(evidence, rows)
    for what in ("coverage", "width"):
        for level in LEVELS:
            metric, words = f"{what}_{level}", f"{what} {level} %"
            columns.append(metric_column(study, evidence, rows, metric, CONFORMAL, words))
    notes = [
        "The point estimate plus and minus one width for all measurements, calibrated on other "
        "objects (the validation split) so that it covers that share of a new object's "
        "measurements, whatever the model. Width in z units: the narrower, the more the point "
        "estimate knows. The draws' own intervals are in the table above."
    ]
    own = study.values(modality, "coverage_90", PREDICTIVE)
    if own:
        wide = study.values(modality, "width_90", PREDICTIVE)
        notes.append(
            f"{title(GP)}, by its own account: coverage {max(own.values()):.3f} at 90 %, mean "
            f"width {max(wide.values()):.3g} z."
        )
    return Grid(
        f"intervals-{slug(modality)}",
        f"Conformal intervals of {modality}, test objects{place(evidence, rows)}",
        tuple(columns),
        tuple(notes),
    )
