"""Statistics that the device and the workshop share, without scipy."""

from __future__ import annotations

from math import sqrt
from typing import Final

__all__ = ["Z_95", "wilson"]

Z_95: Final = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""


def wilson(successes: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion.

    Parameters
    ----------
    successes, n : int
        Count of successes out of n trials, ``0 <= successes <= n``.
    z : float
        Normal quantile; the default gives 95 % intervals.

    Returns
    -------
    (float, float)
        Lower and upper limit; (0, 1) when n is 0, since nothing is known then.

    References
    ----------
    Wilson 1927, J. Am. Stat. Assoc. 22:209.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes out of {n} trials")
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
