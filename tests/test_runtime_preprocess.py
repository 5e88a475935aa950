"""The tensor shows the heart, not the page: same for any layout, cart, size and JPEG quality."""

from __future__ import annotations

import io
import json
from functools import cache

import numpy as np
import pytest
from PIL import Image

from runtime.errors import BundleError
from runtime.page import open_document, page_from_image
from runtime.panel import Panel, find_panel
from runtime.preprocess import CANONICAL, Preprocess, cells_to_page
from train.draw import Heart, draw_page, synthesise

RECORDING = synthesise(Heart(), 21)
PREPROCESS = Preprocess()


@cache
def drawn(style: str, layout: str) -> Image.Image:
    return draw_page(RECORDING, style, 2, layout=layout, interpretation=None)[0]


@cache
def panel_of(style: str, layout: str) -> Panel:
    return find_panel(page_from_image(drawn(style, layout)))


def tensor_of(style: str, layout: str) -> np.ndarray:
    return PREPROCESS.tensor(panel_of(style, layout))


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the ink that differs after a blur of 3 px, 0 to 1."""
    blurred = []
    for tensor in (one, other):
        padded = np.pad(tensor[:, :, 0], 1)
        blurred.append(
            sum(np.roll(padded, (dy, dx), axis=(0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
        )
    return float(np.abs(blurred[0] - blurred[1]).sum() / (blurred[0] + blurred[1]).sum())


def test_tensor_has_the_declared_form() -> None:
    tensor = tensor_of("strip-wide", "3x4+1")
    assert tensor.shape == PREPROCESS.shape == (192, 512, 1)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    assert tensor.min() >= 0.0
    assert tensor.max() <= 1.0
    assert (tensor > 0.3).any(axis=0).mean() > 0.95  # a line across every cell


def test_cells_side_by_side_are_those_drawn_alone() -> None:
    signals = PREPROCESS.signals(panel_of("strip-wide", "3x4+1").leads)
    together = PREPROCESS.draw(signals, 4).reshape(3, 64, 4, 128)
    alone = PREPROCESS.draw(signals).reshape(3, 4, 64, 128)
    np.testing.assert_array_equal(together.transpose(0, 2, 1, 3), alone)


@pytest.mark.parametrize("layout", ["3x4", "3x4+3", "6x2", "6x2+1"])
def test_layout_does_not_show_in_the_tensor(layout: str) -> None:
    assert difference(tensor_of("strip-wide", "3x4+1"), tensor_of("strip-wide", layout)) < 0.15


@pytest.mark.parametrize("style", ["report", "boston", "office", "plain"])
def test_cart_does_not_show_in_the_tensor(style: str) -> None:
    assert difference(tensor_of("strip-wide", "3x4+1"), tensor_of(style, "3x4+1")) < 0.2


@pytest.mark.parametrize("scale", [0.5, 0.43, 0.35])
def test_size_of_the_picture_does_not_show_in_the_tensor(scale: float) -> None:
    page = drawn("report", "3x4+1")
    size = (round(page.width * scale), round(page.height * scale))
    small = find_panel(page_from_image(page.resize(size, Image.Resampling.BOX)))
    assert difference(tensor_of("report", "3x4+1"), PREPROCESS.tensor(small)) < 0.15


@pytest.mark.parametrize("quality", [95, 50])
def test_jpeg_quality_does_not_show_in_the_tensor(quality: int) -> None:
    stream = io.BytesIO()
    drawn("strip-wide", "3x4+1").convert("RGB").save(stream, "JPEG", quality=quality)
    with open_document(stream.getvalue()) as document:
        panel = find_panel(document.read(1))
    assert difference(tensor_of("strip-wide", "3x4+1"), PREPROCESS.tensor(panel)) < 0.15


def test_missing_lead_leaves_its_cell_empty() -> None:
    panel = panel_of("strip-wide", "3x4+1")
    without = panel._replace(leads=tuple(x for x in panel.leads if x.name != "V2"))
    tensor = PREPROCESS.tensor(without)
    row, column = 1, 2
    cell = tensor[row * 64 : (row + 1) * 64, column * 128 : (column + 1) * 128]
    assert CANONICAL[row][column] == "V2"
    assert not cell.any()
    assert tensor.any()


def test_manifest_is_json_and_gives_the_same_preprocessing() -> None:
    manifest = json.loads(json.dumps(PREPROCESS.to_manifest()))
    assert Preprocess.from_manifest(manifest) == PREPROCESS


@pytest.mark.parametrize(
    "change",
    [{"version": 0}, {"kind": "whole-page"}, {"cell_width": "128"}, {"span_mv": -1.0}, {"new": 1}],
)
def test_manifest_of_another_preprocessing_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BundleError):
        Preprocess.from_manifest({**PREPROCESS.to_manifest(), **change})


def test_manifest_with_a_missing_parameter_is_refused() -> None:
    manifest = PREPROCESS.to_manifest()
    del manifest["line_mv"]
    with pytest.raises(BundleError):
        Preprocess.from_manifest(manifest)


def test_place_in_the_tensor_is_found_again_on_the_page() -> None:
    panel = panel_of("strip-wide", "3x4+1")
    lead = next(lead for lead in panel.leads if lead.name == "V5")
    row, column = 1, 3
    quad = cells_to_page(
        panel, PREPROCESS, (row * 64, (row + 1) * 64), (column * 128, (column + 1) * 128)
    )
    assert quad is not None
    assert quad[:, 0].min() >= lead.box[:, 0].min() - 1
    assert quad[:, 0].max() <= lead.box[:, 0].max() + 1
    assert quad[:, 1].mean() == pytest.approx(lead.box[:, 1].mean(), abs=2)
    share = np.ptp(quad[:, 0]) / np.ptp(lead.box[:, 0])
    assert share == pytest.approx(PREPROCESS.cell_seconds / lead.seconds, abs=0.02)


def test_place_in_an_empty_cell_is_nowhere_on_the_page() -> None:
    panel = panel_of("strip-wide", "3x4+1")
    empty = panel._replace(leads=())
    assert cells_to_page(empty, PREPROCESS, (0, 64), (0, 128)) is None
