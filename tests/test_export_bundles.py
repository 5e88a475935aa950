"""From a RUN to bundles: conversions, judging on real engines, writing all or nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from export import bundle_folder, cli, golden, pipeline, to_onnx, write_bundle
from export.calibration import pages_for, samples
from export.check import check
from export.convert import FINAL, Converted, convert
from export.formats import chosen
from export.gates import read_limits
from export.inference import answer
from export.judge import Terms, judge, structure
from export.source import Run, read_run
from runtime.bundle import load_bundle
from runtime.classifier import Classifier
from runtime.errors import EcgEdgeError, GateError, MissingExtraError, OutputError, UsageError
from runtime.labels import LABELS
from runtime.verify import verify_bundle

ROOT = Path(__file__).resolve().parents[1]
FORMATS = "tflite-float32,tflite-int8,tflite-int8-io,onnx-float32,onnx-int8,keras"
MI = LABELS.index("myocardial_infarction")
ENGINES = {"litert": None, "onnxruntime": None}


@dataclass(frozen=True)
class Workshop:
    """A made-up RUN, converted once for all tests of this file."""

    run: Run
    network: Converted
    tree: Converted


@pytest.fixture(scope="module")
def fake_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    subprocess.run(
        [sys.executable, str(ROOT / "tests" / "fake_run.py"), str(folder)],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def workshop(fake_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    run = read_run(fake_run)
    converted = []
    for source, formats in zip(run.sources, (FORMATS, "onnx-baseline"), strict=True):
        folder = tmp_path_factory.mktemp("converted")
        converted.append(convert(run, source, chosen(formats), folder, lambda step: None))
    return Workshop(run, *converted)


@pytest.fixture
def export(workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator:
    """Run the whole export on given conversions; return the folder of bundles."""

    def run_export(network: Converted, formats: str, models: tuple[str, ...] = ("cnn",)) -> Path:
        made = {"cnn": network, "decision-tree": workshop.tree}
        monkeypatch.setattr(pipeline, "convert", lambda run, source, *rest: made[source.name])
        pipeline.export(
            pipeline.Order(
                run=workshop.run.root,
                out=tmp_path / "models",
                formats=chosen(formats),
                models=models,
                engines=("litert", "onnxruntime"),
            )
        )
        return tmp_path / "models"

    return run_export


def test_every_format_that_keeps_its_limits_becomes_a_bundle(workshop, export, capsys) -> None:
    out = export(workshop.network, FORMATS + ",onnx-baseline", ("cnn", "decision-tree"))
    assert {folder.name for folder in out.iterdir()} == {
        "ecg-decision-tree",
        "ecg-fake",
        "ecg-fake-float32",
        "ecg-fake-int8-io",
        "ecg-fake-keras",
        "ecg-fake-onnx-float32",
        "ecg-fake-onnx-int8",
    }
    printed = capsys.readouterr().out
    assert printed.count("label agreement") >= 12
    for folder in out.iterdir():
        bundle = load_bundle(folder)
        assert (folder / "MODEL_CARD.md").read_text(encoding="utf-8").startswith(f"# {folder.name}")
        report = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
        assert report["passed"] is True
        assert report["bytes"] == len(bundle.model.content)
        if bundle.model.engine != "keras":
            assert (folder / "parity.png").stat().st_size > 5000
            assert all(result.passed for result in verify_bundle(bundle))


def test_the_bundle_says_what_it_is(workshop, export) -> None:
    manifest = load_bundle(export(workshop.network, "tflite-int8") / "ecg-fake").manifest
    outputs = {output["name"]: output["shape"] for output in manifest["model"]["output"]}
    assert outputs == {"probabilities": [1, 5], "evidence": [1, 1, 1, 5], "features": [1, 8]}
    assert manifest["model"]["input"] == {
        "name": "page",
        "shape": [1, 192, 512, 1],
        "dtype": "float32",
    }
    assert manifest["gates"]["passed"] is True
    assert {gate["engine"] for gate in manifest["gates"]["measured"]} == {"any", "litert"}
    low, high = manifest["metrics"]["accuracy"]["interval"]
    assert low < manifest["metrics"]["accuracy"]["value"] < high
    point = manifest["decision"]["operating_points"]["myocardial_infarction"]
    assert point["threshold"] <= point["run_threshold"]
    assert len(manifest["golden"]) >= 5


def test_integer_io_and_float_io_answer_alike(workshop: Workshop) -> None:
    pages = workshop.run.pages.tensors[:10]
    made = workshop.network.weights[FINAL]
    floats = answer(made["tflite-int8"], pages, "litert", side_outputs=True)
    integers = answer(made["tflite-int8-io"], pages, "litert", side_outputs=True)
    assert np.abs(floats.probabilities - integers.probabilities).max() <= 3 / 256
    np.testing.assert_allclose(floats.features, integers.features, atol=0.02)


def test_temperature_is_inside_the_weights(workshop: Workshop) -> None:
    """softmax(sum of the evidence + bias, divided by T = 1.5) is what the file answers."""
    made = workshop.network.weights[FINAL]["onnx-float32"]
    given = answer(made, workshop.run.pages.tensors[:8], "onnxruntime", side_outputs=True)
    logits = given.evidence.sum(axis=(1, 2)) + np.array([0, 0, 0, 0.2, 0])
    expected = np.exp(logits / 1.5)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(given.probabilities, expected, atol=1e-5)


def test_a_baseline_answers_as_its_pipeline_did_with_its_temperature(workshop: Workshop) -> None:
    made = workshop.tree.weights[FINAL]["onnx-baseline"]
    given = answer(made, workshop.run.pages.tensors, "onnxruntime")
    np.testing.assert_allclose(
        given.probabilities, workshop.tree.reference["probabilities"], atol=1e-5
    )


def test_calibration_leaves_out_the_pages_that_the_fold_is_judged_on(workshop: Workshop) -> None:
    run = workshop.run
    assert set(pages_for(run, 0)) < set(pages_for(run, None))
    assert all(run.pages.folds[i] != 0 for i in pages_for(run, 0))


# Spoiled on purpose: the file on its way to the device is not what the workshop judged.


def _spoiled(workshop: Workshop, folder: Path, change) -> Converted:
    """Change the constants of every converted float32 ONNX file."""
    import onnx
    from onnx import numpy_helper

    weights = {}
    for part, made in workshop.network.weights.items():
        good = made["onnx-float32"]
        model = onnx.load(str(good.path))
        for constant in model.graph.initializer:
            value = change(numpy_helper.to_array(constant).copy())
            constant.CopyFrom(numpy_helper.from_array(value, constant.name))
        path = folder / f"{part}.onnx"
        onnx.save(model, str(path))
        weights[part] = {"onnx-float32": replace(good, path=path)}
    return replace(workshop.network, weights=weights)


def _refused(export, tmp_path: Path, spoiled: Converted, formats: str = "onnx-float32") -> str:
    with pytest.raises(GateError) as refusal:
        export(spoiled, formats)
    assert refusal.value.exit_code == 7
    assert not list((tmp_path / "models").glob("*")), "nothing may be written"
    assert not list((tmp_path / "models").glob(".*")), "nothing may be left behind"
    return str(refusal.value)


def test_scaled_weights_are_refused_for_drift(workshop, export, tmp_path, capsys) -> None:
    def head_three_times(value: np.ndarray) -> np.ndarray:
        return value * 3 if value.shape == (5, 8, 1, 1) else value

    _refused(export, tmp_path, _spoiled(workshop, tmp_path, head_three_times))
    assert "mean drift of probabilities" in capsys.readouterr().out.split("REFUSED ecg-fake")[-1]


def test_swapped_labels_are_refused_for_agreement(workshop, export, tmp_path, capsys) -> None:
    def swap(value: np.ndarray) -> np.ndarray:
        return value[[1, 0, 2, 3, 4]] if value.shape == (5, 8, 1, 1) else value

    _refused(export, tmp_path, _spoiled(workshop, tmp_path, swap))
    assert "label agreement" in capsys.readouterr().out.split("REFUSED ecg-fake")[-1]


def test_a_lowered_infarction_bias_is_refused_for_lost_cases(
    workshop, export, tmp_path, capsys
) -> None:
    def lower(value: np.ndarray) -> np.ndarray:
        if value.shape == (5,) and value[MI] == np.float32(0.2):
            value[MI] -= 3
        return value

    _refused(export, tmp_path, _spoiled(workshop, tmp_path, lower))
    reasons = capsys.readouterr().out.split("REFUSED ecg-fake")[-1]
    assert "lost cases myocardial_infarction" in reasons


def test_calibration_on_noise_is_refused(workshop, export, tmp_path, capsys) -> None:
    run = workshop.run
    dark = np.flatnonzero(run.pages.tensors.max(axis=(1, 2)) < 60)
    noise = samples(run.pages.tensors, dark.tolist())
    weights = {}
    for part, made in workshop.network.weights.items():
        path = tmp_path / f"{part}.onnx"
        to_onnx.convert(made["onnx-float32"].path, chosen("onnx-int8")[0], noise, path)
        weights[part] = {"onnx-int8": replace(made["onnx-int8"], path=path)}
    _refused(export, tmp_path, replace(workshop.network, weights=weights), "onnx-int8")
    assert "drift" in capsys.readouterr().out.split("REFUSED ecg-fake")[-1]


def test_a_run_that_disagrees_with_its_own_weights_is_refused(workshop, export, tmp_path) -> None:
    other = workshop.network.held_out.copy()
    other[0] = [0.9, 0.025, 0.025, 0.025, 0.025]
    _refused(export, tmp_path, replace(workshop.network, held_out=other))


def test_a_format_that_cannot_be_converted_is_refused_with_its_reason(
    workshop, export, tmp_path, capsys
) -> None:
    failed = {"onnx-float32": "fold-0: ValueError: no such operator"}
    _refused(export, tmp_path, replace(workshop.network, failed=failed))
    assert "no such operator" in capsys.readouterr().out


def test_names_shapes_and_types_are_a_gate(workshop: Workshop) -> None:
    good = workshop.network.weights[FINAL]["tflite-float32"]
    format = chosen("tflite-float32")[0]
    reference = workshop.network.reference
    assert structure(good, format, reference).passed
    outputs = ({"name": "scores", "shape": [1, 4], "dtype": "float16"}, *good.outputs[1:])
    rung = structure(replace(good, outputs=outputs), format, reference)
    assert not rung.passed
    assert rung.measured == 2


def test_an_engine_that_refuses_the_file_is_named_and_the_format_not_shipped(
    workshop: Workshop, tmp_path: Path
) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"TFL3 but nothing else")
    made = {
        part: {"tflite-float32": replace(files["tflite-float32"], path=path)}
        for part, files in workshop.network.weights.items()
    }
    judged = judge(
        workshop.run,
        workshop.run.sources[0],
        chosen("tflite-float32")[0],
        replace(workshop.network, weights=made),
        Terms(read_limits(), ENGINES),
    )
    assert "litert" in judged.refused_by
    assert not judged.passed
    assert judged.failed() == ["no engine here loads it"]


# A release that reads pages otherwise.


def test_golden_pages_are_answered_anew_and_the_weights_stay(workshop, export, capsys) -> None:
    bundle = export(workshop.network, "onnx-float32") / "ecg-fake-onnx-float32"
    before = {file.name: file.read_bytes() for file in bundle.iterdir() if file.is_file()}
    manifest = json.loads(before["manifest.json"])
    for page in manifest["golden"]:  # as another release would have answered
        page["probabilities"] = dict.fromkeys(page["probabilities"], 0.2)
    manifest["quality"]["page"]["min_sharpness"] = 0.1  # and refused
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert max(page.drift for page in verify_bundle(load_bundle(bundle))) > 0.01
    assert cli.main(["golden", str(bundle)]) == 0
    assert "golden pages on onnxruntime, drift 0.000000" in capsys.readouterr().out
    after = {file.name: file.read_bytes() for file in bundle.iterdir() if file.is_file()}
    assert after == before
    assert max(page.drift for page in verify_bundle(load_bundle(bundle))) < 1e-5


def test_golden_pages_stay_where_an_engine_is_not_here(workshop, export) -> None:
    bundle = export(workshop.network, "onnx-float32") / "ecg-fake-onnx-float32"
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(MissingExtraError, match="onnxruntime"):
        golden.renew_golden_pages(bundle, {"litert": None})
    assert (bundle / "manifest.json").read_bytes() == before
    assert (bundle / "golden").is_dir()


def test_a_bundle_without_golden_pages_is_told_so(workshop, export) -> None:
    bundle = export(workshop.network, "onnx-float32") / "ecg-fake-onnx-float32"
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["gates"]["measured"] = []
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert cli.main(["golden", str(bundle)]) == 2
    assert (bundle / "golden").is_dir()


# All or nothing.


def test_a_refused_format_leaves_the_older_bundle_as_it_was(workshop, export, tmp_path) -> None:
    out = export(workshop.network, "onnx-float32")
    before = (out / "ecg-fake-onnx-float32" / "manifest.json").read_bytes()
    spoiled = _spoiled(workshop, tmp_path, lambda v: v * 3 if v.shape == (5, 8, 1, 1) else v)
    with pytest.raises(GateError):
        export(spoiled, "onnx-float32")
    assert (out / "ecg-fake-onnx-float32" / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("when", ["add_golden_pages", "write_report", "model_card"])
def test_full_disk_or_ctrl_c_at_any_stage_leaves_nothing(
    workshop, export, tmp_path, monkeypatch, fault, when
) -> None:
    def stop(*_: object) -> None:
        raise fault

    monkeypatch.setattr(write_bundle, when, stop)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        export(workshop.network, "onnx-float32")
    assert list((tmp_path / "models").iterdir()) == []


def test_replacing_a_bundle_swaps_whole_folders(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    for content in ("one", "two"):
        with bundle_folder.replaced_folder(target) as folder:
            (folder / content).write_text(content, encoding="utf-8")
    assert [path.name for path in target.iterdir()] == ["two"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_that_cannot_be_written_is_exit_6(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError) as fault,
        bundle_folder.replaced_folder(tmp_path / "file" / "bundle"),
    ):
        pass
    assert fault.value.exit_code == 6


def test_ctrl_c_during_a_conversion_leaves_nothing(fake_run: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "export", str(fake_run), "--out", str(tmp_path / "models")],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(temporary.glob("ecg-export-*/job.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == b"ecg-edge: interrupted"
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "models").exists()


# RUN folders that do not fit.


def test_an_unknown_model_is_a_usage_error_that_lists_the_known(fake_run: Path) -> None:
    with pytest.raises(UsageError, match="decision-tree"):
        read_run(fake_run, ["transformer"])


@pytest.mark.parametrize(
    "file", ["splits.csv", "tensors.npz", "calibration.csv", "cnn/oof.csv", "cnn/fold-1.keras"]
)
def test_an_unfinished_run_names_the_missing_file(
    fake_run: Path, tmp_path: Path, file: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(fake_run, run)
    (run / file).unlink()
    with pytest.raises(EcgEdgeError, match=Path(file).name) as fault:
        read_run(run)
    assert fault.value.exit_code == 3


def test_a_run_of_another_schema_is_refused(fake_run: Path, tmp_path: Path) -> None:
    record = json.loads((fake_run / "run.json").read_text(encoding="utf-8"))
    (tmp_path / "run.json").write_text(json.dumps({**record, "schema": "other/9"}))
    with pytest.raises(UsageError, match="other/9"):
        read_run(tmp_path)


# A hospital's own acceptance data.


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    from train.draw.samples import golden_pages

    for (name, content), label in zip(golden_pages(1), ["normal", "covid19"] * 2, strict=False):
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / label / name).write_bytes(content)
    (tmp_path / "data" / "normal" / "broken.jpg").write_bytes(b"no picture")
    return tmp_path / "data"


def test_check_counts_every_labelled_page(workshop, export, labelled: Path) -> None:
    bundle = export(workshop.network, "tflite-int8") / "ecg-fake"
    report = check(str(bundle), labelled)
    assert report["n"] == 5
    assert report["status"]["error"] == 1
    assert sum(report["status"].values()) == 5
    classifier = Classifier.from_bundle(bundle)
    right = [
        classifier.classify(path).label == path.parent.name
        for path in labelled.rglob("*")
        if path.is_file() and path.name != "broken.jpg"
    ]
    assert report["accuracy"]["k"] == sum(right)
    assert report["accuracy"]["n"] == 4


def test_check_command_exits_7_where_a_limit_is_missed(
    workshop, export, labelled: Path, capsys
) -> None:
    from export.cli import main

    bundle = str(export(workshop.network, "tflite-int8") / "ecg-fake")
    assert main(["check", bundle, str(labelled)]) == 0
    assert main(["check", bundle, str(labelled), "--max-rejected", "0.1"]) == 7
    assert "rejected" in capsys.readouterr().err


def test_check_of_a_folder_without_labels_is_no_input(workshop, export, tmp_path: Path) -> None:
    from export.cli import main

    bundle = str(export(workshop.network, "tflite-int8") / "ecg-fake")
    (tmp_path / "empty").mkdir()
    assert main(["check", bundle, str(tmp_path / "empty")]) == 3


def test_a_card_says_at_which_other_sizes_pages_were_seen() -> None:
    from export.model_card import _reduced

    text = " ".join(_reduced({"sizes": [0.76, 0.58], "sha256": "ab" * 32}))
    assert "76 and 58 % of its size" in text
    assert "abababababababab" in text
    assert _reduced(None) == []
