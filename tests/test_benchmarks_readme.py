"""The README's figures are those of the result files."""

from __future__ import annotations

import pytest

from benchmarks.readme import _interval, renewed

TEXT = (
    "# A\n<!-- begin:one -->\nold\n<!-- end:one -->\ntail\n<!-- begin:two -->\n<!-- end:two -->\n"
)


def test_only_the_blocks_change() -> None:
    text = renewed(TEXT, {"one": r"new \1", "two": "more"})
    assert text == (
        "# A\n<!-- begin:one -->\nnew \\1\n<!-- end:one -->\ntail\n"
        "<!-- begin:two -->\nmore\n<!-- end:two -->\n"
    )
    assert renewed(text, {"one": r"new \1"}) == text


def test_a_block_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError, match="three"):
        renewed(TEXT, {"three": ""})


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        ({"value": 0.8123, "interval": [0.79, 0.83]}, "0.812 [0.790, 0.830]"),
        ({"value": 0.8123, "low": 0.79, "high": 0.83, "n": 5}, "0.812 [0.790, 0.830]"),
        (0.5, "0.500"),
        (None, "-"),
    ],
)
def test_every_form_of_a_figure_is_shown_with_its_interval(figure: object, text: str) -> None:
    assert _interval(figure) == text
