"""Runs the device's own reading on a page, and its own model where a bundle is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import BundleError, MissingExtraError, PageError
from runtime.page import Page, open_document, page_from_image
from runtime.panel import Panel, find_panel
from runtime.preprocess import Preprocess
from runtime.quality import QualityLimits, check_page, check_panel

__all__ = ["Reader", "Reading", "open_reader"]


@dataclass(frozen=True)
class Reading:
    """What the device makes of a page.

    Parameters
    ----------
    panel : Panel or None
        None where the page was refused before a panel was looked for.
    tensor : ndarray of float32 or None
        The model's input; None where the page was refused.
    reasons : tuple of str
        Why it was refused; empty where it was not.
    """

    panel: Panel | None
    tensor: NDArray[np.float32] | None
    reasons: tuple[str, ...]

    @property
    def refused(self) -> bool:
        """True where the page is no readable 12-lead ECG."""
        return bool(self.reasons)


class Reader:
    """Page, panel, quality checks and tensor, as ``runtime.classifier`` strings them together.

    Parameters
    ----------
    preprocess : Preprocess
        The bundle's own, or the default.
    limits : QualityLimits
        The bundle's own, or the default.
    classifier : Classifier or None
        Where a bundle is there.
    """

    def __init__(self, preprocess: Preprocess, limits: QualityLimits, classifier: Any) -> None:
        self._preprocess = preprocess
        self._limits = limits
        self._classifier = classifier

    @property
    def preprocess(self) -> Preprocess:
        """How the model's tensors are drawn."""
        return self._preprocess

    @property
    def has_model(self) -> bool:
        """True where probabilities can be had."""
        return self._classifier is not None

    def decode(self, source: bytes | Image.Image) -> Page:
        """Decode the first page; raises PageError."""
        if isinstance(source, Image.Image):
            return page_from_image(source)
        with open_document(source) as document:
            return document.read(1)

    def read(self, source: bytes | Image.Image) -> Reading:
        """Read a page; an unreadable one is refused with the reason."""
        try:
            page = self.decode(source)
        except PageError as error:
            return Reading(None, None, (str(error),))
        reasons = tuple(check_page(page, self._limits))
        if reasons:
            return Reading(None, None, reasons)
        panel = find_panel(page)
        reasons = tuple(check_panel(page, panel, self._limits))
        return Reading(panel, None if reasons else self._preprocess.tensor(panel), reasons)

    def tensor(self, panel: Panel) -> NDArray[np.float32]:
        """Turn a panel into the model's input, refused or not."""
        return self._preprocess.tensor(panel)

    def probabilities(self, tensor: NDArray[np.float32]) -> NDArray[np.float64]:
        """Ask the model; float64 [5] in the order of the bundle's labels."""
        outputs = self._classifier.engine.run(tensor[None])
        return np.ravel(outputs["probabilities"]).astype(np.float64)


def open_reader(model: str | None) -> tuple[Reader, str]:
    """Open the device's reading with a bundle, or with the defaults where there is none.

    Parameters
    ----------
    model : str or None
        Name or folder of a bundle; None takes the default one where it exists.

    Returns
    -------
    reader : Reader
    name : str
        Name and version of the bundle, or ``"no bundle"``.

    Raises
    ------
    BundleError
        Where a named bundle is missing or damaged.
    """
    from runtime.classifier import Classifier

    try:
        classifier = Classifier.from_bundle(model)
    except (BundleError, MissingExtraError):
        if model is not None:
            raise
        return Reader(Preprocess(), QualityLimits(), None), "no bundle"
    name = f"{classifier.identity.name} {classifier.identity.version}"
    return Reader(classifier.preprocess, classifier.limits, classifier), name
