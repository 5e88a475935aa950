from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from runtime import cli, doctor, host, mounts
from runtime.doctor import Finding, Request, examine, exit_code, to_record, to_text
from runtime.errors import BundleError, ExitCode

FILES = {
    "/proc/cpuinfo": "model name : Cortex-A72\nFeatures : fp asimd crc32\n",
    "/proc/meminfo": "MemTotal: 900000 kB\nMemAvailable: 600000 kB\n",
}


@pytest.fixture
def machine(monkeypatch) -> dict[str, str]:
    """Return the files of a made-up machine, to be changed by the test."""
    files = dict(FILES)
    monkeypatch.setattr(host, "_read", lambda path: files.get(path, ""))
    monkeypatch.setattr(host, "clock_synchronised", lambda: True)
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: (0.1, 0.1, 0.1))
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(
        doctor, "_answers_golden_pages", lambda *_: Finding("golden", "ok", "3 page(s)")
    )
    monkeypatch.setattr("runtime.bundle.load_bundle", lambda name: _Bundle())
    return files


class _Bundle:
    name, version, directory = "ecg-tiny", "1", Path("/bundle")


def found(name: str, request: Request | None = None) -> Finding:
    return next(f for f in examine(request or Request()) if f.name == name)


def test_every_warning_and_problem_has_a_remedy(machine: dict[str, str]) -> None:
    machine["/sys/class/thermal/thermal_zone0/temp"] = "91000"
    for finding in examine(Request(threads=999, out=Path("/nowhere"))):
        assert finding.state == "ok" or finding.remedy, finding


def test_sound_machine_exits_with_zero(machine: dict[str, str]) -> None:
    findings = examine(Request())
    assert exit_code(findings) == ExitCode.OK
    assert "can answer pages" in to_text(findings).splitlines()[-1]


@pytest.mark.parametrize(
    ("path", "content", "name", "word"),
    [
        ("/proc/meminfo", "MemTotal: 900000 kB\nMemAvailable: 90000 kB\n", "memory", "92 MB"),
        ("/sys/fs/cgroup/memory.max", "134217728", "memory", "allows 134"),
        ("/sys/fs/cgroup/cpu.max", "50000 100000", "cores", "0.50"),
        (
            "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
            "powersave",
            "governor",
            "lowest",
        ),
        ("/sys/class/thermal/thermal_zone0/temp", "84500", "thermal", "84 C"),
        (
            "/sys/devices/platform/soc/soc:firmware/get_throttled",
            "50005",
            "thermal",
            "too little voltage now; throttled now",
        ),
    ],
)
def test_machine_that_slows_or_starves_is_warned_of(
    machine: dict[str, str], path: str, content: str, name: str, word: str
) -> None:
    assert found(name).state == "ok"
    machine[path] = content
    finding = found(name)
    assert finding.state == "warning"
    assert word in finding.detail


def test_more_threads_than_the_control_group_allows_are_warned_of(machine) -> None:
    machine["/sys/fs/cgroup/cpu.max"] = "200000 100000"
    assert found("cores", Request(threads=3)).state == "warning"
    machine["/sys/fs/cgroup/cpu.max"] = "max 100000"
    assert host.cpu_quota() is None


def test_unset_and_unsynchronised_clocks_are_warned_of(machine, monkeypatch) -> None:
    assert found("clock").state == "ok"
    monkeypatch.setattr(host, "clock_synchronised", lambda: False)
    assert "no time server" in found("clock").detail
    monkeypatch.setattr(doctor.time, "gmtime", lambda: time.struct_time((1970, 1, 1) + (0,) * 6))
    assert "1970" in found("clock").detail


def test_32_bit_python_on_a_64_bit_processor_is_told(machine, monkeypatch) -> None:
    monkeypatch.setattr(host, "pointer_bits", lambda: 32)
    monkeypatch.setattr(doctor.platform, "machine", lambda: "aarch64")
    finding = found("system")
    assert "the processor has 64" in finding.detail
    assert "tflite-runtime" in finding.remedy


def test_other_c_library_is_warned_of(machine, monkeypatch) -> None:
    monkeypatch.setattr(doctor.platform, "libc_ver", lambda: ("", ""))
    assert "glibc" in found("system").remedy


def test_old_processor_is_warned_of_and_a_pi_4_is_not(machine, monkeypatch) -> None:
    monkeypatch.setattr(doctor.platform, "machine", lambda: "aarch64")
    assert found("cpu").state == "ok"
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    machine["/proc/cpuinfo"] = "flags : sse4_1 avx\n"
    assert found("cpu").state == "warning"


def test_missing_engine_is_a_problem_that_names_the_install(machine, monkeypatch) -> None:
    monkeypatch.setattr("runtime.engine.installed_engines", dict)
    finding = found("engine")
    assert (finding.state, finding.code) == ("problem", ExitCode.MISSING)
    assert "pip install" in finding.remedy


def test_tflite_runtime_with_numpy_2_is_a_problem_only_where_it_is_needed(
    machine, monkeypatch
) -> None:
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "2.1.0")
    engines = {"tflite-runtime": "2.14.0"}
    monkeypatch.setattr("runtime.engine.installed_engines", lambda: dict(engines))
    assert found("engine").state == "problem"
    engines["litert"] = "2.3.0"
    assert found("engine").state == "warning"
    assert found("engine", Request(engine="tflite-runtime")).state == "problem"


def test_absent_pdf_extra_is_warned_of(machine, monkeypatch) -> None:
    real = doctor.find_spec
    monkeypatch.setattr(
        doctor, "find_spec", lambda name: None if name in ("pypdfium2", "pydicom") else real(name)
    )
    assert found("[pdf]").state == "warning"
    assert "ecg-edge[pdf]" in found("[pdf]").remedy
    assert found("[dicom]").state == "ok"


def test_broken_bundle_is_a_problem_with_exit_code_4(machine, monkeypatch) -> None:
    def broken(name):
        raise BundleError("model.tflite: checksum is wrong", "copy the whole bundle again")

    monkeypatch.setattr("runtime.bundle.load_bundle", broken)
    findings = examine(Request())
    assert exit_code(findings) == ExitCode.BUNDLE
    assert "CANNOT" in to_text(findings)


@pytest.mark.parametrize(
    ("code", "stderr", "word", "exits"),
    [
        (-4, "", "SIGILL", ExitCode.MISSING),
        (-9, "", "SIGKILL", ExitCode.MISSING),
        (7, "INFO: x\necg-edge: golden pages off", "golden pages off", ExitCode.GATE),
        (5, "ecg-edge: needs a package", "needs a package", ExitCode.MISSING),
        (1, "", "no message", ExitCode.SOME_INPUTS_FAILED),
    ],
)
def test_engine_that_ends_or_drifts_is_told(monkeypatch, code, stderr, word, exits) -> None:
    done = subprocess.CompletedProcess([], code, "", stderr)
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: done)
    finding = doctor._answers_golden_pages("/bundle", Request())
    assert finding.state == "problem"
    assert word in finding.detail
    assert finding.code == exits


@pytest.mark.parametrize(("golden", "state"), [([{}], "ok"), ([], "warning")])
def test_bundle_without_golden_pages_is_warned_of(monkeypatch, golden, state) -> None:
    done = subprocess.CompletedProcess([], 0, json.dumps({"golden": golden}), "")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: done)
    assert doctor._answers_golden_pages("/bundle", Request()).state == state


def test_engine_that_hangs_is_told(monkeypatch) -> None:
    def hangs(*_, **__):
        raise subprocess.TimeoutExpired("verify", 1)

    monkeypatch.setattr(doctor.subprocess, "run", hangs)
    assert doctor._answers_golden_pages("/bundle", Request()).code == ExitCode.GATE


def test_uncompiled_modules_in_a_folder_that_stays_so_are_warned_of(machine, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "cache_from_source", lambda path: "/nowhere/x.pyc")
    monkeypatch.setattr(doctor.sys, "dont_write_bytecode", True)
    assert "compileall" in found("bytecode").remedy


def test_folder_of_answers_is_tried_out(machine, tmp_path: Path, monkeypatch) -> None:
    finding = found("out", Request(out=tmp_path))
    assert finding.state == "ok"
    assert list(tmp_path.iterdir()) == []
    missing = found("out", Request(out=tmp_path / "none"))
    assert (missing.state, missing.code) == ("problem", ExitCode.OUTPUT)
    monkeypatch.setattr(mounts, "file_system", lambda path: "cifs")
    assert "ledger" in found("out", Request(out=tmp_path)).remedy


def test_check_that_fails_itself_does_not_hide_the_others(machine, monkeypatch) -> None:
    def fails():
        raise ValueError("odd kernel")

    monkeypatch.setattr(host, "memory_mb", fails)
    findings = examine(Request())
    assert any("odd kernel" in f.detail and f.state == "warning" for f in findings)
    assert findings[-1].name == "golden"


def test_json_is_machine_readable(machine, capsys) -> None:
    assert cli.main(["doctor", "--json"]) == ExitCode.OK
    record = json.loads(capsys.readouterr().out)
    assert record["can_answer"] is True
    assert record == json.loads(json.dumps(record))
    assert {f["state"] for f in record["findings"]} <= {"ok", "warning", "problem"}
    assert to_record(()) == {"schema": doctor.SCHEMA, "can_answer": True, "findings": []}


def test_this_very_machine_is_examined_without_a_fault() -> None:
    findings = examine(Request())
    assert not [f for f in findings if "cannot be told" in f.detail]
