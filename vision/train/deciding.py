"""What a bundle needs to decide: fitted on the calibration split, or on out-of-fold predictions where there is none.

N training pictures, M known pictures that the model was not fitted on, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.bundle import DecisionInfo, KnownPictures, LabelSets
from vision.classify.decision import (
    DecisionRules,
    Promise,
    as_percent,
    calibrated_probabilities,
    fit_threshold,
    promise_of,
)
from vision.classify.label_sets import fit_label_sets
from vision.classify.novelty import LOGIT_SCORES, NoveltyRanking, known_probability_of_one, scores_one_by_one
from vision.classify.roll_up import NO_THRESHOLD
from vision.config import DecideSettings
from vision.train.decision_fitting import (
    EMBEDDING_SCORES,
    MOST_UNKNOWN,
    HeldOutNovelty,
    JudgedClass,
    NoveltyTrial,
    choose_calibration,
    choose_novelty_score,
    held_out_novelty,
    judge_scores,
    novelty_trials,
    rows_of_other_groups,
)
from vision.train.folds import group_folds
from vision.train.probe import LinearProbe, fit_probe, held_out_logits
from vision.train.training_set import PreparedRun, TrainingSet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DEFAULT_SCORE = "nearest_neighbour"
_NUM_FOLDS = 5
_FOLDS_A_LEFT_OUT_CLASS = 2
_MOST_IN_TRIALS = 2000


@dataclass(frozen=True)
class FittedDecision:
    """What goes into the bundle.

    Attributes:
        info: Into `bundle.json`.
        known: What thresholds were fitted on.
        ranking: Novelty among these.
        novelty_trials: How well each score told left-out classes, best first.
        nll_before: Mean negative log-likelihood of held-out groups without calibration.
        nll_after: With the chosen calibration.
    """

    info: DecisionInfo
    known: KnownPictures
    ranking: NoveltyRanking
    novelty_trials: list[NoveltyTrial]
    nll_before: float
    nll_after: float

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Into `reference.npz`."""
        of_scores = {
            f"novelty_{fold}_{key}": array
            for fold, score in enumerate(self.ranking.scores)
            for key, array in score.to_arrays().items()
        }
        of_known = {f"known_{field.name}": getattr(self.known, field.name) for field in fields(self.known)}
        return of_scores | {name: array for name, array in of_known.items() if array is not None}

    def in_words(self, settings: DecideSettings) -> list[str]:
        """What whoever trains should know of the answers, a line each.

        Args:
            settings: What was asked for.
        """
        lines = self._novelty_in_words()
        of = "the worst left-out class" if settings.confident_wrong_of == "worst" else "left-out classes in the mean"
        if self.info.unknown_share > settings.unknown_share:
            most = known_probability_of_one(0.5, self.info.unknown_share, self.info.novelty_exponent)
            less = "; decide.confident_wrong_of: mean asks for less" if settings.confident_wrong_of == "worst" else ""
            lines.append(
                f"answers allow for {as_percent(self.info.unknown_share)} unknown classes, not "
                f"{as_percent(settings.unknown_share)}, so that fewer pictures of {of} get a wrong name with 90 % or "
                f"more ({as_percent(settings.confident_wrong)} at most). So a known picture of middling novelty gets "
                f"{as_percent(most)} at most{less}"
            )
        left = self._share_named(settings)
        if left > settings.confident_wrong and settings.unknown_share > 0:
            lines.append(
                f"{as_percent(left)} of the pictures of {of} still get a wrong name with 90 % or more: they look like "
                f"training pictures of other classes, and beyond {as_percent(MOST_UNKNOWN)} no more caution is sought"
            )
        if not self.info.may_promise:
            lines.append("without a calibration split nothing is promised: the network has learnt from every picture")
        lines.append(f"answers: {self.promise}")
        return lines

    def _novelty_in_words(self) -> list[str]:
        """Which score was chosen and how narrowly; nothing where no class could be left out."""
        if len(self.novelty_trials) < 2:
            return []
        first, second = self.novelty_trials[:2]
        lead = first.lead_over(second)
        line = (
            f"novelty by {first.name}: AUROC {first.mean_auroc:.3f} on left-out classes, {lead.value:.3f} above "
            f"{second.name}"
        )
        if np.isfinite(lead.low):
            luck = "" if lead.low > 0 else ", which may be luck"
            line += f" ({lead.low:.3f} to {lead.high:.3f} over classes{luck})"
        return [line]

    def _share_named(self, settings: DecideSettings) -> float:
        """Of left-out pictures that still get a wrong name with confidence; 0 if no class could be left out."""
        if not self.novelty_trials:
            return 0.0
        chosen = self.novelty_trials[0]
        return chosen.share_named(self.info.unknown_share, self.info.false_alarms, of=settings.confident_wrong_of)

    @property
    def promise(self) -> Promise:
        """What the threshold promises."""
        return Promise(
            self.info.target_accuracy,
            self.info.confidence,
            self.info.is_promised,
            self.info.bound,
            self.info.bound_by_groups,
        )


def _novelty_trials(
    features: NDArray[np.float32], training: TrainingSet, num_classes: int, strength: float, seed: int
) -> list[NoveltyTrial]:
    """How well each novelty score tells classes that are left out, on a sample where there are very many pictures."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(features))[:_MOST_IN_TRIALS])
    sample, truth = features[rows], training.class_indices[rows]

    def refit(train: Ints) -> Floats:
        return fit_probe(sample[train], truth[train], num_classes, strength).logits(sample)

    groups = [training.groups[row] for row in rows]
    return choose_novelty_score(sample, refit, truth, groups, num_folds=_FOLDS_A_LEFT_OUT_CLASS, seed=seed)


TuneFold = Callable[[LinearProbe, Ints, Ints], tuple[Floats, Floats, Floats]]
"""Tunes a network from a probe on training rows; logits (H, K) of the rows asked, embeddings of these and of the
training rows."""


def tuned_novelty_trials(
    training: TrainingSet,
    features: NDArray[np.float32],
    num_classes: int,
    strength: float,
    tune: TuneFold,
    *,
    num_tunings: int,
    seed: int,
) -> list[NoveltyTrial]:
    """How well each novelty score tells left-out classes on networks that were tuned without them, best first.

    The classes are dealt out, and a network is tuned without each lot, on two thirds of the other classes' groups.

    Args:
        training: N pictures.
        features: (N, D) before tuning.
        num_classes: K.
        strength: Of the probes that tuning starts from.
        tune: Fine-tuning.
        num_tunings: Lots of classes.
        seed: Of the lots and the groups.
    """
    truth = training.class_indices
    judged: dict[int, list[JudgedClass]] = {}
    classes = np.random.default_rng(seed).permutation(np.unique(truth))
    for lot in np.array_split(classes, num_tunings):
        others = np.flatnonzero(~np.isin(truth, lot))
        folds = group_folds(truth[others], [training.groups[row] for row in others.tolist()], 3, seed)
        if not folds or len(lot) == 0:
            continue
        train, known = (others[rows] for rows in folds[0])
        if len(np.unique(truth[train])) < 2:
            continue  # a network of one class is sure of everything
        novel = rows_of_other_groups(np.flatnonzero(np.isin(truth, lot)), train, training.groups)
        probe = fit_probe(features[train], truth[train], num_classes, strength)
        logits, asked, references = tune(probe, train, np.concatenate([known, novel]))
        of_known, of_novel = asked[: len(known)], asked[len(known) :]
        for class_index in np.intersect1d(lot, truth[novel]).tolist():
            is_it = truth[novel] == class_index
            found = judge_scores(
                (references, truth[train]),
                (of_known, logits[: len(known)], truth[known]),
                (of_novel[is_it], logits[len(known) :][is_it]),
            )
            judged[class_index] = [found]
    return novelty_trials(judged, num_classes)


def fit_decision(
    prepared: PreparedRun,
    probe: LinearProbe,
    strength: float,
    of_training: NDArray[np.float32],
    of_calibration: NDArray[np.float32],
    *,
    untuned: NDArray[np.float32] | None = None,
    tuned_trials: Sequence[NoveltyTrial] = (),
) -> FittedDecision:
    """Calibration, novelty score, roll-up threshold and label sets; never sees the test or the novel split.

    Args:
        prepared: The run's data and settings.
        probe: The classifier of the bundle.
        strength: Of the regressions that leave out a class or a fold.
        of_training: (N, D).
        of_calibration: (M, D); without rows, out-of-fold predictions of the training pictures serve.
        untuned: (N, D') of the network before fine-tuning, if there was any: a tuned network has seen the classes that
            are left out in turn to choose the novelty score, and would seem to know better.
        tuned_trials: Of `tuned_novelty_trials`; they choose the score where there are some.
    """
    settings, training, seed = prepared.config.decide, prepared.training, prepared.config.seed
    truth, num_classes = training.class_indices, len(prepared.classes)
    trials = list(tuned_trials)
    if not trials:
        trials = _novelty_trials(of_training if untuned is None else untuned, training, num_classes, strength, seed)
    name, exponent, unknown_share = DEFAULT_SCORE, 1.0, settings.unknown_share
    if trials:
        name, exponent = trials[0].name, trials[0].exponent
        unknown_share = trials[0].least_unknown_share(
            unknown_share, settings.confident_wrong, settings.false_alarms, of=settings.confident_wrong_of
        )
    if len(of_calibration):
        pictures, logits, fitted_on = prepared.calibration, probe.logits(of_calibration), "calibration split"
        novelty = _novelty_by_one_fit(name, probe, (of_training, truth), (of_calibration, logits))
    else:
        pictures, fitted_on = training, "out-of-fold predictions of the training split"
        if untuned is not None:
            fitted_on += ", on features that the network learnt from the same pictures"
        folds = group_folds(truth, training.groups, _NUM_FOLDS, seed)
        logits, _ = held_out_logits(of_training, truth, folds, num_classes, strength)
        novelty = held_out_novelty(name, logits, probe.standardised(of_training), truth, folds)
    choice = choose_calibration(logits, pictures.class_indices, pictures.groups, seed=seed)
    calibrated = np.maximum(choice.calibration.calibrated_logits(logits), -1e3)
    known = _known_pictures(calibrated_probabilities(calibrated, 1.0), pictures, novelty)
    rules = DecisionRules(
        prepared.taxonomy,
        prepared.classes,
        settings.false_alarms,
        NO_THRESHOLD,
        None,
        settings.costs == "taxonomy",
        unknown_share,
        exponent,
        settings.unknown_cost,
        name,
    )
    promises = {"target_accuracy": settings.target_accuracy, "confidence": settings.confidence}
    threshold = fit_threshold(known, rules, **promises)
    promise = promise_of(known, rules, threshold, **promises)
    may_promise = len(of_calibration) > 0 or untuned is None
    sets = fit_label_sets(
        known.probabilities,
        pictures.class_indices,
        [image.sha256 for image in pictures.images],
        coverage=settings.coverage,
        seed=seed,
        class_conditional=settings.class_conditional,
    )
    info = DecisionInfo(
        calibration_method=choice.calibration.method,
        scale=tuple(choice.calibration.scale.tolist()),
        bias=tuple(choice.calibration.bias.tolist()),
        novelty_score=name,
        novelty_exponent=exponent,
        unknown_share=unknown_share,
        false_alarms=settings.false_alarms,
        target_accuracy=settings.target_accuracy,
        confidence=settings.confidence,
        roll_up_threshold=threshold.value,
        is_promised=threshold.is_promised and may_promise,
        bound=promise.bound,
        bound_by_groups=promise.by_groups,
        may_promise=may_promise,
        costs=settings.costs,
        unknown_cost=settings.unknown_cost,
        label_sets=LabelSets(**asdict(sets)),
        class_conditional=settings.class_conditional,
        fitted_on=fitted_on,
        num_images=len(pictures.images),
    )
    ranking = NoveltyRanking.of(name, novelty.fitted, known.novelty_scores, known.novelty_folds)
    after = choice.nll_vector if choice.calibration.method == "vector" else choice.nll_temperature
    return FittedDecision(info, known, ranking, trials, choice.nll_before, after)


def _novelty_by_one_fit(
    name: str,
    probe: LinearProbe,
    references: tuple[NDArray[np.float32], Ints],
    asked: tuple[NDArray[np.float32], Floats],
) -> HeldOutNovelty:
    """Novelty of held-out pictures, features (M, D) and logits (M, K), by the score on references (N, D), (N,)."""
    numbers = np.zeros(len(asked[0]), dtype=np.int64)
    if name in LOGIT_SCORES:
        return HeldOutNovelty(LOGIT_SCORES[name](asked[1]), numbers, ())
    fitted = EMBEDDING_SCORES[name](probe.standardised(references[0]), references[1], overwrite=True)
    return HeldOutNovelty(scores_one_by_one(fitted, probe.standardised(asked[0])), numbers, (fitted,))


def _known_pictures(probabilities: Floats, pictures: TrainingSet, novelty: HeldOutNovelty) -> KnownPictures:
    class_indices = pictures.class_indices
    is_learnt = probabilities[np.arange(len(class_indices)), class_indices] > 0
    known = replace(novelty, scores=np.where(is_learnt, novelty.scores, np.nan))
    ascending = np.argsort(known.scores)[: int(np.isfinite(known.scores).sum())]  # NaN comes last
    return KnownPictures(
        probabilities,
        class_indices,
        known.scores[ascending],
        known.folds[ascending],
        known.ranks,
        np.array([image.sha256 for image in pictures.images], dtype=np.str_),
        np.unique(np.asarray(pictures.groups, dtype=np.str_), return_inverse=True)[1].astype(np.int64),
    )
