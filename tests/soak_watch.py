"""The watch under kill -9, a disk that fills and folders that vanish; at full size by hand.

    python tests/soak_watch.py                       decoders only, no model needed
    python tests/soak_watch.py --model small         the real command with the tests' small bundle
    python tests/soak_watch.py --model ecg-tiny --report docs/soak.md

Pages are drawn here, so that no data is needed. The disk that fills and the share that is
unmounted are mounts of this process's own (Linux, root or user namespaces). A short run of the
same scenarios is `test_runtime_watch_soak.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

INTERVAL_S, SETTLE_S = 0.05, 0.1
MODEL_S = 0.03
"""What stands in for the model's time a page, so that many kills hit a page in hand."""
QUIET_S = 180.0
"""Longest wait for the last answers; the longest rest of a watch in trouble is 60 s."""


# -- pages ----------------------------------------------------------------------------------------


def base_files() -> list[tuple[str, bytes, int]]:
    """Return (ending, content, pages) of some files that others are made of."""
    from sample_files import ecg_page

    pages = [ecg_page(width) for width in range(860, 1020, 20)]
    made = []
    for ending, kind, count in (
        (".jpg", "JPEG", 1),
        (".png", "PNG", 1),
        (".tif", "TIFF", 1),
        (".tif", "TIFF", 3),
        (".jpg", "JPEG", 1),
    ):
        buffer = io.BytesIO()
        chosen = pages[len(made) :][:count]
        if kind == "TIFF":  # two tones, as faxes and scanners write them
            chosen = [page.convert("1") for page in chosen]
        more = {"save_all": True, "append_images": chosen[1:]} if count > 1 else {}
        chosen[0].save(buffer, kind, **more)
        made.append((ending, buffer.getvalue(), count))
    return made


# -- the process under test -----------------------------------------------------------------------


class DecodingReader:
    """Reads pages with the real decoders and says ok or error; needs no model."""

    def __init__(self) -> None:
        from runtime.prediction import ModelIdentity

        self.identity = ModelIdentity("decoders-only", "1", "0" * 64, "none", "none")

    def classify_pages(self, source, *, name=None, keep_evidence=False) -> Iterator:
        from runtime.inputs import read_input
        from runtime.page import open_document
        from runtime.prediction import Prediction

        data = read_input(source)
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            with open_document(data, name) as document:
                for number in range(1, document.page_count + 1):
                    document.read(number)
                    time.sleep(MODEL_S)
                    yield Prediction(name, number, sha256, "ok", self.identity, "normal", 0.9)
        except Exception as fault:
            yield Prediction(name, 1, sha256, "error", self.identity, reasons=(str(fault),))


def child(arguments: list[str]) -> int:
    """Run `watch` as the command line does, with the decoders in the place of a model."""
    from runtime import classifier, cli

    classifier.Classifier.from_bundle = classmethod(lambda *_: DecodingReader())
    return cli.main(["watch", *arguments])


@dataclass
class Watch:
    """Starts and ends the process under test."""

    folders: dict[str, Path]
    model: str | None
    moving: bool
    log: Path
    process: subprocess.Popen | None = None

    def __post_init__(self) -> None:
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready.bind(str(self.log.with_name("notify")))
        self._is_ready = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            if b"READY=1" in self._ready.recv(1000):
                self._is_ready.set()

    def start(self) -> None:
        if self.model:
            command = [sys.executable, "-m", "runtime", "watch", "--model", self.model]
        else:
            command = [sys.executable, __file__, "--child"]
        command += [str(self.folders["in"]), "--out", str(self.folders["out"])]
        command += ["--interval", str(INTERVAL_S), "--settle", str(SETTLE_S)]
        command += ["--audit-log", str(self.folders["audit"] / "audit.jsonl")]
        if self.moving:
            command += ["--done", str(self.folders["done"])]
            command += ["--failed", str(self.folders["failed"])]
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "NOTIFY_SOCKET": self._ready.getsockname(),
        }
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stderr=log, stdout=log, env=environment
            )

    def wait_until_ready(self) -> None:
        """Wait as systemd does; a machine with much to do starts it slowly."""
        if not self._is_ready.wait(QUIET_S):
            raise RuntimeError("the watch did not start")

    def kill(self) -> None:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"the watch ended by itself: {self.log.read_text()[-2000:]}")
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        time.sleep(0.01)  # what the dead process said last is not the next one's
        self._is_ready.clear()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


# -- what arrives ---------------------------------------------------------------------------------


@dataclass
class Carts:
    """Writes files as carts do, and remembers what each name held last."""

    inbox: Path
    files: int
    seconds: float
    chance: random.Random
    last: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Name -> SHA-256 of the last content and its pages."""
    kinds: Counter = field(default_factory=Counter)
    away: threading.Event = field(default_factory=threading.Event)
    """Set while the folder is away: carts wait."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._bases = base_files()
        self._made = 0
        self._broken: list[tuple[str, bytes, int]] = []
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        pause = self.seconds / self.files
        names: list[tuple[str, str]] = []
        for number in range(self.files):
            started = time.monotonic()
            ending, content, pages = self._content()
            folder = self.chance.choice(["", "", "ward-2/"])
            name = f"{folder}ecg-{number:05d}{ending}"
            kind = self.chance.random()
            if kind < 0.10:
                self._write(name, os.urandom(self.chance.randrange(3000)), 1)
                self.kinds["garbage"] += 1
            elif kind < 0.30:
                self._write(name, content[: len(content) // 2], 0)
                self._broken.append((name, content, pages))
                self.kinds["truncated, completed later"] += 1
            else:
                self._write(name, content, pages)
                names.append((name, ending))
                self.kinds["whole"] += 1
            if names and self.chance.random() < 0.25:
                self._overwrite(*self.chance.choice(names))
            if self._broken and self.chance.random() < 0.3:
                broken = self._broken.pop(self.chance.randrange(len(self._broken)))
                self._write(*broken)
            if number % 20 == 0:
                self._write_companions(number)
            time.sleep(max(0.0, pause - (time.monotonic() - started)))
        for broken in self._broken:
            self._write(*broken)

    def _overwrite(self, name: str, ending: str) -> None:
        same = [base for base in self._bases if base[0] == ending]
        _, content, pages = self._content(self.chance.choice(same))
        self._write(name, content, pages)
        self.kinds["overwritten"] += 1

    def _content(self, base: tuple[str, bytes, int] | None = None) -> tuple[str, bytes, int]:
        """Return a content that no other file has: decoders pass over what follows the picture."""
        ending, content, pages = base or self.chance.choice(self._bases)
        self._made += 1
        return ending, content + b"\0soak %08d" % self._made, pages

    def _write(self, name: str, content: bytes, pages: int) -> None:
        """Write slowly in place, at once in place, or under another name and rename."""
        while True:
            while self.away.is_set():
                time.sleep(0.05)
            with self.lock, suppress(OSError):
                path = self.inbox / name
                path.parent.mkdir(exist_ok=True)
                way = self.chance.random()
                if way < 0.3:
                    with path.open("wb") as file:
                        for start in range(0, len(content), 9000):
                            file.write(content[start : start + 9000])
                            file.flush()
                            time.sleep(0.005)
                elif way < 0.6:
                    path.write_bytes(content)
                else:
                    part = path.with_name(f"{path.name}.part")
                    part.write_bytes(content)
                    part.replace(path)
                self.last[name] = (hashlib.sha256(content).hexdigest(), pages)
                return
            time.sleep(0.05)

    def _write_companions(self, number: int) -> None:
        with self.lock, suppress(OSError):
            for ending in (".xml", ".CDB", ".slw", ".jpg.tmp"):
                (self.inbox / f"ecg-{number:05d}{ending}").write_bytes(b"<ecg/>")
                self.kinds["no page (XML, CDB, slw, tmp)"] += 1


# -- what must hold -------------------------------------------------------------------------------


def half_written(out: Path) -> list[str]:
    """Return the answers in a folder that are not whole."""
    broken = []
    for path in out.rglob("*.ecg.json"):
        try:
            json.loads(path.read_text())["sha256"]
        except (ValueError, KeyError):
            broken.append(path.name)
        except OSError:
            continue
    return broken


def expected_answers(last: dict[str, tuple[str, int]]) -> dict[str, str]:
    """Return name of each answer -> SHA-256 that it must have."""
    from runtime.watch.answers import answer_name

    return {
        answer_name(name, page, "json"): sha256
        for name, (sha256, pages) in last.items()
        for page in range(1, max(pages, 1) + 1)
    }


def found_answers(out: Path) -> dict[str, str]:
    """Return name of each answer -> SHA-256 that it has."""
    found = {}
    for path in out.rglob("*.ecg.json"):
        with suppress(OSError, ValueError):
            found[str(path.relative_to(out))] = json.loads(path.read_text())["sha256"]
    return found


@dataclass
class Outcome:
    """What one scenario showed."""

    name: str
    kinds: Counter
    trials: str
    expected: int
    missing: int
    wrong: int
    extra: int
    half: int
    lost: int
    exit_code: int
    log_lines: int
    audited: int
    recovered: int
    seconds: float

    @property
    def passed(self) -> bool:
        bad = self.missing + self.wrong + self.extra + self.half + self.lost + self.exit_code
        return bad == 0


def wait_for(expected: dict[str, str], out: Path, inbox: Path, moving: bool) -> None:
    """Wait until everything is answered (and moved), or for `QUIET_S`."""
    end = time.monotonic() + QUIET_S
    while time.monotonic() < end:
        if found_answers(out) == expected and not (moving and _left(inbox)):
            return
        time.sleep(0.3)


def _left(inbox: Path) -> bool:
    return any(path.suffix in (".jpg", ".png", ".tif") for path in inbox.rglob("ecg-*"))


def lost_contents(carts: Carts, folders: dict[str, Path], moving: bool) -> int:
    """Count the names whose last content is not there exactly once."""
    places = [folders["done"], folders["failed"]] if moving else [folders["in"]]
    held = Counter(
        hashlib.sha256(path.read_bytes()).hexdigest()
        for place in places
        for path in place.rglob("ecg-*")
        if path.is_file()
    )
    return sum(held[sha256] != 1 for sha256, _ in carts.last.values())


def run_scenario(
    name: str,
    carts: Carts,
    watch: Watch,
    disturb: Callable[[], str],
) -> Outcome:
    """Let files arrive, disturb, wait for quiet, and compare."""
    started = time.monotonic()
    folders = watch.folders
    watch.start()
    watch.wait_until_ready()  # a folder that was never watched is not waited for
    carts.thread.start()
    trials = disturb()
    carts.thread.join()
    expected = expected_answers(carts.last)
    wait_for(expected, folders["out"], folders["in"], watch.moving)
    time.sleep(1.0)
    exit_code = watch.stop()
    found = found_answers(folders["out"])
    audit = [
        json.loads(line)
        for path in folders["audit"].glob("audit.jsonl*")
        for line in path.read_text().splitlines()
    ]
    return Outcome(
        name=name,
        kinds=carts.kinds,
        trials=trials,
        expected=len(expected),
        missing=len(expected.keys() - found.keys()),
        wrong=sum(found[key] != expected[key] for key in expected.keys() & found.keys()),
        extra=len(found.keys() - expected.keys()),
        half=len(half_written(folders["out"])),
        lost=lost_contents(carts, folders, watch.moving),
        exit_code=exit_code,
        log_lines=len(watch.log.read_text().splitlines()),
        audited=len(audit),
        recovered=sum("recovered" in line for line in audit),
        seconds=time.monotonic() - started,
    )


# -- the disturbances -----------------------------------------------------------------------------


def killing(watch: Watch, kills: int, chance: random.Random, longest_s: float):
    """Kill -9 at random moments and start again."""

    def disturb() -> str:
        torn = 0
        watch.kill()
        watch.start()
        for _ in range(kills):
            if chance.random() > 0.2:  # the others end while they start
                watch.wait_until_ready()
            time.sleep(chance.uniform(0.0, longest_s))
            watch.kill()
            torn += len(half_written(watch.folders["out"]))
            watch.start()
        if torn:
            raise AssertionError(f"{torn} half-written answers were seen after a kill")
        return f"{kills} kills"

    return disturb


def filling(watch: Watch, cycles: int, chance: random.Random):
    """Fill the disk of the answers and empty it again; kill now and then."""

    def disturb() -> str:
        filler = watch.folders["out"] / "filler"
        for cycle in range(cycles):
            time.sleep(chance.uniform(0.5, 2.0))
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)
            time.sleep(chance.uniform(1.0, 3.0))
            if cycle % 3 == 1:
                watch.kill()
                watch.start()
                time.sleep(1.5)
            filler.unlink()
        return f"{cycles} times full, {cycles // 3} kills while full"

    return disturb


def vanishing(watch: Watch, carts: Carts, cycles: int, chance: random.Random):
    """Take the watched folder, or that of the answers, away and give it back."""

    def disturb() -> str:
        for cycle in range(cycles):
            time.sleep(chance.uniform(0.5, 2.0))
            folder = watch.folders["in" if cycle % 2 == 0 else "out"]
            hidden = folder.with_name(f".{folder.name}-away")
            carts.away.set()
            with carts.lock:
                folder.rename(hidden)
            if cycle % 2:
                carts.away.clear()  # carts go on while only the answers' folder is away
            time.sleep(chance.uniform(1.0, 3.0))
            hidden.rename(folder)
            carts.away.clear()
        return f"{cycles} times away"

    return disturb


def unmounting(watch: Watch, cycles: int, chance: random.Random):
    """Unmount the folder of the answers under the watch and mount it again."""

    def disturb() -> str:
        out, store = watch.folders["out"], watch.folders["store"]
        for _ in range(cycles):
            time.sleep(chance.uniform(0.5, 2.0))
            subprocess.run(["umount", "-l", str(out)], check=True)
            time.sleep(chance.uniform(1.0, 3.0))
            if list(out.iterdir()):
                raise AssertionError("written under the mount point")
            subprocess.run(["mount", "--bind", str(store), str(out)], check=True)
        return f"{cycles} times unmounted"

    return disturb


def make_folders(base: Path, other_disk: Path | None = None) -> dict[str, Path]:
    """Make the folders of a scenario; moved files may lie on another file system."""
    folders = {name: base / name for name in ("in", "out", "audit", "store")}
    for name in ("done", "failed"):
        folders[name] = (other_disk or base) / name
    for folder in folders.values():
        folder.mkdir(parents=True)
    return folders


def soak(args: argparse.Namespace, scenarios: list[str]) -> list[Outcome]:
    """Run the scenarios one after another."""
    outcomes = []
    for name in scenarios:
        chance = random.Random(args.seed)
        moving = name in ("kill-and-move", "fill")
        with (
            tempfile.TemporaryDirectory(prefix="soak-", dir=args.disk) as temporary,
            tempfile.TemporaryDirectory(prefix="soak-", dir="/dev/shm") as other,
        ):
            folders = make_folders(Path(temporary), Path(other) if moving else None)
            if name == "fill":
                options = f"size={args.disk_mb}m"
                _mount("-t", "tmpfs", "-o", options, "none", str(folders["out"]))
            if name == "unmount":
                _mount("-t", "tmpfs", "none", str(folders["store"]))
                _mount("--bind", str(folders["store"]), str(folders["out"]))
            share = 1.0 if name == "kill" else args.share
            files, kills = int(args.files * share), int(args.kills * share)
            cycles = max(3, int(args.cycles * share))
            seconds = kills * args.longest / 2 if "kill" in name else cycles * 3.5
            model = str(_small_bundle(Path(temporary))) if args.model == "small" else args.model
            watch = Watch(folders, model, moving, Path(temporary) / "log.txt")
            carts = Carts(folders["in"], files, seconds, random.Random(args.seed + 1))
            disturb = {
                "kill": killing(watch, kills, chance, args.longest),
                "kill-and-move": killing(watch, kills, chance, args.longest),
                "fill": filling(watch, cycles, chance),
                "vanish": vanishing(watch, carts, cycles, chance),
                "unmount": unmounting(watch, cycles, chance),
            }[name]
            try:
                outcome = run_scenario(name, carts, watch, disturb)
            finally:
                if watch.process is not None and watch.process.poll() is None:
                    watch.process.kill()
                    watch.process.wait()
                for mounted in {"fill": ["out"], "unmount": ["out", "store"]}.get(name, []):
                    subprocess.run(["umount", "-l", str(folders[mounted])], check=False)
            print(_line(outcome), file=sys.stderr, flush=True)
            if not outcome.passed:
                print(watch.log.read_text()[-3000:], file=sys.stderr)
            outcomes.append(outcome)
    return outcomes


def _small_bundle(folder: Path) -> Path:
    from onnx_bundle import write_bundle

    return write_bundle(folder / "bundle")


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def can_mount() -> bool:
    """Tell whether this process may have mounts of its own."""
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


UNSHARE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-m"]


def looking(files: int) -> tuple[float, float]:
    """Return processor seconds of one look at so many files, and of the first one."""
    from runtime.watch.arrivals import find_pages
    from runtime.watch.settle import Settler

    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        for number in range(files):
            path = Path(folder) / f"{number % 10}" / f"ecg-{number:06d}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.touch()
        settler = Settler(SETTLE_S, lambda file: True)
        seconds = []
        for moment in range(4):
            started = time.process_time()
            settler.look(list(find_pages(Path(folder), lambda *_: None)), float(moment))
            seconds.append(time.process_time() - started)
    return sorted(seconds[1:])[1], seconds[0]


# -- report ---------------------------------------------------------------------------------------

_TITLES = {
    "kill": "kill -9 while files arrive",
    "kill-and-move": "the same with --done and --failed on another disk",
    "fill": "the disk of the answers fills and empties",
    "vanish": "the watched folder or the answers' vanishes and returns",
    "unmount": "the answers' share is unmounted and mounted again",
}


def _line(o: Outcome) -> str:
    verdict = "passed" if o.passed else "FAILED"
    return (
        f"{o.name}: {verdict}; {o.trials}; {o.expected} answers due, {o.missing} missing, "
        f"{o.wrong} of an earlier content, {o.extra} too many, {o.half} half-written, "
        f"{o.lost} files lost, exit {o.exit_code}, {o.recovered} of {o.audited} audit lines "
        f"recovered, {o.log_lines} log lines, {o.seconds:.0f} s"
    )


def report(outcomes: list[Outcome], args: argparse.Namespace) -> str:
    """Return the Markdown page of a soak."""
    reader = f"bundle `{args.model}`" if args.model else "the decoders without a model"
    if args.model == "small":
        reader = "the whole command and the small ONNX bundle of the tests"
    model = f" --model {args.model}" if args.model else ""
    lines = [
        "# Soak of the hot folder",
        "",
        f"Written by `python tests/soak_watch.py{model} --report docs/soak.md` "
        f"(seed {args.seed}) on a shared {os.cpu_count()}-core {platform.machine()} machine; "
        f"read with {reader}. It checks what holds, not how fast.",
        "",
        "Every page must have exactly one answer for its file's last content; no answer may be "
        "half-written at any moment after a kill; every file's last content must still be there "
        "exactly once; the watch must end with 0 on SIGTERM.",
        "",
        "| scenario | trials | answers due | missing | of an earlier content | too many "
        "| half-written | files lost | log lines | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {_TITLES[o.name]} | {o.trials} | {o.expected} | {o.missing} | {o.wrong} | {o.extra} "
        f"| {o.half} | {o.lost} | {o.log_lines} | {'passed' if o.passed else 'FAILED'} |"
        for o in outcomes
    ]
    lines += ["", "What arrived (a truncated file is completed under the same name later):", ""]
    for o in outcomes:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(o.kinds.items()))
        lines.append(
            f"- {_TITLES[o.name]}: {kinds}; {o.audited} audit lines, {o.recovered} of them "
            "written after a kill between an answer and its line."
        )
    again, first = looking(args.looked_at)
    lines += [
        "",
        f"One look at {args.looked_at:,} files that were answered before takes {again:.2f} s of "
        f"processor time (the first one {first:.2f} s), without reading any of them.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the soak; exit 1 if anything did not hold."""
    if "--child" in sys.argv[1:2]:
        return child(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", help="bundle, or small for the tests' own; without it decoders answer alone"
    )
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--cycles", type=int, default=30, help="of full disk, of vanishing")
    parser.add_argument("--share", type=float, default=0.4, help="of it in all but the first")
    parser.add_argument("--longest", type=float, default=2.0, help="seconds to a kill")
    parser.add_argument("--disk-mb", type=int, default=24)
    parser.add_argument("--disk", default=None, help="folder for the scenarios' files")
    parser.add_argument("--looked-at", type=int, default=100_000, help="files of one look")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", action="append", choices=list(_TITLES))
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    if os.environ.get("ECG_EDGE_SOAK_MOUNTS") != "1":
        if can_mount():
            os.environ["ECG_EDGE_SOAK_MOUNTS"] = "1"
            os.execvp(UNSHARE[0], [*UNSHARE, sys.executable, *sys.argv])
        print("no mounts of our own here: full disk and unmounting left out", file=sys.stderr)
        _TITLES.pop("fill"), _TITLES.pop("unmount")
    scenarios = [name for name in args.scenario or list(_TITLES) if name in _TITLES]
    outcomes = soak(args, scenarios)
    text = report(outcomes, args)
    if args.report:
        args.report.write_text(text)
    else:
        print(text)
    return 0 if outcomes and all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
