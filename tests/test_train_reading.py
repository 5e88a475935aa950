"""The reading study counts rightly, blanks only text, and writes a report."""

from __future__ import annotations

import argparse
import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.errors import NoInputError, UsageError
from runtime.page import page_from_image
from runtime.panel import find_panel
from runtime.preprocess import Preprocess
from train.draw import RecordingFolder, draw_page, encode_page, heart_of_class, synthesise
from train.reading import add_parser, run
from train.reading.drawn import Outcome, measure_drawn, rates_of_drawn
from train.reading.ecg5 import Ecg5Page, read_ecg5
from train.reading.fidelity import fidelity, fidelity_record
from train.reading.geometry import overlap
from train.reading.invariance import StyledPage, blanking, rates_of_styles
from train.reading.measure import Study
from train.reading.probe import probe_layout
from train.reading.rates import Rate, rate_of
from train.reading.reader import open_reader
from train.recordings import for_training

SQUARE = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], np.float32)


def test_overlap_of_known_shapes() -> None:
    assert overlap(SQUARE, SQUARE) == pytest.approx(1.0)
    assert overlap(SQUARE, SQUARE + np.float32([5, 0])) == pytest.approx(1 / 3)
    assert overlap(SQUARE, SQUARE + np.float32([20, 0])) == 0.0
    assert overlap(SQUARE, SQUARE * np.float32(0.5)) == pytest.approx(0.25)


def test_overlap_does_not_depend_on_the_way_round_or_the_first_corner() -> None:
    turned = np.roll(SQUARE[::-1], 1, axis=0)
    assert overlap(SQUARE, turned) == pytest.approx(1.0)
    diamond = np.array([[5, 0], [10, 5], [5, 10], [0, 5]], np.float32)
    assert overlap(SQUARE, diamond) == pytest.approx(0.5)


def test_rate_meets_its_target_from_the_right_side() -> None:
    assert Rate("x", 99, 100, 0.99).met is True
    assert Rate("x", 98, 100, 0.99).met is False
    assert Rate("x", 1, 100, 0.01, at_most=True).met is True
    assert Rate("x", 2, 100, 0.01, at_most=True).met is False
    assert Rate("x", 0, 0, 0.5).met is None
    assert Rate("x", 5, 9).met is None
    record = rate_of("x", [True, False]).to_record()
    assert (record["hits"], record["n"], record["share"]) == (1, 2, 0.5)
    assert record["interval"][0] < 0.5 < record["interval"][1]


def _outcome(**changes: object) -> Outcome:
    right: dict[str, object] = {
        "capture": "scan", "style": "report", "layout": "3x4", "seed": 1, "index": 0,
        "iou": 0.97, "traces_iou": 0.8,
        "layout_read": "3x4", "rotation_right": True, "scale_error": 0.01, "scale_source": "grid",
        "scale_known": True, "leads_read": 12, "refused": (),
        "fidelity": np.empty((0, 2)),
    }  # fmt: skip
    return Outcome(**{**right, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"iou": 0.89},
        {"layout_read": "6x2"},
        {"rotation_right": False},
        {"scale_error": -0.04},
        {"scale_error": None},
        {"refused": ("why",)},
    ],
)
def test_anything_wrong_makes_a_drawn_page_a_failure(wrong: dict[str, object]) -> None:
    assert not _outcome().failed
    assert _outcome(**wrong).failed


def test_scale_counts_only_where_it_can_be_known() -> None:
    rates = rates_of_drawn("scan", [_outcome(), _outcome(scale_known=False, scale_error=None)])
    scale = next(rate for rate in rates if rate.name.startswith("scale"))
    assert (scale.hits, scale.n) == (1, 1)


def test_either_outline_counts_in_the_second_line_only() -> None:
    rates = rates_of_drawn("scan", [_outcome(), _outcome(iou=0.85, traces_iou=0.95)])
    assert [(rate.hits, rate.target) for rate in rates[:2]] == [(1, 0.99), (2, None)]


def test_clean_page_is_read_and_a_failed_one_is_kept(tmp_path: Path) -> None:
    reader, _ = open_reader(None)
    heart = synthesise(heart_of_class("normal", 2), 2)
    outcomes = measure_drawn(reader, lambda _: heart, "clean", range(2), 1, tmp_path)
    assert [outcome.capture for outcome in outcomes] == ["clean", "clean"]
    assert len(list(tmp_path.glob("*.json"))) == sum(outcome.failed for outcome in outcomes)
    for outcome in outcomes:
        assert 0.0 <= outcome.iou <= 1.0
        assert 0 <= outcome.leads_read <= 12


def test_fidelity_knows_how_far_a_signal_is_off() -> None:
    heart = synthesise(heart_of_class("normal", 2), 2)
    page, truth = draw_page(heart, "report", 5, layout="3x4+1", interpretation=None)
    panel = find_panel(page_from_image(page))
    right = fidelity(panel, truth, heart, Preprocess())
    assert right.shape == (12, 2)
    assert np.median(right[:, 0]) < 0.35
    assert 0.8 < np.median(right[:, 1]) < 1.1
    half = [lead._replace(centre=lead.centre / 2) for lead in panel.leads]
    wrong = fidelity(panel._replace(leads=tuple(half)), truth, heart, Preprocess())
    np.testing.assert_allclose(wrong[:, 1], right[:, 1] / 2, rtol=0.02)
    assert (wrong[:, 0] > right[:, 0]).all()
    assert len(fidelity(panel._replace(layout="6x2"), truth, heart, Preprocess())) == 0
    record = fidelity_record([right, wrong])
    assert record["n"] == 24
    assert record["gain"][0] < record["gain"][2]


def _page_file(folder: Path, name: str = "a.jpg") -> Ecg5Page:
    heart = synthesise(heart_of_class("normal", 2), 2)
    page, truth = draw_page(heart, "report", 5, layout="3x4+1", interpretation=None)
    (folder / name).write_bytes(encode_page(page, truth)[0])
    return Ecg5Page(folder / name, name, "normal", "4*2.5s+1r", printed=False)


def test_header_and_footer_bands_do_not_touch_the_panel(tmp_path: Path) -> None:
    page = _page_file(tmp_path)
    top, bottom = page.bands(1572)
    heart = synthesise(heart_of_class("normal", 2), 2)
    _, truth = draw_page(heart, "report", 5, layout="3x4+1", interpretation=None)
    assert 200 < top < truth.panel[0][1]
    assert truth.panel[2][1] < bottom < 1572
    assert Ecg5Page(page.path, "b", "covid19", "type_1", False).bands(900) == (0, 900)


def test_blanking_reports_one_result_for_a_page_with_a_header(tmp_path: Path) -> None:
    reader, _ = open_reader(None)
    (result,) = blanking(reader, [_page_file(tmp_path)])
    assert 0.0 <= result.change <= 1.0
    strip = Ecg5Page(tmp_path / "a.jpg", "s", "covid19", "type_2", False)
    assert blanking(reader, [strip]) == []


def _styled(signal: int, layout: str, label: int | None, rng: np.random.Generator) -> StyledPage:
    heart = synthesise(heart_of_class("normal", 2), 2)
    _, truth = draw_page(heart, "strip-tall", 1, layout=layout)
    grey = rng.integers(0, 60, (96, 128)).astype(np.uint8)
    grey[:, : 64 if layout == "3x4" else 10] += 150  # the raw page shows its layout
    return StyledPage(signal, truth, grey, rng.random((192, 512, 1), np.float32), label)


def test_probe_names_the_layout_from_a_page_that_shows_it_and_not_from_noise() -> None:
    rng = np.random.default_rng(0)
    pages = [_styled(s, layout, 0, rng) for s in range(12) for layout in ("3x4", "6x2")]
    probe = probe_layout(pages, seed=0)
    assert probe.raw.share == 1.0
    assert probe.canonical.share < 0.85
    assert probe.chance == pytest.approx(0.5)


def test_style_rate_counts_pages_that_leave_their_recordings_usual_label() -> None:
    rng = np.random.default_rng(0)
    labels = {0: [1, 1, 2], 1: [0, 0, 0]}
    pages = [_styled(s, "3x4", label, rng) for s, row in labels.items() for label in row]
    page_rate, signal_rate = rates_of_styles(pages)
    assert (page_rate.hits, page_rate.n) == (5, 6)
    assert (signal_rate.hits, signal_rate.n) == (1, 2)


def _study_folders(folder: Path) -> None:
    signals = folder / "signals"
    signals.mkdir()
    values = [synthesise(heart_of_class("normal", s), s).values for s in range(2)]
    np.savez(signals / "signals.npz", signals=(np.stack(values) * 1000).astype(np.int16))
    rows = "".join(f"{i},s,{i},p{i},normal,x,5000\n" for i in range(2))
    (signals / "manifest.csv").write_text("row,source,record,patient,class,detail,n_valid\n" + rows)
    data = folder / "ecg5"
    data.mkdir()
    _page_file(data)
    with (data / "manifest.csv").open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(["path", "class", "layout", "printed_interpretation"])
        writer.writerow(["a.jpg", "normal", "4*2.5s+1r", "0"])
    originals = folder / "originals"
    originals.mkdir()
    (originals / "a.jpg").write_bytes((data / "a.jpg").read_bytes())


def _run(folder: Path, *more: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    given = ["reading", "--signals", str(folder / "signals"), "--data", str(folder / "ecg5")]
    return run(parser.parse_args([*given, "--out", str(folder / "out"), *more]))


def test_command_writes_json_report_and_contact_sheet(tmp_path: Path) -> None:
    _study_folders(tmp_path)
    report = tmp_path / "docs" / "reading.md"
    parts = "drawn,sheet,blanking,speed"
    assert _run(tmp_path, "--pages", "1", "--parts", parts, "--report", str(report)) == 0
    results = json.loads((tmp_path / "out" / "reading.json").read_text())
    assert results["schema"] == "ecg-edge/reading/1"
    assert set(results["drawn"]["captures"]) == {"clean", "scan", "fax", "photo"}
    assert results["speed"]["files"][0]["pillow"] > 0
    assert report.read_text() == (tmp_path / "out" / "reading.md").read_text()
    assert "panel found" in report.read_text()
    assert _run(tmp_path, "--pages", "1", "--parts", "speed") == 0
    assert "drawn" in json.loads((tmp_path / "out" / "reading.json").read_text())
    with Image.open(tmp_path / "out" / "contact-sheet.png") as sheet:
        assert sheet.size[0] == 4000


def test_what_judges_a_network_is_drawn_of_hearts_it_was_not_fitted_on(tmp_path: Path) -> None:
    signals = tmp_path / "signals"
    signals.mkdir()
    one = synthesise(heart_of_class("normal", 0), 0).values
    np.savez(signals / "signals.npz", signals=(np.stack([one] * 9) * 1000).astype(np.int16))
    rows = [f"{i},s,{i},p{i},normal,x,5000\n" for i in range(9)]
    head = "row,source,record,patient,class,detail,n_valid\n"
    (signals / "manifest.csv").write_text(head + "".join(rows))
    apart = [r for r in RecordingFolder(signals) if not for_training(r)]
    assert 0 < len(apart) < 9
    study = Study(signals, tmp_path, tmp_path, tmp_path, None, 1, 1, seed=1)
    shown = {study._heart(i).findings["patient"] for i in range(20)}
    assert shown == {r.findings["patient"] for r in apart}
    fitted_on = next(r.findings["patient"] for r in RecordingFolder(signals) if for_training(r))
    rows = [f"{i},s,{i},{fitted_on},normal,x,5000\n" for i in range(9)]
    (signals / "manifest.csv").write_text(head + "".join(rows))
    with pytest.raises(NoInputError, match="more patients"):
        Study(signals, tmp_path, tmp_path, tmp_path, None, 1, 1, seed=1)._heart(0)


def test_unknown_part_and_missing_data_are_usage_and_input_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose from"):
        _run(tmp_path, "--parts", "everything")
    with pytest.raises(NoInputError, match="--data"):
        read_ecg5(tmp_path)
    _study_folders(tmp_path)
    (tmp_path / "originals" / "a.jpg").unlink()
    with pytest.raises(NoInputError, match="--originals"):
        _run(tmp_path, "--parts", "speed")


def test_reader_refuses_what_is_no_picture() -> None:
    reader, _ = open_reader(None)
    assert reader.read(b"not a picture").refused
    buffer = io.BytesIO()
    Image.new("L", (900, 700), 255).save(buffer, "PNG")
    assert reader.read(buffer.getvalue()).refused
