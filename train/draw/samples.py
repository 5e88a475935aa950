"""Sample pages for ``make demo`` and golden pages for bundles: small, our own, always the same."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from train.draw.page import draw_page
from train.draw.style import STYLES
from train.draw.synthesis import heart_of_class, synthesise
from train.draw.truth import Truth
from train.negatives.papers import letter

__all__ = ["golden_pages", "write_golden", "write_samples"]


@dataclass(frozen=True)
class _Sample:
    name: str
    label: str
    style: str
    layout: str
    capture: str = "clean"


_SAMPLES: Final = (
    _Sample("normal-3x4-rhythm", "normal", "report", "3x4+1"),
    _Sample("normal-scan-12x1", "normal", "azure", "12x1", "scan"),
    _Sample("abnormal-heartbeat-6x2", "abnormal_heartbeat", "report-plain", "6x2+1"),
    _Sample("abnormal-heartbeat-thermal", "abnormal_heartbeat", "thermal", "3x4+1"),
    _Sample("history-of-mi-3x4", "history_of_mi", "boston", "3x4+1"),
    _Sample("active-mi-3x4", "myocardial_infarction", "office", "3x4+3"),
    _Sample("active-mi-photo", "myocardial_infarction", "boston", "3x4+1", "photo"),
    _Sample("covid19-strip", "covid19", "strip-wide", "3x4+1"),
)

_GOLDEN: Final = (
    _Sample("3x4-rhythm", "normal", "report", "3x4+1"),
    _Sample("6x2-rhythm", "history_of_mi", "report-plain", "6x2+1"),
    _Sample("strip", "covid19", "strip-wide", "3x4+1"),
    _Sample("3x4", "abnormal_heartbeat", "boston", "3x4"),
    _Sample("3x4-three-rhythms", "myocardial_infarction", "office", "3x4+3"),
    _Sample("6x2", "abnormal_heartbeat", "verde", "6x2"),
    _Sample("12x1", "normal", "report", "12x1"),
    _Sample("single", "normal", "thermal", "single"),
)

_PX_PER_MM: Final = 4.14
"""Resolution of sample and golden pages, px a mm: that of ecg5's wide strips, 105 dpi."""

_README: Final = """\
# Sample pages

Drawn by our own code from our own synthetic hearts (`train/draw`), written by

    python -m train draw samples --out models/samples

and the same, byte for byte, for the same versions of Pillow and matplotlib's fonts. No patient, no
real name, no third-party page is among them. `truth.json` holds the class each heart was made to
show and where its panel and leads stand. A heart of ours is a drawing of a textbook finding, so an
answer on these pages shows that the machinery works, never how well it reads patients. That is
truest of `covid19-strip`: no public COVID-19 recordings exist, and the drawing is only a fast heart
with unspecific ST-T changes.

| page | drawn as | style | layout | way in |
|---|---|---|---|---|
{rows}
| text-page.png | not an ECG: must be rejected | | | |
"""


def _draw(sample: _Sample, seed: int) -> tuple[Image.Image, Truth]:
    recording = synthesise(heart_of_class(sample.label, seed), seed)
    return draw_page(
        recording,
        sample.style,
        seed,
        capture=sample.capture,
        layout=sample.layout,
        interpretation=None,
        px_per_mm=min(_PX_PER_MM, STYLES[sample.style].px_per_mm),
    )


def _encoded(page: Image.Image, kind: str, colours: int = 16) -> tuple[bytes, str]:
    """Pack small: few colours hold a clean page, and its grid repeats; a capture is a JPEG."""
    buffer = io.BytesIO()
    if kind == "clean":
        page.quantize(colours, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        return buffer.getvalue(), ".png"
    page.save(buffer, "JPEG", quality=70, optimize=True)
    return buffer.getvalue(), ".jpg"


def write_samples(folder: Path, seed: int) -> list[Path]:
    """Write the sample pages, ``truth.json`` and ``README.md``; under 1 MB in all.

    Parameters
    ----------
    folder : Path
        An existing folder.
    seed : int
        The committed ones have seed 0.

    Returns
    -------
    list of Path
        The pages.
    """
    written, truths, rows = [], {}, []
    for index, sample in enumerate(_SAMPLES):
        page, truth = _draw(sample, seed * 1000 + index)
        data, suffix = _encoded(page, sample.capture)
        path = folder / f"{sample.name}{suffix}"
        path.write_bytes(data)
        truths[path.name] = truth.to_record()
        rows.append(
            f"| {path.name} | {sample.label} | {sample.style} | {sample.layout} "
            f"| {sample.capture} |"
        )
        written.append(path)
    text = letter(np.random.default_rng([seed, 8])).convert("L")
    text.thumbnail((1200, 1200))
    path = folder / "text-page.png"
    text.quantize(8).save(path, "PNG", optimize=True)
    written.append(path)
    (folder / "truth.json").write_text(json.dumps(truths, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_README.format(rows="\n".join(rows)), encoding="utf-8")
    return written


def golden_pages(seed: int = 0) -> list[tuple[str, bytes]]:
    """Draw the golden pages of a bundle: file name and content, a few dozen kB each.

    One page a layout, one class after the other; the last, a single strip, must be rejected.

    Parameters
    ----------
    seed : int
        The same seed gives the same bytes.

    Returns
    -------
    list of (str, bytes)
    """
    pages = []
    for index, sample in enumerate(_GOLDEN):
        page, _ = _draw(sample, seed * 1000 + 500 + index)
        data, suffix = _encoded(page.convert("L"), sample.capture, colours=8)
        pages.append((f"{sample.name}{suffix}", data))
    return pages


def write_golden(folder: Path, seed: int) -> list[Path]:
    """Write ``golden_pages`` into an existing folder and return their paths."""
    written = []
    for name, data in golden_pages(seed):
        path = folder / name
        path.write_bytes(data)
        written.append(path)
    return written
