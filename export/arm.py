"""Runs bundles on emulated aarch64 and compares the answers with this machine's: `make test-arm`.

Correctness only; an emulator's times say nothing. Needs Debian's qemu-user-static and mmdebstrap,
and the network for the first run; everything downloaded is kept under ``.cache/arm``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.cli import run_command
from runtime.errors import GateError, NoInputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LIMITS", "SYSTEMS", "Comparison", "System", "main"]

HOME: Final = Path(__file__).resolve().parent.parent
CACHE: Final = HOME / ".cache" / "arm"
MIRROR: Final = "http://deb.debian.org/debian"
WHEELS: Final = (
    "ai-edge-litert==2.3.0",
    "onnxruntime==1.32.0",
    "numpy==2.4.6",
    "pillow==13.0.0",
)
PLATFORMS: Final = ("manylinux_2_28", "manylinux_2_27", "manylinux2014", "manylinux_2_17")
CPU: Final = "cortex-a72"
"""Of the Raspberry Pi 4. With qemu's own default LiteRT 2.3 answers garbage: it then claims SME."""

LIMITS: Final = {
    "float32": 1e-5,
    "float16": 1e-3,
    "dynamic": 1e-2,
    "int8": 1 / 256,
    "int16x8": 1e-3,
}
"""Precision -> largest allowed difference of a probability between aarch64 and x86-64."""

_CPUINFO: Final = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
"""What Linux says on a Cortex-A72; LiteRT and ONNX Runtime read it and crash without it."""


@dataclass(frozen=True)
class System:
    """A Debian release as it comes on Raspberry Pi OS."""

    name: str
    python: str


SYSTEMS: Final = (System("bookworm", "3.11"), System("trixie", "3.13"))


@dataclass(frozen=True)
class Comparison:
    """Largest differences between aarch64 and this machine for one bundle.

    Attributes
    ----------
    system, bundle, engine, precision : str
    pages : int
        Pages that were answered on both.
    tensor, probability, evidence, features : float
        Largest absolute differences; NaN where the model gives no such output.
    golden : str
        What ``runtime verify`` said on aarch64.
    """

    system: str
    bundle: str
    engine: str
    precision: str
    pages: int
    tensor: float
    probability: float
    evidence: float
    features: float
    golden: str

    @property
    def limit(self) -> float:
        """Return the largest allowed difference of a probability."""
        return LIMITS[self.precision]

    @property
    def passed(self) -> bool:
        """Tell whether aarch64 answers as this machine does."""
        return self.pages > 0 and self.probability <= self.limit and self.golden == "passed"

    def cells(self) -> list[str]:
        """Return the row of the table."""
        figures = (self.tensor, self.probability, self.evidence, self.features)
        return [
            self.system,
            self.bundle,
            self.engine,
            str(self.pages),
            *("-" if figure != figure else f"{figure:.2g}" for figure in figures),
            f"{self.limit:.2g}",
            self.golden,
            "ok" if self.passed else "FAILED",
        ]


COLUMNS: Final = (
    "system", "bundle", "engine", "pages", "tensor", "probability", "evidence", "features",
    "limit", "golden pages", "verdict",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m export.arm", description=__doc__)
    parser.add_argument("bundles", nargs="*", type=Path, help="bundles (default: all in models/)")
    parser.add_argument("--pages", type=Path, default=HOME / "models" / "samples", metavar="DIR")
    parser.add_argument("--docs", type=Path, metavar="FILE.md", help="write the table there")
    args = parser.parse_args(arguments)
    return run_command(lambda: _run(args.bundles, args.pages, args.docs), verbose=True)


def _run(bundles: Sequence[Path], folder: Path, docs: Path | None) -> int:
    found = list(bundles) or sorted(path.parent for path in HOME.glob("models/*/manifest.json"))
    found = [path.resolve() for path in found if _runs_on_device(path)]
    pages = sorted(path.resolve() for path in folder.iterdir() if path.suffix in (".jpg", ".png"))
    if not found or not pages:
        raise NoInputError("no bundle or no page to compare", "name bundles, and --pages DIR")
    rows = [row for system in SYSTEMS for row in _compare_system(system, found, pages)]
    text = _markdown(rows)
    print(text)
    if docs is not None:
        docs.write_text(_DOCS.format(table=text, cpu=CPU, wheels=", ".join(WHEELS)), "utf-8")
    failed = [f"{row.bundle} on {row.system}" for row in rows if not row.passed]
    if failed:
        raise GateError(f"aarch64 answers otherwise: {', '.join(failed)}", "see the table above")
    return 0


def _runs_on_device(bundle: Path) -> bool:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    return bool(manifest["model"]["engine"] != "keras")


def _compare_system(
    system: System, bundles: Sequence[Path], pages: Sequence[Path]
) -> Iterator[Comparison]:
    """Compare all bundles on one system."""
    root = _root(system)
    site = _site(system)
    arm = [
        "qemu-aarch64-static", "-cpu", CPU, "-L", str(root),
        str(root / "usr" / "bin" / f"python{system.python}"),
    ]  # fmt: skip
    here = _probe([sys.executable], "", bundles, pages)
    there = _probe(arm, str(site), bundles, pages)
    for bundle, ours, theirs in zip(bundles, here, there, strict=True):
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
        golden = _answers(arm, str(site), bundle, pages)
        yield _comparison(system, manifest, ours, theirs, golden)


def _environment(site: str) -> dict[str, str]:
    """Return the environment of a run: the packages of `site`, then this checkout."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(part for part in (site, str(HOME)) if part),
        "PYTHONNOUSERSITE": "1",
        # Compiled once for each Python, and not among the sources.
        "PYTHONPYCACHEPREFIX": str(CACHE / "bytecode"),
    }


def _answers(python: Sequence[str], site: str, bundle: Path, pages: Sequence[Path]) -> str:
    """Run ``verify`` and ``classify`` as a user would; return ``passed`` or what went wrong."""
    verify = [*python, "-m", "runtime", "verify", "--json", "--model", str(bundle)]
    done = subprocess.run(
        verify, env=_environment(site), cwd=HOME, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return f"verify: exit {done.returncode} {done.stderr.strip()[-200:]}"
    classify = [*python, "-m", "runtime", "classify", "--format", "json", "--model", str(bundle)]
    done = subprocess.run(
        [*classify, *map(str, pages)],
        env=_environment(site),
        cwd=HOME,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 or done.stderr or len(json.loads(done.stdout)) != len(pages):
        return f"classify: exit {done.returncode} {done.stderr.strip()[-200:]}"
    return "passed"


def _probe(
    python: Sequence[str], site: str, bundles: Sequence[Path], pages: Sequence[Path]
) -> list[dict[str, dict[str, NDArray[np.float32]]]]:
    """Let an interpreter answer pages; return, for each bundle, page -> output name -> values."""
    import numpy as np

    found: list[dict[str, dict[str, Any]]] = [{} for _ in bundles]
    with tempfile.TemporaryDirectory(prefix="ecg-arm-") as name:
        target = Path(name) / "probe.npz"
        job = Path(name) / "job.json"
        job.write_text(
            json.dumps({"bundles": [str(b) for b in bundles], "pages": [str(p) for p in pages]}),
            encoding="utf-8",
        )
        done = subprocess.run(
            [*python, "-m", "export.arm_probe", str(job), str(target)],
            env=_environment(site),
            cwd=HOME,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise GateError(f"no answers from {python[0]}: {done.stderr.strip()[-500:]}")
        with np.load(target, allow_pickle=False) as stored:
            for key in stored.files:
                number, page, output = key.split("|")
                found[int(number)].setdefault(page, {})[output] = stored[key]
    return found


def _comparison(
    system: System,
    manifest: dict[str, Any],
    here: dict[str, dict[str, NDArray[np.float32]]],
    there: dict[str, dict[str, NDArray[np.float32]]],
    golden: str,
) -> Comparison:
    import numpy as np

    both = sorted(set(here) & set(there))

    def largest(output: str) -> float:
        pairs = [(here[p][output], there[p][output]) for p in both if output in here[p]]
        return max((float(np.abs(a - b).max()) for a, b in pairs), default=float("nan"))

    return Comparison(
        system=f"{system.name}, Python {system.python}",
        bundle=manifest["name"],
        engine=manifest["model"]["engine"],
        precision=manifest["model"]["precision"],
        pages=len(both) if len(here) == len(there) else 0,
        tensor=largest("tensor"),
        probability=largest("probabilities"),
        evidence=largest("evidence"),
        features=largest("features"),
        golden=golden,
    )


def _root(system: System) -> Path:
    """Return the folder of an unpacked arm64 Debian, making it first where needed."""
    root = CACHE / system.name
    if (root / ".ready").is_file():
        return root
    for tool in ("mmdebstrap", "qemu-aarch64-static"):
        if shutil.which(tool) is None:
            raise NoInputError(
                f"{tool} is not installed", "apt-get install mmdebstrap qemu-user-static"
            )
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    # "extract" only unpacks: nothing of the foreign processor has to run, no root powers needed.
    subprocess.run(
        [
            "mmdebstrap", "--quiet", "--variant=extract", "--architectures=arm64",
            "--include=python3,libstdc++6", system.name, str(root), MIRROR,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    if not (root / "lib").exists():
        # From Trixie on this link is made by a package's script, which did not run.
        (root / "lib").symlink_to("usr/lib")
    _pretend_processor(root)
    (root / ".ready").touch()
    return root


def _pretend_processor(root: Path) -> None:
    """Write the kernel's files about the processor, which qemu takes from this folder first."""
    cpu = root / "sys" / "devices" / "system" / "cpu"
    (root / "proc").mkdir(exist_ok=True)
    cpu.mkdir(parents=True, exist_ok=True)
    (root / "proc" / "cpuinfo").write_text(_CPUINFO, encoding="utf-8")
    for name in ("possible", "present", "online"):
        (cpu / name).write_text("0\n", encoding="utf-8")


def _site(system: System) -> Path:
    """Return the folder of the aarch64 wheels, downloading them first where needed."""
    site = CACHE / f"site-{system.python}"
    if (site / ".ready").is_file():
        return site
    shutil.rmtree(site, ignore_errors=True)
    platforms = [word for p in PLATFORMS for word in ("--platform", f"{p}_aarch64")]
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site),
            "--python-version", system.python, "--implementation", "cp", *platforms,
            "--only-binary=:all:", *WHEELS,
        ],
        check=True,
    )  # fmt: skip
    (site / ".ready").touch()
    return site


def _markdown(rows: Sequence[Comparison]) -> str:
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


_DOCS: Final = """\
# The same answers on ARM

Every shipped bundle answers the sample pages on emulated aarch64 as it does on x86-64. Written by
`python -m export.arm --docs docs/arm.md`; `make test-arm` measures it again and fails over a limit.

{table}

Columns are the largest absolute differences to x86-64: the canonical tensor (0..1), a probability
(the gated one), a place of the evidence map, a pooled feature. "golden pages" is what
`runtime verify`, and `runtime classify` on all pages, said on aarch64.

How: an arm64 Debian unpacked by mmdebstrap, the aarch64 wheels ({wheels}), and
`qemu-aarch64-static -cpu {cpu}`. This proves that the numbers are right, not that they come fast:
an emulator's times mean nothing, and no board was measured here (docs/raspberry-pi.md says how to
measure one). qemu emulates the instructions of a Cortex-A72, not its caches or its heat.
"""


if __name__ == "__main__":
    sys.exit(main())
