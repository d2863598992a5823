"""Which pictures, views and mixtures make the batches of an epoch; all of it follows from a seed.

N pictures, B pictures in a batch, C channels, h and w the sides of a picture or a map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vision.config import FinetuneSettings
from vision.train.views import FIRST_AUGMENTED, PLAIN


@dataclass(frozen=True)
class Draw:
    """The pictures of one batch.

    Attributes:
        rows: (B,) pictures.
        views: (B,) which of their views.
        partners: (B,) positions in the batch of the pictures that are mixed in.
        share: What is kept of the picture itself; 1 mixes nothing.
        truth: (B,) classes.
        centre: Where the partner is laid in as a rectangle of the picture's shape, in shares of its height and width;
            None blends the two.
    """

    rows: NDArray[np.int64]
    views: NDArray[np.int64]
    partners: NDArray[np.int64]
    share: float
    truth: NDArray[np.int64]
    centre: tuple[float, float] | None = None

    def mixed(self, own: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """Pictures, or maps (B, C, h, w), with their partners blended or laid in."""
        if self.centre is None:
            return self.share * own + (1 - self.share) * others
        rows, columns = self._rectangle(own.shape)
        mixed = own.clone()
        mixed[:, :, rows, columns] = others[:, :, rows, columns]
        return mixed

    def kept_share(self, shape: torch.Size) -> float:
        """The share of the picture itself in what `mixed` makes of this shape."""
        if self.centre is None:
            return self.share
        rows, columns = self._rectangle(shape)
        area: float = (rows.stop - rows.start) * (columns.stop - columns.start) / (shape[2] * shape[3])
        return 1 - area

    def _rectangle(self, shape: torch.Size) -> tuple[slice, slice]:
        """Of the drawn share as far as the grid and the border allow (Yun et al. 2019, arXiv 1905.04899)."""
        assert self.centre is not None
        half = math.sqrt(1 - self.share) / 2
        bounds = [
            [round(min(max(middle + sign * half, 0), 1) * side) for sign in (-1, 1)]
            for middle, side in zip(self.centre, shape[2:], strict=True)
        ]
        return slice(*bounds[0]), slice(*bounds[1])

    def part(self, process: int, num_processes: int) -> slice:
        """Positions that one process computes."""
        bounds = np.linspace(0, len(self.rows), num_processes + 1).round().astype(int)
        return slice(int(bounds[process]), int(bounds[process + 1]))


def drawn_batches(
    rows: NDArray[np.int64],
    truth: NDArray[np.int64],
    epoch: int,
    generator: np.random.Generator,
    settings: FinetuneSettings,
    batch_size: int,
    num_views: int | None,
) -> list[Draw]:
    """Every row once in a random order; with class-balanced sampling, as many draws with every class as likely.

    Args:
        rows: Pictures to train on.
        truth: (N,) classes of all pictures.
        epoch: From 1.
        generator: Decides everything.
        settings: Of sampling and mixing.
        batch_size: Most pictures in a batch.
        num_views: Augmented views that are kept of each picture; None for a fresh one in every epoch.
    """
    if settings.balanced_sampling:
        weights = 1 / np.bincount(truth[rows])[truth[rows]]
        order = generator.choice(rows, len(rows), p=weights / weights.sum())
    else:
        order = generator.permutation(rows)
    draws = []
    # Of nearly one size: no batch of one picture, which has no norm statistics and would weigh like many.
    for batch in np.array_split(order, math.ceil(len(order) / batch_size)):
        if num_views is None:
            views = np.full(len(batch), FIRST_AUGMENTED + epoch)
        else:
            first, count = (FIRST_AUGMENTED, num_views) if num_views else (PLAIN, 2)
            views = first + generator.integers(0, count, len(batch))
        share, centre = _drawn_mixing(generator, settings)
        draws.append(Draw(batch, views, generator.permutation(len(batch)), share, truth[batch], centre))
    return draws


def _drawn_mixing(
    generator: np.random.Generator, settings: FinetuneSettings
) -> tuple[float, tuple[float, float] | None]:
    """Share and centre of a batch's `Draw`."""
    is_cut = settings.cutmix > 0 and (not settings.mixup or generator.random() < 0.5)
    strength = settings.cutmix if is_cut else settings.mixup
    share = float(generator.beta(strength, strength)) if strength else 1.0
    return share, (float(generator.random()), float(generator.random())) if is_cut else None
