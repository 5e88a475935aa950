"""The training command line: quick to answer, clear in refusing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import ExitCode
from train.cli import main
from train.config import TrainConfig, read_toml

HEAVY = "tensorflow keras sklearn scipy matplotlib numpy PIL"


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["audit", "--help"], ["evaluate", "--help"]]
)
def test_help_and_version_import_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\nfrom train.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        f"loaded = [m for m in {HEAVY!r}.split() if m in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere", "--out", "RUN"], 3, "is not a folder"),
        (["nowhere", "--out", "RUN", "--models", "oracle"], 2, "unknown model oracle"),
        (["nowhere", "--out", "RUN", "--folds", "1"], 2, "at least 2"),
        (["nowhere", "--out", "RUN", "--config", "none.toml"], 2, "cannot read"),
        (["try", "nowhere"], 2, "needs --out"),
        (["try", "nowhere", "--out", "T"], 2, "holds no run.json"),
        (["try", "nowhere", "--out", "T", "--architecture", "x"], 2, "'x' is no architecture"),
        (["try", "nowhere", "--average", "elsewhere"], 2, "elsewhere holds no oof.csv"),
        (["evaluate", "nowhere", "--model", "no-such-bundle"], 4, "no-such-bundle"),
    ],
)
def test_mistakes_end_with_their_code_and_a_remedy(
    words: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == code
    assert said in capsys.readouterr().err


def test_toml_settings_nest_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        "folds = 3\n[fit]\nepochs = 7\nlearning_rate = 1\n[fit.augmentation]\ngain = 0.5\n"
    )
    config = read_toml(file)
    assert (config.folds, config.fit.epochs, config.fit.learning_rate) == (3, 7, 1.0)
    assert config.fit.augmentation.gain == 0.5
    assert config.fit.augmentation.stretch == TrainConfig().fit.augmentation.stretch
    file.write_text("[fit]\nepoch = 7\n")
    from runtime.errors import UsageError

    with pytest.raises(UsageError, match="unknown setting 'epoch'"):
        read_toml(file)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["try", "nowhere", "--out", "T", "--folds", "a"], "argument --folds"),
        (["explained", "ecg-tiny", "--count", "0"], "less than 1"),
    ],
)
def test_words_that_are_no_numbers_are_usage_errors(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == ExitCode.USAGE
    assert said in capsys.readouterr().err
