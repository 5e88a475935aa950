"""Reads DICOM files through pydicom (extra ``dicom``): waveforms, captured pages, wrapped PDFs."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from runtime.drawing import draw_leads
from runtime.errors import MissingExtraError, PageError
from runtime.grey import reduce_image
from runtime.labels import LEADS
from runtime.page import Document, Page, finish_page, working_factor
from runtime.picture import (
    MAX_DECODE_BYTES,
    MAX_PAGES,
    RESEND,
    PictureDocument,
    open_picture,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["open_dicom"]

#: Transfer syntax "Deflated Explicit VR Little Endian" (PS3.5 section A.5). pydicom inflates the
#: whole file in one go, without limit.
_DEFLATED = b"1.2.840.10008.1.2.1.99"
#: Transfer syntax "JPEG Baseline (Process 1)".
_JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
#: Values of one waveform, all leads: 12 leads at 1,000 Hz for 5 minutes. As float64 that is 29 MB.
MAX_WAVEFORM_VALUES = 3_600_000
#: Shortest recording (s) that fills one column of a 3 x 4 page.
MIN_SECONDS = 2.5
#: Sampling rates (Hz) of electrocardiographs; PS3.3 section A.34.3 allows 200 to 1,000, files vary.
SAMPLING_HZ = (50.0, 10_000.0)
#: Microvolts of the units that a lead may be stored in.
_MICROVOLTS = {"uV": 1.0, "µV": 1.0, "mV": 1e3, "V": 1e6, "nV": 1e-3}
#: Lead codes: MDC (ISO 11073-10101, DICOM CID 3001, written "2:n") and SCP-ECG ("5.6.3-9-n").
_LEAD_NUMBERS = {
    1: "I",
    2: "II",
    3: "V1",
    4: "V2",
    5: "V3",
    6: "V4",
    7: "V5",
    8: "V6",
    61: "III",
    62: "aVR",
    63: "aVL",
    64: "aVF",
}

warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
logging.getLogger("pydicom").addHandler(logging.NullHandler())
logging.getLogger("pydicom").propagate = False


def open_dicom(data: bytes) -> Document:
    """Open the bytes of a DICOM file.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    Document
        A waveform is one page, drawn; an encapsulated PDF has its own pages; a picture (secondary
        capture) has one page a frame.

    Raises
    ------
    PageError
        If the file is damaged, or holds none of these.
    MissingExtraError
        If pydicom (or, for a wrapped PDF, pypdfium2) is not installed.
    """
    try:
        import pydicom
    except ImportError:
        raise MissingExtraError("dicom", "reading DICOM files") from None
    if _DEFLATED in data[:2048]:
        raise PageError("the DICOM file is stored deflated", "export it uncompressed")
    with _reasons():
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
        if "WaveformSequence" in dataset:
            return WaveformDocument(dataset)
        if "EncapsulatedDocument" in dataset:
            return _open_wrapped(bytes(dataset.EncapsulatedDocument))
        if "PixelData" in dataset:
            return CaptureDocument(dataset)
    raise PageError("the DICOM file holds no ECG, picture or PDF", "export the ECG itself")


def _open_wrapped(body: bytes) -> Document:
    if b"%PDF-" not in body[:1024]:
        raise PageError("the document in the DICOM file is no PDF", "export the ECG itself")
    from runtime.pdf import PdfDocument

    return PdfDocument(body, "DICOM")


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn whatever pydicom raises on a damaged file into a :class:`PageError`."""
    try:
        yield
    except (PageError, MissingExtraError, KeyboardInterrupt, SystemExit):
        raise
    except MemoryError:
        raise PageError("there is not enough memory to read the DICOM file", RESEND) from None
    except Exception:
        raise PageError("the DICOM file is damaged, or of a kind not known here", RESEND) from None


class _DicomDocument:
    """What the kinds of DICOM document have in common."""

    format = "DICOM"
    page_count = 1

    def __enter__(self) -> Any:
        """Return the document."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the file."""
        self.close()

    def close(self) -> None:
        """Release the file; nothing is held open."""

    def _check_number(self, number: int) -> None:
        if not 1 <= number <= self.page_count:
            raise PageError(f"there is no page {number}", f"the file has {self.page_count}")


class WaveformDocument(_DicomDocument):
    """A 12-lead recording (12-lead or general ECG waveform storage), drawn to one page.

    Parameters
    ----------
    dataset : pydicom.Dataset
        With a ``WaveformSequence``; its first group that holds an ECG is drawn.

    Raises
    ------
    PageError
        If fewer than the leads I, II, V1 to V6 are there, or less than 2.5 s of them.
    """

    def __init__(self, dataset: Any) -> None:
        leads, sampling_hz = _leads(dataset)
        self._picture, self._px_per_mm = draw_leads(leads, sampling_hz)

    def read(self, number: int) -> Page:
        """Read the drawn page; `number` is 1."""
        self._check_number(number)
        return finish_page(
            self._picture.convert("L"),
            scale=1.0,
            original_size=self._picture.size,
            number=number,
            kind=self.format,
            dpi=25.4 * self._px_per_mm,
        )

    def picture(self, number: int) -> Image.Image:
        """Return the drawn page as an RGB picture."""
        self._check_number(number)
        return self._picture.convert("RGB")


def _leads(dataset: Any) -> tuple[dict[str, NDArray[np.float32]], float]:
    """Return the leads of a waveform in millivolts, and their sampling rate in Hz."""
    from pydicom.waveforms import multiplex_array

    for index, group in enumerate(dataset.WaveformSequence):
        channels = list(group.ChannelDefinitionSequence)
        names = [_lead_name(channel) for channel in channels]
        if not {"I", "II"} <= set(names):
            continue
        if int(group.NumberOfWaveformSamples) * len(channels) > MAX_WAVEFORM_VALUES:
            raise PageError("the recording is too long", "export 10 seconds of it")
        rate = float(group.SamplingFrequency)
        if not SAMPLING_HZ[0] <= rate <= SAMPLING_HZ[1]:
            raise PageError(f"the recording has {rate:g} samples a second", RESEND)
        values = multiplex_array(dataset, index, as_raw=False)
        found = {
            name: (values[:, column] * _to_millivolts(channels[column])).astype(np.float32)
            for column, name in enumerate(names)
            if name is not None
        }
        leads = _complete(found)
        if len(values) < MIN_SECONDS * rate:
            raise PageError("the recording is shorter than 2.5 seconds", "record it again")
        return leads, rate
    raise PageError("the DICOM waveform has no ECG leads I and II", "export a 12-lead ECG")


def _lead_name(channel: Any) -> str | None:
    """Return the lead that a channel holds by its code, else by its written name."""
    for source in channel.get("ChannelSourceSequence") or ():
        code = str(source.get("CodeValue", ""))
        number = code.rpartition(":")[2] if ":" in code else code.rpartition("-")[2]
        known = code.startswith(("2:", "5.6.3-9-")) and number.isdigit()
        if known and int(number) in _LEAD_NUMBERS:
            return _LEAD_NUMBERS[int(number)]
        written = str(source.get("CodeMeaning", "")).removeprefix("Lead ").strip()
        for lead in LEADS:
            if written.lower() == lead.lower():
                return lead
    return None


def _to_millivolts(channel: Any) -> float:
    units = channel.get("ChannelSensitivityUnitsSequence") or ()
    unit = str(units[0].get("CodeValue", "uV")) if units else "uV"
    if unit not in _MICROVOLTS:
        raise PageError(f"a lead is stored in the unit {unit[:16]!r}", "export it in microvolts")
    return _MICROVOLTS[unit] / 1e3


def _complete(found: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Add the four leads that follow from I and II where a file leaves them out.

    Einthoven's law and Goldberger's definitions: III = II - I, aVR = -(I + II) / 2,
    aVL = I - II / 2, aVF = II - I / 2.
    """
    first, second = found["I"], found["II"]
    derived = {
        "III": second - first,
        "aVR": -(first + second) / 2,
        "aVL": first - second / 2,
        "aVF": second - first / 2,
    }
    leads = derived | found
    missing = [lead for lead in LEADS if lead not in leads]
    if missing:
        raise PageError(f"the recording lacks {', '.join(missing)}", "export a 12-lead ECG")
    return {lead: np.nan_to_num(leads[lead], posinf=0.0, neginf=0.0) for lead in LEADS}


class CaptureDocument(_DicomDocument):
    """A picture of a page (secondary capture), one page a frame.

    Parameters
    ----------
    dataset : pydicom.Dataset
        With ``PixelData``.

    Raises
    ------
    PageError
        If it has more frames than a document may have pages, or frames too large to decode.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self.page_count = int(dataset.get("NumberOfFrames") or 1)
        if not 1 <= self.page_count <= MAX_PAGES:
            raise PageError(f"the DICOM file has {self.page_count} frames", "export one page")
        samples = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel", 1))
        # Raw values, the array of them and Pillow's copy exist side by side.
        if samples * (int(dataset.BitsAllocated) // 8 + 2) * 2 > MAX_DECODE_BYTES:
            raise PageError(
                f"the picture is {dataset.Columns} x {dataset.Rows} pixels, too large to decode "
                "in bounded memory",
                "export it smaller",
            )

    def read(self, number: int) -> Page:
        """Read frame `number` (from 1) as a grey working picture.

        Raises
        ------
        PageError
            If the frame cannot be decoded.
        """
        self._check_number(number)
        with _reasons():
            if self._is_jpeg():
                with self._open_jpeg(number) as jpeg:
                    return jpeg.read(1)._replace(number=number, format=self.format, dpi=None)
            image = self._frame(number)
        factor = working_factor(*image.size)
        return finish_page(
            reduce_image(image, factor, "L"),
            scale=1 / factor,
            original_size=image.size,
            number=number,
            kind=self.format,
            dpi=None,
        )

    def picture(self, number: int) -> Image.Image:
        """Return frame `number` as an RGB picture of at most 2,100 px."""
        self._check_number(number)
        with _reasons():
            if self._is_jpeg():
                with self._open_jpeg(number) as jpeg:
                    return jpeg.picture(1)
            image = self._frame(number)
        return reduce_image(image, working_factor(*image.size), "RGB")

    def _is_jpeg(self) -> bool:
        return str(self._dataset.file_meta.get("TransferSyntaxUID", "")) == _JPEG_BASELINE

    def _open_jpeg(self, number: int) -> PictureDocument:
        """Open a frame as the JPEG file that it is; a JPEG knows its own colours best."""
        from pydicom.encaps import get_frame

        frame = get_frame(self._dataset.PixelData, number - 1, number_of_frames=self.page_count)
        return open_picture(frame)

    def _frame(self, number: int) -> Image.Image:
        from pydicom.pixels import apply_color_lut, pixel_array

        values = pixel_array(self._dataset, index=number - 1)
        photometric = str(self._dataset.PhotometricInterpretation)
        if photometric == "PALETTE COLOR":
            values = apply_color_lut(values, self._dataset)
        if values.dtype != np.uint8:
            values = _to_bytes(values)
        if photometric == "MONOCHROME1":  # the lowest value is white
            values = 255 - values
        return Image.fromarray(np.ascontiguousarray(values))


def _to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    span = max(high - low, 1.0)
    return ((values - np.float32(low)) * np.float32(255 / span)).round().astype(np.uint8)
