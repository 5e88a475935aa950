"""Draws the evidence for an answer on the page itself, legible in black and white."""

from __future__ import annotations

import hashlib
import io
import os
import textwrap
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont

from runtime.cli import INTENDED_USE
from runtime.evidence import explained_label, read_evidence
from runtime.labels import LABEL_NAMES
from runtime.outputs import atomic_bytes
from runtime.preprocess import CANONICAL, cells_to_page

if TYPE_CHECKING:
    from runtime.evidence import Reading
    from runtime.panel import Panel
    from runtime.prediction import Evidence, Prediction

__all__ = ["Explainer", "draw", "png_bytes"]

MIN_WIDTH: Final = 1000
"""Narrower pages (px) are enlarged, so that letters and hatching stay legible."""

FOR, AGAINST, INK, PAPER = (0, 84, 166), (166, 60, 0), (20, 24, 28), (255, 255, 255)
"""Colours, with a contrast of at least 6 to 1 on white."""

LEVELS: Final = (0.25, 0.5, 0.75)
"""Share of the strongest place from which hatching is wide, closer and close."""
_SPACING: Final = (16, 10, 6)
"""Distance of the hatching lines at each level, px at a width of 1,000."""
_AGAINST_FROM: Final = 0.5
"""What spoke against the answer is shown from this share of the strongest place on."""
_INSET: Final = 0.08
"""Part of a lead's box left free above and below, where no other row is nearer."""
_GAP: Final = 0.04
"""Part of the distance between two rows that stays free on each side."""

Polygon = list[tuple[float, float]]


class Explainer:
    """Writes one PNG a page into a folder.

    Parameters
    ----------
    directory : str or Path
        Made if it is missing.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self._taken: dict[str, tuple[str, int]] = {}

    def write(self, prediction: Prediction, name: str | None = None) -> Path:
        """Draw a prediction that kept its evidence and write it in one step.

        Parameters
        ----------
        prediction : Prediction
            From ``Classifier.classify_pages(..., keep_evidence=True)``.
        name : str or None
            Name of the file without its ending; by default the source's own name, with the
            page's number from page 2 on, and part of the content's hash where two sources of
            this run have the same name.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        self._make_directory()
        path = self.directory / f"{name or self._name(prediction)}.evidence.png"
        atomic_bytes(path, png_bytes(draw(prediction)))
        return path

    def _name(self, prediction: Prediction) -> str:
        source, page = prediction.source, prediction.page
        name = Path(source).name[:180] or "page"
        if page > 1:
            name += f".p{page}"
        if self._taken.setdefault(name, (source, page)) == (source, page):
            return name
        key = prediction.sha256 or hashlib.sha256(os.fsencode(source)).hexdigest()
        return f"{name}.{key[:12]}"

    def _make_directory(self) -> None:
        from runtime.errors import OutputError

        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise OutputError(
                f"{self.directory}: the folder cannot be made ({fault.strerror})",
                "name a folder that exists and is writable",
            ) from fault


def png_bytes(image: Image.Image) -> bytes:
    """Return a picture as PNG.

    64 colours are enough for grey paper and two hatchings. Compression level 1: on a photo, the
    default takes five times as long for a file a quarter smaller.
    """
    buffer = io.BytesIO()
    reduced = image.quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    reduced.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def draw(prediction: Prediction) -> Image.Image:
    """Draw the page with the evidence marked, the answer above and a legend below.

    A page that was rejected is drawn with the reason; one that could not be read at all leaves
    the reason alone.

    Parameters
    ----------
    prediction : Prediction
        With its evidence kept.

    Returns
    -------
    PIL.Image.Image
        RGB, at least `MIN_WIDTH` px wide.
    """
    kept = prediction.evidence
    if kept is None:
        page = Image.new("RGB", (MIN_WIDTH, 8), PAPER)
        reading, factor = None, 1.0
    else:
        page, factor = _page(kept)
        reading = read_evidence(prediction)
        if reading is not None:
            page = _marked(page, kept, reading, factor)
    unit = page.width / MIN_WIDTH
    head = _head(prediction, reading, page.width, unit)
    foot = _foot(prediction, reading, page.width, unit)
    whole = Image.new("RGB", (page.width, head.height + page.height + foot.height), PAPER)
    whole.paste(head, (0, 0))
    whole.paste(page, (0, head.height))
    whole.paste(foot, (0, head.height + page.height))
    return whole


def _page(kept: Evidence) -> tuple[Image.Image, float]:
    """Return the page in RGB and its pixels per original pixel."""
    grey = Image.fromarray(kept.page.grey)
    enlarge = max(1.0, MIN_WIDTH / grey.width)
    if enlarge > 1.0:
        size = (MIN_WIDTH, max(1, round(grey.height * enlarge)))
        grey = grey.resize(size, Image.Resampling.BICUBIC)
    return grey.convert("RGB"), kept.page.scale * enlarge


def _marked(page: Image.Image, kept: Evidence, reading: Reading, factor: float) -> Image.Image:
    """Return the page with the hatchings laid under its ink and the leads' names on top."""
    unit = page.width / MIN_WIDTH
    page = _laid_under(page, _against(kept, reading, factor), "against", 0, AGAINST, unit)
    for level in range(len(LEVELS)):
        places = _places(kept, reading, factor, level)
        page = _laid_under(page, places, "for", level, FOR, unit)
    pen = ImageDraw.Draw(page)
    for polygon in _runs(kept, reading, factor, LEVELS[-1], 2.0):
        pen.line([*polygon, polygon[0]], fill=FOR, width=max(2, round(3 * unit)), joint="curve")
    _name_leads(pen, kept, reading, factor, unit)
    return page


def _laid_under(
    page: Image.Image,
    polygons: list[Polygon],
    kind: str,
    level: int,
    colour: tuple[int, int, int],
    unit: float,
) -> Image.Image:
    """Hatch polygons; the darker of page and hatching is kept, so that the trace stays on top."""
    if not polygons:
        return page
    place = Image.new("L", page.size, 0)
    pen = ImageDraw.Draw(place)
    for polygon in polygons:
        pen.polygon(polygon, fill=255)
    hatching = ImageChops.multiply(_hatching(page.size, kind, level, unit), place)
    tint = place.point(lambda value: value // 14)
    layer = Image.new("RGB", page.size, PAPER)
    layer.paste(colour, (0, 0), ImageChops.lighter(hatching, tint))
    return ImageChops.darker(page, layer)


@lru_cache(maxsize=8)
def _hatching(size: tuple[int, int], kind: str, level: int, unit: float) -> Image.Image:
    """Return a mask full of slanted lines (for) or of level dashes (against)."""
    width, height = size
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    if kind == "for":
        period = max(4, round(_SPACING[level] * unit))
        lines = (x + y) % period < max(1, round(1.6 * unit))
    else:
        period, dash = max(4, round(9 * unit)), max(4, round(16 * unit))
        lines = (y % period < max(1, round(1.6 * unit))) & (x % dash < dash * 5 // 8)
    return Image.fromarray(np.where(lines, 205, 0).astype(np.uint8))


def _places(kept: Evidence, reading: Reading, factor: float, level: int) -> list[Polygon]:
    upper = LEVELS[level + 1] if level + 1 < len(LEVELS) else 2.0
    return _runs(kept, reading, factor, LEVELS[level], upper)


def _against(kept: Evidence, reading: Reading, factor: float) -> list[Polygon]:
    return _runs(kept, reading, factor, -2.0, -_AGAINST_FROM)


def _insets(panel: Panel) -> dict[str, float]:
    """Return the part of each lead's box to leave free, so that close rows do not run together."""
    found = {}
    for lead in panel.leads:
        down = (lead.box[3] - lead.box[0]).astype(float)
        height = float(np.hypot(*down)) or 1.0
        middle = lead.box.mean(axis=0)
        # Distance of the other rows along the lead's own vertical; leads beside it have none.
        away = [abs(float((o.box.mean(axis=0) - middle) @ down)) / height for o in panel.leads]
        rows = [distance for distance in away if distance > height / 4]
        room = (0.5 - _GAP) * min(rows, default=height)
        found[lead.name] = float(np.clip(0.5 - room / height, _INSET, 0.45))
    return found


def _runs(
    kept: Evidence, reading: Reading, factor: float, low: float, high: float
) -> list[Polygon]:
    """Return the stretches whose score is in [low, high), neighbours on one lead joined."""
    found: list[Polygon] = []
    insets = _insets(kept.panel)
    inside = (reading.scores >= low) & (reading.scores < high)
    for row in range(len(CANONICAL)):
        for column in range(len(CANONICAL[0])):
            slots = inside[row, column * reading.slots : (column + 1) * reading.slots]
            for first, last in _stretches(slots):
                begin, end = column + first / slots.size, column + last / slots.size
                polygon = _polygon(kept, row, begin, end, insets.get(CANONICAL[row][column], 0.0))
                if polygon is not None:
                    found.append([(x * factor, y * factor) for x, y in polygon])
    return found


def _stretches(inside: Any) -> list[tuple[int, int]]:
    """Return first and last + 1 of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], inside.astype(np.int8), [0]))))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _polygon(kept: Evidence, row: int, begin: float, end: float, inset: float) -> Any:
    """Return a stretch, in cells, as corners in original px; None where its lead is missing."""
    height, width = kept.preprocess.cell_height, kept.preprocess.cell_width
    rows = ((row + inset) * height, (row + 1 - inset) * height)
    corners = cells_to_page(kept.panel, kept.preprocess, rows, (begin * width, end * width))
    if corners is None or np.ptp(corners[:, 0]) + np.ptp(corners[:, 1]) < 4:
        return None
    return corners.astype(float).tolist()


def _name_leads(
    pen: ImageDraw.ImageDraw, kept: Evidence, reading: Reading, factor: float, unit: float
) -> None:
    """Tag the leads that carried the answer with their name and share, across the upper edge."""
    boxes = {lead.name: lead.box for lead in kept.panel.leads}
    insets = _insets(kept.panel)
    font = _font(round(17 * unit))
    for lead in reading.leads:
        box = boxes[lead.name]
        corner = box[0] + insets[lead.name] * (box[3] - box[0])
        x, y = (corner * factor).tolist()
        text = f"{lead.name}  {lead.share:.0%}"
        place = (x + 8 * unit, max(4 * unit, y - 9 * unit))
        left, top, right, bottom = pen.textbbox(place, text, font=font)
        frame = (left - 6 * unit, top - 4 * unit, right + 6 * unit, bottom + 4 * unit)
        pen.rectangle(frame, fill=PAPER, outline=FOR, width=max(2, round(2 * unit)))
        pen.text(place, text, font=font, fill=INK)


def _head(prediction: Prediction, reading: Reading | None, width: int, unit: float) -> Image.Image:
    """Return the strip above the page: the answer, what is doubtful, the leads that carried it."""
    title, notes = _answer(prediction), list(prediction.reasons)
    if prediction.flags:
        notes.insert(0, "Flagged as critical: " + ", ".join(map(_name, prediction.flags)))
    if reading is not None and reading.leads:
        shares = ", ".join(f"{lead.name} {lead.share:.0%}" for lead in reading.leads)
        plural = "s" * (len(reading.leads) > 1)
        notes.append(f"{_name(reading.label)}: carried by lead{plural} {shares}")
    elif reading is None and prediction.label is not None:
        notes.append("The leads could not be told apart, so no evidence is marked")
    lines = [part for note in notes for part in textwrap.wrap(note, 96)]
    height = round((62 + 27 * len(lines)) * unit)
    strip = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(strip)
    _symbol(pen, prediction, round(34 * unit), round(32 * unit), round(16 * unit))
    size = 30 if len(title) <= 58 else 21
    pen.text((62 * unit, (44 - size) * unit), title, font=_font(round(size * unit)), fill=INK)
    for index, line in enumerate(lines):
        place = (62 * unit, (54 + 27 * index) * unit)
        pen.text(place, line, font=_font(round(19 * unit)), fill=INK)
    pen.line((0, height - 1, width, height - 1), fill=INK, width=1)
    return strip


def _answer(prediction: Prediction) -> str:
    """Return the title: a flagged class whatever the label, as on the page of `serve`."""
    if prediction.label is None:
        return {"rejected": "Not answered", "error": "Cannot be read"}.get(
            prediction.status, prediction.status
        )
    name = f"{_name(prediction.label)}, {prediction.confidence or 0.0:.0%}"
    if prediction.flags and prediction.label not in prediction.flags:
        guess = "best guess" if prediction.status == "uncertain" else "most probable"
        return f"{_name(explained_label(prediction) or '')} flagged; {guess}: {name}"
    return f"Uncertain; best guess: {name}" if prediction.status == "uncertain" else name


def _name(label: str) -> str:
    return LABEL_NAMES.get(label, label)


def _symbol(pen: ImageDraw.ImageDraw, prediction: Prediction, x: int, y: int, r: int) -> None:
    """Draw what kind of answer it is as a shape, the same ones as the page of `serve`."""
    wide = max(3, r // 4)
    if prediction.flags:
        c = round(0.41 * r)  # octagon with a bang: a critical class is flagged
        corners = [(-c, -r), (c, -r), (r, -c), (r, c), (c, r), (-c, r), (-r, c), (-r, -c)]
        pen.polygon([(x + u, y + v) for u, v in corners], fill=INK)
        _bang(pen, x, y, r, wide)
    elif prediction.status == "ok":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=INK)
        tick = [(x - r // 2, y), (x - r // 8, y + r // 3), (x + r // 2, y - r // 3)]
        pen.line(tick, fill=PAPER, width=wide, joint="curve")
    elif prediction.status == "uncertain":
        pen.polygon([(x, y - r), (x + r, y + r), (x - r, y + r)], fill=INK)
        _bang(pen, x, y + r // 4, r * 2 // 3, wide)
    else:
        pen.rectangle((x - r, y - r, x + r, y + r), outline=INK, width=wide)
        pen.line((x - r, y - r, x + r, y + r), fill=INK, width=wide)
        pen.line((x - r, y + r, x + r, y - r), fill=INK, width=wide)


def _bang(pen: ImageDraw.ImageDraw, x: int, y: int, r: int, wide: int) -> None:
    pen.line((x, y - r * 5 // 8, x, y + r // 8), fill=PAPER, width=wide)
    pen.line((x, y + r * 3 // 8, x, y + r * 5 // 8), fill=PAPER, width=wide)


def _foot(prediction: Prediction, reading: Reading | None, width: int, unit: float) -> Image.Image:
    """Return the strip below the page: legend, how to take it, intended use, model."""
    height = round((112 if reading is not None else 66) * unit)
    strip = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(strip)
    pen.line((0, 0, width, 0), fill=INK, width=1)
    small, y = _font(round(16 * unit)), 12 * unit
    if reading is not None:
        strip = _legend(strip, unit)
        pen = ImageDraw.Draw(strip)
        y = 58 * unit
    model = prediction.model
    how = "what the answer loses where a stretch is hidden"
    if prediction.evidence is not None and prediction.evidence.method == "model":
        how = "the model's own contributions"
    about = f"{model.name} {model.version}, weights {model.sha256[:12]}"
    about += f"; evidence: {how}, relative to the strongest" if reading is not None else ""
    pen.text((20 * unit, y), about, font=small, fill=INK)
    pen.text((20 * unit, y + 24 * unit), INTENDED_USE, font=small, fill=INK)
    return strip


def _legend(strip: Image.Image, unit: float) -> Image.Image:
    """Draw one sample of each hatching with its meaning."""
    entries = [
        ("for", 2, "speaks strongly for it"),
        ("for", 1, "clearly"),
        ("for", 0, "somewhat"),
        ("against", 0, "speaks against it"),
    ]
    font, x = _font(round(17 * unit)), 20.0 * unit
    for kind, level, text in entries:
        box = (x, 14 * unit, x + 54 * unit, 44 * unit)
        corners = [(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])]
        colour = FOR if kind == "for" else AGAINST
        strip = _laid_under(strip, [corners], kind, level, colour, unit)
        pen = ImageDraw.Draw(strip)
        strong = kind == "for" and level == len(LEVELS) - 1
        pen.rectangle(
            box, outline=colour if strong else INK, width=max(1, round((3 if strong else 1) * unit))
        )
        pen.text((x + 64 * unit, 19 * unit), text, font=font, fill=INK)
        x += 64 * unit + pen.textlength(text, font=font) + 30 * unit
    return strip


@lru_cache(maxsize=16)
def _font(size: int) -> Any:
    """Return Pillow's own font, which is always there, at a size in px."""
    return ImageFont.load_default(size)
