"""Draw a recording on a sheet of ECG paper, as a cart of a given style prints it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from train.draw.layout import SHOWN_SECONDS, Cell, cells_of
from train.draw.lettering import Rule, Words, font_of, footer_of, header_of
from train.draw.pen import Ink
from train.draw.recording import RATE_HZ, Recording
from train.draw.style import PageStyle
from train.draw.truth import LeadBox, Truth, rect_quad

__all__ = ["draw_paper"]

_PULSE_LEAD_MM: Final = 1.6
"""Baseline before and after a calibration pulse, mm."""

_PULSE_GAP_MM: Final = 2.5
"""From the pulse to the trace, mm."""


def draw_paper(
    recording: Recording,
    style: PageStyle,
    *,
    layout: str,
    seed: int,
    interpretation: str | None = None,
) -> tuple[Image.Image, Truth]:
    """Draw one upright, clean page.

    Parameters
    ----------
    recording : Recording
        What the cart recorded; a shorter one than the layout asks for leaves paper empty.
    style : PageStyle
        The cart.
    layout : str
        One of ``train.draw.layout.LAYOUTS``.
    seed : int
        Draws the invented patient and the numbers on the page.
    interpretation : str or None
        Class whose printed interpretation stands in the header.

    Returns
    -------
    page : PIL image, mode RGB
    truth : Truth
    """
    rng = np.random.default_rng([seed, 3])
    rate = round(float(recording.findings.get("rate_bpm", rng.uniform(55, 105))))
    header, shift = header_of(style, rng, interpretation, rate)
    scale = style.px_per_mm
    left, top, right, bottom = style.panel
    style = replace(style, panel=(left, top + shift, right, bottom))
    size = (round(style.sheet[0] * scale), round(style.sheet[1] * scale))
    page = Image.new("RGB", size, style.paper)
    pen = ImageDraw.Draw(page)
    _draw_grid(pen, style, size)
    cells = cells_of(layout, style.speed_mm_s)
    baselines = _baselines(recording, style, cells)
    x0 = _trace_left(style)
    ink = Ink(size, style.line_mm * scale)
    boxes = tuple(_draw_cell(ink, recording, style, cell, x0, baselines) for cell in cells)
    if style.pulse != "none":
        for y in baselines:
            ink.add_polyline(_pulse(style, x0, y) * scale)
    _draw_separators(ink, style, cells, baselines, x0)
    page.paste(style.pen, mask=ink.mask(style.smooth))
    _draw_labels(pen, style, cells, baselines, x0)
    _draw_text(pen, style, [*header, *footer_of(style, rng, rate)])
    by_grid = style.grid != "none" and not style.whole_sheet_grid
    traces = rect_quad(*ink.extent())
    panel = rect_quad(*(v * scale for v in style.panel)) if by_grid else traces
    return page, Truth(
        signal=recording.source,
        label=recording.label,
        altered_leads=recording.altered_leads,
        layout=layout,
        style=style.name,
        speed_mm_s=style.speed_mm_s,
        gain_mm_mv=style.gain_mm_mv,
        grid=style.grid,
        pulse=style.pulse != "none",
        interpretation=interpretation if style.header != "none" else None,
        seed=seed,
        size=size,
        panel_mm=_size_mm(panel, scale),
        panel=panel,
        panel_source="grid" if by_grid else "traces",
        traces_mm=_size_mm(traces, scale),
        traces=traces,
        leads=boxes,
    )


def _size_mm(quad: NDArray[np.float32], scale: float) -> tuple[float, float]:
    width, height = (quad[2] - quad[0]) / scale
    return float(width), float(height)


def _trace_left(style: PageStyle) -> float:
    left, _, right, _ = style.panel
    width = SHOWN_SECONDS * 25.0
    before = style.pulse_mm + 2 * _PULSE_LEAD_MM + _PULSE_GAP_MM if style.pulse == "left" else 2.0
    after = style.pulse_mm + 2 * _PULSE_LEAD_MM + _PULSE_GAP_MM if style.pulse == "right" else 2.0
    room = right - left - width
    if room <= before + after:  # a narrow sheet: the pulse touches the trace, as on the strips
        return left + min(
            room, style.pulse_mm + _PULSE_LEAD_MM + 0.6 if style.pulse == "left" else 0
        )
    return left + before + (room - before - after) / 2


def _baselines(recording: Recording, style: PageStyle, cells: tuple[Cell, ...]) -> list[float]:
    """Height of each row's baseline, mm from the top of the sheet."""
    _, top, _, bottom = style.panel
    rows = 1 + max(cell.row for cell in cells)
    above, below = np.full(rows, 8.0), np.full(rows, 6.0)
    if style.spacing == "fitted" and rows > 4:
        for cell in cells:
            part = _part(recording, cell)
            if part.size:
                above[cell.row] = max(above[cell.row], float(np.percentile(part, 99.5)) * 10)
                below[cell.row] = max(below[cell.row], float(-np.percentile(part, 0.5)) * 10)
    need = above + below
    pitch = (bottom - top) * need / need.sum()
    edges = top + np.concatenate([[0.0], np.cumsum(pitch)[:-1]])
    return [float(v) for v in edges + pitch * above / need]


def _part(recording: Recording, cell: Cell) -> NDArray[np.float32]:
    first = round(cell.start_s * RATE_HZ)
    return recording.lead(cell.lead)[first : first + round(cell.seconds * RATE_HZ) + 1]


def _draw_cell(
    ink: Ink, recording: Recording, style: PageStyle, cell: Cell, x0: float, baselines: list[float]
) -> LeadBox:
    scale = style.px_per_mm
    y = baselines[cell.row]
    left = x0 + cell.offset_s * style.speed_mm_s
    right = left + cell.seconds * style.speed_mm_s
    part = _part(recording, cell)
    if part.size > 1:
        x = left + np.arange(part.size) / RATE_HZ * style.speed_mm_s
        ink.add_polyline(np.stack([x, y - part * style.gain_mm_mv], axis=1) * scale)
    _, top, _, bottom = style.panel
    distances = [abs(y - other) for other in baselines if other != y]
    half = min(distances) / 2 if distances else min(y - top, bottom - y)
    quad = rect_quad(left, y - half, right, y + half) * scale
    return LeadBox(
        cell.lead, cell.row, cell.column, cell.start_s, cell.seconds, cell.rhythm,
        np.asarray(quad, dtype=np.float32),
    )  # fmt: skip


def _pulse(style: PageStyle, x0: float, y: float) -> NDArray[np.float64]:
    """One millivolt, as a polyline in mm."""
    lead, wide = _PULSE_LEAD_MM, style.pulse_mm
    if style.pulse == "left":
        start = max(style.panel[0], x0 - _PULSE_GAP_MM - wide - 2 * lead)
    else:
        start = x0 + SHOWN_SECONDS * 25.0 + _PULSE_GAP_MM
    top = y - style.gain_mm_mv
    xs = start + np.array([0.0, lead, lead, lead + wide, lead + wide, wide + 2 * lead])
    return np.stack([xs, np.array([y, y, top, top, y, y])], axis=1)


def _draw_separators(
    ink: Ink, style: PageStyle, cells: tuple[Cell, ...], baselines: list[float], x0: float
) -> None:
    starts = sorted({cell.offset_s for cell in cells if cell.offset_s > 0})
    rows = sorted({cell.row for cell in cells if not cell.rhythm})
    if style.separator == "none" or not starts or not rows:
        return
    for start in starts:
        x = x0 + start * style.speed_mm_s
        if style.separator == "full":
            spans = [(baselines[rows[0]] - 5.5, baselines[rows[-1]] + 5.5)]
        else:
            spans = [(baselines[row] - 3.0, baselines[row] + 3.0) for row in rows]
        for y0, y1 in spans:
            line = np.array([[x, y0], [x, y1]])
            ink.add_polyline(line * style.px_per_mm)


def _draw_grid(pen: ImageDraw.ImageDraw, style: PageStyle, size: tuple[int, int]) -> None:
    if style.grid == "none":
        return
    scale = style.px_per_mm
    rect = style.panel
    if style.whole_sheet_grid:
        rect = (0.0, 0.0, style.sheet[0], style.sheet[1])
    left, top, right, bottom = (round(v * scale) for v in rect)
    right, bottom = min(right, size[0] - 1), min(bottom, size[1] - 1)
    columns = int((rect[2] - rect[0]) + 1e-6) + 1
    rows = int((rect[3] - rect[1]) + 1e-6) + 1
    if style.grid == "lines":
        for bold in (False, True):
            colour = style.grid_bold if bold else style.grid_fine
            for i in range(columns):
                if (i % 5 == 0) == bold:
                    x = round((rect[0] + i) * scale)
                    pen.line([(x, top), (x, bottom)], fill=colour)
            for i in range(rows):
                if (i % 5 == 0) == bold:
                    y = round((rect[1] + i) * scale)
                    pen.line([(left, y), (right, y)], fill=colour)
    elif style.grid == "coarse":
        for i in range(0, columns, 5):
            x = round((rect[0] + i) * scale)
            pen.line([(x, top), (x, bottom)], fill=style.grid_bold)
        for i in range(0, rows, 5):
            y = round((rect[1] + i) * scale)
            pen.line([(left, y), (right, y)], fill=style.grid_bold)
    else:
        _draw_dots(pen, style, rect, columns, rows)
    if style.frame is not None:
        pen.rectangle(
            [left, top, right, bottom], outline=style.frame, width=max(1, round(0.45 * scale))
        )


def _draw_dots(
    pen: ImageDraw.ImageDraw, style: PageStyle, rect: tuple[float, ...], columns: int, rows: int
) -> None:
    """Dots on every mm, and denser ones on the 5 mm lines: the laser carts' way of saving toner."""
    scale = style.px_per_mm
    xs = [round((rect[0] + i) * scale) for i in range(columns)]
    ys = [round((rect[1] + i) * scale) for i in range(rows)]
    pen.point([(x, y) for x in xs for y in ys], fill=style.grid_fine)
    step = max(2, round(scale / 3))
    dense_x = range(xs[0], xs[-1] + 1, step)
    dense_y = range(ys[0], ys[-1] + 1, step)
    pen.point([(x, y) for x in dense_x for y in ys[::5]], fill=style.grid_bold)
    pen.point([(x, y) for x in xs[::5] for y in dense_y], fill=style.grid_bold)


def _draw_labels(
    pen: ImageDraw.ImageDraw,
    style: PageStyle,
    cells: tuple[Cell, ...],
    baselines: list[float],
    x0: float,
) -> None:
    if style.label_mm <= 0:
        return
    scale = style.px_per_mm
    font = font_of(style.font, max(7, round(style.label_mm * 1.35 * scale)))
    for cell in cells:
        x = x0 + cell.offset_s * style.speed_mm_s + 0.4
        y = baselines[cell.row] - style.label_rise_mm
        pen.text((x * scale, y * scale), cell.lead, fill=style.pen, font=font, anchor="ls")


def _draw_text(pen: ImageDraw.ImageDraw, style: PageStyle, items: list[Words | Rule]) -> None:
    scale = style.px_per_mm
    for item in items:
        if isinstance(item, Rule):
            pen.rectangle(
                [
                    item.x0 * scale,
                    item.y * scale,
                    item.x1 * scale,
                    (item.y + item.thickness) * scale,
                ],
                fill=style.pen,
            )
        else:
            font = font_of(style.font, max(7, round(item.size * scale)))
            place = (item.x * scale, item.y * scale)
            pen.text(place, item.text, fill=style.pen, font=font, anchor=item.anchor)
