"""The quality gate: what is no readable 12-lead ECG is refused in plain words, ECGs pass."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter
from sample_files import RATE_HZ, ecg_page, leads_mv, needs

from runtime.drawing import draw_leads
from runtime.errors import BundleError
from runtime.labels import LEADS
from runtime.page import open_document, page_from_image
from runtime.panel import find_panel
from runtime.plausibility import measure_leads, sharpness
from runtime.quality import (
    QualityLimits,
    _check_leads,
    check_page,
    check_panel,
    out_of_distribution,
)
from runtime.trace import LeadTrace
from train.draw import Heart, draw_page, synthesise

LIMITS = QualityLimits()


def judged(image: Image.Image) -> tuple[str, ...]:
    page = page_from_image(image)
    return check_page(page, LIMITS) or check_panel(page, find_panel(page), LIMITS)


def traces(curves: dict[str, np.ndarray]) -> list[LeadTrace]:
    """Leads as a page of three rows and four columns shows them, read without error."""
    rows = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
    leads = []
    for names in rows:
        for column, name in enumerate(names):
            part = curves[name][column * 1250 : (column + 1) * 1250].reshape(125, 10)
            part = part - np.median(part)
            leads.append(
                LeadTrace(
                    name=name,
                    box=np.zeros((4, 2), np.float32),
                    centre=part.mean(axis=1).astype(np.float32),
                    top=part.max(axis=1).astype(np.float32),
                    bottom=part.min(axis=1).astype(np.float32),
                    start_s=2.5 * column,
                    seconds=2.5,
                )
            )
    return leads


class TestPage:
    def test_ecg_page_passes(self):
        assert judged(ecg_page()) == ()

    @pytest.mark.parametrize("turn", [90, 180, 270])
    def test_turned_ecg_page_passes(self, turn):
        assert judged(ecg_page().rotate(turn, expand=True)) == ()

    @pytest.mark.parametrize(
        ("image", "words"),
        [
            (Image.new("L", (1, 1)), r"too small \(1 x 1 pixels\): scan at 150 dpi"),
            (Image.new("L", (250, 180), 255), "too small"),
            (Image.new("L", (4000, 300), 255), "narrow strip"),
            (Image.new("L", (1400, 1000), 255), "blank or too pale"),
            (Image.new("L", (1400, 1000), 0), "blank or too pale"),
            (ecg_page().point(lambda tone: 240 + tone // 17), "blank or too pale"),
        ],
    )
    def test_unreadable_page_is_refused_with_the_remedy(self, image, words):
        (reason,) = judged(image)
        assert re.search(words, reason)
        assert ":" in reason

    def test_thin_traces_on_a_large_sheet_are_not_blank(self):
        """A panel of a quarter of the sheet, traces of 1 px: 2 pixels in 1,000 are ink."""
        sheet = np.full((1400, 1000), 255, np.uint8)
        for row in range(4):
            sheet[100 + 61 * row, 100:700] = 0
        assert check_page(page_from_image(Image.fromarray(sheet)), LIMITS) == ()


class TestPanel:
    def test_single_strip_is_refused(self):
        lead = leads_mv()["II"]
        strip = Image.new("L", (1375, 400), 255)
        pen = ImageDraw.Draw(strip)
        x = 50 + np.arange(5000) / RATE_HZ * 125
        pen.line(list(zip(x.tolist(), (250 - 50 * lead).tolist(), strict=True)), fill=0, width=2)
        (reason,) = judged(strip)
        assert "12" in reason

    def test_text_page_is_refused(self):
        page = Image.new("L", (1400, 1000), 255)
        pen = ImageDraw.Draw(page)
        for row in range(12):
            pen.text(
                (80, 60 + 75 * row),
                "discharge letter of the ward, see below " * 2,
                fill=0,
                font_size=26,
            )
        assert judged(page)

    def test_blurred_page_is_refused(self):
        (reason,) = judged(ecg_page().filter(ImageFilter.GaussianBlur(8)))
        assert reason

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_page_cut_through_its_leads_is_refused(self, side):
        page = ecg_page()
        half = page.width // 2
        assert judged(
            page.crop((0, 0, half, page.height) if side == "left" else (half, 0, *page.size))
        )

    @pytest.mark.parametrize(
        ("side", "seeds"),
        [
            ("right", (0, 12, 13, 23, 47, 48)),
            ("top", (7, 28, 34, 42, 58)),
            ("bottom", (0, 13, 17, 21, 26)),
        ],
    )
    def test_half_a_page_is_refused(self, side, seeds):
        """What is left passes for twelve leads of half the length, or for those of its rows."""
        from train.negatives.ruined import RUINED

        name = f"{side}-half-missing"
        streams = [np.random.default_rng([991, seed, sum(map(ord, name))]) for seed in seeds]
        assert all(judged(RUINED[name](stream)) for stream in streams)

    @pytest.mark.parametrize("turn", [0, 90, 180, 270])
    def test_a_panel_that_begins_outside_the_picture_is_refused(self, turn):
        page, truth = draw_page(synthesise(Heart(), 5), "azure", 3, layout="3x4")
        top = round(float(truth.panel[0, 1])) + 5
        whole, cut = (
            page.crop((0, y, page.width, page.height)).rotate(-turn, expand=True)
            for y in (top - 20, top)
        )
        assert judged(whole) == ()
        (reason,) = judged(cut)
        assert "edge of the picture" in reason

    def test_leads_of_two_hearts_are_refused(self):
        mixed = leads_mv()
        for lead in ("I", "aVR", "V1", "V4"):  # the top row from a faster heart
            mixed[lead] = mixed["V5"][(np.arange(5000) * 1.37).astype(int) % 5000]
        image, _ = draw_leads(mixed, RATE_HZ)
        (reason,) = judged(image)
        assert "do not fit together" in reason or "no 12-lead ECG" in reason

    def test_limb_leads_in_the_places_of_chest_leads_are_refused(self):
        found = measure_leads(traces(leads_mv()))
        panel = find_panel(page_from_image(ecg_page()))._replace(layout="6x2")
        for limb, chest, refused in (
            (0.10, 0.12, True),
            (0.02, 0.26, False),  # a heart whose chest leads come near the laws
            (0.30, 0.40, False),
        ):
            read = found._replace(limb_residual=limb, chest_residual=chest)
            assert bool(_check_leads(panel, read, LIMITS)) == refused
            assert not _check_leads(panel._replace(layout="3x4"), read, LIMITS)

    def test_low_voltage_passes_where_the_limb_leads_fit(self):
        low = np.stack([0.08 * leads_mv()[name] for name in LEADS]).astype(np.float32)
        page = page_from_image(draw_page(low, "azure", 1, layout="3x4")[0])
        panel = find_panel(page)
        found = measure_leads(panel.leads)
        assert LIMITS.min_amplitude_mv < found.amplitude_mv < LIMITS.low
        assert check_panel(page, panel, LIMITS) == ()
        apart = found._replace(limb_residual=LIMITS.max_limb_residual_low + 0.1)
        assert apart.limb_residual < LIMITS.max_limb_residual
        assert "do not fit" in _check_leads(panel, apart, LIMITS)[0]
        assert _check_leads(panel, apart._replace(amplitude_mv=LIMITS.low), LIMITS) == ()

    def test_a_high_smooth_heart_passes_and_a_ruled_line_does_not(self):
        panel = find_panel(page_from_image(ecg_page()))
        found = measure_leads(panel.leads)
        assert _check_leads(panel, found._replace(roughness=0.0035), LIMITS) == ()
        assert "not those" in _check_leads(panel, found._replace(roughness=0.0), LIMITS)[0]

    def test_each_limit_can_refuse(self):
        page = page_from_image(ecg_page())
        panel = find_panel(page)
        assert check_panel(page, panel, LIMITS) == ()
        for change in (
            {"min_px_per_mm": 50.0},
            {"min_sharpness": 50.0},
            {"min_margin_mm": 90.0},
            {"min_above_mm": 900.0, "min_beside_mm": 0.0},
            {"min_row_s": 11.0},
            {"sharp": 50.0, "max_limb_residual_blurred": 0.0},
            {"sharp": 50.0, "min_coverage_blurred": 1.1},
            {"low": 9.0, "max_limb_residual_low": 0.0},
            {"min_roughness": 0.9},
            {"wide": 0.1, "max_limb_residual_wide": 0.0},
            {"min_coverage": 1.1},
            {"min_amplitude_mv": 9.0},
            {"max_steep": 0.0},
            {"max_limb_residual": 0.0},
            {"min_synchrony": 1.1},
        ):
            assert check_panel(page, panel, LIMITS._replace(**change)), change


class TestPlausibility:
    def test_leads_of_one_heart_obey_the_laws(self):
        found = measure_leads(traces(leads_mv()))
        assert found.coverage == 1
        assert found.limb_residual < 0.1 < found.chest_residual
        assert found.synchrony > 0.7

    def test_unrelated_curves_do_not(self):
        rng = np.random.default_rng(5)
        walk = {name: np.cumsum(rng.normal(0, 0.02, 5000)) for name in leads_mv()}
        found = measure_leads(traces(walk))
        assert found.limb_residual > 0.6
        assert found.synchrony < 0.3

    def test_limb_leads_in_the_places_of_chest_leads_are_seen(self):
        curves = leads_mv()
        places = dict(
            zip(
                ("V1", "V2", "V3", "V4", "V5", "V6"),
                ("I", "II", "III", "aVR", "aVL", "aVF"),
                strict=True,
            )
        )
        found = measure_leads(
            traces(curves | {place: curves[lead] for place, lead in places.items()})
        )
        assert found.chest_residual < 0.2

    def test_gaps_lower_the_coverage(self):
        leads = traces(leads_mv())
        gap = np.full_like(leads[0].top, np.nan)
        leads[0] = leads[0]._replace(centre=gap, top=gap, bottom=gap)
        assert measure_leads(leads).coverage == pytest.approx(11 / 12)

    @given(st.lists(st.floats(-50, 50, width=32) | st.just(float("nan")), min_size=1, max_size=40))
    def test_any_curve_gives_finite_measures(self, values):
        curve = np.array(values, np.float32)
        lead = traces(leads_mv())[0]._replace(centre=curve, top=curve, bottom=curve)
        names = [lead.name for lead in traces(leads_mv())]
        found = measure_leads([lead._replace(name=name) for name in names])
        assert all(
            np.isfinite(v) for v in (found.limb_residual, found.synchrony, found.amplitude_mv)
        )

    def test_blur_lowers_the_sharpness(self):
        panel = find_panel(page_from_image(ecg_page()))
        sharp, soft = (
            sharpness(page_from_image(image), panel)
            for image in (ecg_page(), ecg_page().filter(ImageFilter.GaussianBlur(5)))
        )
        assert soft < 0.5 < 2 < sharp

    def test_blank_paper_around_the_panel_changes_no_sharpness(self):
        page = ecg_page()
        sheet = Image.new("L", (page.width, page.height * 2), 255)
        sheet.paste(page, (0, 0))
        alone, on_sheet = (page_from_image(image) for image in (page, sheet))
        panel = find_panel(alone)
        assert sharpness(on_sheet, panel) == pytest.approx(sharpness(alone, panel), rel=0.01)


class TestManifest:
    def test_limits_survive_the_manifest(self):
        limits = LIMITS._replace(min_coverage=0.5)
        assert QualityLimits.from_manifest(limits.to_manifest()) == limits
        assert QualityLimits.from_manifest({}) == LIMITS

    @pytest.mark.parametrize("values", [{"no_such": 1}, {"max_aspect": "4"}, {"max_aspect": True}])
    def test_spoilt_limits_are_a_bundle_error(self, values):
        with pytest.raises(BundleError, match="quality limit"):
            QualityLimits.from_manifest(values)


class TestOutOfDistribution:
    PARAMETERS = {"means": [[0.0, 0.0], [4.0, 4.0]], "scale": [1.0, 2.0], "limit": 3.0}  # noqa: RUF012

    def test_score_is_the_distance_to_the_nearest_class(self):
        score, limit = out_of_distribution(np.array([[4.0, 6.0]], np.float32), self.PARAMETERS)
        assert (score, limit) == (pytest.approx(0.5), 3.0)

    def test_far_features_are_beyond_the_limit(self):
        score, limit = out_of_distribution(np.array([40.0, -40.0], np.float32), self.PARAMETERS)
        assert score > limit


def test_non_ecgs_are_refused():
    needs("skimage")
    needs("matplotlib")
    from train.negatives import negatives

    some = [n for n in negatives("measure") if n.kind != "ruined"][::16]
    accepted = [n.name for n in some if not judged(n.image())]
    assert len(some) >= 15
    assert accepted == []


def test_real_pages_pass(data_dir):
    with (data_dir / "ecg5" / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))[7::50]
    refused = []
    for row in rows:
        with open_document((data_dir / "ecg5" / row["path"]).read_bytes()) as document:
            page = document.read(1)
        if check_page(page, LIMITS) or check_panel(page, find_panel(page), LIMITS):
            refused.append(row["path"])
    assert len(refused) <= 1, refused
