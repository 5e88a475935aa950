"""Reading picture files: size, orientation, colour modes, pages, and what is refused."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sample_files import ecg_page, exif_block, picture_files, saved

from runtime.errors import PageError
from runtime.page import (
    MAX_HALVED_SIDE,
    RESAMPLE_ABOVE,
    Page,
    open_document,
    page_from_image,
    plausible_dpi,
    working_factor,
)
from runtime.picture import exif_orientation


def read(data: bytes, number: int = 1) -> Page:
    with open_document(data) as document:
        return document.read(number)


def marked(size: tuple[int, int] = (400, 300)) -> Image.Image:
    """White paper with a black square at the top left."""
    image = Image.new("L", size, 255)
    image.paste(0, (0, 0, size[0] // 4, size[1] // 4))
    return image


def dark_corner(page: Page) -> tuple[bool, bool]:
    """Say whether the darkest corner is at the top and at the left."""
    height, width = page.grey.shape
    y, x = np.argwhere(page.grey < 128).mean(axis=0)
    return bool(y < height / 2), bool(x < width / 2)


def test_cart_jpeg_is_decoded_at_half_size_with_the_original_size_kept():
    page = read(saved(ecg_page().resize((2213, 1572)), "JPEG", dpi=(200, 200)))
    assert page.grey.shape == (786, 1107)
    assert page.grey.dtype == np.uint8
    assert page.grey.flags.c_contiguous
    assert (page.scale, page.original_size) == (0.5, (2213, 1572))
    assert (page.format, page.dpi, page.number) == ("JPEG", 200.0, 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF"])
def test_working_picture_maps_back_to_original_pixels(kind):
    image = Image.new("L", (3000, 2000), 255)
    image.paste(0, (2400, 1200, 2480, 1280))
    page = read(saved(image, kind))
    y, x = np.argwhere(page.grey < 128).mean(axis=0) / page.scale
    assert (x, y) == (pytest.approx(2440, abs=4), pytest.approx(1240, abs=4))
    assert max(page.grey.shape) <= RESAMPLE_ABOVE


@given(st.integers(1, 65_535), st.integers(1, 65_535))
def test_halving_ends_just_below_the_limit(width, height):
    left = max(width, height) / working_factor(width, height)
    assert left <= MAX_HALVED_SIDE
    assert working_factor(width, height) == 1 or left > MAX_HALVED_SIDE / 2


def test_picture_between_two_halvings_is_resampled():
    page = read(saved(marked((2000, 1500)), "PNG"))
    assert page.grey.shape == (1050, 1400)
    assert page.scale == pytest.approx(0.7)


def test_small_picture_keeps_its_pixels():
    image = marked()
    page = read(saved(image, "PNG"))
    assert np.array_equal(page.grey, np.asarray(image))
    assert page.scale == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_undone(kind, orientation):
    upright = marked()
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the turn that a camera so marks
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    if kind == "TIFF":
        data = saved(stored, kind, tiffinfo={274: orientation})
    else:
        data = saved(stored, kind, exif=exif_block(orientation))
    with open_document(data) as document:
        page, picture = document.read(1), document.picture(1)
    assert page.original_size == picture.size == (400, 300)
    assert dark_corner(page) == (True, True)
    assert np.asarray(picture)[5, 5].max() < 128


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_in_both_byte_orders(order):
    assert exif_orientation(exif_block(8, order)) == 8
    assert exif_orientation(exif_block(8, order).removeprefix(b"Exif\0\0")) == 8


@given(st.binary(max_size=80))
def test_orientation_of_a_spoilt_block_is_a_valid_one(block):
    for start in (b"", b"II*\0", b"MM\0*", b"Exif\0\0II*\0\x08\0\0\0"):
        assert 1 <= exif_orientation(start + block) <= 8


@pytest.mark.parametrize("name", sorted(picture_files(160)))
def test_every_picture_format_gives_the_same_grey(name):
    data = picture_files(700)[name]
    expected = np.asarray(ecg_page(700), np.float32)
    page = read(data)
    grey = page.grey.astype(np.float32)
    if name == "jpeg-turned":
        grey = np.rot90(grey)
    assert grey.shape == expected.shape
    ink = expected < 100
    assert grey[ink].mean() < 90
    assert abs(grey[expected > 250].mean() - 255) < 6


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "I", "F"]
)
def test_image_in_memory_is_read_in_any_mode_and_left_unchanged(mode):
    image = ecg_page(500).convert("L").convert(mode)
    before = image.tobytes()
    page = page_from_image(image)
    assert (image.mode, image.tobytes()) == (mode, before)
    expected = np.asarray(ecg_page(500), np.float32)
    likeness = np.corrcoef(page.grey.ravel(), expected.ravel())[0, 1]
    assert likeness > (0.5 if mode == "1" else 0.9)  # Pillow dithers to black and white


def test_image_of_an_odd_mode_is_refused_in_words():
    with pytest.raises(PageError, match="colour mode LAB"):
        page_from_image(Image.new("LAB", (300, 300)))


def test_transparent_paper_is_white():
    image = Image.new("RGBA", (400, 300), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (100, 100, 200, 200))
    page = read(saved(image, "PNG"))
    assert page.grey[10, 10] == 255
    assert page.grey[150, 150] == 0


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_deep_grey_is_scaled_by_the_depth_in_use(bits):
    deep = (np.asarray(marked(), np.float64) / 255 * (2**bits - 1)).astype(np.uint16)
    page = read(saved(Image.fromarray(deep), "TIFF"))
    assert (page.grey.min(), page.grey.max()) == (0, 255)


def test_pages_of_a_tiff_come_in_their_order_and_again():
    pages = [Image.new("L", (300, 200), tone) for tone in (10, 120, 240)]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    with open_document(data) as document:
        assert document.page_count == 3
        tones = [int(document.read(number).grey[0, 0]) for number in (1, 2, 3, 1)]
        with pytest.raises(PageError, match="no page 4"):
            document.read(4)
    assert tones == [10, 120, 240, 10]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_read(kind):
    frames = [marked(), Image.new("L", (400, 300), 0)]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    with open_document(data) as document:
        assert document.page_count == 1
        assert dark_corner(document.read(1)) == (True, True)


def test_a_picture_for_people_covers_the_same_area():
    data = saved(ecg_page().resize((2213, 1572)).convert("RGB"), "JPEG")
    with open_document(data) as document:
        grey, colour, again = document.read(1), document.picture(1), document.read(1)
    assert colour.mode == "RGB"
    assert colour.size == grey.grey.shape[::-1]
    assert np.array_equal(grey.grey, again.grey)


def png_header(width: int, height: int, colour_type: int = 2) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    squeezed = zlib.compress(b"\0" * 100_000, 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", squeezed) + chunk(b"IEND", b"")
    )


def bmp_header(width: int, height: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head


def gif_header(width: int, height: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02D\x01\0;"


def webp_header(width: int, height: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + canvas
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@pytest.mark.parametrize(
    "data",
    [
        png_header(60_000, 60_000),
        png_header(60_000, 60_000, colour_type=0),
        bmp_header(60_000, 60_000),
        gif_header(60_000, 60_000),
        webp_header(16_000, 16_000),
        webp_header(16_777_215, 20),
        webp_header(262_274, 80),
    ],
    ids=["png", "png-grey", "bmp", "gif", "webp", "webp-wide", "webp-thin"],
)
def test_bomb_is_refused_by_its_header(data):
    with pytest.raises(PageError, match=r"too large|too long|damaged"):
        read(data)


def tiled_tiff(side: int) -> bytes:
    """A TIFF of 100 x 100 pixels in one deflated tile of side x side."""
    packed = zlib.compress(bytes(side * side), 1)
    tags = {
        256: 100,
        257: 100,
        258: 8,
        259: 8,
        262: 1,
        277: 1,
        322: side,
        323: side,
        325: len(packed),
    }
    tags[324] = 8 + 2 + 12 * (len(tags) + 1) + 4
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    return b"II*\0" + struct.pack("<I", 8) + directory + packed


def test_tile_beyond_its_picture_is_refused():
    assert read(tiled_tiff(256)).original_size == (100, 100)
    with pytest.raises(PageError, match="tiles of the TIFF are larger than its picture"):
        read(tiled_tiff(2048))


def test_damaged_second_page_is_reported_and_the_first_read():
    pages = [Image.new("L", (300, 200), tone) for tone in (10, 120)]
    data = bytearray(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    (directory,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, directory)
    (second,) = struct.unpack_from("<I", data, directory + 2 + 12 * tags)
    (tags,) = struct.unpack_from("<H", data, second)
    data[second + 2 : second + 2 + 12 * tags] = bytes(12 * tags)
    with open_document(bytes(data)) as document:
        assert document.page_count == 2
        assert document.read(1).grey[0, 0] == 10
        with pytest.raises(PageError, match="damaged"):
            document.read(2)


def chained_tiff(directories: int, count: int, kind: int = 1) -> bytes:
    """A TIFF of directories with one tag each, whose data are the same stretch of the file."""
    out = b"II*\0" + struct.pack("<I", 8)
    for number in range(directories):
        behind = 8 + (number + 1) * 18 if number + 1 < directories else 0
        out += struct.pack("<HHHIII", 1, 270, kind, count, 8, behind)
    return out + bytes(2**21)


def test_tags_that_share_their_data_over_and_over_are_refused():
    with pytest.raises(PageError, match="tags of the TIFF are damaged"):
        open_document(chained_tiff(200, 2**20))
    with pytest.raises(PageError, match="tags of the TIFF are damaged"):
        open_document(chained_tiff(1, 300_000, kind=4))


@pytest.mark.parametrize("place", [2**31, 2**63 + 8, 2**64 - 1])
def test_big_tiff_whose_chain_leads_out_of_the_file_is_damaged(place):
    with pytest.raises(PageError, match=r"damaged|too early"):
        open_document(b"II+\0\x08\0\0\0" + struct.pack("<Q", place) + bytes(64))


def test_tiff_of_very_many_pages_is_refused():
    with pytest.raises(PageError, match="more than 500 pages"):
        open_document(chained_tiff(501, 4))


def test_chain_of_pages_that_bites_its_tail_ends():
    data = bytearray(saved(Image.new("L", (300, 200), 9), "TIFF"))
    (directory,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, directory)
    struct.pack_into("<I", data, directory + 2 + 12 * tags, directory)
    with open_document(bytes(data)) as document:
        assert document.page_count == 1
        assert document.read(1).grey[0, 0] == 9


def test_progressive_jpeg_counts_its_coefficients():
    data = bytearray(saved(Image.new("RGB", (64, 64), "white"), "JPEG", progressive=True))
    frame = data.index(b"\xff\xc2")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 20_000, 20_000)
    with pytest.raises(PageError, match="20000 x 20000 pixels, too large"):
        read(bytes(data))


@pytest.mark.parametrize("hidden", [False, True])
def test_jpeg_whose_first_scan_lacks_components_counts_its_coefficients(hidden):
    data = bytearray(saved(Image.new("RGB", (64, 64), "white"), "JPEG"))
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 14_000, 14_000)
    with open_document(bytes(data)) as whole:
        assert whole.page_count == 1  # one scan: decoded line by line, so its size is no matter
    data[scan + 4] = 1
    if hidden:  # behind a marker without length, whose next bytes would lead to a better scan
        whole_scan = data[frame : frame + 19] + b"\xff\xda\x00\x0c\x03"
        data[2:2] = b"\xff\xd0"
        data += bytes(2 + 0xFFE0 + 2 - len(data)) + whole_scan
    with pytest.raises(PageError, match="14000 x 14000 pixels, too large"):
        read(bytes(data))


def test_jpeg_of_very_many_scans_is_refused():
    data = saved(Image.new("RGB", (64, 64), "white"), "JPEG", progressive=True)
    scan = data.index(b"\xff\xda")
    with pytest.raises(PageError, match="scans"):
        read(data[:scan] + data[scan:-2] * 150 + b"\xff\xd9")


def test_one_pixel_is_a_page_for_the_quality_gate_to_refuse():
    assert read(saved(Image.new("L", (1, 1)), "PNG")).original_size == (1, 1)


def test_very_long_picture_is_read_thin():
    page = read(saved(Image.new("L", (60_000, 30), 200), "JPEG"))
    assert page.original_size == (60_000, 30)
    assert max(page.grey.shape) <= RESAMPLE_ABOVE


@pytest.mark.parametrize("name", [n for n in sorted(picture_files(160)) if "tiff" not in n])
def test_truncated_file_says_that_it_ends_early(name):
    data = picture_files(460)[name]
    if name in ("gif-moving", "webp-moving"):
        data = data[: len(data) // 3]
    with pytest.raises(PageError, match=r"ends too early|damaged"):
        read(data[: len(data) // 2])


def test_reasons_name_the_remedy():
    with pytest.raises(PageError) as caught:
        read(saved(ecg_page(500), "JPEG")[:4000])
    assert str(caught.value) == (
        "the JPEG file ends too early; export, scan or photograph the page again"
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"patient;name;date\n1;x;2\n", "text file"),
        ("Müller, 70 J.".encode(), "no picture|text file"),
        (b"<?xml version='1.0'?><ecg/>", "XML, HTML or SVG"),
        (b"\xef\xbb\xbf<html></html>", "XML, HTML or SVG"),
        (b"PK\x03\x04" + b"\0" * 40, "packed archive"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\x00\x01\x02\x03" * 20, "no picture"),
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"II*\0", "TIFF"),
        (b"BM", "BMP"),
        (b"GIF89a", "GIF"),
        (b"RIFF\0\0\0\0WEBP", "WebP"),
    ],
)
def test_what_is_no_picture_is_named(data, words):
    with pytest.raises(PageError, match=words):
        read(data)


def test_file_beyond_the_size_limit_is_refused_unread():
    with pytest.raises(PageError, match="more than the limit of 128 MB"):
        open_document(bytes(129 * 2**20))


@pytest.mark.parametrize(
    ("value", "dpi"),
    [((300, 300), 300.0), (96, 96.0), ((0, 0), None), ((1e9, 1), None), (None, None), ("x", None)],
)
def test_stated_resolution_is_kept_where_plausible(value, dpi):
    assert plausible_dpi(value) == dpi


def test_samples_beyond_measure_are_not_logged_on_stderr(capfd):
    data = bytearray(saved(Image.new("RGB", (64, 64)), "TIFF"))
    (directory,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, directory)
    for place in range(directory + 2, directory + 2 + 12 * tags, 12):
        if struct.unpack_from("<H", data, place)[0] == 277:
            struct.pack_into("<H", data, place + 8, 122)
    with pytest.raises(PageError):
        read(bytes(data))
    assert capfd.readouterr() == ("", "")


def test_exif_of_a_jpeg_does_not_load_the_tiff_module():
    data = saved(marked(), "JPEG", exif=exif_block(3))
    code = (
        "import sys; from runtime.page import open_document\n"
        "open_document(sys.stdin.buffer.read()).read(1)\n"
        "assert 'PIL.TiffImagePlugin' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], input=data, check=True, cwd=ROOT)


def test_nothing_is_written_to_stderr_or_stdout(capfd):
    for data in picture_files(300).values():
        for spoilt in (
            data,
            data[:200],
            data[: len(data) // 2],
            data[:60] + b"\0" * 40 + data[100:],
        ):
            try:
                read(spoilt)
            except PageError:
                continue
    assert capfd.readouterr() == ("", "")


def test_spoilt_fax_line_is_an_error_not_a_picture():
    data = bytearray(picture_files(460)["tiff-fax"])
    with open_document(bytes(data)) as document:
        document.read(1)
    data[400:406] = b"\x55" * 6
    with pytest.raises(PageError, match="damaged"):
        read(bytes(data))


def test_closing_twice_is_harmless():
    document = open_document(saved(marked(), "PNG"))
    document.close()
    document.close()
