"""Facts about this machine that info, doctor and the benchmarks report."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

__all__ = ["cpu_features", "cpu_model", "governor", "memory_mb", "temperature_c"]

_FEATURES: Final = frozenset(
    # x86-64: what LiteRT's and ONNX Runtime's int8 kernels choose by
    "sse4_1 avx avx2 fma f16c avx512f avx512bw avx512vl avx512_vnni avx_vnni amx_int8 "
    # aarch64: dot product (Pi 5), half precision, matrix multiplication; asimd = NEON (Pi 3, 4)
    "asimd asimddp fphp asimdhp i8mm sve sve2 sme bf16".split()
)


def cpu_features() -> tuple[str, ...]:
    """Return the processor features that inference kernels choose by, in name order."""
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return tuple(sorted(_FEATURES & set(value.split())))
    return ()


def cpu_model() -> str:
    """Return the processor's name, or the board's where the processor tells none."""
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    board = _read("/proc/device-tree/model").strip("\0\n ")
    return board or platform.processor() or platform.machine()


def governor() -> str | None:
    """Return the CPU frequency governor, None where the system tells none."""
    return _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None


def temperature_c() -> float | None:
    """Return the first thermal zone's temperature in degrees Celsius, None where unknown."""
    text = _read("/sys/class/thermal/thermal_zone0/temp").strip()
    return int(text) / 1000 if text.lstrip("-").isdigit() else None


def memory_mb() -> dict[str, float]:
    """Return total and available memory in MB (10^6 bytes)."""
    found = {}
    for line in _read("/proc/meminfo").splitlines():
        key, _, value = line.partition(":")
        if key in ("MemTotal", "MemAvailable"):
            found[{"MemTotal": "total", "MemAvailable": "available"}[key]] = (
                int(value.split()[0]) * 1024 / 1e6
            )
    return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
