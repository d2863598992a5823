"""What a model would have said of each class if it had never been shown it: figures of the trials with one left out.

N pictures of the left-out class, M known pictures, G groups, S novelty scores, F figures, T trials.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import vision
from vision.evaluate.calibration_metrics import auroc_score, false_positive_rate
from vision.evaluate.metrics import CONFIDENCE, Interval
from vision.evaluate.novel import CONFIDENT
from vision.evaluate.parts import Figure, FigureWithInterval, Part
from vision.predictions import Prediction
from vision.taxonomy import Taxonomy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OURS = "ours"
BASELINES = ("max_softmax", "energy", "entropy")
SCORES = (OURS, *BASELINES)

_SHARES = (
    "unknown",
    "right_family",
    "right_role",
    "wrong_above",
    "wrong_class",
    "confident_wrong_class",
    "softmax_confident",
    "danger",
)
_OF_KNOWN = ("known_answered", "known_right", "known_unknown")
MEANS = (*_SHARES, *_OF_KNOWN, *(f"auroc_{s}" for s in SCORES), *(f"false_positive_rate_{s}" for s in SCORES))
"""The figures of a class that are averaged over classes."""


@dataclass(frozen=True)
class AskedPictures:
    """Pictures that a model was asked about.

    Attributes:
        predictions: N answers.
        true_labels: N class ids.
        groups: N names.
        softmax: (N,) largest probability of the plain softmax, without calibration.
    """

    predictions: list[Prediction]
    true_labels: list[str]
    groups: list[str]
    softmax: Floats


@dataclass(frozen=True)
class ScoreComparison:
    """Novelty of known and of left-out pictures by scores of one and the same model, a row for each of `SCORES`.

    Attributes:
        known_rows: (R,) which of the known pictures.
        of_known: (S, R).
        of_novel: (S, N).
    """

    known_rows: Ints
    of_known: Floats
    of_novel: Floats


@dataclass(frozen=True)
class LeftOutTrial:
    """One class left out: what the model that never saw it answers.

    Attributes:
        class_id: The class.
        novelty_score: Name of the score that leaving out further classes chose.
        novel: All pictures of the class.
        known: Pictures of the other classes on which the model was not fitted.
        comparisons: One for the test split, or one a fold, whose figures are averaged: scores of models that were
            fitted on different pictures are not comparable.
    """

    class_id: str
    novelty_score: str
    novel: AskedPictures
    known: AskedPictures
    comparisons: list[ScoreComparison]


class LeftOutClass(Part):
    """Answers for the pictures of a class by a model that never saw it. Shares are of all its pictures.

    Attributes:
        class_id: The class.
        num_images: Its pictures.
        called: The class that was named most often, if any was.
        num_called: How often.
        called_confidence: Mean probability of that name.
        look_alike: The class that is most probable most often: what a closed set would have answered.
        look_alike_share: How often.
        cues: What separates the two, if the taxonomy lists them as look-alikes.
        novelty_score: The score that was chosen without this class.
        unknown: Answered "unknown".
        right_family: Answered with its family.
        right_role: Answered with its role.
        wrong_above: Answered with another family or role.
        wrong_class: Answered with a class, which must be wrong.
        confident_wrong_class: Of these, with a probability of 90 % or more.
        softmax_confident: The largest probability of the plain softmax is 90 % or more.
        danger: Mean cost of the classes that were named with 90 % or more, other answers costing nothing. By the
            taxonomy's costs: without stated ones 1 within the family, 2 within the role, 3 otherwise.
        mean_confidence: Of the wrong class names.
        median_confidence: Of the wrong class names.
        known_answered: Share of known pictures answered with a class, family or role.
        known_right: Share of these answers that are right.
        known_unknown: Share of known pictures answered "unknown".
        auroc: Of each novelty score: chance that a picture of the class is more novel than a known one.
        false_positive_rate: Share of known pictures flagged when 95 % of the class are.
    """

    class_id: str
    num_images: int
    called: str | None
    num_called: int
    called_confidence: Figure
    look_alike: str
    look_alike_share: float
    cues: tuple[str, ...]
    novelty_score: str
    unknown: float
    right_family: float
    right_role: float
    wrong_above: float
    wrong_class: float
    confident_wrong_class: float
    softmax_confident: float
    danger: float
    mean_confidence: Figure
    median_confidence: Figure
    known_answered: Figure
    known_right: Figure
    known_unknown: Figure
    auroc: dict[str, Figure]
    false_positive_rate: dict[str, Figure]


class LeftOut(Part):
    """The content of `left_out.json`.

    Attributes:
        schema_version: Of this layout.
        created_by: Program and version.
        title: What was trained.
        known_pictures: Which pictures stand for the known ones.
        classes: Most dangerous first.
        means: Over classes, by the names of `MEANS`.
        best_baseline: The baseline with the largest mean AUROC on these same classes, which flatters it.
        gain: AUROC of our score less that baseline's, in pairs, mean over classes.
        num_replicates: Of the bootstrap, which draws classes and groups independently of each other with replacement.
        seed: Of the bootstrap.
    """

    schema_version: Literal[1] = 1
    created_by: str
    title: str
    known_pictures: str
    classes: tuple[LeftOutClass, ...]
    means: dict[str, FigureWithInterval]
    best_baseline: str
    gain: FigureWithInterval
    num_replicates: int
    seed: int


def left_out_figures(
    trials: Sequence[LeftOutTrial],
    taxonomy: Taxonomy,
    *,
    title: str,
    known_pictures: str,
    num_replicates: int = 1000,
    seed: int = 0,
) -> LeftOut:
    """Figures of every left-out class, most dangerous first, and their means.

    The intervals are of the pigeonhole bootstrap (Owen 2007, arXiv 0712.1111): classes and groups are drawn with
    replacement independently, a picture counts as often as the two counts multiplied. Groups are the same for all
    classes in a draw, as a place or a photographer may show several. It errs towards wide intervals.

    Args:
        trials: One a class.
        taxonomy: Families, roles, costs, look-alikes.
        title: What was trained.
        known_pictures: Which pictures stand for the known ones, in words.
        num_replicates: Of the bootstrap.
        seed: Of the bootstrap.
    """
    names = sorted({group for trial in trials for asked in (trial.novel, trial.known) for group in asked.groups})
    index = {name: position for position, name in enumerate(names)}
    samples = [_Sample.of(trial, taxonomy, index) for trial in trials]
    values = np.stack([sample.figures(np.ones(len(names), dtype=np.int64)) for sample in samples])  # (T, F)
    means = _nan_mean(values)
    replicates = _replicates(samples, len(names), num_replicates, seed)  # (B, F)
    place = {name: position for position, name in enumerate(MEANS)}
    best = max(BASELINES, key=lambda name: means[place[f"auroc_{name}"]])
    first, second = place[f"auroc_{OURS}"], place[f"auroc_{best}"]
    classes = [_class_figures(trial, row, taxonomy) for trial, row in zip(trials, values, strict=True)]
    return LeftOut(
        created_by=f"vision {vision.__version__}",
        title=title,
        known_pictures=known_pictures,
        classes=tuple(sorted(classes, key=lambda c: (-c.danger, -c.wrong_class, c.class_id))),
        means={name: _with_interval(means[at], replicates[:, at]) for name, at in place.items()},
        best_baseline=best,
        gain=_with_interval(means[first] - means[second], replicates[:, first] - replicates[:, second]),
        num_replicates=num_replicates,
        seed=seed,
    )


@dataclass(frozen=True)
class _Sample:
    """A trial as arrays.

    Attributes:
        of_novel: (N, len(_SHARES)) what each picture adds to each share.
        is_answered: (M,) known pictures with a class, family or role as answer.
        is_right: (M,) where that answer is right.
        is_unknown: (M,) known pictures answered "unknown".
        comparisons: Of the trial.
        group_indices: (N,) and (M,).
    """

    of_novel: Floats
    is_answered: Floats
    is_right: Floats
    is_unknown: Floats
    comparisons: list[ScoreComparison]
    group_indices: tuple[Ints, Ints]

    @classmethod
    def of(cls, trial: LeftOutTrial, taxonomy: Taxonomy, group_index: Mapping[str, int]) -> _Sample:
        novel, known = trial.novel, trial.known
        rows = zip(novel.predictions, novel.softmax.tolist(), strict=True)
        of_novel = [_shares_of(row, softmax, trial.class_id, taxonomy) for row, softmax in rows]
        answered = [row.level in ("class", "family", "role") for row in known.predictions]
        lineages = [(t, taxonomy.family_id(t), taxonomy.role_id(t)) for t in known.true_labels]
        right = [row.label in lineage for row, lineage in zip(known.predictions, lineages, strict=True)]
        unknown = [row.level == "unknown" for row in known.predictions]
        is_answered, is_right, is_unknown = np.array([answered, right, unknown], dtype=np.float64)
        return cls(
            np.array(of_novel, dtype=np.float64).reshape(-1, len(_SHARES)),
            is_answered,
            is_right,
            is_unknown,
            trial.comparisons,
            (_indices(novel.groups, group_index), _indices(known.groups, group_index)),
        )

    def figures(self, group_counts: Ints) -> Floats:
        """(F,) in the order of `MEANS`, with every picture as often as its group counts (G,)."""
        novel, known = (np.repeat(np.arange(len(g)), group_counts[g]) for g in self.group_indices)
        shares = _nan_mean(self.of_novel[novel])
        answered = self.is_answered[known]
        of_known = [
            _nan_mean(answered),
            _nan_mean(self.is_right[known][answered > 0]),
            _nan_mean(self.is_unknown[known]),
        ]
        judged = _nan_mean(np.stack([self._judged(comparison, group_counts) for comparison in self.comparisons]))
        return np.concatenate([shares, np.ravel(of_known), judged])

    def _judged(self, comparison: ScoreComparison, group_counts: Ints) -> Floats:
        """AUROC of each score, then false-positive rates, (2 S,)."""
        of_novel, of_known = self.group_indices
        novel = np.repeat(comparison.of_novel, group_counts[of_novel], axis=1)
        known = np.repeat(comparison.of_known, group_counts[of_known[comparison.known_rows]], axis=1)
        pairs = list(zip(known, novel, strict=True))
        return np.array([judge(*pair) for judge in (auroc_score, false_positive_rate) for pair in pairs])


def _shares_of(row: Prediction, softmax: float, class_id: str, taxonomy: Taxonomy) -> list[float]:
    """What one picture of the left-out class adds to each of `_SHARES`."""
    is_class, is_above = row.level == "class", row.level in ("family", "role")
    is_family, is_role = row.label == taxonomy.family_id(class_id), row.label == taxonomy.role_id(class_id)
    is_sure = is_class and (row.probability or 0) >= CONFIDENT
    cost = float(taxonomy.cost_matrix((class_id, row.label))[0, 1]) if is_sure else 0.0
    is_wrong_above = is_above and not (is_family or is_role)
    flags = (row.level == "unknown", is_family, is_role, is_wrong_above, is_class, is_sure, softmax >= CONFIDENT)
    return [*map(float, flags), cost]


def _class_figures(trial: LeftOutTrial, values: Floats, taxonomy: Taxonomy) -> LeftOutClass:
    figures = dict(zip(MEANS, values.tolist(), strict=True))
    rows = trial.novel.predictions
    wrong = [row for row in rows if row.level == "class"]
    confidences = np.array([row.probability for row in wrong], dtype=np.float64)
    called = Counter(row.label for row in wrong).most_common(1)
    of_called = [row.probability for row in wrong if called and row.label == called[0][0]]
    ((look_alike, num_alike),) = Counter(row.top[0].class_id for row in rows).most_common(1)
    return LeftOutClass(
        class_id=trial.class_id,
        num_images=len(rows),
        called=called[0][0] if called else None,
        num_called=called[0][1] if called else 0,
        called_confidence=float(_nan_mean(np.array(of_called, dtype=np.float64))),
        look_alike=look_alike,
        look_alike_share=num_alike / len(rows),
        cues=tuple(str(cue) for cue in taxonomy.separating_cues(trial.class_id, look_alike)),
        novelty_score=trial.novelty_score,
        mean_confidence=float(_nan_mean(confidences)),
        median_confidence=float(np.median(confidences)) if wrong else None,
        auroc={name: figures[f"auroc_{name}"] for name in SCORES},
        false_positive_rate={name: figures[f"false_positive_rate_{name}"] for name in SCORES},
        **{name: figures[name] for name in (*_SHARES, *_OF_KNOWN)},
    )


def _replicates(samples: Sequence[_Sample], num_groups: int, num_replicates: int, seed: int) -> Floats:
    """Means over drawn classes with drawn groups, (B, F)."""
    generator = np.random.default_rng(seed)
    replicates = np.empty((num_replicates, len(MEANS)))
    for replicate in range(num_replicates):
        counts = np.bincount(generator.integers(num_groups, size=num_groups), minlength=num_groups)
        drawn, times = np.unique(generator.integers(len(samples), size=len(samples)), return_counts=True)
        figures = np.stack([samples[position].figures(counts) for position in drawn])
        replicates[replicate] = _nan_mean(np.repeat(figures, times, axis=0))
    return replicates


def _with_interval(value: float, replicates: Floats) -> FigureWithInterval:
    finite = replicates[np.isfinite(replicates)]
    low, high = np.quantile(finite, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) if len(finite) else (np.nan, np.nan)
    return FigureWithInterval.of(Interval(float(value), float(low), float(high)))


def _nan_mean(values: Floats) -> Floats:
    """Mean over the first axis of what is known; NaN, without a warning, where nothing is."""
    known = np.isfinite(values)
    totals, counts = np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0)
    return np.asarray(np.divide(totals, counts, out=np.full(np.shape(totals), np.nan), where=counts > 0))


def _indices(groups: Sequence[str], index: Mapping[str, int]) -> Ints:
    return np.array([index[group] for group in groups], dtype=np.int64)
