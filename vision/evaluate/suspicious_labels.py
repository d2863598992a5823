"""Labels that may be wrong, by confident learning (Northcutt et al. 2021, arXiv 1911.00068).

N pictures, K classes. The probabilities must come from a model that was not trained on these labels: of test pictures,
or out of fold. The steps are those of the library cleanlab 2.9 (`find_label_issues`, `filter_by="both"`), whose
figures the tests have; where rounding could go either way, that library's sort decides, here the order of classes.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vision.evaluate.confidence import class_probabilities
from vision.evaluate.parts import Part

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_ROUNDING = 1e-6  # differences of probabilities below this are none; as in cleanlab
_MIN_KEPT = 1  # of every class at least so many labels are believed


class SuspiciousLabel(Part):
    """A picture whose label may be wrong.

    Attributes:
        file_name: The picture.
        given: Its label.
        suggested: The most probable class.
        self_confidence: Probability of the label given, in [0, 1].
        margin: That minus the probability of the class suggested, in [-1, 0].
    """

    file_name: str
    given: str
    suggested: str
    self_confidence: float
    margin: float


class SuspiciousLabelFigures(Part):
    """What was looked at, and what was found.

    Attributes:
        num_images: Pictures with an answer whose label is a class of the model.
        labels: Suspicious ones, least believable first.
    """

    num_images: int
    labels: tuple[SuspiciousLabel, ...]


def suspicious_labels(table: pl.DataFrame) -> SuspiciousLabelFigures | None:
    """Labels of the rows that may be wrong; None if a row lists only some classes, or none has a known label.

    Args:
        table: Prediction rows with `true_label`, of pictures that the model was not trained on.
    """
    if "top" not in table.columns:
        return None
    listed = table["top"].explode().drop_nulls()
    class_ids = listed.struct.field("class_id").unique().sort()
    known = pl.col("true_label").is_in(class_ids.implode())
    judged = table.filter((pl.col("top").list.len() > 0) & known)
    probabilities = class_probabilities(judged, class_ids.to_list()) if len(class_ids) > 1 else None
    if probabilities is None:
        return None
    given = judged["true_label"].replace_strict(class_ids, np.arange(len(class_ids)), return_dtype=pl.Int64).to_numpy()
    is_suspicious = find_suspicious(given, probabilities)
    confidences, margins = self_confidences(given, probabilities), label_margins(given, probabilities)
    suggested = probabilities.argmax(axis=1)
    found = np.flatnonzero(is_suspicious)
    order = found[np.lexsort((found, margins[found], confidences[found]))]  # equal ones in the order of the rows
    return SuspiciousLabelFigures(
        num_images=len(judged),
        labels=tuple(
            SuspiciousLabel(
                file_name=judged["file_name"][row],
                given=class_ids[int(given[row])],
                suggested=class_ids[int(suggested[row])],
                self_confidence=float(confidences[row]),
                margin=float(margins[row]),
            )
            for row in order.tolist()
        ),
    )


def self_confidences(given: Ints, probabilities: Floats) -> Floats:
    """(N,) probability of each label given."""
    confidences: Floats = probabilities[np.arange(len(given)), given]
    return confidences


def label_margins(given: Ints, probabilities: Floats) -> Floats:
    """(N,) probability of the label given minus the largest of the others, in [-1, 1]."""
    others = probabilities.copy()
    others[np.arange(len(given)), given] = -np.inf
    margins: Floats = self_confidences(given, probabilities) - others.max(axis=1)
    return margins


def confident_thresholds(given: Ints, probabilities: Floats) -> Floats:
    """(K,) mean probability of each class over the pictures with its label (equation 2); infinite without any."""
    counts = np.bincount(given, minlength=probabilities.shape[1])
    sums = np.bincount(given, weights=self_confidences(given, probabilities), minlength=probabilities.shape[1])
    means = np.full(len(counts), np.inf)
    np.divide(sums, counts, out=means, where=counts > 0)
    thresholds: Floats = np.maximum(means, 2 * _ROUNDING)
    return thresholds


def confident_joint(given: Ints, probabilities: Floats) -> Ints:
    """(K, K) how many pictures labelled `row` confidently are `column` (equation 1).

    A picture counts for the class whose threshold its probability reaches, the most probable one if there are several,
    for none if there is none. The diagonal is at least 1, so that no class is given up.
    """
    num_classes = probabilities.shape[1]
    is_confident = probabilities >= confident_thresholds(given, probabilities) - _ROUNDING
    num_confident = is_confident.sum(axis=1)
    true = np.where(num_confident > 1, probabilities.argmax(axis=1), is_confident.argmax(axis=1))
    counted = num_confident > 0
    cells = given[counted] * num_classes + true[counted]
    counts = np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)
    np.fill_diagonal(counts, np.maximum(np.diagonal(counts), 1))
    return counts


def calibrated_joint(counts: Ints, given: Ints) -> Ints:
    """The confident joint, (K, K), scaled so that each row adds up to the pictures with that label (equation 3)."""
    num_labels = np.bincount(given, minlength=len(counts))
    scaled = counts / counts.sum(axis=1, keepdims=True) * num_labels[:, None]
    return np.array([_rounded_keeping_sum(row, total) for row, total in zip(scaled, num_labels, strict=True)])


def find_suspicious(given: Ints, probabilities: Floats) -> Bools:
    """(N,) labels that both ways of pruning call wrong, and whose picture the model takes for another class.

    Args:
        given: (N,) index of each label.
        probabilities: (N, K) out of sample.
    """
    joint = _with_kept(calibrated_joint(confident_joint(given, probabilities), given))
    both = pruned_by_noise_rate(given, probabilities, joint) & pruned_by_class(given, probabilities, joint)
    takes_for_another: Bools = label_margins(given, probabilities) < -_ROUNDING
    return both & takes_for_another


def pruned_by_noise_rate(given: Ints, probabilities: Floats, joint: Ints) -> Bools:
    """(N,) for each pair of classes as many as the joint tells, those with the largest margin between the two."""
    is_pruned = np.zeros(len(given), dtype=np.bool_)
    for label, rows in _rows_by_label(given, len(joint)):
        for other in np.flatnonzero(joint[label]):
            if other != label:
                margins = probabilities[rows, other] - probabilities[rows, label]
                is_pruned[rows[np.argsort(-margins, kind="stable")[: joint[label, other]]]] = True
    return is_pruned


def pruned_by_class(given: Ints, probabilities: Floats, joint: Ints) -> Bools:
    """(N,) for each label as many as the joint tells to be wrong, those with the lowest self-confidence."""
    is_pruned = np.zeros(len(given), dtype=np.bool_)
    for label, rows in _rows_by_label(given, len(joint)):
        num_wrong = len(rows) - joint[label, label]
        is_pruned[rows[np.argsort(probabilities[rows, label], kind="stable")[:num_wrong]]] = True
    return is_pruned


def _rows_by_label(given: Ints, num_classes: int) -> list[tuple[int, Ints]]:
    """Labels and the rows that have them; those that are as rare as what is kept anyway are left out."""
    rows = np.split(np.argsort(given, kind="stable"), np.cumsum(np.bincount(given, minlength=num_classes))[:-1])
    return [(label, of_label) for label, of_label in enumerate(rows) if len(of_label) > _MIN_KEPT]


def _rounded_keeping_sum(values: Floats, total: int) -> Ints:
    """Whole numbers that add up to the total: those whose rounding lost most get one more, or gained most one less."""
    whole = np.round(values).astype(np.int64)
    missing = int(total - whole.sum())
    by_loss = np.argsort(values - whole, kind="stable")
    # Of equal losses the last class gets one more, the first one less: as in cleanlab, to have equal figures.
    changed = by_loss[::-1][:missing] if missing > 0 else by_loss[:-missing]
    whole[changed] += np.sign(missing)
    return whole


def _with_kept(joint: Ints) -> Ints:
    """The joint with `_MIN_KEPT` or more on the diagonal, taken evenly from the row's other counts."""
    kept = np.maximum(np.diagonal(joint), _MIN_KEPT)
    lacking = kept - np.diagonal(joint)  # (K,)
    num_others = np.maximum(np.count_nonzero(joint, axis=1) - 1, 1)
    lowered: Ints = np.maximum(joint - (lacking / num_others)[:, None], 0).astype(np.int64)
    np.fill_diagonal(lowered, kept)
    return lowered
