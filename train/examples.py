"""What a fit goes over: the pages of its training part, recordings beside them, and how the same
hearts were read from other pages.

One heart on two pages is read a little differently on each: at fewer pixels narrow waves lose
height, and where twelve rows share a sheet they lose more. A network that is shown both readings
at once can be asked for one answer to both (`train.agreement`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Examples:
    """Examples of one fit.

    Attributes
    ----------
    signals
        float32 [n, 12, m], mV; NaN = nothing.
    targets
        Share of each class, float32 [n, 5]; all 0 for a heart of no class of ours.
    weights
        float64 [n]; the mean page weighs 1.
    elsewhere
        Readings of the same hearts from other pages, float32 [k, n, 12, m]; one that was misread is
        NaN throughout. None: there are none.
    """

    signals: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    elsewhere: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.signals)

    def __add__(self, other: Examples) -> Examples:
        """Return both, those of `other` behind; the fewer readings elsewhere are repeated."""
        elsewhere = None
        if self.elsewhere is not None or other.elsewhere is not None:
            parts = [e.signals[None] if e.elsewhere is None else e.elsewhere for e in (self, other)]
            k = max(len(part) for part in parts)
            elsewhere = np.concatenate(
                [np.resize(part, (k, *part.shape[1:])) for part in parts], axis=1
            )
        return Examples(
            np.concatenate([self.signals, other.signals]),
            np.concatenate([self.targets, other.targets]),
            np.concatenate([self.weights, other.weights]),
            elsewhere,
        )

    def readings(self, chosen: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        """Return the signals of some examples and, where there are any, one reading elsewhere.

        Where that was misread, the example's own signals stand in for it.

        Returns
        -------
        list of ndarray
            One or two of float32 [len(chosen), 12, m], mV.
        """
        own = self.signals[chosen]
        if self.elsewhere is None:
            return [own]
        other = self.elsewhere[rng.integers(0, len(self.elsewhere), len(chosen)), chosen]
        misread = ~np.isfinite(other).any(axis=(1, 2))
        other[misread] = own[misread]
        return [own, other]
