"""Which labels confident learning doubts."""

from __future__ import annotations

import numpy as np

from train.confident import doubted


def test_a_page_confidently_of_another_class_is_doubted() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.65, 0.35]])
    # limits: class 0 mean(.9 .8 .1) = 0.6, class 1 mean(.8 .7 .35) = 0.617
    assert doubted(labels, p).tolist() == [False, False, True, False, False, True]


def test_a_guess_below_the_class_own_confidence_is_not_doubted() -> None:
    labels = np.array([0, 0, 1, 1])
    p = np.array([[0.95, 0.05], [0.95, 0.05], [0.7, 0.3], [0.1, 0.9]])
    assert not doubted(labels, p).any()  # 0.7 is the likeliest, but less than 0.95


def test_a_class_without_pages_doubts_nothing() -> None:
    p = np.array([[0.1, 0.1, 0.8], [0.6, 0.2, 0.2]])
    assert not doubted(np.array([0, 1]), p)[0]
