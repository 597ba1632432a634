"""What a trained model is measured by: reconstruction error, a linear probe, references.

`METRICS` is the one list of metrics: a table's `metric` column holds its keys. This module imports
nothing heavy, because reports read it.

Estimates of a reconstruction, told apart everywhere: `one_draw` (the error of a single draw,
averaged over the draws), `mean_of_draws` (the error of the mean of K draws), `one_step` (one
network evaluation, no sampling), `reference` (PCA, the training mean, or a Gaussian process that
predicts each point of a light curve from the others), `probe` (a classifier on codes). With several
modalities `from_photometry` (and so on) is the mean of K draws, or the reference, from the code of
that modality alone, over the samples that have both; recall@k there is the share of those samples
whose own object that modality finds among the first k of all. A masked autoencoder is shown a share
of the values: its errors are taken over the others, and once more over all of them, the shown ones
copied, as published (`shown_copied`).

Beside them: `draws` (what the K draws say together: coverage, width, CRPS, ranks; those told from
one modality under `from_<modality>`), `conformal` (intervals about the point estimate, calibrated
on objects set aside; `conformal_from_<modality>`), `predictive` (those that a Gaussian process
gives itself), `probe_<label>` (a number told from the code),
`network_probe` (a small network instead of the straight line), `clusters` (of codes, found without
their classes).
"""

from dataclasses import dataclass

# What models are held against: as many floats, none, and all other points of a light curve. The
# last is left out where nothing has a time.
REFERENCES = ("pca", "mean", "gp")


@dataclass(frozen=True)
class Metric:
    """How a number is shown: unit `z` (standardised), `physical`, `label`, `fraction`, `count`.

    Angstrom are those of the rest frame. `label` is the unit of the label that is told. What has a
    sign or a target (`bias_before_peak`, `line_width_bias`, `rank_bias`, coverage) is best near it,
    whatever `is_lower_better` says.
    """

    title: str
    unit: str
    is_lower_better: bool
    digits: int = 3


_COVERED = {
    f"coverage_{level}": Metric(f"coverage of {level} %", "fraction", is_lower_better=False)
    for level in (50, 68, 90, 95)
}
METRICS: dict[str, Metric] = {
    "absolute_error": Metric("absolute error", "z", is_lower_better=True),
    "squared_error": Metric("squared error", "z", is_lower_better=True),
    "absolute_error_physical": Metric("absolute error", "physical", is_lower_better=True),
    "bias_before_peak": Metric("bias before peak", "z", is_lower_better=True),
    "crps": Metric("CRPS", "z", is_lower_better=True),
    **_COVERED,
    **{
        f"{name}_target": Metric(f"{metric.title} to expect", "fraction", is_lower_better=False)
        for name, metric in _COVERED.items()
    },
    **{
        name.replace("coverage", "width"): Metric(
            metric.title.replace("coverage of", "width at"), "z", is_lower_better=True
        )
        for name, metric in _COVERED.items()
    },
    "rank_bias": Metric("rank bias", "fraction", is_lower_better=True),
    "rank_spread": Metric("rank spread", "fraction", is_lower_better=True),
    "fine_residual_power": Metric("residual power, finest", "fraction", is_lower_better=True),
    "fine_power": Metric("power, finest", "fraction", is_lower_better=False),
    "line_width_error": Metric("equivalent width error", "Angstrom", is_lower_better=True),
    "line_width_bias": Metric("equivalent width bias", "Angstrom", is_lower_better=True),
    "line_centroid_error": Metric("line centroid error", "Angstrom", is_lower_better=True),
    "recall_at_1": Metric("recall@1", "fraction", is_lower_better=False),
    "recall_at_1_chance": Metric("recall@1 by chance", "fraction", is_lower_better=False),
    "recall_at_10": Metric("recall@10", "fraction", is_lower_better=False),
    "recall_at_10_chance": Metric("recall@10 by chance", "fraction", is_lower_better=False),
    "probe_accuracy": Metric("probe accuracy", "fraction", is_lower_better=False),
    "probe_balanced_accuracy": Metric("probe balanced accuracy", "fraction", is_lower_better=False),
    "probe_macro_f1": Metric("probe macro F1", "fraction", is_lower_better=False),
    "probe_majority_accuracy": Metric("majority accuracy", "fraction", is_lower_better=False),
    "probe_majority_macro_f1": Metric("majority macro F1", "fraction", is_lower_better=False),
    "probe_num_classes": Metric("classes in the probe", "count", is_lower_better=False, digits=1),
    "probe_num_objects": Metric("objects in the probe", "count", is_lower_better=False, digits=1),
    "probe_r2": Metric("probe R2", "fraction", is_lower_better=False),
    "probe_mean_absolute_error": Metric("probe error", "label", is_lower_better=True),
    "probe_mean_absolute_error_of_mean": Metric("error of the mean", "label", is_lower_better=True),
    "kmeans_adjusted_rand": Metric("k-means adjusted Rand", "fraction", is_lower_better=False),
    "kmeans_silhouette": Metric("k-means silhouette", "fraction", is_lower_better=False),
    "class_silhouette": Metric("silhouette of classes", "fraction", is_lower_better=False),
}
