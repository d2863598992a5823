"""P-values of many tests at once, corrected so that chance alone rarely makes even one of them look real."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


SIGNIFICANT = 0.05
"""Below this corrected p-value a difference is called beyond chance."""


def holm_p_values(p_values: Floats) -> Floats:
    """P-values corrected by Holm's step-down method, in the given order.

    If those below 0.05 are called real, at least one false one is among them in at most 5 % of such families, however
    the tests depend on each other (Holm 1979, Scandinavian Journal of Statistics 6, 65-70).

    Args:
        p_values: (M,) in [0, 1]; NaN where nothing was tested, which stays NaN and does not count.
    """
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)  # the smallest of M counts M times, the next M - 1 times
    corrected = np.full(len(p_values), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return corrected
