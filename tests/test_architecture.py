"""The five rules of the house, read off the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("runtime", "train", "export", "benchmarks")
TOO_HEAVY = {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "onnx", "pandas", "tf2onnx"}
UNSAFE = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}


def _modules(room: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / room).rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def _importers(room: str, forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, tree in _modules(room)
        for name in _imports(tree)
        if name in forbidden
    ]


def test_runtime_imports_no_other_room_and_nothing_heavy() -> None:
    assert _importers("runtime", TOO_HEAVY | set(ROOMS) - {"runtime"}) == []


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [("train", {"export", "benchmarks"}), ("export", {"benchmarks"})],
)
def test_arrows_point_into_runtime(room: str, forbidden: set[str]) -> None:
    assert _importers(room, forbidden) == []


@pytest.mark.parametrize("room", ROOMS)
def test_no_unsafe_model_files_and_no_eval(room: str) -> None:
    assert _importers(room, UNSAFE) == []
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in _modules(room)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("eval", "exec")
    ]
    assert calls == []


def test_models_hold_no_code() -> None:
    assert list((ROOT / "models").rglob("*.py")) == []


def test_only_preprocess_turns_a_panel_into_a_tensor() -> None:
    """One preprocessing: the class that makes tensors is defined once, in runtime."""
    homes = [
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path, tree in _modules(room)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name == "Preprocess"
    ]
    assert homes == ["runtime/preprocess.py"]


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(room: str, flag: str) -> None:
    heavy = TOO_HEAVY | {
        "numpy",
        "PIL",
        "ai_edge_litert",
        "onnxruntime",
        "starlette",
        "distributed",
    }
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['{room}', '{flag}']\n"
        f"try: runpy.run_module('{room}', run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        f"found = [m for m in {sorted(heavy)!r} if m in sys.modules]\n"
        "assert not found, found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
