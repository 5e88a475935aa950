"""Looks at a machine: what it has, what it lacks for answering pages, and what to do about it."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import Any, Final, Literal

from runtime import host, mounts
from runtime.errors import EcgEdgeError, ExitCode

__all__ = ["Finding", "Request", "examine", "exit_code", "to_record", "to_text"]

SCHEMA: Final = "ecg-edge/doctor/1"
State = Literal["ok", "warning", "problem"]

_PACKAGE: Final = Path(__file__).resolve().parent
_PYTHONS: Final = ((3, 11), (3, 13))
"""Oldest and youngest Python with wheels of the default engine."""
_LOW_MEMORY_MB: Final = 256.0
"""An ordinary page needs far less, the largest accepted scans may need this much."""
_LOW_SPACE_MB: Final = 100.0
"""Room for some 25,000 answers."""
_HOT_C: Final = 80.0
"""A Raspberry Pi slows down from here on (its documentation, "Thermal control")."""
_BUILT: Final = 2024
"""No clock that is right shows an earlier year."""
_VERIFY_S: Final = 180.0
"""The golden pages take seconds even on a small board; longer means that something hangs."""
_EXTRAS: Final = {
    "onnx": (("onnxruntime",), "bundles in ONNX"),
    "pdf": (("pypdfium2",), "pages inside PDF files, which most carts write"),
    "dicom": (("pydicom",), "DICOM files"),
    "serve": (
        ("starlette", "uvicorn", "multipart", "prometheus_client"),
        "python -m runtime serve",
    ),
    "archive": (("distributed", "fsspec", "pyarrow"), "python -m runtime archive"),
}
_WANTED: Final = frozenset({"pdf"})
"""Extras whose absence is worth a warning: most installations need them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's."""

    name: str
    state: State
    detail: str
    remedy: str = ""
    code: ExitCode = ExitCode.OK
    """For a problem: the exit code that answering a page would end with."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is going to be run here."""

    model: str | None = None
    engine: str = "auto"
    threads: int = 1
    out: Path | None = None


def examine(request: Request) -> tuple[Finding, ...]:
    """Look at everything; a check that fails itself is a warning, not an end."""
    findings: list[Finding] = []
    for check in _CHECKS:
        try:
            findings.extend(check(request))
        except ImportError as fault:
            findings.append(
                Finding(
                    "import",
                    "problem",
                    f"a package is broken or missing ({fault})",
                    "install again, in a new environment: pip install --force-reinstall ecg-edge",
                    ExitCode.MISSING,
                )
            )
        except Exception as fault:
            name = check.__name__.strip("_").replace("_", " ")
            findings.append(
                Finding(name, "warning", f"cannot be told ({type(fault).__name__}: {fault})")
            )
    return tuple(findings)


def exit_code(findings: tuple[Finding, ...]) -> ExitCode:
    """Return the exit code of the first problem, OK where there is none."""
    return next((f.code for f in findings if f.state == "problem"), ExitCode.OK)


def to_record(findings: tuple[Finding, ...]) -> dict[str, Any]:
    """Return the findings ready for JSON."""
    return {
        "schema": SCHEMA,
        "can_answer": exit_code(findings) == ExitCode.OK,
        "findings": [
            {"name": f.name, "state": f.state, "detail": f.detail, "remedy": f.remedy}
            for f in findings
        ],
    }


def to_text(findings: tuple[Finding, ...]) -> str:
    """Return the findings as lines; the remedy stands below what it is for."""
    lines = []
    for f in findings:
        lines.append(f"{f.state:<8} {f.name:<10} {f.detail}")
        if f.remedy:
            lines.append(f"{'':<19} -> {f.remedy}")
    counts = {state: sum(f.state == state for f in findings) for state in ("warning", "problem")}
    able = "can answer pages" if exit_code(findings) == ExitCode.OK else "CANNOT answer pages"
    lines.append(
        f"this machine {able}: {counts['problem']} problem(s), {counts['warning']} warning(s)"
    )
    return "\n".join(lines)


# -- Python and the system ------------------------------------------------------------------------


def _python(request: Request) -> Iterator[Finding]:
    oldest, youngest = _PYTHONS
    version = platform.python_version()
    detail = f"{version}, {sys.executable}"
    if oldest <= sys.version_info[:2] <= youngest:
        yield Finding("python", "ok", detail)
    else:
        yield Finding(
            "python",
            "warning",
            detail,
            f"engines have wheels for Python {oldest[0]}.{oldest[1]} to "
            f"{youngest[0]}.{youngest[1]}; make a virtual environment with one of these",
        )
    yield _bytecode()


def _bytecode() -> Finding:
    """Tell whether modules are compiled anew at each start, which slows it."""
    compiled = Path(cache_from_source(str(_PACKAGE / "classifier.py"))).is_file()
    if compiled or (not sys.dont_write_bytecode and os.access(_PACKAGE, os.W_OK)):
        return Finding("bytecode", "ok", "compiled" if compiled else "compiled at the next start")
    why = "PYTHONDONTWRITEBYTECODE is set" if sys.dont_write_bytecode else "the folder is read-only"
    return Finding(
        "bytecode",
        "warning",
        f"no .pyc files and {why}: every start compiles everything again",
        f"run once, as its owner: {sys.executable} -m compileall -q {_PACKAGE}",
    )


def _system(request: Request) -> Iterator[Finding]:
    machine, bits = platform.machine(), host.pointer_bits()
    libc = platform.libc_ver()[0]
    detail = f"{platform.system()} {platform.release()}, {machine}, {bits}-bit Python"
    if bits == 32:
        sixty_four = machine in ("aarch64", "x86_64")
        yield Finding(
            "system",
            "warning",
            detail + ("; the processor has 64" if sixty_four else ""),
            "LiteRT and ONNX Runtime have no 32-bit wheels: install the 64-bit system, or use "
            "tflite-runtime with Python 3.11 and numpy below 2 (docs/engines.md)",
        )
    elif platform.system() == "Linux" and libc != "glibc":
        yield Finding(
            "system",
            "warning",
            f"{detail}, C library {libc or 'unknown'}",
            "engines have wheels for glibc only: use Debian, Ubuntu or Raspberry Pi OS",
        )
    else:
        yield Finding("system", "ok", detail)


def _user(request: Request) -> Iterator[Finding]:
    if os.geteuid() == 0:
        yield Finding(
            "user",
            "warning",
            "this is root; reading files from others needs no such rights",
            "run the service as a user of its own (docs/deploy.md)",
        )
    else:
        yield Finding("user", "ok", f"uid {os.geteuid()}, without root's rights")


def _processor(request: Request) -> Iterator[Finding]:
    features, model = host.cpu_features(), host.cpu_model()
    detail = f"{model}: {' '.join(features) or 'no features of interest'}"
    machine = platform.machine()
    if machine == "x86_64" and not {"avx2", "fma"} <= set(features):
        yield Finding(
            "cpu", "warning", detail, "no AVX2: answers are right but slow; see docs/engines.md"
        )
    elif machine in ("aarch64", "arm64") and features and "asimddp" not in features:
        # A Raspberry Pi 4 or 3: answers are the same, int8 kernels are the slower ones.
        yield Finding("cpu", "ok", f"{detail}; no dot product, int8 gains less")
    else:
        yield Finding("cpu", "ok", detail)


def _cores(request: Request) -> Iterator[Finding]:
    cores, quota = host.usable_cores(), host.cpu_quota()
    usable = cores if quota is None else min(float(cores), quota)
    detail = f"{cores} core(s) usable"
    if quota is not None:
        detail += f", the control group allows {quota:.2f}"
    load = os.getloadavg()[0]
    detail += f", load {load:.1f}"
    if request.threads > usable:
        yield Finding(
            "cores",
            "warning",
            f"{detail}, --threads {request.threads}",
            "more threads than cores wreck the slowest answers: use --threads 1",
        )
    elif usable < 1:
        yield Finding(
            "cores", "warning", detail, "raise the limit (CPUQuota=, --cpus) to 1 or more"
        )
    elif load > cores:
        yield Finding("cores", "warning", detail, "the machine is busy; look with top for by what")
    else:
        yield Finding("cores", "ok", detail)


def _speed(request: Request) -> Iterator[Finding]:
    governor = host.governor()
    if governor == "powersave" and not Path("/sys/devices/system/cpu/intel_pstate").exists():
        yield Finding(
            "governor",
            "warning",
            "powersave holds the processor at its lowest frequency",
            "choose schedutil or performance: cpupower frequency-set -g schedutil",
        )
    else:
        yield Finding("governor", "ok", governor or "the system tells none")
    reasons, heat = host.throttling(), host.temperature_c()
    detail = "no temperature told" if heat is None else f"{heat:.0f} C"
    if reasons or (heat is not None and heat >= _HOT_C):
        low = any("voltage" in reason for reason in reasons)
        remedy = (
            "use the board's own power supply" if low else "cool the board: heat sink, fan, air"
        )
        yield Finding("thermal", "warning", "; ".join((detail, *reasons)), remedy)
    else:
        yield Finding("thermal", "ok", detail)


def _memory(request: Request) -> Iterator[Finding]:
    memory, limit = host.memory_mb(), host.memory_limit_mb()
    available = memory.get("available", float("inf"))
    detail = f"{available:.0f} MB available of {memory.get('total', 0):.0f}"
    if limit is not None:
        available = min(available, limit)
        detail += f", the control group allows {limit:.0f}"
    if available < _LOW_MEMORY_MB:
        yield Finding(
            "memory",
            "warning",
            detail,
            f"large scans may need {_LOW_MEMORY_MB:.0f} MB: end other programs, raise the limit "
            "(MemoryMax=), or add swap on a disk that bears it",
        )
    else:
        yield Finding("memory", "ok", detail)


def _clock(request: Request) -> Iterator[Finding]:
    now = time.gmtime()
    shown = time.strftime("%Y-%m-%d %H:%M UTC", now)
    synchronised = host.clock_synchronised()
    remedy = "set it, and let it follow a time server: timedatectl set-ntp true"
    if now.tm_year < _BUILT:
        yield Finding("clock", "warning", f"{shown} cannot be right", remedy)
    elif synchronised is False:
        yield Finding("clock", "warning", f"{shown}, but it follows no time server", remedy)
    else:
        yield Finding("clock", "ok", shown)


# -- packages, bundle, folders --------------------------------------------------------------------


def _packages(request: Request) -> Iterator[Finding]:
    from PIL import features

    lacking = [kind for kind in ("jpg", "zlib", "libtiff") if not features.check(kind)]
    version = metadata.version("pillow")
    if lacking:
        yield Finding(
            "pillow",
            "problem",
            f"{version}, built without {', '.join(lacking)}",
            "install the wheel: pip install --force-reinstall --only-binary=:all: pillow",
            ExitCode.MISSING,
        )
    else:
        yield Finding("pillow", "ok", version)
    for extra, (modules, purpose) in _EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        remedy = f"pip install 'ecg-edge[{extra}]'"
        if not missing:
            yield Finding(f"[{extra}]", "ok", f"installed: {purpose}")
        elif extra in _WANTED:
            yield Finding(f"[{extra}]", "warning", f"not installed: {purpose}", remedy)
        else:
            yield Finding(f"[{extra}]", "ok", f"not installed, needed for {purpose}: {remedy}")


def _engine(request: Request) -> Iterator[Finding]:
    from runtime.engine import installed_engines

    engines = installed_engines()
    numpy = metadata.version("numpy")
    listed = ", ".join(f"{name} {version}" for name, version in engines.items())
    if not engines:
        yield Finding(
            "engine",
            "problem",
            "none is installed",
            "pip install ai-edge-litert (or 'ecg-edge[onnx]')",
            ExitCode.MISSING,
        )
    elif "tflite-runtime" in engines and int(numpy.partition(".")[0]) >= 2:
        alone = "litert" not in engines and "onnxruntime" not in engines
        yield Finding(
            "engine",
            "problem" if alone or request.engine == "tflite-runtime" else "warning",
            f"{listed}; tflite-runtime was built for numpy 1 and here is numpy {numpy}",
            "pip install 'numpy<2' in an environment of its own, or use ai-edge-litert",
            ExitCode.MISSING,
        )
    else:
        yield Finding("engine", "ok", f"{listed}; numpy {numpy}")


def _bundle(request: Request) -> Iterator[Finding]:
    """Load the bundle here, then answer its golden pages in a process that may die of it."""
    from runtime.bundle import load_bundle

    try:
        bundle = load_bundle(request.model)
    except EcgEdgeError as fault:
        yield Finding("bundle", "problem", fault.message, fault.remedy, fault.exit_code)
        return
    yield Finding("bundle", "ok", f"{bundle.name} {bundle.version}, checksum right")
    yield _answers_golden_pages(bundle.directory, request)


def _answers_golden_pages(directory: str, request: Request) -> Finding:
    command = [sys.executable, "-m", "runtime", "verify", "--json", "--model", directory]
    command += ["--engine", request.engine, "--threads", str(request.threads)]
    try:
        done = subprocess.run(
            command,
            cwd=_PACKAGE.parent,
            capture_output=True,
            text=True,
            timeout=_VERIFY_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding(
            "golden",
            "problem",
            f"no answer within {_VERIFY_S:.0f} s",
            "use --threads 1; look with top for what else runs",
            ExitCode.GATE,
        )
    if done.returncode == 0:
        pages = len(json.loads(done.stdout)["golden"])
        if not pages:
            return Finding(
                "golden",
                "warning",
                "the engine loads, but the bundle has no golden pages to check it with",
                "export the bundle again",
            )
        return Finding("golden", "ok", f"{pages} page(s) answered as in the workshop")
    return _not_answered(done)


def _not_answered(done: subprocess.CompletedProcess[str]) -> Finding:
    """Return what a failed check of the golden pages means."""
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return Finding(
            "golden",
            "problem",
            f"the engine ended the process ({name})",
            "its build uses instructions that this processor lacks: try another --engine or "
            "another version of it (docs/engines.md)"
            if name == "SIGILL"
            else "try another --engine, and look for memory with dmesg",
            ExitCode.MISSING,
        )
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    known = done.returncode in set(ExitCode)
    return Finding(
        "golden",
        "problem",
        last.removeprefix("ecg-edge: "),
        "run python -m runtime verify -v",
        ExitCode(done.returncode) if known else ExitCode.INTERNAL,
    )


def _folder(request: Request) -> Iterator[Finding]:
    if request.out is None:
        return
    out, kind = request.out, mounts.file_system(request.out)
    try:
        with tempfile.NamedTemporaryFile(prefix=".ecg-edge-doctor.", dir=out) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as fault:
        yield Finding(
            "out",
            "problem",
            f"{out}: not writable ({fault.strerror})",
            f"make it, and give it to this user: install -d -o {os.geteuid()} {out}",
            ExitCode.OUTPUT,
        )
        return
    space = os.statvfs(out)
    free = space.f_bavail * space.f_frsize / 1e6
    detail = f"{out}: writable, {free:.0f} MB free, {kind or 'unknown file system'}"
    if free < _LOW_SPACE_MB or (space.f_files and space.f_favail < 1000):
        yield Finding("out", "warning", detail, "make space; keep logs and answers short")
    elif mounts.is_network_share(kind):
        yield Finding(
            "out",
            "warning",
            f"{detail}, a network share",
            "keep the ledger off it: watch --ledger /var/lib/ecg-edge/ledger.sqlite",
        )
    else:
        yield Finding("out", "ok", detail)


_CHECKS: Final[tuple[Callable[[Request], Iterator[Finding]], ...]] = (
    _python,
    _system,
    _user,
    _processor,
    _cores,
    _speed,
    _memory,
    _clock,
    _packages,
    _engine,
    _bundle,
    _folder,
)
