"""Protocol P4: recordings of other hospitals, drawn as pages of other carts and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from runtime.errors import PageError, UsageError
from runtime.labels import LABELS
from runtime.page import open_document
from runtime.panel import find_panel
from runtime.preprocess import Preprocess
from train.draw import STYLES, Recording, RecordingFolder, draw_page, encode_page
from train.evaluate import Judged, thresholds_of
from train.progress import bar
from train.recordings import SEEN_STYLES, for_training
from train.run_folder import read_run
from train.tensors import LEVELS


def other_styles() -> list[str]:
    """Return the page styles that no fit has seen (`train.recordings.SEEN_STYLES`)."""
    return [name for name in STYLES if name not in SEEN_STYLES]


def judge_drawn(signals: Path, model: str, name: str, is_run: bool, seed: int) -> Judged:
    """Draw recordings of a known class once each, in a style not trained on, and judge the pages.

    Only the half of the patients that `train.recordings` never gives to a fit.

    Parameters
    ----------
    signals
        Folder with signals.npz and manifest.csv.
    model, name, is_run
        A RUN and the name of its model, or a bundle.
    seed
        Of styles, layouts and pages.
    """
    recordings = [
        r for r in RecordingFolder(signals) if r.label is not None and not for_training(r)
    ]
    pages = [
        draw(recording, seed * 100_003 + i)
        for i, recording in enumerate(bar(recordings, "drawing pages", len(recordings)))
    ]
    labels = np.array([LABELS.index(str(r.label)) for r in recordings])
    patients = {p: i for i, p in enumerate(sorted({r.findings["patient"] for r in recordings}))}
    groups = np.array([patients[r.findings["patient"]] for r in recordings])
    judge = _by_run if is_run else _by_bundle
    p, answered, thresholds, source = judge(pages, model, name)
    blank = np.full(len(labels), "")
    return Judged(labels, groups, blank, p, answered, thresholds, f"{source}; drawn pages")


def draw(recording: Recording, seed: int) -> bytes:
    """Return the file of one drawn page."""
    style = str(np.random.default_rng([seed, 7]).choice(other_styles()))
    return encode_page(*draw_page(recording, style, seed))[0]


def read_tensors(pages: list[bytes], preprocess: Preprocess) -> tuple[np.ndarray, np.ndarray]:
    """Return canonical tensors uint8 [n, 192, 512] and whether a 12-lead panel was found."""
    values = np.zeros((len(pages), *preprocess.shape[:2]), np.uint8)
    found = np.zeros(len(pages), dtype=bool)
    for i, data in enumerate(bar(pages, "reading pages", len(pages))):
        try:
            with open_document(data) as document:
                panel = find_panel(document.read(1))
        except PageError:
            continue
        values[i] = np.rint(preprocess.tensor(panel)[..., 0] * LEVELS)
        found[i] = len(panel.leads) == 12
    return values, found


def _by_run(
    pages: list[bytes], model: str, name: str
) -> tuple[np.ndarray, np.ndarray, dict[str, float], str]:
    from train.predict import predict

    run = read_run(Path(model))
    if name not in run["models"]:
        raise UsageError(f"{model} has no model {name!r}", f"it has {', '.join(run['models'])}")
    entry = run["models"][name]
    values, found = read_tensors(pages, Preprocess.from_manifest(run["preprocess"]))
    p = predict(Path(model), entry, values)
    return p, found, thresholds_of(entry["decision"]), name


def _by_bundle(
    pages: list[bytes], model: str, name: str
) -> tuple[np.ndarray, np.ndarray, dict[str, float], str]:
    from runtime.classifier import Classifier

    classifier = Classifier.from_bundle(model)
    p = np.zeros((len(pages), len(LABELS)))
    answered = np.zeros(len(pages), dtype=bool)
    for i, data in enumerate(bar(pages, "classifying", len(pages))):
        prediction = classifier.classify(data)
        if prediction.probabilities is not None:
            p[i] = [float(prediction.probabilities[label]) for label in LABELS]
            answered[i] = True
    thresholds = thresholds_of(classifier.bundle.manifest["decision"])
    return p, answered, thresholds, f"bundle {classifier.identity.name}"
