"""Feeds spoilt files of every accepted type to `classify`: no crash, no hang, no flood of memory.

    python tests/fuzz_classify.py --inputs 200000 --seconds 60 --out fuzz.json

Input number i depends on the seed and i alone, so every finding can be made again with
``--first i --inputs 1``. Inputs are answered in a worker process of its own: one that dies or
stalls is counted, and a new worker goes on behind it. Exit 7 where anything was found.
"""

from __future__ import annotations

import argparse
import importlib
import json
import mmap
import os
import platform
import resource
import signal
import struct
import sys
import threading
import time
import traceback
import zlib
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from sample_files import document_files, ecg_page, picture_files, saved

MAX_SECONDS = 5.0
"""Longest CPU time for one input (issue 7: no hang over 5 s); CPU, as the machine is shared."""

MAX_WALL_SECONDS = 60.0
"""A worker that gives no answer for so long is killed: it waits for something."""

MAX_RSS_MB = 500.0
"""Largest resident memory of the worker (issue 7)."""

ADDRESS_SPACE_MB = 4096
"""Limit of the worker's address space: protects the machine, far above what is allowed."""

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF)
WORDS = (b"0", b"-1", b"65535", b"99999999", b"1e30", b"nan", b"<<", b">>", b"[", b"null", b"/Kids")


def flip_bits(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    """Flip one to eight bits."""
    for _ in range(int(rng.integers(1, 9))):
        data[_place(data, rng)] ^= 1 << int(rng.integers(0, 8))


def set_bytes(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    """Overwrite a few bytes with noise."""
    at, count = _place(data, rng), int(rng.integers(1, 32))
    data[at : at + count] = rng.bytes(min(count, len(data) - at))


def set_number(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    """Overwrite with a number at which integers overflow, either byte order."""
    value, size = NUMBERS[int(rng.integers(len(NUMBERS)))], int(rng.choice([1, 2, 4]))
    at = _place(data, rng)
    raw = (value & (1 << 8 * size) - 1).to_bytes(size, "little" if rng.random() < 0.5 else "big")
    data[at : at + size] = raw[: len(data) - at]


def cut_out(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    """Delete a piece."""
    at = _place(data, rng)
    del data[at : at + int(rng.integers(1, 200))]


def repeat(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    """Insert a piece again, up to 50 times."""
    at = _place(data, rng)
    piece = bytes(data[at : at + int(rng.integers(1, 200))])
    data[at:at] = piece * int(rng.integers(1, 51))


def truncate(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    """End early."""
    del data[int(rng.integers(0, len(data) + 1)) :]


def splice(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    """Go on as another file does."""
    other = others[int(rng.integers(len(others)))]
    data[_place(data, rng) :] = other[int(rng.integers(0, len(other))) :]


def blank_out(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    """Overwrite a stretch with one value, as a failed transfer does."""
    at = _place(data, rng)
    count = min(int(rng.integers(1, 2000)), len(data) - at)
    data[at : at + count] = bytes([int(rng.choice([0, 255]))]) * count


def set_word(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    """Overwrite with a word that means something in a PDF."""
    word, at = WORDS[int(rng.integers(len(WORDS)))], _place(data, rng)
    data[at : at + len(word)] = word


MUTATIONS = (
    *(flip_bits, set_bytes, set_number, cut_out, repeat, truncate, splice, blank_out, set_word),
)


def _place(data: bytearray, rng: np.random.Generator) -> int:
    """Choose a place, half of the time among the first 200 bytes, where headers are."""
    if not data:
        data.append(0)
    return int(rng.integers(0, min(len(data), 200) if rng.random() < 0.5 else len(data)))


def mend_png(data: bytearray) -> None:
    """Make the checksums of a PNG right again, so that what was spoilt reaches the decoder."""
    at = 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        if at + 12 + size > len(data):
            return
        struct.pack_into(">I", data, at + 8 + size, zlib.crc32(data[at + 4 : at + 8 + size]))
        at += 12 + size


def spoil_inside(data: bytes, rng: np.random.Generator) -> bytes:
    """Spoil what a PNG packs, before it is packed: its pixels then reach the filters of PNG."""
    at = data.index(b"IDAT")
    (size,) = struct.unpack_from(">I", data, at - 4)
    lines = bytearray(zlib.decompress(data[at + 4 : at + 4 + size]))
    MUTATIONS[int(rng.integers(len(MUTATIONS) - 2))](lines, rng, [bytes(lines)])
    packed = zlib.compress(lines, 1)
    chunk = b"IDAT" + packed
    mended = struct.pack(">I", len(packed)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data[: at - 4] + mended + data[at + 8 + size :]


def odd_picture(rng: np.random.Generator) -> bytes:
    """Draw a valid picture that no cart prints: turned, cut, stretched, inverted, noisy."""
    image = ecg_page(460).convert("L")
    if rng.random() < 0.7:
        box = sorted(rng.uniform(0, image.width, 2)) + sorted(rng.uniform(0, image.height, 2))
        left, right, top, bottom = (int(v) for v in box)
        image = image.crop((left, top, right + 1, bottom + 1))
    if rng.random() < 0.5:
        image = image.rotate(
            float(rng.uniform(0, 360)), expand=True, fillcolor=int(rng.integers(256))
        )
    if rng.random() < 0.7:
        size = tuple(int(v) for v in np.exp(rng.uniform(0, np.log(900), 2)))
        image = image.resize(size)
    values = np.asarray(image, np.float32)
    if rng.random() < 0.3:
        values = 255 - values
    if rng.random() < 0.5:
        values = values + rng.normal(0, rng.uniform(1, 120), values.shape)
    if rng.random() < 0.3:
        values = values * rng.uniform(0, 2) + rng.uniform(-100, 100)
    from PIL import Image

    made = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    return saved(made, "PNG", compress_level=1) if rng.random() < 0.5 else saved(made, "BMP")


PAGE_SHARE = 0.05
"""Share of inputs made from files of page size, which go through panel and gate if they decode.

The others come from small pictures, which the gate refuses by their size: decoding spoilt bytes is
the dangerous part, and takes a twentieth of the time. PDFs and waveforms are always of page size.
"""

PAGE_WIDTH, SMALL_WIDTH = 460, 130


@cache
def start_files() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the valid files to spoil: of page size, and small."""
    always = ("pdf-pictures", "pdf-lines", "dicom-waveform", "dicom-pdf")
    small = picture_files(SMALL_WIDTH) | document_files(SMALL_WIDTH)
    return (
        picture_files(PAGE_WIDTH) | document_files(PAGE_WIDTH),
        {name: data for name, data in small.items() if name not in always},
    )


def make_input(seed: int, number: int) -> tuple[str, bytes]:
    """Make input `number`: the name of what it was, and its bytes."""
    rng = np.random.default_rng([seed, number])
    if rng.random() < 0.02:
        return "odd-picture", odd_picture(rng)
    files = start_files()[0 if rng.random() < PAGE_SHARE else 1]
    names = sorted(files)
    name = names[int(rng.integers(len(names)))]
    if name.startswith("png") and rng.random() < 0.4:
        return name, spoil_inside(files[name], rng)
    data = bytearray(files[name])
    family = [files[n] for n in names if n.split("-")[0] == name.split("-")[0]]
    for _ in range(int(rng.geometric(0.6))):
        MUTATIONS[int(rng.integers(len(MUTATIONS)))](data, rng, family)
    if name.startswith("png") and rng.random() < 0.7:
        mend_png(data)
    return name, bytes(data)


def answerer():
    """Return what turns bytes into (status, reason) pairs: the classifier of the default bundle.

    Where no bundle is built yet, everything before the model: page, panel, gate, tensor.
    """
    from runtime.bundle import available_bundles
    from runtime.errors import BundleError

    if names := available_bundles():
        from runtime.classifier import Classifier

        try:
            classifier = Classifier.from_bundle()
        except BundleError:  # other bundles than the default one are built
            classifier = Classifier.from_bundle(sorted(names)[0])
        return True, lambda data: [
            (p.status, "; ".join(p.reasons)) for p in classifier.classify_pages(data)
        ]
    from runtime.errors import PageError
    from runtime.page import open_document
    from runtime.panel import find_panel
    from runtime.preprocess import Preprocess
    from runtime.quality import QualityLimits, check_page, check_panel

    limits, preprocess = QualityLimits(), Preprocess()

    def answer(data: bytes):
        try:
            with open_document(data) as document:
                pages = [document.read(n) for n in range(1, document.page_count + 1)]
        except PageError as error:
            return [("error", str(error))]
        out = []
        for page in pages:
            reasons = check_page(page, limits)
            if not reasons:
                panel = find_panel(page)
                reasons = check_panel(page, panel, limits)
                if not reasons:
                    preprocess.tensor(panel)
            out.append(("rejected" if reasons else "ok", "; ".join(reasons)))
        return out

    return False, answer


def work(progress: mmap.mmap, results: int, seed: int, first: int, last: int) -> None:
    """Answer inputs first..last-1, writing a line of JSON a finding or 500 inputs to `results`."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_MB * 2**20,) * 2)
    _, answer = answerer()
    counts: Counter[str] = Counter()
    memory = PeakMemory()
    slowest, peak = [0.0, -1, ""], memory.mb()

    def send(**record: object) -> None:
        os.write(results, (json.dumps(record) + "\n").encode())

    for number in range(first, last):
        name, data = make_input(seed, number)
        struct.pack_into("<q", progress, 0, number)
        began = time.process_time()
        try:
            answers = answer(data)
            if not answers:
                send(found="no answer", number=number, file=name)
            for status, reason in answers:
                counts[status] += 1
                counts[f"{name.split('-')[0]}: {status}"] += 1
                if status != "ok" and not reason:
                    send(found="no reason", number=number, file=name, status=status)
                if "internal fault" in reason or "Traceback" in reason:
                    send(found="internal fault", number=number, file=name, reason=reason)
        except BaseException as error:
            send(found=f"exception {type(error).__name__}: {error}", number=number, file=name)
        took = time.process_time() - began
        if took > slowest[0]:
            slowest = [took, number, name]
        if took > MAX_SECONDS:
            send(found=f"took {took:.1f} s", number=number, file=name)
        if (now := memory.mb()) > peak:
            if now > MAX_RSS_MB:
                send(found=f"memory {now:.0f} MB", number=number, file=name)
            peak = now
        if number % 200 == 199 or number == last - 1:
            send(done=number + 1, counts=counts, slowest=slowest, peak=peak)
            counts = Counter()


class PeakMemory:
    """Peak memory of this process and of the largest PDF worker it started, together.

    ``RUSAGE_CHILDREN`` will not do: a child's figure there starts at the peak of the process that
    started it, however small the child is, so that this process would be counted twice. The
    children's own high-water marks are read every few milliseconds while they live instead.
    """

    def __init__(self) -> None:
        self._largest_child_kb = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def mb(self) -> float:
        """Return the peak so far, in MB."""
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return (own + self._largest_child_kb) / 1024

    def _watch(self) -> None:
        lists = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
        while True:
            for child in lists.read_text().split():
                self._largest_child_kb = max(self._largest_child_kb, _high_water_kb(child))
            time.sleep(0.005)


def _high_water_kb(process: str) -> int:
    """Return VmHWM of a child; 0 where it is gone or still shares its parent's memory (vfork)."""
    folder = Path("/proc", process)
    try:
        if (folder / "cmdline").read_bytes() == Path("/proc/self/cmdline").read_bytes():
            return 0
        lines = (folder / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


class Run:
    """One run of the fuzzer: workers, what they found, and the summary of it."""

    def __init__(self, seed: int, first: int, inputs: int, seconds: float) -> None:
        self.seed, self.first, self.next, self.last = seed, first, first, first + inputs
        self.deadline = time.monotonic() + seconds
        self.counts: Counter[str] = Counter()
        self.findings: list[dict[str, object]] = []
        self.slowest, self.peak, self.buffer = [0.0, -1, ""], 0.0, b""

    def take(self, chunk: bytes) -> None:
        """Take in what a worker wrote."""
        *lines, self.buffer = (self.buffer + chunk).split(b"\n")
        for line in lines:
            record = json.loads(line)
            if "found" in record:
                self.findings.append(record)
                print(line.decode(), file=sys.stderr)
                continue
            if record["done"] // 10_000 > self.next // 10_000:
                print(f"{record['done']} inputs, {len(self.findings)} findings", file=sys.stderr)
            self.next = record["done"]
            self.counts.update(record["counts"])
            self.slowest = max(self.slowest, record["slowest"])
            self.peak = max(self.peak, record["peak"])

    def go(self) -> None:
        """Run workers until all inputs are answered or the time is up."""
        while self.next < self.last and time.monotonic() < self.deadline:
            progress = mmap.mmap(-1, 8)
            struct.pack_into("<q", progress, 0, self.next)
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reader)
                try:
                    work(progress, writer, self.seed, self.next, self.last)
                    os._exit(0)
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(70)
            os.close(writer)
            self.buffer = b""
            status = self._watch(child, reader, progress)
            os.close(reader)
            if status is not None and status != 0:
                at = struct.unpack_from("<q", progress, 0)[0]
                how = f"signal {status & 127}" if status & 127 else f"exit {status >> 8}"
                self.findings.append({"found": f"worker died: {how}", "number": at})
                print(json.dumps(self.findings[-1]), file=sys.stderr)
                self.next = at + 1

    def _watch(self, child: int, reader: int, progress: mmap.mmap) -> int | None:
        """Wait for a worker; kill it where it stalls. None where the time is up."""
        os.set_blocking(reader, False)
        at, since = -1, time.monotonic()
        while True:
            try:
                while chunk := os.read(reader, 65536):
                    self.take(chunk)
            except BlockingIOError:
                pass
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return status
            now = struct.unpack_from("<q", progress, 0)[0]
            if now != at:
                at, since = now, time.monotonic()
            over = time.monotonic() > self.deadline
            if over or time.monotonic() - since > MAX_WALL_SECONDS:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                if over:
                    return None
                self.findings.append({"found": "hang", "number": at})
                self.next = at + 1
                return 0
            time.sleep(0.05)

    def summary(self, seconds: float) -> dict[str, object]:
        """Return the result as a JSON object."""
        return {
            "schema": "ecg-edge/fuzz/1",
            "seed": self.seed,
            "first": self.first,
            "inputs": self.next - self.first,
            "answers": {k: v for k, v in sorted(self.counts.items()) if ": " not in k},
            "answers_by_type": {k: v for k, v in sorted(self.counts.items()) if ": " in k},
            "findings": self.findings,
            "slowest": dict(zip(("cpu_s", "number", "file"), self.slowest, strict=True)),
            "peak_rss_mb": round(self.peak, 1),
            "limits": {"cpu_s": MAX_SECONDS, "rss_mb": MAX_RSS_MB},
            "wall_s": round(seconds, 1),
            "with_model": answerer()[0],
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
        }


def main() -> int:
    """Run the fuzzer from the command line; 0, or 7 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="stop after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--out", type=Path, help="write the summary here too")
    options = parser.parse_args()
    importlib.import_module("runtime.classifier")  # here, so that a broken tree is no finding
    run = Run(options.seed, options.first, options.inputs, options.seconds)
    began = time.monotonic()
    run.go()
    text = json.dumps(run.summary(time.monotonic() - began), indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 7 if run.findings else 0


if __name__ == "__main__":
    sys.exit(main())
