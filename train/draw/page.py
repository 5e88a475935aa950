"""Draw a page from a recording, style and seed: the one entry point the other stages use."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.labels import LABELS
from train.draw.capture import Fax, Photo, Scan, capture_page, random_capture
from train.draw.paper import draw_paper
from train.draw.recording import Recording
from train.draw.style import STYLES, PageStyle, varied
from train.draw.truth import Truth

__all__ = ["draw_page", "encode_page"]

_STYLE_DRAW: Final = 5
_LAYOUT_DRAW: Final = 6
_CAPTURE_DRAW: Final = 7
"""Streams of the seed: one a decision, so that fixing one does not change the others."""


def draw_page(
    signal: Recording | NDArray[np.float32],
    style: str | PageStyle | None,
    seed: int,
    *,
    capture: str | Scan | Fax | Photo = "clean",
    layout: str | None = None,
    interpretation: str | None = "random",
    speed_mm_s: float | None = None,
    gain_mm_mv: float | None = None,
    px_per_mm: float | None = None,
) -> tuple[Image.Image, Truth]:
    """Draw one page with its truth.

    Parameters
    ----------
    signal : Recording or ndarray of float32, shape [12, n]
        A recording, or millivolts at 500 Hz.
    style : str, PageStyle or None
        A name in ``STYLES``, a style of your own, or None to draw one from the seed and vary its
        pen, paper, grid and lettering, so that no two carts are the same.
    seed : int
        The same arguments and seed give the same picture, byte for byte.
    capture : str, Scan, Fax or Photo
        ``clean``, ``scan``, ``fax``, ``photo`` (settings drawn from the seed), or settings.
    layout : str or None
        One of ``LAYOUTS``; None draws one that the style prints, never ``single``.
    interpretation : str or None
        Class whose interpretation the header prints, None for none, ``"random"`` for any class or
        none in equal shares: what is printed must tell nothing.
    speed_mm_s, gain_mm_mv, px_per_mm : float or None
        Instead of the style's own.

    Returns
    -------
    page : PIL image
        RGB, L (grey scan) or 1 (fax).
    truth : Truth
    """
    recording = signal if isinstance(signal, Recording) else Recording(np.asarray(signal), "array")
    if style is None:
        style_rng = np.random.default_rng([seed, _STYLE_DRAW])
        style = varied(STYLES[str(style_rng.choice(list(STYLES)))], style_rng)
    chosen = STYLES[style] if isinstance(style, str) else style
    chosen = replace(
        chosen,
        speed_mm_s=chosen.speed_mm_s if speed_mm_s is None else speed_mm_s,
        gain_mm_mv=chosen.gain_mm_mv if gain_mm_mv is None else gain_mm_mv,
        px_per_mm=chosen.px_per_mm if px_per_mm is None else px_per_mm,
    )
    if layout is None:
        usual = [name for name in chosen.layouts if name != "single"]
        layout = str(np.random.default_rng([seed, _LAYOUT_DRAW]).choice(usual))
    rng = np.random.default_rng([seed, _CAPTURE_DRAW])
    if interpretation == "random":
        choices = (None, *LABELS)
        interpretation = choices[int(rng.integers(len(choices)))]
    page, truth = draw_paper(
        recording, chosen, layout=layout, seed=seed, interpretation=interpretation
    )
    how = random_capture(capture, rng, chosen) if isinstance(capture, str) else capture
    if how is None:
        return page, truth
    return capture_page(page, truth, chosen, how, seed)


def encode_page(page: Image.Image, truth: Truth) -> tuple[bytes, str]:
    """Encode a page as it would be stored, and name the file's ending.

    Clean pages and photos become JPEG, faxes PNG. A captured page has been through JPEG already, so
    it is stored at high quality: what it lost, it lost at the scanner.

    Returns
    -------
    data : bytes
    suffix : str
        ``".jpg"`` or ``".png"``.
    """
    buffer = io.BytesIO()
    if page.mode == "1":
        page.save(buffer, "PNG", optimize=True)
        return buffer.getvalue(), ".png"
    quality = 92 if truth.capture["kind"] == "clean" else 95
    page.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue(), ".jpg"
