"""Reading PDF and DICOM files, and what is said where the extra for them is not installed."""

from __future__ import annotations

import sys
import zlib

import numpy as np
import pytest
from PIL import Image
from sample_files import (
    RATE_HZ,
    capture_dicom,
    ecg_page,
    jpeg_dicom,
    leads_mv,
    line_pdf,
    locked_pdf,
    needs,
    saved,
    text_pdf,
    waveform_dicom,
    wrapped_pdf_dicom,
)

from runtime import pdf_worker
from runtime.drawing import draw_leads
from runtime.errors import MissingExtraError, PageError
from runtime.labels import LEADS
from runtime.page import open_document


def read(data: bytes, number: int = 1):
    with open_document(data) as document:
        return document.read(number)


class TestPdf:
    @pytest.fixture(autouse=True)
    def _needs_pdfium(self):
        needs("pypdfium2")

    def test_pages_are_drawn_in_their_order(self):
        sheets = [Image.new("L", (300, 200), tone) for tone in (30, 130, 230)]
        data = saved(sheets[0], "PDF", save_all=True, append_images=sheets[1:])
        with open_document(data) as document:
            assert document.page_count == 3
            tones = [int(np.median(document.read(n).grey)) for n in (1, 2, 3)]
        assert tones == pytest.approx([30, 130, 230], abs=4)

    def test_page_is_drawn_at_a_bounded_size_and_says_its_resolution(self):
        page = read(text_pdf(size="842 595"))  # A4 in points
        assert page.grey.shape == (989, 1400)
        assert page.original_size == (1400, 989)
        assert page.scale == 1
        assert page.dpi == pytest.approx(1400 / 842 * 72)
        assert page.format == "PDF"

    @pytest.mark.parametrize("size", ["100000 100000", "3 2", "14400 1"])
    def test_odd_sheet_sizes_stay_bounded(self, size):
        assert max(read(text_pdf(size=size)).grey.shape) <= 1400

    def test_vector_traces_are_drawn_as_ink(self):
        grey = read(line_pdf()).grey
        assert 0.002 < (grey < 100).mean() < 0.1

    def test_picture_for_people_has_the_same_places(self):
        red = b"1 0 0 rg 0 300 400 300 re f"
        with open_document(text_pdf(red)) as document:
            page, picture = document.read(1), document.picture(1)
        assert picture.size == page.grey.shape[::-1]
        assert picture.getpixel((10, 10)) == (255, 0, 0)
        assert picture.getpixel((1300, 10)) == (255, 255, 255)
        assert page.grey[10, 10] < 120 < page.grey[10, 1300]

    def test_locked_pdf_says_so(self):
        with pytest.raises(PageError, match="locked with a password; open it with the password"):
            open_document(locked_pdf())

    @pytest.mark.parametrize("data", [b"%PDF-1.7", b"%PDF-1.7 " + b"x" * 500, text_pdf()[:60]])
    def test_damaged_pdf_is_named(self, data):
        with pytest.raises(PageError, match="PDF is damaged"):
            open_document(data)

    def test_page_that_takes_too_long_is_given_up(self, monkeypatch):
        monkeypatch.setattr(pdf_worker, "MAX_DRAW_SECONDS", -1.0)
        many = b"\n".join(b"%d 0 m 700 %d l S" % (i, i) for i in range(500))
        with pytest.raises(PageError, match="too long to draw"):
            pdf_worker._draw(pdf_worker._open(text_pdf(many)), 1, grey=True)

    def test_page_of_very_many_objects_is_refused(self, monkeypatch):
        monkeypatch.setattr(pdf_worker, "MAX_OBJECTS", 10)
        with pytest.raises(PageError, match="too intricate"):
            pdf_worker._draw(pdf_worker._open(text_pdf(b"0 0 m 9 9 l S\n" * 20)), 1, grey=True)

    def test_huge_embedded_picture_is_refused(self, monkeypatch):
        monkeypatch.setattr(pdf_worker, "MAX_EMBEDDED_PIXELS", 10_000)
        with pytest.raises(PageError, match="too large to decode"):
            pdf_worker._draw(pdf_worker._open(saved(ecg_page(400), "PDF")), 1, grey=True)

    def test_content_that_inflates_without_end_ends_only_the_worker(self):
        packer = zlib.compressobj(1)
        packed = b"".join(packer.compress(b" " * 2**20) for _ in range(450)) + packer.flush()
        plain = text_pdf(packed)
        bomb = plain.replace(b">>stream", b"/Filter/FlateDecode>>stream", 1)
        with pytest.raises(PageError, match="within the limits of memory and time"):
            read(bomb)

    def test_worker_ends_with_its_document(self):
        document = open_document(text_pdf())
        document.close()
        document.close()
        assert document._worker.returncode is not None
        with pytest.raises(PageError):
            document.read(1)

    def test_page_numbers_outside_are_refused(self):
        with pytest.raises(PageError, match="no page 2"):
            read(text_pdf(), 2)

    def test_missing_extra_names_its_pip_line(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pypdfium2", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'ecg-edge\[pdf\]'"):
            open_document(text_pdf())


class TestDrawing:
    def test_lead_stands_at_its_place_with_its_gain(self):
        flat = {lead: np.zeros(5000, np.float32) for lead in LEADS}
        step = flat | {"V2": np.where(np.arange(5000) < 3125, 0, 1).astype(np.float32)}
        image, px_per_mm = draw_leads(step, RATE_HZ)
        changed = np.asarray(image) != np.asarray(draw_leads(flat, RATE_HZ)[0])
        rows, columns = np.nonzero(changed)
        assert np.ptp(rows) == pytest.approx(10 * px_per_mm, abs=4)
        second_row, third_column = (10 + 1.5 * 37.5) * px_per_mm, (10 + 5 + 125) * px_per_mm
        assert abs(rows.max() - second_row) < 4 or abs(rows.min() - second_row) < 4 + 10 * px_per_mm
        assert (
            third_column - 2
            <= columns.min()
            <= columns.max()
            <= third_column + 62.5 * px_per_mm + 2
        )

    def test_short_recording_leaves_paper_blank(self):
        short = {lead: curve[:1500] for lead, curve in leads_mv().items()}
        image, px_per_mm = draw_leads(short, RATE_HZ)
        right_half = np.asarray(image)[:, round(150 * px_per_mm) :]
        assert (np.asarray(image) < 50).mean() > (right_half < 50).mean()


class TestDicom:
    @pytest.fixture(autouse=True)
    def _needs_pydicom(self):
        needs("pydicom")

    @pytest.fixture
    def drawn(self):
        return np.asarray(draw_leads(leads_mv(), RATE_HZ)[0])

    @pytest.mark.parametrize("unit", ["uV", "mV"])
    def test_waveform_is_drawn_as_its_own_signals(self, drawn, unit):
        page = read(waveform_dicom(unit=unit))
        assert (page.format, page.dpi) == ("DICOM", 127.0)
        assert (page.grey != drawn).mean() < 0.002  # stored in whole microvolts

    def test_leads_are_found_by_code_or_by_name_in_any_order(self, drawn):
        for coded in (True, False):
            page = read(waveform_dicom(tuple(reversed(LEADS)), coded=coded))
            assert (page.grey != drawn).mean() < 0.002

    def test_limb_leads_left_out_are_derived(self, drawn):
        names = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
        assert (read(waveform_dicom(names)).grey != drawn).mean() < 0.002

    def test_missing_chest_leads_are_named(self):
        with pytest.raises(PageError, match="lacks V5, V6"):
            open_document(waveform_dicom(("I", "II", "V1", "V2", "V3", "V4")))

    def test_short_waveform_is_refused(self):
        with pytest.raises(PageError, match=r"shorter than 2\.5 seconds"):
            open_document(waveform_dicom(seconds=1))

    @pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
    @pytest.mark.parametrize("kind", [np.uint8, np.uint16])
    def test_grey_capture_is_read_the_right_way_round(self, photometric, kind):
        values = np.full((300, 400), 255, np.uint8)
        values[:75, :100] = 0
        stored = 255 - values if photometric == "MONOCHROME1" else values
        page = read(
            capture_dicom(stored.astype(kind) * (1 if kind == np.uint8 else 16), photometric)
        )
        assert np.array_equal(page.grey, values)

    def test_colour_capture_keeps_its_colours(self):
        values = np.zeros((30, 40, 3), np.uint8)
        values[..., 0] = 250
        with open_document(capture_dicom(values, "RGB")) as document:
            assert document.picture(1).getpixel((5, 5)) == (250, 0, 0)

    def test_frames_are_pages(self):
        with open_document(
            capture_dicom(np.zeros((30, 40), np.uint8), "MONOCHROME2", 3)
        ) as document:
            assert document.page_count == 3
            assert document.read(3).number == 3

    def test_jpeg_frame_is_read_as_the_jpeg_that_it_is(self):
        jpeg = saved(ecg_page(700), "JPEG")
        page = read(jpeg_dicom(jpeg, ecg_page(700).size))
        assert np.array_equal(page.grey, read(jpeg).grey)
        assert page.format == "DICOM"

    def test_huge_capture_is_refused_by_its_header(self):
        data = capture_dicom(np.zeros((4, 4), np.uint16), "MONOCHROME2")
        rows = data.index(b"\x28\0\x10\0US") + 8
        columns = data.index(b"\x28\0\x11\0US") + 8
        spoilt = bytearray(data)
        spoilt[rows : rows + 2] = spoilt[columns : columns + 2] = b"\xff\xff"
        with pytest.raises(PageError, match="65535 x 65535 pixels, too large"):
            open_document(bytes(spoilt))

    def test_wrapped_pdf_has_its_pages(self):
        needs("pypdfium2")
        page = read(wrapped_pdf_dicom(text_pdf()))
        assert page.format == "DICOM"
        assert page.grey.shape == (1050, 1400)

    def test_file_without_ecg_is_refused(self):
        for data in (b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\x08\0" * 300):
            with pytest.raises(PageError, match="DICOM file"):
                open_document(data)

    def test_deflated_file_is_refused_uninflated(self):
        data = waveform_dicom()
        spoilt = data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99", 1)
        with pytest.raises(PageError, match="deflated"):
            open_document(spoilt)

    def test_file_without_preamble_is_known_by_its_name(self):
        data = waveform_dicom()[132:]
        with open_document(data, "ecg.DCM") as document:
            assert document.page_count == 1

    def test_missing_extra_names_its_pip_line(self, monkeypatch):
        data = waveform_dicom()
        monkeypatch.setitem(sys.modules, "pydicom", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'ecg-edge\[dicom\]'"):
            open_document(data)
