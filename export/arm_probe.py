"""Answers pages with bundles and keeps every number on the way; runs on either processor.

``python -m export.arm_probe JOB.json TARGET.npz`` (see `export.arm`). Probabilities alone could
hide a difference where they are saturated, so tensors, evidence and features are kept too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from runtime.bundle import load_bundle
from runtime.classifier import Classifier
from runtime.errors import PageError
from runtime.page import open_document
from runtime.panel import find_panel

__all__ = ["main"]


def main(job_file: Path, target: Path) -> None:
    """Write ``<bundle>|<page>|<output>`` -> values for every page that shows leads."""
    job = json.loads(job_file.read_text(encoding="utf-8"))
    classifiers = [Classifier.from_bundle(load_bundle(bundle)) for bundle in job["bundles"]]
    kept: dict[str, Any] = {}
    for path in (Path(page) for page in job["pages"]):
        try:
            with open_document(path.read_bytes(), path.name) as document:
                panel = find_panel(document.read(1))
        except PageError:
            continue
        for number, classifier in enumerate(classifiers):
            tensor = classifier.preprocess.tensor(panel)
            kept[f"{number}|{path.name}|tensor"] = tensor
            for name, value in classifier.engine.run(tensor[None]).items():
                kept[f"{number}|{path.name}|{name}"] = value
    np.savez(target, **kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
