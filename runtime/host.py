"""Facts about this machine that info, doctor and the benchmarks report."""

from __future__ import annotations

import os
import platform
import struct
from pathlib import Path
from typing import Final

__all__ = [
    "clock_synchronised",
    "cpu_features",
    "cpu_model",
    "cpu_quota",
    "governor",
    "memory_limit_mb",
    "memory_mb",
    "pointer_bits",
    "temperature_c",
    "throttling",
    "usable_cores",
]

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


def pointer_bits() -> int:
    """Return 32 or 64: the kind of Python, which may be smaller than the processor's."""
    return struct.calcsize("P") * 8


def usable_cores() -> int:
    """Return the cores that this process may run on; a container may have fewer than the host."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota() -> float | None:
    """Return the cores' worth of time that the control group allows, None without a limit."""
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").strip().partition(" ")
    if not quota:  # control groups of version 1
        quota = _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").strip()
        period = _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us").strip()
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None
    return int(quota) / int(period)


def memory_limit_mb() -> float | None:
    """Return the control group's limit of memory in MB (10^6 bytes), None without a limit."""
    text = _read("/sys/fs/cgroup/memory.max").strip()
    text = text or _read("/sys/fs/cgroup/memory/memory.limit_in_bytes").strip()
    # Version 1 says "no limit" with a number near 2^63.
    return int(text) / 1e6 if text.isdigit() and int(text) < 1 << 60 else None


def throttling() -> tuple[str, ...]:
    """Return why a Raspberry Pi's firmware slows the processor, or has since the start.

    Bits as documented for ``vcgencmd get_throttled``; here without that program, from sysfs.
    """
    text = _read("/sys/devices/platform/soc/soc:firmware/get_throttled").strip()
    try:
        bits = int(text, 16)
    except ValueError:
        return ()
    return tuple(words for bit, words in _THROTTLED.items() if bits >> bit & 1)


_THROTTLED: Final = {
    0: "too little voltage now",
    1: "frequency capped now",
    2: "throttled now",
    3: "near the temperature limit now",
    16: "too little voltage since the start",
    17: "frequency capped since the start",
    18: "throttled since the start",
    19: "near the temperature limit since the start",
}


def clock_synchronised() -> bool | None:
    """Tell whether the kernel's clock follows a time server, None where it cannot be told."""
    import ctypes

    try:
        # adjtimex(2) with nothing to set: a zeroed struct timex, 208 bytes at most.
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    unsynchronised = 5  # TIME_ERROR
    return None if state < 0 else state != unsynchronised


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
