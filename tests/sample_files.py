"""Small valid files of every kind that the runtime reads, for tests and for the fuzzer to spoil."""

from __future__ import annotations

import importlib.util
import io
from functools import cache

import numpy as np
from conftest import missing
from PIL import Image

from runtime.drawing import draw_leads
from runtime.labels import LEADS

RATE_HZ = 500.0


def needs(*modules: str) -> None:
    """Skip where a package is not installed; fail where `.ci/run` forbids skipping."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            missing(f"{module} is not installed")


def leads_mv() -> dict[str, np.ndarray]:
    """Ten seconds of a regular heart: Gaussian waves along one axis a wave, all laws kept."""
    t = np.arange(5000) / RATE_HZ
    beat = (t + 0.2) % 0.8 - 0.4

    def wave(at: float, width: float) -> np.ndarray:
        return np.exp(-0.5 * ((beat - at) / width) ** 2)

    p, q, r, s, u = (
        wave(-0.16, 0.02),
        wave(-0.03, 0.008),
        wave(0, 0.01),
        wave(0.03, 0.01),
        wave(0.24, 0.04),
    )
    first = 0.1 * p - 0.05 * q + 0.7 * r - 0.1 * s + 0.2 * u
    second = 0.15 * p - 0.08 * q + 1.1 * r - 0.2 * s + 0.3 * u
    chest = {
        f"V{n}": 0.1 * p + (0.2 * n + 0.1) * r - (1.4 - 0.2 * n) * s + 0.3 * u for n in range(1, 7)
    }
    limb = {
        "I": first,
        "II": second,
        "III": second - first,
        "aVR": -(first + second) / 2,
        "aVL": first - second / 2,
        "aVF": second - first / 2,
    }
    return {lead: (limb | chest)[lead].astype(np.float32) for lead in LEADS}


@cache
def ecg_page(width: int = 1375) -> Image.Image:
    """A clean 3x4+1 page, mode L, reduced to a width."""
    image, _ = draw_leads(leads_mv(), RATE_HZ)
    return image.resize((width, round(image.height * width / image.width)), Image.Resampling.BOX)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """Save an image to bytes."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def exif_block(orientation: int, order: str = "<") -> bytes:
    """An EXIF block that holds nothing but an orientation."""
    import struct

    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + mark + struct.pack(order + "IH", 8, 1) + entry + b"\0\0\0\0"


def text_pdf(
    content: bytes = b"0 0 m 700 500 l S", size: str = "800 600", extra: bytes = b""
) -> bytes:
    """A PDF of one page, written by hand: PDFium finds its objects without a table."""
    body = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 " + size.encode() + b"]/Contents 4 0 R>>",
        b"<</Length %d>>stream\n" % len(content) + content + b"\nendstream",
    ]
    out = b"%PDF-1.4\n"
    for number, item in enumerate(body, 1):
        out += b"%d 0 obj\n" % number + item + b"\nendobj\n"
    return (
        out
        + extra
        + b"trailer<</Root 1 0 R"
        + (b"/Encrypt 9 0 R/ID[<00><00>]" if extra else b"")
        + b">>\n%%EOF"
    )


def locked_pdf() -> bytes:
    """A PDF whose password is none that anybody knows (standard security handler, revision 2)."""
    key = b"<" + b"5a" * 32 + b">"
    lock = b"9 0 obj\n<</Filter/Standard/V 1/R 2/O" + key + b"/U" + key + b"/P -44>>\nendobj\n"
    return text_pdf(extra=lock)


def line_pdf(width: int = 0) -> bytes:
    """A PDF that draws the leads as vector lines, as carts print them."""
    lines = []
    for row, lead in enumerate(("I", "II", "III", "II")):
        curve = leads_mv()[lead][::10]
        points = [(40 + i * 1.4, 500 - 110 * row + 28 * v) for i, v in enumerate(curve)]
        lines.append(f"{points[0][0]:.1f} {points[0][1]:.1f} m")
        lines += [f"{x:.1f} {y:.1f} l" for x, y in points[1:]]
        lines.append("S")
    return text_pdf("\n".join(lines).encode())


# DICOM ------------------------------------------------------------------------------------------

_CODES = dict(zip(("I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "III", "aVR", "aVL", "aVF"),
                  (1, 2, 3, 4, 5, 6, 7, 8, 61, 62, 63, 64), strict=True))  # fmt: skip


def _dataset(uid: str):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = uid
    dataset.SOPInstanceUID = "1.2.3.4"
    return dataset


def _written(dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def waveform_dicom(
    names: tuple[str, ...] = LEADS, *, unit: str = "uV", seconds: float = 10.0, coded: bool = True
) -> bytes:
    """A 12-lead ECG waveform storage object."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence
    from pydicom.uid import TwelveLeadECGWaveformStorage

    per_millivolt = {"uV": 1000.0, "mV": 1.0}[unit]
    values = np.stack([leads_mv()[name][: int(seconds * RATE_HZ)] for name in names], axis=1)
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels = len(names)
    group.NumberOfWaveformSamples = len(values)
    group.SamplingFrequency = RATE_HZ
    channels = []
    for name in names:
        source, units, channel = Dataset(), Dataset(), Dataset()
        source.CodeValue = f"2:{_CODES[name]}" if coded else "local"
        source.CodingSchemeDesignator = "MDC"
        source.CodeMeaning = f"Lead {name}"
        units.CodeValue = unit
        units.CodingSchemeDesignator = "UCUM"
        units.CodeMeaning = unit
        channel.ChannelSourceSequence = Sequence([source])
        channel.ChannelSensitivity = per_millivolt / 1000.0
        channel.ChannelSensitivityUnitsSequence = Sequence([units])
        channel.ChannelSensitivityCorrectionFactor = 1
        channel.ChannelBaseline = 0
        channel.WaveformBitsStored = 16
        channels.append(channel)
    group.ChannelDefinitionSequence = Sequence(channels)
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    group.WaveformData = np.round(values * 1000).astype("<i2").tobytes()
    dataset = _dataset(TwelveLeadECGWaveformStorage)
    dataset.WaveformSequence = Sequence([group])
    return _written(dataset)


def capture_dicom(values: np.ndarray, photometric: str, frames: int = 1) -> bytes:
    """A secondary capture of grey or RGB values, uint8 or uint16."""
    from pydicom.uid import SecondaryCaptureImageStorage

    dataset = _dataset(SecondaryCaptureImageStorage)
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 3 if values.ndim == 3 else 1
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    if frames > 1:
        dataset.NumberOfFrames = frames
    bits = values.dtype.itemsize * 8
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    data = values.tobytes() * frames
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    return _written(dataset)


def jpeg_dicom(jpeg: bytes, size: tuple[int, int]) -> bytes:
    """A secondary capture whose frame is a baseline JPEG."""
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage

    dataset = _dataset(SecondaryCaptureImageStorage)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.Columns, dataset.Rows = size
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = encapsulate([jpeg])
    dataset["PixelData"].is_undefined_length = True
    return _written(dataset)


def wrapped_pdf_dicom(pdf: bytes) -> bytes:
    """An encapsulated PDF."""
    from pydicom.uid import EncapsulatedPDFStorage

    dataset = _dataset(EncapsulatedPDFStorage)
    dataset.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    return _written(dataset)


# All of them ------------------------------------------------------------------------------------


def picture_files(width: int = 460) -> dict[str, bytes]:
    """One file a picture format and variant, all of the same ECG page."""
    grey = ecg_page(width)
    colour = grey.convert("RGB")
    black = grey.point(lambda tone: 255 if tone > 120 else 0).convert("1")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    two = [grey.transpose(Image.Transpose.ROTATE_180)]
    return {
        "jpeg-grey": saved(grey, "JPEG", quality=80),
        "jpeg-colour": saved(colour, "JPEG", quality=70, dpi=(200, 200)),
        "jpeg-progressive": saved(colour, "JPEG", quality=60, progressive=True),
        "jpeg-cmyk": saved(colour.convert("CMYK"), "JPEG", quality=60),
        "jpeg-turned": saved(grey, "JPEG", quality=60, exif=exif_block(6)),
        "png-grey": saved(grey, "PNG"),
        "png-colour": saved(colour, "PNG", dpi=(150, 150)),
        "png-alpha": saved(colour.convert("RGBA"), "PNG"),
        "png-palette": saved(colour.quantize(16), "PNG", transparency=3),
        "png-deep": saved(deep, "PNG"),
        "png-fax": saved(black, "PNG"),
        "tiff-raw": saved(grey, "TIFF"),
        "tiff-lzw": saved(colour, "TIFF", compression="tiff_lzw"),
        "tiff-deflate": saved(deep, "TIFF", compression="tiff_adobe_deflate"),
        "tiff-fax": saved(black, "TIFF", compression="group4"),
        "tiff-fax3": saved(black, "TIFF", compression="group3"),
        "tiff-jpeg": saved(colour, "TIFF", compression="jpeg"),
        "tiff-pages": saved(grey, "TIFF", compression="packbits", save_all=True, append_images=two),
        "bmp-colour": saved(colour, "BMP"),
        "bmp-palette": saved(colour.quantize(16), "BMP"),
        "bmp-fax": saved(black, "BMP"),
        "webp-lossy": saved(colour, "WEBP", quality=60),
        "webp-lossless": saved(colour, "WEBP", lossless=True),
        "webp-moving": saved(colour, "WEBP", save_all=True, append_images=two),
        "gif-still": saved(grey, "GIF"),
        "gif-moving": saved(grey, "GIF", save_all=True, append_images=two),
    }


def document_files(width: int = 460) -> dict[str, bytes]:
    """One file a PDF and DICOM variant; needs pydicom to write the latter."""
    grey = ecg_page(width)
    pages = [grey.transpose(Image.Transpose.ROTATE_180)]
    picture_pdf = saved(grey, "PDF", resolution=60, save_all=True, append_images=pages)
    return {
        "pdf-pictures": picture_pdf,
        "pdf-lines": line_pdf(),
        "dicom-waveform": waveform_dicom(seconds=3),
        "dicom-grey": capture_dicom(np.asarray(grey), "MONOCHROME2"),
        "dicom-colour": capture_dicom(np.asarray(grey.convert("RGB")), "RGB"),
        "dicom-jpeg": jpeg_dicom(saved(grey, "JPEG"), grey.size),
        "dicom-pdf": wrapped_pdf_dicom(picture_pdf),
    }
