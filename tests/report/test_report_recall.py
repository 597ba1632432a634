"""What compares modalities alone makes no empty column among the errors of reconstruction."""

from types import SimpleNamespace

import pyarrow as pa

from daep_ray.report.results import _metrics


def test_recall_is_no_metric_of_a_reconstruction() -> None:
    kinds = [
        ("recall_at_10", "from_photometry"),
        ("squared_error", "from_photometry"),
        ("absolute_error", "from_photometry"),
        ("absolute_error", "mean_of_draws"),
        ("probe_accuracy", "probe"),
        ("probe_accuracy", "network_probe"),
        ("probe_r2", "probe_redshift"),
        ("coverage_90", "draws"),
        ("crps", "from_photometry"),
        ("something_new", "told_by_nobody"),
    ]
    metrics, estimates = map(list, zip(*kinds, strict=True))
    table = pa.table({"metric": metrics, "estimate": estimates})
    study = SimpleNamespace(rows=lambda name, modality: table)
    assert _metrics(study, "spectrum", is_probe=False) == ["absolute_error"]  # type: ignore[arg-type]
    assert _metrics(study, "spectrum", is_probe=True) == ["probe_accuracy"]  # type: ignore[arg-type]
