"""Numbers, clusters and a network told from codes, against scikit-learn by hand and known codes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import comb

from daep_ray.config import EvaluationConfig, RunConfig, resolve
from daep_ray.errors import ConfigError
from daep_ray.evaluate.askable import askable
from daep_ray.evaluate.clusters import clusters
from daep_ray.evaluate.codes import encoded_samples
from daep_ray.evaluate.probe import (
    Classifier,
    Coded,
    Score,
    linear,
    network,
    probe,
    splits,
    told,
)
from daep_ray.evaluate.ridge import PENALTY, ridge_probe
from daep_ray.evaluate.run import evaluate, evaluate_reference
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.statistics import fit_recipe

from .conftest import Oracle, settings, trained


def numbered(
    seed: int, num_objects: int, noise: float = 0.1, most_samples: int = 1
) -> tuple[Coded, np.ndarray]:
    """Codes of which the number is a straight line, and noise."""
    rng = np.random.default_rng(seed)
    objects = np.repeat(np.arange(num_objects), rng.integers(1, most_samples + 1, num_objects))
    names = np.array([f"o{n:04d}" for n in objects])
    codes = rng.normal(size=(len(names), 4)) * [1, 5, 0.01, 100]
    numbers = 3 + codes @ [1.0, 0.2, 0.0, 0.01] + noise * rng.normal(size=len(names))
    ids = np.array([f"{n}/{i:05d}" for i, n in enumerate(names)])
    return Coded(ids, names, np.full(len(names), ""), codes), numbers


def value(scores: list[Score], metric: str) -> float:
    return next(s.value for s in scores if s.metric == metric)


def test_ridge_is_that_of_the_normal_equations_on_the_same_splits() -> None:
    coded, numbers = numbered(0, 120, noise=1.0)
    r2, error, of_mean = [], [], []
    for fit, scored in splits(coded, 10):
        mean, sd = coded.codes[fit].mean(0), coded.codes[fit].std(0)
        x, y = (coded.codes[fit] - mean) / sd, numbers[fit]
        weights = np.linalg.solve(x.T @ x + PENALTY * np.eye(4), x.T @ (y - y.mean()))
        said = (coded.codes[scored] - mean) / sd @ weights + y.mean()
        truth = numbers[scored]
        r2.append(1 - ((truth - said) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())
        error.append(np.abs(truth - said).mean())
        of_mean.append(np.abs(truth - y.mean()).mean())
    scores = ridge_probe(coded, numbers, 10)
    assert value(scores, "probe_r2") == pytest.approx(np.mean(r2), abs=1e-10)
    assert value(scores, "probe_mean_absolute_error") == pytest.approx(np.mean(error))
    assert value(scores, "probe_mean_absolute_error_of_mean") == pytest.approx(np.mean(of_mean))
    row = next(s for s in scores if s.metric == "probe_r2")
    assert row.sd == pytest.approx(np.std(r2, ddof=1))
    assert row.count == 10
    assert value(scores, "probe_num_objects") == 120


def test_an_object_with_many_samples_weighs_as_much_as_any() -> None:
    coded, numbers = numbered(1, 80)
    again = np.concatenate([np.arange(80), np.full(30, 17)])
    more = Coded(
        coded.sample_ids[again], coded.object_ids[again], coded.classes[again], coded.codes[again]
    )
    for a, b in zip(
        ridge_probe(coded, numbers, 5), ridge_probe(more, numbers[again], 5), strict=True
    ):
        assert a.value == pytest.approx(b.value, abs=1e-9), a.metric


def test_a_number_that_has_nothing_to_do_with_the_code_is_not_told() -> None:
    coded, numbers = numbered(2, 300, most_samples=3)
    assert value(ridge_probe(coded, numbers, 10), "probe_r2") > 0.98
    shuffled = np.random.default_rng(0).permutation(numbers)
    assert value(ridge_probe(coded, shuffled, 10), "probe_r2") < 0.02


@pytest.mark.parametrize("num_objects", [0, 1, 9])
def test_a_number_that_hardly_any_encoded_object_has_is_not_asked_for(num_objects: int) -> None:
    coded, numbers = numbered(2, 12)
    few = slice(0, num_objects)
    kept = Coded(coded.sample_ids[few], coded.object_ids[few], coded.classes[few], coded.codes[few])
    assert ridge_probe(kept, numbers[few], 10) == []
    assert ridge_probe(coded, np.full(12, 3.0), 10) == []
    assert ridge_probe(coded, numbers, 10) != []


def adjusted_rand(first: np.ndarray, second: np.ndarray) -> float:
    """Hubert and Arabie 1985, from the counts of pairs."""
    a, b = (np.unique(x, return_inverse=True)[1] for x in (first, second))
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    together = comb(table, 2).sum()
    rows, columns = comb(table.sum(1), 2).sum(), comb(table.sum(0), 2).sum()
    expected = rows * columns / comb(len(a), 2)
    return (together - expected) / ((rows + columns) / 2 - expected)


def silhouette(codes: np.ndarray, groups: np.ndarray) -> float:
    """Rousseeuw 1987, by a loop."""
    found = []
    for i, code in enumerate(codes):
        apart = np.sqrt(((codes - code) ** 2).sum(1))
        same = groups == groups[i]
        inner = apart[same].sum() / max(same.sum() - 1, 1)
        outer = min(apart[groups == g].mean() for g in set(groups) - {groups[i]})
        found.append((outer - inner) / max(inner, outer))
    return float(np.mean(found))


def clouds(distance: float) -> Coded:
    rng = np.random.default_rng(3)
    classes = rng.integers(0, 3, 90)
    codes = rng.normal(size=(90, 2)) + distance * np.array([[0, 0], [1, 0], [0, 1]])[classes]
    ids = np.array([f"o{i:03d}" for i in range(90)])
    return Coded(ids, ids, np.array(["a", "b", "c"])[classes], codes)


def test_clusters_are_scored_as_the_papers_say() -> None:
    from sklearn.cluster import KMeans

    coded = clouds(3.0)
    codes = (coded.codes - coded.codes.mean(0)) / coded.codes.std(0)
    found = KMeans(3, n_init=10, random_state=0).fit_predict(codes)
    scores = clusters(coded)
    rand = adjusted_rand(coded.classes, found)
    assert 0.1 < rand < 0.95
    assert value(scores, "kmeans_adjusted_rand") == pytest.approx(rand)
    assert value(scores, "kmeans_silhouette") == pytest.approx(silhouette(codes, found))
    assert value(scores, "class_silhouette") == pytest.approx(silhouette(codes, coded.classes))


def test_clusters_of_clear_and_of_meaningless_codes() -> None:
    clear, noise = clusters(clouds(50.0)), clusters(clouds(0.0))
    assert value(clear, "kmeans_adjusted_rand") == 1.0
    assert value(clear, "class_silhouette") > 0.9
    assert abs(value(noise, "kmeans_adjusted_rand")) < 0.1
    assert value(noise, "class_silhouette") < 0.05


def test_clusters_count_an_object_once_and_survive_equal_codes() -> None:
    coded = clouds(3.0)
    again = np.sort(np.concatenate([np.arange(90), np.full(40, 7)]))
    names = coded.object_ids[again]
    ids = np.array([f"{n}/{i:03d}" for i, n in enumerate(names)])
    more = Coded(ids, names, coded.classes[again], coded.codes[again])
    assert clusters(more) == clusters(coded)
    one = Coded(coded.sample_ids, coded.object_ids, np.full(90, "a"), coded.codes)
    assert clusters(one) == []


def test_many_objects_are_a_fair_choice_whatever_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids in the order of classes: the first of them are all of one class."""
    monkeypatch.setattr("daep_ray.evaluate.clusters.MOST_OBJECTS", 40)
    rng = np.random.default_rng(5)
    kinds = np.repeat([0, 1, 2], 60)
    ids = np.array([f"{'abc'[k]}{i:03d}" for i, k in enumerate(kinds)])
    meaningless = Coded(ids, ids, np.array(["a", "b", "c"])[kinds], rng.normal(size=(180, 2)))
    found = clusters(meaningless)
    assert abs(value(found, "kmeans_adjusted_rand")) < 0.3
    turned = rng.permutation(180)
    other = Coded(*(x[turned] for x in (ids, ids, meaningless.classes, meaningless.codes)))
    assert clusters(other) == found


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_codes_that_are_all_the_same_have_no_groups() -> None:
    coded = clouds(3.0)
    same = Coded(coded.sample_ids, coded.object_ids, coded.classes, np.zeros((90, 2)))
    assert value(clusters(same), "kmeans_adjusted_rand") == 0.0
    assert value(clusters(same), "kmeans_silhouette") == 0.0


def test_a_network_tells_what_no_straight_line_does() -> None:
    """The exclusive or of two signs."""
    rng = np.random.default_rng(4)
    codes = rng.uniform(-1, 1, (200, 2))
    classes = np.where(codes[:, 0] * codes[:, 1] > 0, "same", "other")
    ids = np.array([f"o{i:03d}" for i in range(200)])
    coded = Coded(ids, ids, classes, codes)
    line, bent = probe(coded, 3), probe(coded, 3, network)
    assert value(line, "probe_accuracy") < 0.65
    assert value(bent, "probe_accuracy") > 0.85
    assert bent == probe(coded, 3, network)
    assert value(line, "probe_majority_accuracy") == value(bent, "probe_majority_accuracy")


def test_the_network_is_beside_the_line_and_only_when_asked(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    def rows(kind: str) -> dict[tuple[str, str], float]:
        asked = settings(probe=kind, num_probe_splits=2, max_objects=20)
        found = evaluate(trained(Oracle(0.3), fitted), folder, asked)["metrics"].to_pylist()
        return {(r["estimate"], r["metric"]): r["value"] for r in found}

    plain, both = rows("converged"), rows("network")
    assert {e for e, _ in both} - {e for e, _ in plain} == {"network_probe"}
    assert {k: both[k] for k in plain} == plain
    assert both["network_probe", "probe_accuracy"] > both["probe", "probe_majority_accuracy"]


def test_labels_that_are_numbers_are_told_and_words_are_not(synthetic_shards: Path) -> None:
    folder = ShardFolder.open(synthetic_shards)
    config = resolve(RunConfig(modalities=("photometry",)), folder.manifest)
    assert config.recipe is not None
    fitted = fit_recipe(folder, config.recipe)
    where = (folder, fitted, ("photometry",))
    names = [n for n, kind in folder.manifest.labels.items() if kind == "float"]
    assert names
    # 120 objects: the test split alone is too small
    assert askable(*where, "test", names)[names[0]].splits == ("train", "validation", "test")
    assert askable(*where, "validation", names)[names[0]].splits == ("train", "validation")
    small = EvaluationConfig(max_objects=10, num_probe_splits=2)
    found = evaluate_reference("pca", 4, *where, small)["metrics"].to_pylist()
    told = {r["estimate"]: r for r in found if r["metric"] == "probe_r2"}
    assert set(told) == {f"probe_{n}" for n in names}
    assert {r["split"] for r in told.values()} == {"train+validation+test"}
    assert all(r["count"] == 2 for r in told.values())
    quiet = small.model_copy(update={"probe_label": None})
    silent = evaluate_reference("pca", 4, *where, quiet)["metrics"].to_pylist()
    assert not any(r["estimate"].startswith("probe") for r in silent)


def test_a_code_that_is_no_number_is_refused_by_name(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    def encode(batch: PackedBatch) -> np.ndarray:
        return np.array([[np.nan if s == lost else 1.0] for s in batch.sample_ids])

    lost = folder.labels()["sample_id"][3].as_py()
    split = folder.labels()["split"][3].as_py()
    rows = {split: np.array([3])}
    with pytest.raises(ConfigError, match=f"code of sample '{lost}' is not finite"):
        encoded_samples(encode, folder, fitted, ("photometry",), rows, 500)


def test_the_network_minimises_the_loss_of_the_linear_probe() -> None:
    """Summed cross-entropy, every object weighing 1, and half of the weights' squares, over codes
    standardised on the fit part. At the end its slope is that of the optimiser's tolerance."""
    rng = np.random.default_rng(6)
    owners = np.repeat(np.arange(80), rng.integers(1, 4, 80))
    kinds = rng.integers(0, 3, 80)[owners]
    codes = rng.normal(size=(len(owners), 2)) * [1, 50] + 1.5 * kinds[:, None]
    ids = np.array([f"o{i:03d}" for i in owners])
    coded = Coded(ids, ids, np.array(["a", "b", "c"])[kinds], codes)
    ((fit, _),) = splits(coded, 1)
    weight = np.array([1 / (ids == name).sum() for name in ids[fit]])
    mean = np.average(codes[fit], axis=0, weights=weight)
    sd = np.sqrt(np.average((codes[fit] - mean) ** 2, axis=0, weights=weight))
    x, truth = torch.tensor((codes[fit] - mean) / sd), torch.tensor(kinds[fit])

    def loss(matrices: list[torch.Tensor], shifts: list[torch.Tensor]) -> torch.Tensor:
        told = x
        for i, (matrix, shift) in enumerate(zip(matrices, shifts, strict=True)):
            told = (told.tanh() if i else told) @ matrix + shift
        losses = torch.nn.functional.cross_entropy(told, truth, reduction="none")
        penalty = sum(((m**2).sum() for m in matrices), torch.zeros(()))
        return (torch.tensor(weight) * losses).sum() + penalty / 2

    bent, line = (fitted_on_the_first_split(coded, maker) for maker in (network, linear))
    found = []
    for weights, biases in (
        (bent.coefs_, bent.intercepts_),
        ([line.coef_.T.copy()], [line.intercept_]),
    ):
        matrices, shifts = (
            [torch.tensor(w, requires_grad=True) for w in some] for some in (weights, biases)
        )
        total = loss(matrices, shifts)
        total.backward()
        found.append(float(total.detach()))
        slopes = [w.grad for w in (*matrices, *shifts) if w.grad is not None]
        # scikit-learn's tolerance of the mean loss, and what stops where it hardly falls any more
        assert max(float(slope.abs().max()) for slope in slopes) < 2e-3 * weight.sum()
    assert bent.loss_ * weight.sum() == pytest.approx(found[0], rel=1e-9)
    assert found[0] < found[1]


@pytest.mark.filterwarnings("error")
def test_the_network_comes_to_rest_on_codes_that_say_little() -> None:
    """As those of a hundred test objects do: rectified units took 10,000 iterations for nothing."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 320)
    ids = np.array([f"o{i:03d}" for i in range(320)])
    codes = rng.normal(size=(320, 16)) + 0.7 * np.eye(16)[kinds]
    coded = Coded(ids, ids, np.array(["a", "b", "c"])[kinds], codes)
    fitted = fitted_on_the_first_split(coded, network)
    assert fitted.n_iter_ < 2000


def fitted_on_the_first_split(coded: Coded, maker: Callable[[], Classifier]) -> Classifier:
    made = maker()
    assert len(told(coded, 1, lambda: made)) == 1
    return made
