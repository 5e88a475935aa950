"""The systemd units say what the command line understands, and keep their promises."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from runtime.cli import build_parser
from runtime.errors import ExitCode

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))


def settings(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_command_line_is_understood(unit: Path) -> None:
    program, command, *words = shlex.split(settings(unit)["ExecStart"][0])
    assert program.endswith("/ecg-runtime")
    args = build_parser(command).parse_args([command, *words])
    assert args.redact_names, "logs hold no names"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_service_has_no_rights_and_does_not_restart_what_cannot_mend(unit: Path) -> None:
    found = settings(unit)
    assert found["User"] == ["ecg-edge"]
    assert found["ProtectSystem"] == ["strict"]
    assert found["NoNewPrivileges"] == ["yes"]
    assert found["CapabilityBoundingSet"] == [""]
    assert found["KillMode"] == ["mixed"], "helpers of the page in hand must not be ended with it"
    codes = {int(code) for code in found["RestartPreventExitStatus"][0].split()}
    assert codes == {ExitCode.USAGE, ExitCode.BUNDLE, ExitCode.MISSING}


def test_watch_may_write_only_where_its_command_line_says() -> None:
    found = settings(DEPLOY / "ecg-edge-watch.service")
    words = shlex.split(found["ExecStart"][0])
    written = [
        words[words.index(flag) + 1]
        for flag in ("--out", "--done", "--failed", "--ledger", "--audit-log")
    ]
    allowed = [*found["ReadWritePaths"], "/var/lib/ecg-edge", "/var/log/ecg-edge"]
    assert all(any(path.startswith(f"{root}/") for root in allowed) for path in written)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_accepts_the_unit(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    program = tmp_path / "ecg-runtime"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/ecg-edge/bin/ecg-runtime", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert unit.name not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
