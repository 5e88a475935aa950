"""The settings of a training run: defaults, a TOML file over them, flags over both."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from runtime.errors import UsageError
from train.fit import FitOptions

MODELS = ("cnn", "cnn-accurate", "svm", "random-forest", "decision-tree")
"""What can be trained."""

DEFAULT_MODELS = ("cnn", "svm", "random-forest", "decision-tree")

ACCURATE_EPOCHS = 8
"""Of the large network, in each of which it sees every example twice (docs/experiments.md)."""

ACCURATE_AGREEMENT = 2.0
"""Weight of one answer to two readings in the large network's loss (docs/experiments.md)."""

NETWORKS = {"cnn": "tiny", "cnn-accurate": "accurate"}
"""Networks among the models -> their architecture."""


@dataclass(frozen=True)
class Selection:
    """Which pages of the data set are used; all of them unless told otherwise.

    Attributes
    ----------
    layouts
        Layouts as the manifest names them; empty: all.
    leave_out
        Label ids left out.
    """

    layouts: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run.

    Attributes
    ----------
    models
        Some of `MODELS`.
    folds
        Parts of the cross-validation.
    seed
        Of splits, weights, order and augmentation.
    processes
        Pages or folds worked on side by side, each on one thread.
    calibration_per_class
        Pages a class in calibration.csv.
    tutorial_baselines
        Whether the classical models are measured on whole-page pixels too.
    select
        Which pages are used.
    signals
        Folder of recordings of other hospitals, half of whose patients the networks are fitted on
        beside the pages (`train.recordings`); empty: pages alone.
    fit
        How the small network is fitted.
    fit_accurate
        How the large one is.
    """

    models: tuple[str, ...] = DEFAULT_MODELS
    folds: int = 5
    seed: int = 1
    processes: int = 2
    calibration_per_class: int = 40
    tutorial_baselines: bool = True
    select: Selection = field(default_factory=Selection)
    signals: str = ""
    fit: FitOptions = field(default_factory=FitOptions)
    fit_accurate: FitOptions = field(
        default_factory=lambda: FitOptions(epochs=ACCURATE_EPOCHS, agreement=ACCURATE_AGREEMENT)
    )

    def fit_options(self, model: str) -> FitOptions:
        """Return how a network is fitted."""
        return self.fit_accurate if NETWORKS[model] == "accurate" else self.fit


def check(config: TrainConfig) -> TrainConfig:
    """Return the settings if they make sense.

    Raises
    ------
    UsageError
        Names the setting that does not.
    """
    unknown = set(config.models) - set(MODELS)
    if unknown or not config.models:
        raise UsageError(
            f"unknown model {', '.join(sorted(unknown)) or '(none)'}",
            f"choose from {', '.join(MODELS)}",
        )
    if config.folds < 2:
        raise UsageError(f"{config.folds} folds", "cross-validation needs at least 2")
    for options in (config.fit, config.fit_accurate):
        if options.epochs < 1 or options.batch < 1:
            raise UsageError("epochs and batch must be at least 1", "change them")
    return config


def read_toml(file: Path) -> TrainConfig:
    """Read settings from TOML; tables ``[fit]``, ``[fit.augmentation]`` and so on nest.

    Raises
    ------
    UsageError
        If the file is missing, no TOML, or holds an unknown setting or a wrong type.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as fault:
        raise UsageError(f"cannot read {file}: {fault.strerror}", "check --config") from fault
    return with_settings(TrainConfig(), text, str(file))


def with_settings(config: TrainConfig, toml: str, where: str) -> TrainConfig:
    """Return the settings with those of a TOML text over them.

    Raises
    ------
    UsageError
        If it is no TOML, or holds an unknown setting or a wrong type; ``where`` names the text.
    """
    try:
        content = tomllib.loads(toml)
    except tomllib.TOMLDecodeError as fault:
        raise UsageError(f"{where} is no TOML: {fault}", "correct it") from fault
    merged: TrainConfig = _merged(config, content, where)
    return merged


def _merged(default: Any, content: Mapping[str, Any], where: str) -> Any:
    names = {f.name for f in fields(default)}
    changes: dict[str, Any] = {}
    for name, value in content.items():
        if name not in names:
            raise UsageError(f"{where}: unknown setting {name!r}", f"known: {sorted(names)}")
        changes[name] = _typed(getattr(default, name), value, f"{where}: {name}")
    return replace(default, **changes)


def _typed(current: Any, value: Any, where: str) -> Any:
    if is_dataclass(current):
        if not isinstance(value, Mapping):
            raise UsageError(f"{where} must be a table", "write [name] above its settings")
        return _merged(current, value, where)
    if isinstance(current, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(current):
        raise UsageError(f"{where} must be a {type(current).__name__}", "correct the value")
    return value
