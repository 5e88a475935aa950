"""Draw 12-lead recordings as pages of any cart, as scans and phone photos, with the truth of each.

The one way in is ``draw_page(recording, style, seed, capture=...) -> (picture, truth)``.
"""

from __future__ import annotations

from train.draw.capture import CAPTURES
from train.draw.layout import LAYOUTS
from train.draw.page import draw_page, encode_page
from train.draw.recording import RATE_HZ, Recording, RecordingFolder
from train.draw.style import STYLES, PageStyle
from train.draw.synthesis import Heart, heart_of_class, synthesise
from train.draw.truth import LeadBox, Truth

__all__ = [
    "CAPTURES",
    "LAYOUTS",
    "RATE_HZ",
    "STYLES",
    "Heart",
    "LeadBox",
    "PageStyle",
    "Recording",
    "RecordingFolder",
    "Truth",
    "draw_page",
    "encode_page",
    "heart_of_class",
    "synthesise",
]
