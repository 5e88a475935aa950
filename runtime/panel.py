"""Finds the ECG panel on a page: where it lies, how it is turned, its scale, layout and leads."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from runtime.ink import darkness_of
from runtime.layout import ARRANGEMENTS, CERTAIN, LAYOUTS, fits_better
from runtime.reading import CONVINCING_COVERAGE, Reading, read_upright
from runtime.record import Record
from runtime.trace import LeadTrace
from runtime.upright import level_lines, map_points, straightening, warp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.page import Page

__all__ = ["LAYOUTS", "LeadTrace", "Panel", "find_panel"]


#: Pictures are enlarged by the whole number that brings their longest side nearest to this (px).
ENLARGED_SIDE = 1100
#: Slope (px/px) of a page's upright lines up to which baselines that are not level wander: 0.3
#: degrees.
STRAIGHT_SLOPE = 0.005
#: How a picture is looked at until twelve leads fit: turned by so many degrees; with rows that may
#: be as flat as a rule; with the specks of broken lines joined.
LOOKS = (
    (0, False, False),
    (90, False, False),
    (0, True, False),
    (90, True, False),
    (0, True, True),
    (90, True, True),
)
#: Twice this (bytes) is kept for the next page: more than the pictures of one page take, which are
#: of 0.9 MB each on a cart's file.
KEPT_BYTES = 4 << 20
#: Pictures with a side below this (px) cannot hold rows of leads and stay as they are.
SMALLEST_SIDE = 32


class Panel(Record):
    """The ECG panel of a page.

    Attributes
    ----------
    quad : ndarray of float32, shape (4, 2)
        Corners in ORIGINAL page px: top left, top right, bottom right, bottom left of the upright
        panel.
    rotation : int
        0, 90, 180 or 270: degrees by which the page is turned clockwise.
    skew_deg : float
        Remaining turn, degrees.
    layout : str
        One of `LAYOUTS`.
    px_per_mm : float or None
        Original px per mm of paper.
    scale_source : str
        ``"grid"``, ``"pulse"`` or ``"assumed"`` (10 s across).
    leads : tuple of LeadTrace
        The leads that were read; empty where the layout is unknown.
    reasons : tuple of str
        What could not be told, in plain words.
    """

    quad: NDArray[np.float32]
    rotation: int
    skew_deg: float
    layout: str
    px_per_mm: float | None
    scale_source: str
    leads: tuple[LeadTrace, ...]
    reasons: tuple[str, ...]


class _Sheet(Record):
    """A picture that did not fit at first sight: its darkness, as it is and straightened.

    `matrix` maps the one to the other, px; `captured` tells whether it was not straight: a scan or
    a photo.
    """

    darkness: NDArray[np.uint8]
    straight: NDArray[np.uint8]
    matrix: NDArray[np.float64]
    captured: bool


def find_panel(page: Page) -> Panel:
    """Find the panel of a page and read its leads.

    Parameters
    ----------
    page : Page

    Returns
    -------
    Panel
        Always; where nothing is found, with layout ``"unknown"``, no leads and the reason.
    """
    _keep_freed_memory()
    grey, zoom = _enlarged(page.grey)
    darkness = darkness_of(grey)
    reading, to_picture = _read(darkness)
    if reading is None:
        height, width = page.grey.shape
        whole = np.array([[0, 0], [width, 0], [width, height], [0, height]]) / page.scale
        reasons: tuple[str, ...] = ("no ECG trace found",)
        return Panel(whole.astype(np.float32), 0, 0.0, "unknown", None, "assumed", (), reasons)
    reasons = () if reading.layout in ARRANGEMENTS else ("layout not recognised",)
    to_page = to_picture * np.array([[1.0], [1.0], [page.scale * zoom]])
    area = reading.area
    corners = [
        [area.left, area.top],
        [area.right, area.top],
        [area.right, area.bottom],
        [area.left, area.bottom],
    ]
    quad = map_points(to_page, np.array(corners))
    width_mm = (area.right - area.left) / reading.px_per_mm
    height_mm = (area.bottom - area.top) / reading.px_per_mm
    rotation, skew = _turn(quad)
    corners_of_leads = np.array([lead.box for lead in reading.leads], dtype=np.float64)
    boxes = map_points(to_page, corners_of_leads.reshape(-1, 2)).astype(np.float32)
    return Panel(
        quad=quad.astype(np.float32),
        rotation=rotation,
        skew_deg=skew,
        layout=reading.layout,
        px_per_mm=float(np.sqrt(_surface(quad) / max(width_mm * height_mm, 1e-9))),
        scale_source=reading.scale_source,
        leads=tuple(
            lead._replace(box=box)
            for lead, box in zip(reading.leads, boxes.reshape(-1, 4, 2), strict=True)
        ),
        reasons=reasons,
    )


@cache
def _keep_freed_memory() -> None:
    """Let glibc keep what a page frees for the next page; does nothing elsewhere.

    It hands the end of its heap back to the system where that is more than twice the largest block
    that was mapped and freed so far (mallopt(3), M_MMAP_THRESHOLD), which two pictures are by
    chance or not; every page then faults them in again. A larger block changes that.
    """
    np.empty(KEPT_BYTES, dtype=np.uint8)


def _enlarged(grey: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Enlarge a small picture, so that lines are followed between its pixels; and the factor."""
    height, width = grey.shape
    zoom = math.ceil(ENLARGED_SIDE / max(height, width) - 0.5)
    if zoom <= 1 or min(height, width) < SMALLEST_SIDE:
        return grey, 1.0
    picture = Image.fromarray(grey)
    large = picture.resize((width * zoom, height * zoom), Image.Resampling.BICUBIC)
    return np.asarray(large), float(zoom)


def _read(darkness: NDArray[np.uint8]) -> tuple[Reading | None, NDArray[np.float64]]:
    """Read a picture that lies any way; returns what was read and the map back to the picture."""
    height, width = darkness.shape
    first = read_upright(darkness, captured=False)
    if first is not None and first.fits and first.level:
        return first, np.eye(3)
    steep = level_lines(np.ascontiguousarray(darkness.T))
    upright = steep.negligible(width / 2)
    if first is not None and first.fits and abs(steep.slope) < STRAIGHT_SLOPE:
        return first, np.eye(3)  # the traces wander; the page is straight
    level = level_lines(darkness)
    if upright and level.negligible(height / 2):
        sheet = _Sheet(darkness, darkness, np.eye(3), captured=False)
    else:
        matrix, size = straightening((width, height), level, steep)
        sheet = _Sheet(darkness, warp(darkness, matrix, size), matrix, captured=True)
    found: list[tuple[Reading | None, NDArray[np.float64]]] = [(first, np.eye(3))]
    for number, (turn, flat, joined) in enumerate(LOOKS):
        seen = first if number == 0 and not sheet.captured else None
        reading, to_upright = _look(sheet, turn, seen, flat=flat, joined=joined)
        if flat and not _believed(reading, turn, [one for one, _ in found]):
            continue
        found.append((reading, to_upright))
        if reading is not None and reading.fits:
            return reading, np.asarray(np.linalg.inv(to_upright), dtype=np.float64)
    doubts = [_doubt(reading) for reading, _ in found]
    if sheet.captured:  # that picture was not straight
        doubts[0] += 1.0
    reading, to_upright = found[int(np.argmin(doubts))]
    return reading, np.asarray(np.linalg.inv(to_upright), dtype=np.float64)


def _look(
    sheet: _Sheet, turn: int, seen: Reading | None, *, flat: bool, joined: bool
) -> tuple[Reading | None, NDArray[np.float64]]:
    """Look at a sheet in one of the `LOOKS`; `seen` is what was read in this way before, if it was.

    Returns
    -------
    reading : Reading or None
        Turned upside down, made upright or softened where it then fits better.
    to_upright : ndarray of float64, shape (3, 3)
        Map from the picture to the one that was read, px.
    """
    captured = sheet.captured
    straight = _softened(sheet.straight) if joined else sheet.straight
    reading = seen
    if seen is None:
        reading = read_upright(_turned(straight, turn), captured=captured, flat=flat)
    if reading is not None and reading.upside_down < reading.fit and not reading.slant:
        turn += 180
        reading = read_upright(_turned(straight, turn), captured=captured, flat=flat)
    to_upright = _turning(straight.shape, turn) @ sheet.matrix
    if reading is None:
        return None, to_upright
    upright = _turned(straight, turn)
    if reading.slant:
        shear, size = _shear(reading.slant, upright.shape)
        sheared = warp(sheet.darkness, shear @ to_upright, size)
        sheared = _softened(sheared) if joined else sheared
        again = read_upright(sheared, captured=captured, flat=flat)
        if again is not None and _improves(again, reading):
            reading, upright, to_upright = again, sheared, shear @ to_upright
    if captured and reading.fits and not joined:
        reading = _joined(reading, upright, flat=flat)
    return reading, to_upright


def _shear(slant: float, shape: tuple[int, ...]) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return the map that moves lower rows of a picture to the right, and the new size."""
    height, width = shape
    aside = slant * height
    shear = np.array([[1.0, slant, max(0.0, -aside)], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return shear, (width + math.ceil(abs(aside)), height)


def _improves(again: Reading, reading: Reading) -> bool:
    """Tell whether a second reading is the better one: twelve leads of the layout that was told."""
    told = reading.layout in ARRANGEMENTS
    same = again.layout == reading.layout if told else again.layout in ARRANGEMENTS
    return same and fits_better(again.fit, reading.fit)


def _joined(reading: Reading, seen: NDArray[np.uint8], *, flat: bool) -> Reading:
    """Read an upright scan softened, too, where its leads fit but not beyond doubt.

    On a fax lines that go on otherwise come in specks. Twelve rows are too close for that.
    """
    if reading.fit < CERTAIN or ARRANGEMENTS[reading.layout].columns == 1:
        return reading
    again = read_upright(_softened(seen), captured=True, flat=flat)
    return again if again is not None and _improves(again, reading) else reading


def _believed(reading: Reading | None, turn: int, earlier: list[Reading | None]) -> bool:
    """Tell whether what a late look read counts; the more looks, the likelier one fits by chance.

    Leads that fitted badly may fit better now, but the layout stays, unless it is certain.
    """
    if reading is None or (turn and not reading.fit < CERTAIN):
        return False
    if reading.fits and reading.fit < CERTAIN:
        return True
    known = [one for one in earlier if one is not None and one.layout in ARRANGEMENTS]
    told = {one.layout for one in known if one.coverage >= CONVINCING_COVERAGE}
    return not told or (reading.fits and reading.layout in told)


def _softened(darkness: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Soften a picture, so that the specks of a broken line join: a fax of a thin one."""
    from PIL import ImageFilter  # most pages need none

    return np.asarray(Image.fromarray(darkness).filter(ImageFilter.BoxBlur(1)))


def _doubt(reading: Reading | None) -> float:
    """Rank readings: twelve leads that fit, twelve that hardly do, any rows, none."""
    if reading is None:
        return 9.0
    if reading.layout in ARRANGEMENTS:
        doubt = reading.fit if np.isfinite(reading.fit) else 1.0
        return doubt if reading.coverage >= CONVINCING_COVERAGE else 1.0 + doubt
    return 4.0 if reading.layout == "single" else 3.0


def _turned(picture: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Turn a picture back by `turn` degrees."""
    return np.ascontiguousarray(np.rot90(picture, turn // 90))


def _turning(shape: tuple[int, ...], turn: int) -> NDArray[np.float64]:
    """Return the map of :func:`_turned` for a picture of this shape."""
    height, width = shape
    return {
        0: np.eye(3),
        90: np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, width], [0.0, 0.0, 1.0]]),
        180: np.array([[-1.0, 0.0, width], [0.0, -1.0, height], [0.0, 0.0, 1.0]]),
        270: np.array([[0.0, -1.0, height], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    }[turn]


def _turn(quad: NDArray[np.float64]) -> tuple[int, float]:
    """Return the quarter turns (degrees clockwise) of a panel and the rest of its slant."""
    ahead = (quad[1] - quad[0]) + (quad[2] - quad[3])
    angle = float(np.degrees(np.arctan2(ahead[1], ahead[0])))
    rotation = round(angle / 90.0) % 4 * 90
    return rotation, (angle - rotation + 180.0) % 360.0 - 180.0


def _surface(quad: NDArray[np.float64]) -> float:
    """Return the area of a polygon (shoelace formula)."""
    x, y = quad[:, 0], quad[:, 1]
    following = np.arange(1 - len(quad), 1)  # after the last corner, the first
    return float(abs(np.dot(x, y[following]) - np.dot(y, x[following])) / 2.0)
