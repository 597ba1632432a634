"""What a trained model is measured by: reconstruction error, a linear probe, references.

`METRICS` is the one list of metrics: a table's `metric` column holds its keys. This module imports
nothing heavy, because reports read it.

Estimates of a reconstruction, told apart everywhere: `one_draw` (the error of a single draw,
averaged over the draws), `mean_of_draws` (the error of the mean of K draws), `one_step` (one
network evaluation, no sampling), `reference` (PCA or the training mean), `probe` (a classifier
on codes). With several modalities `from_photometry` (and so on) is the mean of K draws, or the
reference, from the code of that modality alone, over the samples that have both; recall@k there is
the share of those samples whose own sequence that modality finds among the first k. A masked
autoencoder is shown a share of the values: its errors are taken over the others, and once more over
all of them, the shown ones copied, as published (`shown_copied`).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """How a number is shown: unit `z` (standardised), `physical`, `fraction` or `count`."""

    title: str
    unit: str
    is_lower_better: bool
    digits: int = 3


METRICS: dict[str, Metric] = {
    "absolute_error": Metric("absolute error", "z", is_lower_better=True),
    "squared_error": Metric("squared error", "z", is_lower_better=True),
    "absolute_error_physical": Metric("absolute error", "physical", is_lower_better=True),
    "recall_at_1": Metric("recall@1", "fraction", is_lower_better=False),
    "recall_at_1_chance": Metric("recall@1 by chance", "fraction", is_lower_better=False),
    "recall_at_10": Metric("recall@10", "fraction", is_lower_better=False),
    "recall_at_10_chance": Metric("recall@10 by chance", "fraction", is_lower_better=False),
    "probe_accuracy": Metric("probe accuracy", "fraction", is_lower_better=False),
    "probe_balanced_accuracy": Metric("probe balanced accuracy", "fraction", is_lower_better=False),
    "probe_macro_f1": Metric("probe macro F1", "fraction", is_lower_better=False),
    "probe_majority_accuracy": Metric("majority accuracy", "fraction", is_lower_better=False),
    "probe_num_classes": Metric("classes in the probe", "count", is_lower_better=False, digits=1),
    "probe_num_objects": Metric("objects in the probe", "count", is_lower_better=False, digits=1),
}
