"""What fine-tuning minimises: look-alikes, families and unequal classes in the loss.

B pictures in a batch, K classes.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from vision.config import FinetuneSettings
from vision.taxonomy import Taxonomy


class ClassRelations:
    """Which classes are of one family, and which are look-alikes, as tensors.

    Attributes:
        family_of: (K,) index of each class's family.
        num_families: How many there are.
        look_alikes: (K, K), 1 where two different classes are of one family or are named as look-alikes.
    """

    def __init__(self, classes: tuple[str, ...], taxonomy: Taxonomy) -> None:
        families = [taxonomy.family_id(class_id) for class_id in classes]
        names = sorted(set(families))
        self.family_of = torch.tensor([names.index(family) for family in families])
        self.num_families = len(names)
        alike = np.zeros((len(classes), len(classes)), np.float32)
        for row, one in enumerate(classes):
            for column, other in enumerate(classes):
                related = families[row] == families[column] or bool(taxonomy.separating_cues(one, other))
                alike[row, column] = float(row != column and related)
        self.look_alikes = torch.from_numpy(alike)

    def to(self, device: torch.device) -> ClassRelations:
        """The same on a device."""
        moved = copy.copy(self)
        moved.family_of, moved.look_alikes = self.family_of.to(device), self.look_alikes.to(device)
        return moved


def logit_adjustment(counts: NDArray[np.int64], settings: FinetuneSettings) -> torch.Tensor:
    """(K,) what is added to logits in training for how many pictures each class has (Menon et al. 2021, equation 10).

    Args:
        counts: (K,) training pictures; a class without any counts as half a picture.
        settings: The strength; with balanced sampling there is nothing to adjust.
    """
    prior = np.log(np.maximum(counts.astype(np.float64), 0.5) / counts.sum())
    strength = 0.0 if settings.balanced_sampling else settings.logit_adjustment
    return torch.from_numpy((strength * prior).astype(np.float32))


def class_losses(
    logits: torch.Tensor,
    targets: torch.Tensor,
    settings: FinetuneSettings,
    relations: ClassRelations,
    adjustment: torch.Tensor,
) -> torch.Tensor:
    """(B,) losses of a batch's pictures.

    Cross-entropy with label smoothing, of logits that the adjustment and a margin to look-alikes are added to, and the
    cross-entropy of families beside it.

    Args:
        logits: (B, K).
        targets: (B, K) shares of the classes, which sum to 1.
        settings: Strengths.
        relations: Families and look-alikes.
        adjustment: (K,), see `logit_adjustment`.
    """
    logits = logits + adjustment
    if settings.look_alike_margin:
        logits = logits + settings.look_alike_margin * (targets @ relations.look_alikes)
    smooth = settings.label_smoothing
    softened = (1 - smooth) * targets + smooth / targets.shape[1]
    losses = -(softened * functional.log_softmax(logits, dim=1)).sum(dim=1)
    if settings.family_weight and relations.num_families > 1:
        members = functional.one_hot(relations.family_of, relations.num_families).float()  # (K, families)
        family_probability = functional.softmax(logits, dim=1) @ members
        family_losses = -((targets @ members) * torch.log(family_probability.clamp(min=1e-8))).sum(dim=1)
        losses = losses + settings.family_weight * family_losses
    return losses
