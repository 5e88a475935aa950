"""Checks a bundle on this very device: checksums first, then the golden pages."""

from __future__ import annotations

import os
from dataclasses import dataclass

from runtime.bundle import Bundle, GoldenPage, read_checked
from runtime.classifier import Classifier

__all__ = ["GoldenResult", "verify_bundle"]


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """How far one golden page's answer is from what the workshop got."""

    file: str
    drift: float | None
    """Largest absolute difference of a probability; None if the page was not answered."""
    atol: float
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Tell whether the drift is within its tolerance."""
        return self.drift is not None and self.drift <= self.atol


def verify_bundle(
    bundle: Bundle, engine: str = "auto", threads: int = 1
) -> tuple[GoldenResult, ...]:
    """Classify the golden pages and compare their probabilities with the manifest.

    Raises
    ------
    BundleError
        If a golden page is missing or differs from its checksum; the message names the file.
    """
    pages = [(golden, read_checked(golden.path, golden.sha256)) for golden in bundle.golden]
    classifier = Classifier.from_bundle(bundle, engine, threads)
    return tuple(_compare(classifier, golden, content) for golden, content in pages)


def _compare(classifier: Classifier, golden: GoldenPage, content: bytes) -> GoldenResult:
    answer = classifier.classify(content)
    if answer.probabilities is None:
        return GoldenResult(
            os.path.basename(golden.path), None, golden.atol, "; ".join(answer.reasons)
        )
    found = answer.probabilities.values()
    drift = max(abs(a - b) for a, b in zip(found, golden.probabilities, strict=True))
    return GoldenResult(os.path.basename(golden.path), drift, golden.atol)
