"""Where marked evidence lies: inside a quadrilateral, and on which leads."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.classifier import Classifier
from runtime.labels import LEADS
from train.draw import draw_page, encode_page, heart_of_class, synthesise
from train.explained import mass, share_inside

SQUARE = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], dtype=float)


@pytest.mark.parametrize(
    ("right", "share"), [(0.0, 1.0), (5.0, 0.4), (20.0, 0.0)], ids=["in", "half out", "out"]
)
def test_share_inside_counts_points(right: float, share: float) -> None:
    assert share_inside(SQUARE + np.array([right, 0.0]), SQUARE) == pytest.approx(share, abs=0.21)
    turned = SQUARE[::-1]  # corners the other way round: a page photographed upside down
    assert share_inside(SQUARE, turned) == 1.0


def test_mass_of_a_drawn_page_lies_in_its_panel_and_adds_up() -> None:
    page, truth = draw_page(synthesise(heart_of_class("normal", 1), 1), "report", 1, layout="3x4+1")
    pages = Classifier.from_bundle().classify_pages(encode_page(page, truth)[0], keep_evidence=True)
    prediction = next(pages)
    found = mass(prediction, "normal", truth.panel)
    assert found is not None
    assert found.inside > 0.9
    assert set(found.leads) <= set(LEADS)
    assert sum(found.leads.values()) == pytest.approx(1.0)
    far = np.asarray(truth.panel) + 10_000
    nowhere = mass(prediction, "normal", far)
    assert nowhere is not None
    assert nowhere.inside == 0.0
