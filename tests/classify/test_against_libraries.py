"""The same inputs through our formulas and through well-kept libraries: the same numbers.

mapie for label sets, pytorch-ood for novelty scores, torchmetrics for the calibration error, scikit-learn for the
temperature, scipy's general search for vector scaling. Where ours does more (shrinkage, a prior) that is switched off;
the tests of each module show what it adds. mapie chooses lambda and k_reg of its regularised sets itself, so those are
compared with the authors' algorithms, written down step by step.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from mapie.classification import SplitConformalClassifier
from mapie.conformity_scores import APSConformityScore
from numpy.typing import NDArray
from pytorch_ood.detector import KNN, RMD, EnergyBased, Entropy, MaxSoftmax
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from torchmetrics.functional.classification import multiclass_calibration_error

from vision.classify import label_sets, novelty
from vision.evaluate.calibration_metrics import expected_calibration_error, nll_losses, reliability_bins
from vision.train import probe
from vision.train.decision_fitting import vector_calibration

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NUM_CLASSES = 6
EXACT = {"rtol": 1e-6, "atol": 1e-6}


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def logits_and_truth(num: int, seed: int = 0) -> tuple[Floats, Ints]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (num, NUM_CLASSES))
    truth = (softmax(logits).cumsum(axis=1) < generator.random((num, 1))).sum(axis=1)
    return 1.7 * logits, np.minimum(truth, NUM_CLASSES - 1)


def embeddings_and_classes(num: int, dims: int = 8) -> tuple[Floats, Ints]:
    generator = np.random.default_rng(1)
    class_indices = np.arange(num) % 4
    rows = 1.5 * generator.normal(size=(4, dims))[class_indices] + generator.normal(size=(num, dims))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), class_indices


def softmax(logits: Floats) -> Floats:
    return torch.from_numpy(logits).softmax(dim=1).numpy()


class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose inputs are its logits."""

    def fit(self, logits: Floats, truth: Ints) -> Given:
        self.classes_ = np.arange(NUM_CLASSES)
        return self

    def decision_function(self, logits: Floats) -> Floats:
        return logits

    def predict_proba(self, logits: Floats) -> Floats:
        return softmax(logits)

    def predict(self, logits: Floats) -> Ints:
        return logits.argmax(axis=1)


class KnownUniforms(np.random.RandomState):
    """Draws what it is told to, one after the other."""

    def __init__(self, uniforms: Floats) -> None:
        super().__init__(0)
        self.left = uniforms

    def uniform(self, low: float = 0.0, high: float = 1.0, size: int | tuple[int, ...] = 1) -> Floats:
        drawn, self.left = np.split(self.left, [int(np.prod(size))])
        return drawn.reshape(size)


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_label_sets_without_regularisation_are_those_of_mapie(coverage: float) -> None:
    logits, truth = logits_and_truth(600)
    fitted, asked = slice(0, 300), slice(300, 600)
    digests = [f"picture {row}" for row in range(600)]
    rule = label_sets.fit_label_sets(
        softmax(logits[fitted]), truth[fitted], digests[fitted], coverage=coverage, regularisation=0, allow_empty=True
    )
    ours = rule.label_sets(softmax(logits[asked]), digests[asked])
    # mapie takes u times the last probability away, we add it: 1 - u.
    uniforms = KnownUniforms(1 - label_sets.picture_uniforms(digests, rule.seed))
    score = APSConformityScore()
    library = SplitConformalClassifier(Given().fit(logits, truth), coverage, score, random_state=uniforms)
    library.conformalize(logits[fitted], truth[fitted])
    _, theirs = library.predict_set(logits[asked], conformity_score_params={"include_last_label": "randomized"})
    np.testing.assert_array_equal(ours, theirs[:, :, 0])
    assert rule.quantiles[0] == pytest.approx(score.quantiles_[0], abs=1e-6)


def scores_of_the_paper(
    probabilities: Floats, truth: Ints, uniforms: Floats, penalty: float, k_reg: int
) -> list[float]:
    """Algorithm 2 of Angelopoulos et al. 2021 (arXiv 2009.14193), randomised: a conformity score for each picture."""
    scores = []
    for row, true_class, uniform in zip(probabilities, truth, uniforms, strict=True):
        order = sorted(range(len(row)), key=lambda index: -row[index])
        rank = order.index(true_class) + 1
        score = sum(row[index] for index in order[: rank - 1]) + uniform * row[true_class]
        scores.append(score + penalty * max(rank - k_reg, 0))
    return scores


def set_of_the_paper(row: Floats, uniform: float, tau: float, penalty: float, k_reg: int) -> set[int]:
    """Algorithm 3: the most probable classes, the last one by a draw."""
    order = sorted(range(len(row)), key=lambda index: -row[index])
    totals = [
        sum(row[index] for index in order[:size]) + penalty * max(size - k_reg, 0) for size in range(1, len(row) + 1)
    ]
    size = min(sum(total <= tau for total in totals) + 1, len(row))
    last = row[order[size - 1]]
    room = (tau - (totals[size - 1] - last)) / last
    return set(order[: size if uniform <= room else size - 1])


@pytest.mark.parametrize(("penalty", "k_reg"), [(0.01, 2), (0.2, 1)])
def test_regularised_label_sets_are_those_of_the_paper(penalty: float, k_reg: int) -> None:
    logits, truth = logits_and_truth(600, seed=3)
    probabilities = softmax(logits / 3)  # unsure enough for sets beyond k_reg
    digests = [f"picture {row}" for row in range(600)]
    rule = label_sets.fit_label_sets(
        probabilities[:300], truth[:300], digests[:300], coverage=0.9, regularisation=penalty, k_reg=k_reg,
        allow_empty=True,
    )  # fmt: skip
    uniforms = label_sets.picture_uniforms(digests, rule.seed)
    tau = sorted(scores_of_the_paper(probabilities[:300], truth[:300], uniforms[:300], penalty, k_reg))[270]
    assert rule.quantiles == pytest.approx([tau] * NUM_CLASSES)  # 271 = ceil(0.9 * 301)
    sets = rule.label_sets(probabilities[300:], digests[300:])
    theirs = [
        set_of_the_paper(row, uniform, tau, penalty, k_reg)
        for row, uniform in zip(probabilities[300:], uniforms[300:], strict=True)
    ]
    assert [set(np.flatnonzero(row).tolist()) for row in sets] == theirs
    assert max(map(len, theirs)) > k_reg  # the penalty had a say
    plain = label_sets.fit_label_sets(probabilities[:300], truth[:300], digests[:300], coverage=0.9, regularisation=0)
    assert (plain.label_sets(probabilities[300:], digests[300:]) != sets).any()


@pytest.mark.parametrize("name", ["max_softmax", "energy", "entropy"])
def test_logit_scores_are_those_of_pytorch_ood(name: str) -> None:
    logits = logits_and_truth(200)[0] / 3  # its entropy takes probabilities below 1e-7 as that much; here are none
    library = {"max_softmax": MaxSoftmax(None), "energy": EnergyBased(None), "entropy": Entropy(None)}[name]
    theirs = library.predict_logits(torch.from_numpy(logits)).numpy() + (name == "max_softmax")
    np.testing.assert_allclose(novelty.LOGIT_SCORES[name](logits), theirs, **EXACT)


@pytest.mark.parametrize("k", [1, 7])
def test_neighbour_distances_are_those_of_pytorch_ood(k: int) -> None:
    rows, class_indices = embeddings_and_classes(300)
    queries = np.random.default_rng(2).normal(size=(50, rows.shape[1]))
    library = KNN(None, k=k).fit_features(torch.from_numpy(rows), torch.from_numpy(class_indices))
    distances = library.predict_features(torch.from_numpy(queries)).numpy()
    ours = novelty.NearestNeighbourScore.fit(rows, class_indices, k=k).score(queries)
    np.testing.assert_allclose(ours, distances**2 / 2, **EXACT)  # of unit vectors: 1 - cosine


def test_relative_mahalanobis_without_shrinkage_is_that_of_pytorch_ood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "ledoit_wolf_shrinkage", lambda rows: 0.0)
    monkeypatch.setattr(novelty, "_LEAST_VARIANCE_SHARE", 0.0)
    rows, class_indices = embeddings_and_classes(4000)
    queries = embeddings_and_classes(4100)[0][4000:]
    library = RMD(None).fit_features(torch.from_numpy(rows), torch.from_numpy(class_indices))
    theirs = library.predict_features(torch.from_numpy(queries)).numpy()
    ours = novelty.RelativeMahalanobis.fit(rows, class_indices).score(queries)
    # Its covariances are sums, not means; ours multiplies in single precision.
    np.testing.assert_allclose(ours, len(rows) * theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_bins", [10, 15])
def test_the_calibration_error_is_that_of_torchmetrics(num_bins: int) -> None:
    logits, truth = logits_and_truth(500)
    probabilities = softmax(logits)
    theirs = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(truth), NUM_CLASSES, n_bins=num_bins, norm="l1"
    )
    bins = reliability_bins(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth, num_bins=num_bins)
    assert expected_calibration_error(bins) == pytest.approx(float(theirs), abs=1e-6)


def test_the_temperature_without_its_prior_is_that_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_LOG_TEMPERATURE_DEVIATION", 1e9)
    logits, truth = logits_and_truth(2000)
    library = CalibratedClassifierCV(FrozenEstimator(Given().fit(logits, truth)), method="temperature")
    theirs = library.fit(logits, truth).predict_proba(logits)
    temperature = probe.fit_temperature(logits, truth)
    assert temperature == pytest.approx(1.7, abs=0.1)  # what the logits were stretched by
    ours = softmax(logits / temperature)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)  # both searches stop within 1e-5 or so
    assert nll_losses(ours, truth).mean() == pytest.approx(nll_losses(theirs, truth).mean(), abs=1e-6)


def test_vector_scaling_without_its_priors_is_what_a_general_search_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_LOG_TEMPERATURE_DEVIATION", 1e9)
    logits, truth = logits_and_truth(3000, seed=5)
    scale, bias = np.linspace(0.5, 1.5, NUM_CLASSES), np.linspace(-1, 1, NUM_CLASSES)
    stretched = (logits / 1.7 - bias) / scale  # so that scale and bias make the truth's own logits of these

    def loss(parameters: Floats) -> float:
        scaled = stretched * np.exp(parameters[:NUM_CLASSES]) + parameters[NUM_CLASSES:]
        return float(nll_losses(softmax(scaled), truth).mean())

    found = minimize(loss, np.zeros(2 * NUM_CLASSES), method="BFGS", options={"gtol": 1e-6})
    ours = vector_calibration(stretched, truth, deviation=1e6)
    probabilities = softmax(ours.calibrated_logits(stretched))
    assert float(nll_losses(probabilities, truth).mean()) == pytest.approx(found.fun, abs=1e-5)
    np.testing.assert_allclose(ours.scale, np.exp(found.x[:NUM_CLASSES]), rtol=0.01)
    np.testing.assert_allclose(ours.scale, scale, atol=0.15)
    centred = ours.bias - ours.bias.mean()  # what is added to all classes changes nothing
    np.testing.assert_allclose(centred, found.x[NUM_CLASSES:] - found.x[NUM_CLASSES:].mean(), atol=0.01)
