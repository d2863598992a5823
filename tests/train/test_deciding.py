"""What a run keeps of its known pictures, and what it tells of its answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vision.bundle import Bundle
from vision.classify.novelty import NoveltyRanking
from vision.classify.redecide import OtherPromises, rules_with
from vision.config import DecideSettings
from vision.train.deciding import FittedDecision
from vision.train.decision_fitting import LeftOutPictures, NoveltyTrial


@pytest.fixture
def fitted(bundle: Bundle) -> FittedDecision:
    info, known = bundle.info.decision, bundle.reference.known
    assert info is not None
    assert known is not None
    return FittedDecision(info, known, NoveltyRanking(info.novelty_score, (), ()), [], 1.0, 0.9)


def told(fitted: FittedDecision, settings: DecideSettings | None = None, **changes: object) -> str:
    changed = replace(fitted, info=fitted.info.model_copy(update=changes))
    return "\n".join(changed.in_words(settings or DecideSettings()))


def test_a_bundle_keeps_digests_and_groups_of_the_pictures_that_promises_rest_on(bundle: Bundle) -> None:
    known = bundle.reference.known
    assert known is not None
    assert known.sha256 is not None
    assert known.groups is not None
    assert len(set(known.sha256.tolist())) == len(known.class_indices) == len(known.groups)
    assert not set(known.sha256.tolist()) & set(bundle.reference.sha256)  # of the calibration split


def test_promises_fitted_anew_are_those_of_training(bundle: Bundle) -> None:
    info = bundle.info.decision
    assert info is not None
    again = rules_with(bundle, OtherPromises(target_accuracy=info.target_accuracy, coverage=info.label_sets.coverage))
    own = rules_with(bundle)
    assert again.promise == own.promise
    assert again.roll_up_threshold == pytest.approx(own.roll_up_threshold)
    assert again.label_sets == own.label_sets


def test_training_says_what_its_caution_costs_known_pictures(fitted: FittedDecision) -> None:
    text = told(fitted, unknown_share=0.3, novelty_exponent=2.0)
    assert "allow for 30 % unknown classes, not 10 %, so that fewer pictures of the worst left-out class get" in text
    assert "a known picture of middling novelty gets 70 % at most; decide" in text  # density 2 x 0.5 at rank 0.5
    mean = told(fitted, DecideSettings(confident_wrong_of="mean"), unknown_share=0.3)
    assert "left-out classes in the mean" in mean
    assert "allow for" not in told(fitted, unknown_share=0.1)


def test_training_says_where_no_caution_was_enough(fitted: FittedDecision) -> None:
    sure = LeftOutPictures(np.ones(10), np.zeros(10))
    trial = NoveltyTrial("energy", np.array([0.7]), np.array([0.5]), 0.7, 2.0, (sure,))
    text = told(replace(fitted, novelty_trials=[trial]), unknown_share=0.1)
    assert "100 % of the pictures of the worst left-out class still get a wrong name with 90 % or more" in text
    assert "still get" not in told(fitted, unknown_share=0.1)


def test_training_says_how_narrowly_the_novelty_score_was_chosen(fitted: FittedDecision) -> None:
    def trial(name: str, *auroc: float) -> NoveltyTrial:
        unsure = LeftOutPictures(np.zeros(1), np.zeros(1))
        return NoveltyTrial(name, np.array(auroc), np.array([0.5, 0.5]), float(np.mean(auroc)), 1.0, (unsure,))

    clear = [trial("energy", 0.8, 0.9), trial("entropy", 0.7, 0.7)]
    text = told(replace(fitted, novelty_trials=clear))
    assert (
        "novelty by energy: AUROC 0.850 on left-out classes, 0.150 above entropy (0.100 to 0.200 over classes)" in text
    )
    close = [trial("energy", 0.8, 0.9), trial("entropy", 0.9, 0.7)]
    assert "which may be luck" in told(replace(fitted, novelty_trials=close))
    assert "novelty by" not in told(fitted)


def test_training_says_what_is_promised_and_why_nothing_is(fitted: FittedDecision) -> None:
    assert "answers: promised: 95 % of the answers right" in told(fitted, is_promised=True)
    learnt = told(fitted, is_promised=False, may_promise=False)
    assert "the network has learnt from every picture" in learnt
    assert "best effort, not promised" in learnt


def test_arrays_that_are_not_kept_are_not_written(fitted: FittedDecision) -> None:
    older = replace(fitted, known=replace(fitted.known, sha256=None, groups=None))
    assert not {"known_sha256", "known_groups"} & set(older.arrays)
    assert all(array.dtype != np.object_ for array in fitted.arrays.values())
