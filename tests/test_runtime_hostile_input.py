"""Whatever the bytes are: a picture within bounds, or a reason; nothing else ever comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import missing
from fuzz_classify import MAX_RSS_MB, make_input
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sample_files import document_files, ecg_page, locked_pdf, needs, picture_files, saved

from runtime.errors import MissingExtraError, PageError
from runtime.page import RESAMPLE_ABOVE, open_document
from runtime.panel import find_panel
from runtime.quality import QualityLimits, check_page, check_panel

TESTS = Path(__file__).resolve().parent
PICTURES = picture_files(300)
CALM = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@pytest.fixture(scope="module")
def documents() -> dict[str, bytes]:
    needs("pydicom")
    needs("pypdfium2")
    return document_files(300)


def read_all(data: bytes, name: str | None = None) -> list[str]:
    """Read every page; return the reason of each that could not be read, "" for the others."""
    try:
        document = open_document(data, name)
    except (PageError, MissingExtraError) as error:
        return [str(error)]
    reasons = []
    with document:
        assert 1 <= document.page_count <= 500
        for number in range(1, min(document.page_count, 4) + 1):
            try:
                page = document.read(number)
            except PageError as error:
                reasons.append(str(error))
                continue
            assert page.grey.dtype == np.uint8
            assert page.grey.ndim == 2
            assert 1 <= max(page.grey.shape) <= RESAMPLE_ABOVE
            assert 0 < page.scale <= 1
            assert min(page.original_size) >= 1
            reasons.append("")
    return reasons


@st.composite
def spoilt(draw, files):
    """A valid file with some stretches overwritten, cut out or doubled, and perhaps cut short."""
    data = bytearray(files[draw(st.sampled_from(sorted(files)))])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(len(data) - 1, draw(st.sampled_from([64, 400, 10**9])))))
        piece = draw(st.binary(min_size=1, max_size=8))
        match draw(st.integers(0, 2)):
            case 0:
                data[at : at + len(piece)] = piece
            case 1:
                del data[at : at + len(piece) * 7]
            case _:
                data[at:at] = piece
        if not data:
            data.append(0)
    return bytes(data[: draw(st.integers(1, len(data)))] if draw(st.booleans()) else data)


@CALM
@given(spoilt(PICTURES))
def test_spoilt_picture_gives_pages_or_a_reason(data):
    assert all(reason == "" or ("; " in reason and len(reason) > 15) for reason in read_all(data))


@settings(CALM, max_examples=60)
@given(data=st.data())
def test_spoilt_document_gives_pages_or_a_reason(documents, data):
    reasons = read_all(data.draw(spoilt(documents)))
    assert all(reason == "" or "; " in reason for reason in reasons)


@given(st.binary(max_size=300), st.sampled_from([None, "a.jpg", "b.dcm", "c.pdf"]))
def test_noise_gives_a_reason(data, name):
    (reason,) = read_all(data, name)
    assert reason


SIGNATURES = (
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n",
    b"II*\0",
    b"MM\0*",
    b"BM",
    b"GIF89a",
    b"RIFF\xff\0\0\0WEBPVP8 ",
    b"%PDF-1.7\n",
    b"\0" * 128 + b"DICM",
)


@pytest.mark.parametrize("start", SIGNATURES)
@settings(CALM, max_examples=25)
@given(noise=st.binary(max_size=200))
def test_noise_behind_a_signature_gives_a_reason(start, noise):
    if start.startswith((b"%PDF", b"\0")):
        needs("pypdfium2")
        needs("pydicom")
    assert all(isinstance(reason, str) for reason in read_all(start + noise))


@settings(CALM, max_examples=25)
@given(st.data())
def test_any_picture_passes_through_panel_and_gate(data):
    height, width = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 80))
    grey = np.frombuffer(
        data.draw(st.binary(min_size=height * width, max_size=height * width)), np.uint8
    )
    tile = Image.fromarray(grey.reshape(height, width))
    image = tile.resize(
        (width * data.draw(st.integers(1, 9)), height * data.draw(st.integers(1, 9)))
    )
    with open_document(saved(image, "PNG")) as document:
        page = document.read(1)
    limits = QualityLimits(min_short_side=1, min_long_side=1, min_contrast=0, max_aspect=1e9)
    reasons = check_page(page, limits) or check_panel(page, find_panel(page), limits)
    assert reasons
    assert all(": " in reason for reason in reasons)


def test_fuzzer_makes_the_same_input_again(documents):
    made = [make_input(3, number) for number in range(40)]
    assert made == [make_input(3, number) for number in range(40)]
    assert len({data for _, data in made}) > 35


def test_fuzzer_answers_and_counts_a_few_inputs(tmp_path):
    needs("pydicom")
    needs("pypdfium2")
    out = tmp_path / "fuzz.json"
    command = [sys.executable, str(TESTS / "fuzz_classify.py"), "--inputs", "60", "--seed", "5"]
    done = subprocess.run(
        [*command, "--out", str(out)], capture_output=True, text=True, check=False
    )
    summary = json.loads(out.read_text())
    assert (done.returncode, summary["findings"]) == (0, [])
    assert summary["inputs"] == 60
    assert sum(summary["answers"].values()) >= 60


#: The worst of what is still accepted, by kind; each is near the limit of its decoder.
LARGEST = {
    "png-alpha": lambda: saved(
        Image.new("RGBA", (10_000, 7_400), "white"), "PNG", compress_level=1
    ),
    "png-grey": lambda: saved(Image.new("L", (17_000, 17_000), 255), "PNG", compress_level=1),
    "tiff-colour": lambda: saved(
        Image.new("RGB", (7_000, 5_300), "white"), "TIFF", compression="tiff_lzw"
    ),
    "webp": lambda: saved(Image.new("RGB", (4_500, 3_300), "white"), "WEBP", quality=30),
    "webp-thin": lambda: saved(Image.new("RGBA", (16_300, 900)), "WEBP", quality=30),
    "png-thin": lambda: saved(Image.new("RGBA", (65_000, 1_100)), "PNG", compress_level=1),
    "jpeg": lambda: saved(Image.new("L", (14_000, 14_000), 255), "JPEG"),
    "jpeg-progressive": lambda: saved(
        Image.new("RGB", (7_900, 6_200), "white"), "JPEG", progressive=True
    ),
    "gif": lambda: saved(Image.new("P", (12_000, 12_000)), "GIF"),
    "pdf": lambda: saved(Image.new("RGB", (7_000, 5_000), "white"), "PDF"),
}

READ_ONE = """
import sys
sys.path.insert(0, sys.argv[2])
from runtime.page import open_document

def peak_mb(process):
    with open(f"/proc/{process}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

with open(sys.argv[1], "rb") as file, open_document(file.read()) as document:
    document.read(1)
    worker = getattr(document, "_worker", None)
    print(peak_mb("self") + (peak_mb(worker.pid) if worker else 0))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux' own figures")
@pytest.mark.parametrize("kind", sorted(LARGEST))
def test_largest_accepted_file_stays_within_memory(kind, tmp_path):
    path = tmp_path / kind
    path.write_bytes(LARGEST[kind]())
    command = [sys.executable, "-c", READ_ONE, str(path), str(TESTS.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert float(done.stdout) < MAX_RSS_MB


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX only")
def test_bad_inputs_of_the_contract_give_one_record_each(tmp_path):
    """interface.md, "Bad input": one record each, the others still answered."""
    from runtime.bundle import available_bundles
    from runtime.classifier import Classifier

    if not available_bundles():
        missing("no bundle under models/: run make models")
    classifier = Classifier.from_bundle(available_bundles()[0])
    good = saved(ecg_page(), "JPEG")
    bad = {
        "empty.jpg": b"",
        "truncated.jpg": good[: len(good) // 2],
        "text.jpg": b"this is no picture\n",
        "one-pixel.png": saved(Image.new("L", (1, 1)), "PNG"),
        "long.jpg": saved(Image.new("L", (60_000, 40), 255), "JPEG"),
        "cmyk.jpg": saved(Image.new("CMYK", (900, 600)), "JPEG"),
        "deep.png": saved(Image.fromarray(np.zeros((600, 900), np.uint16)), "PNG"),
        "moving.gif": saved(
            Image.new("L", (900, 600)),
            "GIF",
            save_all=True,
            append_images=[Image.new("L", (900, 600), 9)],
        ),
        "locked.pdf": locked_pdf(),
    }
    for name, data in bad.items():
        path = tmp_path / name
        path.write_bytes(data)
        (answer,) = classifier.classify_pages(path)
        assert answer.status in ("error", "rejected"), name
        assert answer.reasons, name
        assert answer.label is None
    (tmp_path / "good.jpg").write_bytes(good)
    assert classifier.classify(tmp_path / "good.jpg").status in ("ok", "uncertain")
