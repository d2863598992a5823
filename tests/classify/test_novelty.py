"""Novelty scores against scikit-learn, formulas written out, and pictures that are plainly novel."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

from vision.classify.novelty import (
    LOGIT_SCORES,
    EmbeddingScore,
    FitEmbeddingScore,
    NearestNeighbourScore,
    NoveltyRanking,
    RelativeMahalanobis,
    StandardisedScore,
    energy_score,
    entropy_score,
    known_probability,
    ledoit_wolf_shrinkage,
    load_embedding_score,
    max_softmax_score,
    scores_one_by_one,
)
from vision.evaluate.calibration_metrics import auroc_score

REPEATABLE = settings(deadline=None, derandomize=True, database=None, max_examples=50)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOGITS = npst.arrays(np.float64, (4, 3), elements=st.floats(-50, 50))


def vehicles(num: int, dims: int, classes: int = 3, seed: int = 0) -> tuple[Floats, Ints]:
    """Embeddings around class means that differ in a few directions."""
    generator = np.random.default_rng(seed)
    means = np.zeros((classes, dims))
    means[:, :classes] = 4 * np.eye(classes)
    class_indices = np.arange(num) % classes
    return means[class_indices] + generator.normal(0, 0.5, (num, dims)), class_indices


def unit(rows: Floats) -> Floats:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def relative_mahalanobis_by_hand(references: Floats, class_indices: Ints, queries: Floats) -> Floats:
    """The paper's formula with full covariances by scikit-learn and an explicit inverse."""
    rows, asked = unit(references), unit(queries)
    means = np.stack([rows[class_indices == c].mean(axis=0) for c in np.unique(class_indices)])
    within = LedoitWolf(assume_centered=True).fit(rows - means[class_indices]).covariance_
    background = LedoitWolf().fit(rows).covariance_

    def distance(mean: Floats, covariance: Floats) -> Floats:
        offsets = asked - mean
        return (offsets @ np.linalg.inv(covariance) * offsets).sum(axis=1)

    to_classes = np.min([distance(mean, within) for mean in means], axis=0)
    return to_classes - distance(rows.mean(axis=0), background)


def fitted_scores(dims: int = 20) -> list[EmbeddingScore]:
    rows, class_indices = vehicles(60, dims)
    return [
        NearestNeighbourScore.fit(rows, class_indices, k=3),
        NearestNeighbourScore.fit(rows, class_indices, max_rank=5, exact_up_to=0),
        RelativeMahalanobis.fit(rows, class_indices),
        RelativeMahalanobis.fit(rows, class_indices, max_rank=5),
        StandardisedScore.fit(RelativeMahalanobis.fit, rows, class_indices),
    ]


@REPEATABLE
@given(LOGITS)
def test_logit_scores_agree_with_scipy(logits: Floats) -> None:
    probabilities = scipy.special.softmax(logits, axis=1)
    np.testing.assert_allclose(max_softmax_score(logits), 1 - probabilities.max(axis=1), atol=1e-12)
    np.testing.assert_allclose(entropy_score(logits), scipy.stats.entropy(probabilities, axis=1), atol=1e-12)
    np.testing.assert_allclose(energy_score(logits), -scipy.special.logsumexp(logits, axis=1), rtol=1e-12, atol=1e-12)
    warm = -3 * scipy.special.logsumexp(logits / 3, axis=1)
    np.testing.assert_allclose(energy_score(logits, temperature=3), warm, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", sorted(LOGIT_SCORES))
def test_a_class_that_was_never_learnt_changes_no_logit_score(name: str) -> None:
    logits = np.random.default_rng(0).normal(size=(5, 3))
    wider = np.concatenate([logits, np.full((5, 1), -np.inf)], axis=1)
    np.testing.assert_allclose(LOGIT_SCORES[name](wider), LOGIT_SCORES[name](logits), rtol=1e-12)


@pytest.mark.parametrize("name", sorted(LOGIT_SCORES))
def test_an_undecided_picture_is_more_novel_than_a_sure_one(name: str) -> None:
    sure, undecided = LOGIT_SCORES[name](np.array([[9.0, 0.0, 0.0], [0.1, 0.0, 0.0]]))
    assert undecided > sure


@pytest.mark.parametrize("name", sorted(LOGIT_SCORES))
def test_huge_logits_give_finite_scores(name: str) -> None:
    assert np.isfinite(LOGIT_SCORES[name](np.array([[1e6, -1e6, 0.0], [1e6, 1e6, 1e6]]))).all()


@pytest.mark.parametrize("k", [1, 4, 60])
def test_neighbour_distances_agree_with_scikit_learn(k: int) -> None:
    rows, class_indices = vehicles(60, 20)
    queries = np.random.default_rng(1).normal(size=(15, 20))
    distances = NearestNeighbors(n_neighbors=k, metric="cosine").fit(rows).kneighbors(queries)[0]
    score = NearestNeighbourScore.fit(rows, class_indices, k=k).score(queries)
    np.testing.assert_allclose(score, distances[:, -1], atol=1e-6)


def test_neighbours_in_a_basis_of_all_directions_are_those_without_a_basis() -> None:
    rows, class_indices = vehicles(30, 50)
    queries = np.concatenate([rows[:5] + 0.1, np.random.default_rng(1).normal(size=(5, 50))])
    exact = NearestNeighbourScore.fit(rows, class_indices)
    in_basis = NearestNeighbourScore.fit(rows, class_indices, max_rank=30, exact_up_to=0)
    assert in_basis.basis.shape == (50, 30)
    np.testing.assert_allclose(in_basis.score(queries), exact.score(queries), atol=1e-6)


def test_fewer_references_than_neighbours_takes_the_last_one() -> None:
    score = NearestNeighbourScore.fit(np.eye(3)[:2], k=50)
    np.testing.assert_allclose(score.score(np.eye(3)), [1, 1, 1], atol=1e-7)
    assert score.k == 2


def test_a_reference_picture_itself_has_distance_nothing() -> None:
    rows, _ = vehicles(40, 30)
    np.testing.assert_allclose(NearestNeighbourScore.fit(rows).score(rows * 7), 0, atol=1e-6)


@pytest.mark.parametrize(("num", "dims"), [(90, 8), (40, 90)], ids=["more pictures", "more features"])
def test_relative_mahalanobis_is_the_formula_of_the_paper(num: int, dims: int) -> None:
    rows, class_indices = vehicles(num, dims)
    queries = np.concatenate([rows[:10], np.random.default_rng(2).normal(size=(10, dims))])
    score = RelativeMahalanobis.fit(rows, class_indices).score(queries)
    expected = relative_mahalanobis_by_hand(rows, class_indices, queries)
    np.testing.assert_allclose(score, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(("num", "dims"), [(50, 10), (10, 50)])
def test_shrinkage_is_that_of_scikit_learn(num: int, dims: int) -> None:
    rows = np.random.default_rng(3).normal(size=(num, dims)) * np.linspace(1, 3, dims)
    centred = rows - rows.mean(axis=0)
    assert ledoit_wolf_shrinkage(centred) == pytest.approx(LedoitWolf().fit(rows).shrinkage_, rel=1e-9)


def test_a_truncated_basis_orders_pictures_much_like_the_whole_one() -> None:
    generator = np.random.default_rng(4)
    falling = np.exp(-np.arange(120) / 10)  # as in embeddings of networks, few directions carry most
    class_indices = np.arange(400) % 5
    rows = (4 * generator.normal(size=(5, 120))[class_indices] + generator.normal(size=(400, 120))) * falling
    queries = np.concatenate([rows[:100], 3 * generator.normal(size=(100, 120)) * falling])
    exact = RelativeMahalanobis.fit(rows, class_indices, max_rank=None).score(queries)
    short = RelativeMahalanobis.fit(rows, class_indices, max_rank=60).score(queries)
    assert scipy.stats.spearmanr(exact, short).statistic > 0.95


@pytest.mark.parametrize("index", range(4))
def test_pictures_of_another_kind_are_more_novel(index: int) -> None:
    known, _ = vehicles(60, 20, seed=5)
    novel = np.random.default_rng(6).normal(0, 0.5, (60, 20))
    novel[:, 10] += 4
    score = fitted_scores()[index]
    assert auroc_score(score.score(known), score.score(novel)) > 0.95


@pytest.mark.parametrize("index", range(len(fitted_scores())))
def test_single_pictures_score_as_in_a_batch_but_for_rounding(index: int) -> None:
    """Of single precision, which processors and sizes of batches do differently: small beside the scores' spread."""
    score = fitted_scores()[index]
    queries = np.random.default_rng(7).normal(size=(300, 20))
    one_by_one = scores_one_by_one(score, queries)
    np.testing.assert_allclose(score.score(queries), one_by_one, rtol=1e-5, atol=1e-5 * one_by_one.std())
    assert score.score(queries[:0]).shape == (0,)


@pytest.mark.parametrize("index", range(len(fitted_scores())))
def test_ranks_of_a_batch_are_those_of_its_pictures_alone(index: int) -> None:
    score, queries = fitted_scores()[index], np.random.default_rng(7).normal(size=(300, 20))
    # The queries themselves are the known pictures: a last bit that differs moves a rank.
    known = scores_one_by_one(score, queries)
    ranking = NoveltyRanking.of("any", [score], known, np.zeros(300, dtype=np.int64))
    ranks = ranking.ranks(np.empty((300, 2)), queries)
    np.testing.assert_array_equal(ranks, [ranking.rank(np.empty(2), row) for row in queries])
    np.testing.assert_array_equal(np.sort(ranks), np.arange(300) / 301)


@pytest.mark.parametrize("index", range(len(fitted_scores())))
def test_a_score_survives_an_npz_without_pickles(index: int, tmp_path: Path) -> None:
    score = fitted_scores()[index]
    np.savez(tmp_path / "score.npz", **score.to_arrays())
    with np.load(tmp_path / "score.npz", allow_pickle=False) as arrays:
        loaded = load_embedding_score(dict(arrays))
    queries = np.random.default_rng(8).normal(size=(9, 20))
    assert type(loaded) is type(score)
    np.testing.assert_array_equal(loaded.score(queries), score.score(queries))


def test_arrays_of_no_known_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="kind 'gram'"):
        load_embedding_score({"kind": np.array("gram")})


@pytest.mark.parametrize("index", range(4))
def test_the_length_of_an_embedding_does_not_matter(index: int) -> None:
    score = fitted_scores()[index]
    queries = np.random.default_rng(9).normal(size=(9, 20))
    np.testing.assert_allclose(score.score(1000 * queries), score.score(queries), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rows", [np.ones((4, 6)), np.eye(6)[:4], np.zeros((4, 6))], ids=["same", "lone", "zero"])
def test_references_without_variation_within_classes_give_finite_scores(rows: Floats) -> None:
    queries = np.concatenate([np.eye(6), np.zeros((1, 6)), np.ones((1, 6))])
    for score in (NearestNeighbourScore.fit(rows), RelativeMahalanobis.fit(rows, np.arange(4))):
        assert np.isfinite(score.score(queries)).all()


def test_a_standardised_score_is_that_of_standardised_embeddings_and_ignores_what_never_varied() -> None:
    rows, class_indices = vehicles(60, 20)
    rows[:, 3] = 5.0
    standardised = (rows - rows.mean(axis=0)) / np.where(rows.std(axis=0) > 1e-9, rows.std(axis=0), 1)
    score = StandardisedScore.fit(NearestNeighbourScore.fit, rows[:50], class_indices[:50])
    moved = rows[50:] + 1e-3 * np.eye(20)[3]
    np.testing.assert_allclose(score.score(moved), score.score(rows[50:]), atol=1e-4)
    whole = StandardisedScore.fit(NearestNeighbourScore.fit, rows, class_indices)
    np.testing.assert_allclose(
        whole.score(rows + 1), NearestNeighbourScore.fit(standardised).score(standardised + 1 / whole.scale)
    )


def test_ranks_count_known_pictures_that_are_less_novel_fold_by_fold() -> None:
    first, second = NearestNeighbourScore.fit(np.eye(3)[:1]), NearestNeighbourScore.fit(np.eye(3)[1:2])
    ranking = NoveltyRanking.of("neighbour", [first, second], np.array([0.5, 2.0, 0.1, 0.2]), np.array([1, 0, 0, 0]))
    assert [known.tolist() for known in ranking.known] == [[0.1, 0.2, 2.0], [0.5]]
    # Distance 1 from the first, 0 from the second, and the other way round.
    ranks = ranking.ranks(np.empty((3, 2)), np.eye(3)[[1, 0, 2]])
    np.testing.assert_allclose(ranks, [2 / 5, 1 / 5, 3 / 5])
    np.testing.assert_allclose(ranking.mean_scores(np.empty((3, 2)), np.eye(3)[[1, 0, 2]]), [0.5, 0.5, 1])


def test_ranks_by_logits_need_no_fitted_score() -> None:
    known = np.array([[9.0, 0.0], [1.0, 0.0]])
    ranking = NoveltyRanking.of("energy", [], energy_score(known), np.zeros(2, dtype=np.int64))
    np.testing.assert_allclose(
        ranking.ranks(np.array([[10.0, 0], [5, 0], [0, 0]]), np.empty((3, 0))), [0, 1 / 3, 2 / 3]
    )


@REPEATABLE
@given(st.floats(0, 0.99), st.floats(1, 50))
def test_a_more_novel_picture_is_never_more_probably_known(share: float, exponent: float) -> None:
    known = known_probability(np.linspace(0, 1, 50), share, exponent)
    assert (np.diff(known) <= 0).all()
    assert ((known > 0) & (known <= 1)).all()


def test_the_probability_of_a_known_class_is_bayes_rule() -> None:
    """Of 90 known and 10 other pictures: at rank 0.5, densities 1 and 3 * 0.25."""
    np.testing.assert_allclose(known_probability(np.array([0.5]), 0.1, 3.0), 90 / (90 + 10 * 0.75))
    generator = np.random.default_rng(11)
    ranks = np.concatenate([generator.random(90_000), generator.random(10_000) ** (1 / 3)])
    is_near = abs(ranks - 0.8) < 0.02
    share = (np.flatnonzero(is_near) < 90_000).mean()
    assert known_probability(np.array([0.8]), 0.1, 3.0)[0] == pytest.approx(share, abs=0.01)


def test_without_a_rank_or_information_the_stated_share_remains() -> None:
    np.testing.assert_array_equal(known_probability(np.array([np.nan, 0.9]), 0.0, 4.0), [1, 1])
    np.testing.assert_allclose(known_probability(np.array([0.0, 0.9]), 0.2, 1.0), [0.8, 0.8])
    np.testing.assert_allclose(known_probability(np.array([np.nan]), 0.2, 4.0), [0.8])


@pytest.mark.parametrize(("rows", "message"), [(np.empty((0, 3)), "at least one"), (np.full((2, 3), np.nan), "finite")])
def test_references_that_cannot_be_used_are_refused(rows: Floats, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NearestNeighbourScore.fit(rows)
    with pytest.raises(ValueError, match=message):
        RelativeMahalanobis.fit(rows, np.zeros(len(rows), dtype=np.int64))


@REPEATABLE
@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(2, 30))
def test_scores_do_not_depend_on_the_order_of_references(seed: int, num: int, dims: int) -> None:
    generator = np.random.default_rng(seed)
    rows, class_indices = generator.normal(size=(num, dims)), generator.integers(2, size=num)
    order = generator.permutation(num)
    queries = generator.normal(size=(4, dims))
    for cls in (NearestNeighbourScore, RelativeMahalanobis):
        first = cls.fit(rows, class_indices).score(queries)
        again = cls.fit(rows[order], class_indices[order]).score(queries)
        np.testing.assert_allclose(again, first, rtol=1e-4, atol=1e-5 * (1 + np.abs(first).max()))


@pytest.mark.parametrize("fit", [NearestNeighbourScore.fit, RelativeMahalanobis.fit])
def test_only_an_array_that_is_given_away_is_overwritten(fit: FitEmbeddingScore) -> None:
    rows, class_indices = vehicles(60, 8)
    kept = rows.copy()
    first = fit(rows, class_indices)
    np.testing.assert_array_equal(rows, kept)
    second = fit(rows, class_indices, overwrite=True)
    np.testing.assert_array_equal(second.score(kept), first.score(kept))


@pytest.mark.parametrize(
    ("most", "fit"),
    [
        (1.5, partial(NearestNeighbourScore.fit, max_rank=16, exact_up_to=0)),
        (0.5, partial(NearestNeighbourScore.fit, max_rank=16, exact_up_to=0, overwrite=True)),
        (2.5, partial(RelativeMahalanobis.fit, max_rank=16)),
        (1.5, partial(RelativeMahalanobis.fit, max_rank=16, overwrite=True)),
    ],
    ids=["nearest_neighbour", "nearest_neighbour in place", "relative_mahalanobis", "relative_mahalanobis in place"],
)
def test_fitting_many_references_holds_few_matrices_of_their_size(
    most: float, fit: Callable[[Floats, Ints], EmbeddingScore]
) -> None:
    rows, class_indices = vehicles(8000, 128)
    tracemalloc.start()
    fit(rows, class_indices)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < most * rows.nbytes


def test_classifying_needs_neither_scipy_nor_scikit_learn() -> None:
    modules = "vision.classify.novelty, vision.classify.label_sets, vision.classify.roll_up"
    code = f"import {modules}, sys; print([m for m in ('scipy', 'sklearn', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
