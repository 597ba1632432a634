"""The probe of the published code, for comparison with its tables (`evaluation.probe`).

In: codes, classes. Out: accuracy and macro F1. One split: 30 % of each class' samples fit and 70 %
are scored; samples of one object may be on both sides, which flatters. The codes are not
standardised, and 150 epochs of AdamW at 1e-3 may end before the fit has converged, so the result
depends on the codes' scale. The spread is over ten starting weights and orders of the same split;
it says nothing of other objects.
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split

from daep_ray.evaluate.probe import Coded, Score, frequent, is_probeable

FIT_FRACTION = 0.3
SPLIT_SEED = 42
SEEDS = (1, 2, 3, 4, 5, 41, 42, 43, 44, 45)
NUM_EPOCHS, BATCH, RATE, DECAY = 150, 64, 1e-3, 0.01


@torch.inference_mode(mode=False)  # it learns, and is asked for in the middle of an evaluation
def published_probe(coded: Coded) -> list[Score]:
    """The scores; empty if fewer than two classes have enough objects."""
    coded = frequent(coded)
    if not is_probeable(coded.object_ids, coded.classes):
        return []
    names, classes = np.unique(coded.classes, return_inverse=True)
    fit, scored = train_test_split(
        np.arange(len(classes)),
        train_size=FIT_FRACTION,
        stratify=classes,
        random_state=SPLIT_SEED,
    )
    codes, truth = torch.from_numpy(coded.codes).float(), torch.from_numpy(classes)
    found = []
    for seed in SEEDS:
        weight, bias = _fitted(codes[fit], truth[fit], len(names), seed)
        said = (codes[scored] @ weight.T + bias).argmax(1).numpy()
        f1 = f1_score(classes[scored], said, average="macro", zero_division=0)
        found.append((accuracy_score(classes[scored], said), f1))
    majority = np.full(len(scored), np.bincount(classes[fit]).argmax())
    f1 = f1_score(classes[scored], majority, average="macro", zero_division=0)
    return [
        *(
            Score(metric, float(np.mean(values)), float(np.std(values, ddof=1)), len(SEEDS))
            for metric, values in zip(
                ("probe_accuracy", "probe_macro_f1"), zip(*found, strict=True), strict=True
            )
        ),
        Score("probe_majority_accuracy", float(np.mean(classes[scored] == majority)), 0.0, 1),
        Score("probe_majority_macro_f1", float(f1), 0.0, 1),
        Score("probe_num_classes", float(len(names)), 0.0, 1),
    ]


def _fitted(
    codes: torch.Tensor, classes: torch.Tensor, num_classes: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (C, F) and bias (C,) of a linear layer after its epochs."""
    generator = torch.Generator().manual_seed(seed)
    bound = codes.shape[1] ** -0.5
    weight = (torch.rand(num_classes, codes.shape[1], generator=generator) * 2 - 1) * bound
    bias = (torch.rand(num_classes, generator=generator) * 2 - 1) * bound
    parameters = [weight.requires_grad_(), bias.requires_grad_()]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
    with torch.enable_grad():
        for _ in range(NUM_EPOCHS):
            for rows in torch.randperm(len(codes), generator=generator).split(BATCH):
                optimiser.zero_grad()
                F.cross_entropy(F.linear(codes[rows], weight, bias), classes[rows]).backward()
                optimiser.step()
    return weight.detach(), bias.detach()
