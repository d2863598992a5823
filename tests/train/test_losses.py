"""The losses say what they are for: signs and sizes by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from vision.config import FinetuneSettings
from vision.taxonomy import load_taxonomy
from vision.train.draws import drawn_batches
from vision.train.losses import ClassRelations, class_losses, logit_adjustment

PLAIN = FinetuneSettings(label_smoothing=0.0)
CLASSES = ("tor-m1", "tor-m2k", "giraffe-amb")  # two of one family, one of another


@pytest.fixture(scope="module")
def relations() -> ClassRelations:
    return ClassRelations(CLASSES, load_taxonomy())


def _losses(
    relations: ClassRelations,
    settings: FinetuneSettings = PLAIN,
    logits: tuple[float, ...] = (0.0, 0.0, 0.0),
    truth: int = 0,
    adjustment: torch.Tensor | None = None,
) -> float:
    targets = functional.one_hot(torch.tensor([truth]), 3).float()
    adjustment = torch.zeros(3) if adjustment is None else adjustment
    return class_losses(torch.tensor([logits]), targets, settings, relations, adjustment).item()


def test_without_options_it_is_the_cross_entropy(relations: ClassRelations) -> None:
    smooth = FinetuneSettings(label_smoothing=0.1)
    logits = (2.0, 0.5, -1.0)
    expected = functional.cross_entropy(torch.tensor([logits]), torch.tensor([1]), label_smoothing=0.1).item()
    assert _losses(relations, smooth, logits, truth=1) == pytest.approx(expected)


def test_a_margin_makes_look_alikes_of_the_truth_count_more(relations: ClassRelations) -> None:
    settings = PLAIN.model_copy(update={"look_alike_margin": 1.5})
    alike = relations.look_alikes[0].sum().item()
    assert alike >= 1
    expected = math.log(1 + alike * math.exp(1.5) + (2 - alike))
    assert _losses(relations, settings) == pytest.approx(expected)


def test_the_family_loss_is_that_of_the_familys_probability(relations: ClassRelations) -> None:
    settings = PLAIN.model_copy(update={"family_weight": 0.5})
    logits = (0.0, math.log(2), math.log(3))  # probabilities 1/6, 2/6, 3/6; the family of the first two has 3/6
    assert _losses(relations, settings, logits) == pytest.approx(math.log(6) + 0.5 * math.log(2))


def test_scarce_classes_need_larger_logits_in_training(relations: ClassRelations) -> None:
    adjustment = logit_adjustment(np.array([90, 9, 1]), PLAIN)
    losses = [_losses(relations, truth=truth, adjustment=adjustment) for truth in range(3)]
    assert losses == pytest.approx([-math.log(0.9), -math.log(0.09), -math.log(0.01)], rel=1e-5)
    half = logit_adjustment(np.array([90, 9, 1]), PLAIN.model_copy(update={"logit_adjustment": 0.5}))
    assert half.tolist() == pytest.approx((0.5 * adjustment).tolist())
    balanced = PLAIN.model_copy(update={"balanced_sampling": True})
    assert logit_adjustment(np.array([90, 9, 1]), balanced).tolist() == [0, 0, 0]


def _drawn_rows(settings: FinetuneSettings, truth: NDArray[np.int64], batch_size: int = 32) -> list[NDArray[np.int64]]:
    generator = np.random.default_rng(0)
    return [draw.rows for draw in drawn_batches(np.arange(len(truth)), truth, 1, generator, settings, batch_size, 3)]


def test_balanced_sampling_draws_every_class_as_often() -> None:
    truth = np.repeat([0, 1], [900, 100])
    rows = np.concatenate(_drawn_rows(PLAIN.model_copy(update={"balanced_sampling": True}), truth))
    assert 0.45 < truth[rows].mean() < 0.55
    assert len(rows) == 1000


def test_an_epoch_has_every_picture_once_in_batches_of_nearly_one_size() -> None:
    batches = _drawn_rows(PLAIN, np.zeros(33, dtype=np.int64))
    assert sorted(len(batch) for batch in batches) == [16, 17]
    assert sorted(np.concatenate(batches).tolist()) == list(range(33))
