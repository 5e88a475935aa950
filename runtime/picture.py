"""Reads picture files (JPEG, PNG, TIFF, BMP, WebP, GIF) through Pillow, within a memory limit.

The plugin of the one format found is loaded, not Pillow's usual five, and the size that the header
states is judged before a pixel is decoded.
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from PIL import Image

from runtime.errors import PageError
from runtime.grey import orient, reduce_image, upright_size
from runtime.page import Page, finish_page, plausible_dpi, working_factor
from runtime.record import Record
from runtime.tiff_directory import count_pages
from runtime.tiff_errors import heed_libtiff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL.ImageFile import ImageFile

__all__ = ["PictureDocument", "open_picture", "page_of_open_image"]

#: Memory (bytes) that decoding one page may take. With the engine's own 50 MB and the process it
#: stays below the 500 MB that a device with 1 GB can spare. Enough for A4 in colour at 600 dpi as
#: TIFF (34.8 million pixels x 4 bytes x 2), A3 as PNG, and a black-and-white TIFF at 1,200 dpi.
MAX_DECODE_BYTES = 300_000_000
#: Longest side (px): the limit of JPEG itself; a letter at 1,200 dpi has 14,000. What is longer is
#: no page, and bands of it (see :mod:`runtime.grey`) would no longer be small.
MAX_SIDE = 65_535
#: Largest baseline JPEG (pixels): phones have 200-megapixel cameras. It is decoded at 1/8 size and
#: needs little memory, so time is the limit: 220 million pixels take about 1 s on a desktop core.
MAX_JPEG_PIXELS = 220_000_000
#: Scans of a progressive JPEG. Encoders write about 10; a crafted file of thousands of scans costs
#: seconds a megabyte (https://libjpeg-turbo.org/pmwiki/uploads/About/TwoIssueswiththeJPEGStandard.pdf).
MAX_JPEG_SCANS = 100
#: Pages of a TIFF or PDF that are read; the rest of a longer file is refused as a whole.
MAX_PAGES = 500
#: Pixels of a TIFF tile that may be larger than the picture it belongs to; usual tiles have 65,536.
MAX_TILE_PIXELS = 4_000_000
_TILE_WIDTH, _TILE_LENGTH = 322, 323  # tags of TIFF 6.0, section 15
#: Run-length coded BMP is decoded by Pillow in Python; larger ones (bytes) would take seconds.
MAX_RLE_BMP_BYTES = 4_000_000

ACCEPTED = "JPEG, PNG, TIFF, BMP, WebP, GIF, PDF or DICOM"
RESEND = "export, scan or photograph the page again"

# Pillow warns and logs on stderr about odd metadata; what matters here is reported as a reason.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())
logging.getLogger("PIL").propagate = False


class _Format(Record):
    name: str
    opener: Callable[[io.BytesIO], ImageFile]
    copies: int  # raster-sized buffers that the decoder holds at its peak, the result included


def _open_jpeg(stream: io.BytesIO) -> ImageFile:
    image = _plain_jpeg()(stream)
    # All of it in one call, not 64 kB by 64 kB: between calls a thread waits for its turn.
    image.decodermaxblock = stream.seek(0, io.SEEK_END)
    return image


@cache
def _plain_jpeg() -> type[ImageFile]:
    from PIL.JpegImagePlugin import JpegImageFile

    class PlainJpeg(JpegImageFile):
        """A JPEG whose resolution is not looked up in its EXIF part.

        That would load Pillow's TIFF module (10 ms of a cold start), which in older versions copied
        without limit what hostile EXIF tags point at; phones write a meaningless 72 there anyway.
        """

        def _read_dpi_from_exif(self) -> None:
            return

        def getexif(self) -> Image.Exif:
            return Image.Exif()

    return PlainJpeg


def _open_png(stream: io.BytesIO) -> ImageFile:
    from PIL.PngImagePlugin import PngImageFile

    return PngImageFile(stream)


def _open_tiff(stream: io.BytesIO) -> ImageFile:
    from PIL.TiffImagePlugin import TiffImageFile

    return TiffImageFile(stream)


def _open_bmp(stream: io.BytesIO) -> ImageFile:
    from PIL.BmpImagePlugin import BmpImageFile

    return BmpImageFile(stream)


def _open_webp(stream: io.BytesIO) -> ImageFile:
    from PIL.WebPImagePlugin import WebPImageFile

    return WebPImageFile(stream)


def _open_gif(stream: io.BytesIO) -> ImageFile:
    from PIL.GifImagePlugin import GifImageFile

    return GifImageFile(stream)


_JPEG = _Format("JPEG", _open_jpeg, 1)
_PNG = _Format("PNG", _open_png, 1)
_TIFF = _Format("TIFF", _open_tiff, 2)
_BMP = _Format("BMP", _open_bmp, 1)
_WEBP = _Format("WebP", _open_webp, 5)
_GIF = _Format("GIF", _open_gif, 2)


def open_picture(data: bytes) -> PictureDocument:
    """Open the bytes of a picture file.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    PictureDocument
        One page, or as many as a TIFF has. Of an animated GIF, WebP or PNG the first frame is read:
        frames of an animation are no pages.

    Raises
    ------
    PageError
        If the file is of no accepted kind, damaged, or too large to decode in bounded memory.
    """
    found = _identify(data)
    if found is None:
        raise PageError(_what_else(data), f"give the page as {ACCEPTED}")
    return PictureDocument(data, found)


class PictureDocument:
    """A picture file of one or more pages.

    Parameters
    ----------
    data : bytes
        The whole file.
    kind : _Format
        What it begins like.

    Raises
    ------
    PageError
        As :func:`open_picture`.
    """

    def __init__(self, data: bytes, kind: _Format) -> None:
        self._data = data
        self._kind = kind
        self._used = False
        if kind is _WEBP:
            _check_memory(_webp_size(data), 4, kind)
        pages = count_pages(data, MAX_PAGES) if kind is _TIFF else 1
        self._image: ImageFile | None = self._open()
        self.page_count = pages

    @property
    def format(self) -> str:
        """What the file is, for example ``"TIFF"``."""
        return self._kind.name

    def __enter__(self) -> PictureDocument:
        """Return the document."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the file."""
        self.close()

    def close(self) -> None:
        """Release the file."""
        if self._image is not None:
            self._image.close()
            self._image = None

    def read(self, number: int) -> Page:
        """Read page `number` (from 1) as a grey working picture.

        Raises
        ------
        PageError
            If the page is damaged or too large to decode in bounded memory.
        """
        image = self._go_to(number)
        size = image.size
        dpi = plausible_dpi(image.info.get("dpi"))
        orientation = self._orientation(image)
        factor = working_factor(*size)
        grey = orient(self._decode(image, factor, "L"), orientation)
        if self._kind is not _TIFF:
            self._image = None  # decoded once only; its pixels need not outlive the page's own
        # Pillow turns a TIFF page upright when it is opened or, older versions, when it is decoded.
        size = image.size if self._kind is _TIFF else upright_size(size, orientation)
        return finish_page(
            grey,
            scale=1 / factor,
            original_size=size,
            number=number,
            kind=self._kind.name,
            dpi=dpi,
        )

    def picture(self, number: int) -> Image.Image:
        """Return page `number` as an upright RGB picture of at most 2,100 px, for people.

        Raises
        ------
        PageError
            As :meth:`read`.
        """
        image = self._go_to(number)
        orientation = self._orientation(image)
        picture = self._decode(image, working_factor(*image.size), "RGB")
        # The file's own image object dies with the document.
        return orient(picture.copy() if picture is image else picture, orientation)

    def _open(self) -> ImageFile:
        with _reasons(self._kind):
            return self._kind.opener(io.BytesIO(self._data))

    def _go_to(self, number: int) -> ImageFile:
        """Return the image standing at page `number`, its size judged, nothing decoded yet."""
        if not 1 <= number <= self.page_count:
            raise PageError(f"there is no page {number}", f"the file has {self.page_count}")
        image = self._image
        if image is None or (self._used and self._kind is not _TIFF):
            image = self._image = self._open()  # a decoded JPEG cannot be scaled anew
        if self._kind is _TIFF:
            with _reasons(self._kind):
                image.seek(number - 1)
        self._used = True
        self._check(image)
        return image

    def _orientation(self, image: ImageFile) -> int:
        # Pillow turns TIFF pages upright by itself.
        return 1 if self._kind is _TIFF else exif_orientation(image.info.get("exif"))

    def _check(self, image: ImageFile) -> None:
        if self._kind is _JPEG:
            _check_jpeg(image, self._data)
            return
        _check_memory(image.size, 1 if image.mode in ("1", "L", "P") else 4, self._kind)
        if self._kind is _TIFF:
            _check_tiles(image)
        run_length_coded = self._kind is _BMP and image.tile and image.tile[0][0] == "bmp_rle"
        if run_length_coded and len(self._data) > MAX_RLE_BMP_BYTES:
            raise PageError("the run-length coded BMP is too large", "save it as PNG")

    def _decode(self, image: ImageFile, factor: int, mode: str) -> Image.Image:
        """Decode the page, reduced by `factor`, as mode ``"L"`` or ``"RGB"``."""
        with _reasons(self._kind):
            if self._kind is _JPEG:
                width, height = image.size
                image.draft(mode, (max(1, width // factor), max(1, height // factor)))
                config = image.decoderconfig  # set by draft(): the scale it settled for
                factor //= config[0] if config else 1
            if self._kind is _TIFF:
                with heed_libtiff():
                    image.load()
            else:
                image.load()
            return reduce_image(image, factor, mode)


@contextmanager
def _reasons(kind: _Format) -> Iterator[None]:
    """Turn whatever a decoder raises into a :class:`PageError` in plain words."""
    try:
        yield
    except (PageError, KeyboardInterrupt, SystemExit):
        raise
    except MemoryError:
        raise PageError(
            f"there is not enough memory to decode the {kind.name} picture", "scan at 300 dpi"
        ) from None
    except Exception as error:  # Pillow's plugins raise what their parsing happens to run into
        if "truncated" in str(error).lower() or isinstance(error, EOFError):
            message = f"the {kind.name} file ends too early"
        else:
            message = f"the file begins like {kind.name} but is damaged"
        raise PageError(message, RESEND) from None


def _check_memory(size: tuple[int, int], bytes_a_pixel: int, kind: _Format) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise PageError("the picture has no pixels", RESEND)
    if max(width, height) > MAX_SIDE:
        raise PageError(f"the picture is {width} x {height} pixels, too long for a page", RESEND)
    if width * height * bytes_a_pixel * kind.copies > MAX_DECODE_BYTES:
        raise PageError(
            f"the picture is {width} x {height} pixels, too large to decode in bounded memory",
            "scan at 300 dpi, or save as JPEG",
        )


def _check_tiles(image: ImageFile) -> None:
    """Refuse a TIFF whose tiles are far larger than its picture; libtiff inflates them whole."""
    tags: dict[int, Any] = image.tag_v2  # type: ignore[attr-defined]
    try:
        tile = int(tags.get(_TILE_WIDTH, 0)) * int(tags.get(_TILE_LENGTH, 0))
    except (TypeError, ValueError):
        raise PageError("the file begins like TIFF but is damaged", RESEND) from None
    if tile > max(MAX_TILE_PIXELS, 2 * image.width * image.height):
        raise PageError("the tiles of the TIFF are larger than its picture", RESEND)


def _check_jpeg(image: ImageFile, data: bytes) -> None:
    """Judge a JPEG by its header: one of several scans keeps 2 bytes a sample until the last."""
    width, height = image.size
    in_one_go = "progressive" not in image.info and _first_scan_is_whole(data)
    scans = 1 if in_one_go else data.count(b"\xff\xda")
    if scans > MAX_JPEG_SCANS:
        raise PageError(f"the JPEG has {scans} scans", "save it as an ordinary JPEG")
    if width * height > MAX_JPEG_PIXELS or not in_one_go:
        _check_memory(image.size, 2 * len(image.getbands()), _JPEG)


def _first_scan_is_whole(data: bytes) -> bool:
    """Tell whether a JPEG's first scan holds all its components: the decoder reads no other.

    Looking for scans in the whole file would take a good part of the time of decoding it. In doubt
    the answer is no: what stands alone before a scan may hide what the decoder will see.
    Source: ITU-T T.81, B.1.1 (marker segments) and B.2.3 (scan header).
    """
    place, components = 2, 0
    while data[place : place + 1] == b"\xff":
        marker = data[place + 1 : place + 2]
        if marker == b"\xff":  # fill byte
            place += 1
            continue
        if marker == b"\xda":
            return 0 < components == data[place + 4] if place + 4 < len(data) else False
        if marker in _ALONE:
            return False
        if marker in _FRAMES and place + 9 < len(data):
            components = data[place + 9]
        place += 2 + max(2, int.from_bytes(data[place + 2 : place + 4], "big"))
    return False


#: Second bytes of the markers that have no length (T.81, table B.1), and of those that begin a
#: frame; C4, C8 and CC are none.
_ALONE = {bytes([kind]) for kind in (0x00, 0x01, *range(0xD0, 0xDA))}
_FRAMES = {bytes([0xC0 + kind]) for kind in range(16) if kind not in (4, 8, 12)}

_SIGNATURES = (
    (b"\xff\xd8\xff", _JPEG),
    (b"\x89PNG\r\n\x1a\n", _PNG),
    (b"II*\x00", _TIFF),
    (b"MM\x00*", _TIFF),
    (b"II+\x00", _TIFF),
    (b"MM\x00+", _TIFF),
    (b"BM", _BMP),
    (b"GIF87a", _GIF),
    (b"GIF89a", _GIF),
)


def _identify(data: bytes) -> _Format | None:
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    return _WEBP if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _what_else(data: bytes) -> str:
    """Say in plain words what a file of no accepted kind is."""
    if data[4:8] == b"ftyp":
        return "this is a HEIC, AVIF or video file of a phone, which cannot be read"
    if data[:4] in (b"PK\x03\x04", b"\x1f\x8b\x08\x00") or data[:6] == b"7z\xbc\xaf\x27\x1c":
        return "this is a packed archive, not a picture of a page"
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<"):
        return "this is an XML, HTML or SVG file, not a picture of a page"
    if start and all(byte >= 32 or byte in b"\t\r\n\f" for byte in start):
        return "this is a text file, not a picture of a page"
    return "this is no picture, or its beginning is damaged"


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return the canvas size that a WebP header states; Pillow allocates the canvas to open it.

    Source: RFC 9649, sections 2.5 to 2.7.
    """
    chunk, body = data[12:16], data[20:30]
    if chunk == b"VP8X" and len(body) == 10:
        width = int.from_bytes(body[4:7], "little") + 1
        return width, int.from_bytes(body[7:10], "little") + 1
    if chunk == b"VP8L" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 " and len(body) == 10:
        width, height = struct.unpack("<HH", body[6:10])
        return width & 0x3FFF, height & 0x3FFF
    raise PageError("the file begins like WebP but is damaged", RESEND)


def exif_orientation(exif: bytes | None) -> int:
    """Return the orientation that an EXIF block states, 1 to 8; 1 (upright) where it states none.

    Reading the one tag here saves loading Pillow's TIFF module, 10 ms of a cold start.

    Parameters
    ----------
    exif : bytes or None
        The block, with or without its leading ``Exif\\0\\0``.
    """
    if not exif:
        return 1
    block = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(block[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for index in range(min(count, 256)):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", block, start + 2 + 12 * index)
            if tag == 0x0112 and kind == 3:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def page_of_open_image(image: Image.Image, number: int) -> Page:
    """Make a page of a Pillow image; see :func:`runtime.page.page_from_image`."""
    kind = _Format(image.format or "image", _open_png, 1)
    _check_memory(image.size, 1 if image.mode in ("1", "L", "P") else 4, kind)
    exif = image.info.get("exif")
    orientation = exif_orientation(exif if isinstance(exif, bytes) else None)
    factor = working_factor(*image.size)
    size = image.size
    with _reasons(kind):
        image.load()
        grey = orient(reduce_image(image, factor, "L"), orientation)
    return finish_page(
        grey,
        scale=1 / factor,
        original_size=upright_size(size, orientation),
        number=number,
        kind=kind.name,
        dpi=plausible_dpi(image.info.get("dpi")),
    )
