"""The public classifier: any page in, one `Prediction` a page out, no exception for bad input."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from runtime.ahead import ReadAhead
from runtime.bundle import Bundle, load_bundle
from runtime.checksum import sha256_hex
from runtime.decision import Decision
from runtime.engine import Engine, open_engine
from runtime.errors import EcgEdgeError, PageError
from runtime.inputs import Input
from runtime.page import Page, page_from_image
from runtime.panel import Panel, find_panel
from runtime.prediction import Evidence, ModelIdentity, PictureFacts, Prediction
from runtime.preprocess import Preprocess
from runtime.quality import QualityLimits, check_page, check_panel, out_of_distribution

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

__all__ = ["Classifier", "normalised"]

_log = logging.getLogger("ecg_edge.classifier")


class Classifier:
    """Answers pages with one bundle on one engine.

    Use `from_bundle` to make one. An object serves one thread at a time: the engines keep their
    tensors in place.
    """

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.engine = engine
        self.decision = Decision.from_manifest(bundle.label_ids, manifest["decision"])
        self.preprocess = Preprocess.from_manifest(manifest["preprocess"])
        self.limits = QualityLimits.from_manifest(manifest.get("quality", {}).get("page", {}))
        self._features = manifest.get("quality", {}).get("features")
        self.identity = ModelIdentity(
            name=bundle.name,
            version=bundle.version,
            sha256=bundle.model.sha256,
            engine=engine.name,
            precision=bundle.model.precision,
        )

    @classmethod
    def from_bundle(
        cls,
        bundle: str | os.PathLike[str] | Bundle | None = None,
        engine: str = "auto",
        threads: int = 1,
    ) -> Classifier:
        """Load a bundle and open its weights in an engine.

        Parameters
        ----------
        bundle : str, os.PathLike, Bundle or None
            Folder or name of a bundle; None takes the default one.
        engine : str
            One of `runtime.engine.ENGINE_CHOICES`.
        threads : int
            Threads of the engine.

        Raises
        ------
        BundleError
            If the bundle is missing or damaged.
        MissingExtraError
            If the engine is not installed.
        """
        loaded = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
        return cls(loaded, open_engine(loaded.model, engine, threads))

    def classify(self, source: str | os.PathLike[str] | bytes | Image.Image) -> Prediction:
        """Answer the first page of a file, of bytes, or of a Pillow picture."""
        pages = self.classify_pages(source)
        try:
            return next(pages)
        finally:
            pages.close()  # type: ignore[attr-defined]

    def classify_pages(
        self,
        source: str | os.PathLike[str] | bytes | Image.Image | Input | ReadAhead,
        *,
        name: str | None = None,
        keep_evidence: bool = False,
    ) -> Iterator[Prediction]:
        """Answer every page of a file, one at a time.

        Parameters
        ----------
        source : path, bytes, PIL.Image.Image, Input or ReadAhead
            What to read. Whatever the bytes are, at least one prediction comes out and no
            exception but KeyboardInterrupt.
        name : str or None
            What the records show as ``source``; the path by default.
        keep_evidence : bool
            Keep page, panel and evidence map on each prediction, for `runtime.explain`.
        """
        item, shown = _as_input(source, name)
        if item is None:
            yield self._answer_image(source, shown, keep_evidence)
            return
        started = perf_counter()
        try:
            data = item.read()
        except PageError as fault:
            yield self._failed(shown, 1, "", fault, started)
            return
        yield from self._answer_bytes(item, data, shown, keep_evidence, started)

    def _answer_bytes(
        self,
        item: Input | ReadAhead,
        data: bytes,
        source: str,
        keep_evidence: bool,
        started: float,
    ) -> Iterator[Prediction]:
        sha256 = sha256_hex(data)
        try:
            document = item.open(data)
        except Exception as fault:
            yield self._failed(source, 1, sha256, fault, started)
            return
        with document:
            for number in range(1, document.page_count + 1):
                try:
                    page = document.read(number)
                    decoded = perf_counter()
                    answer = self._answer(page, source, sha256, started, decoded, keep_evidence)
                except Exception as fault:
                    answer = self._failed(source, number, sha256, fault, started)
                yield answer
                started = perf_counter()

    def _answer_image(self, image: Any, source: str, keep_evidence: bool) -> Prediction:
        started = perf_counter()
        sha256 = ""
        try:
            sha256 = sha256_hex(image.tobytes())
            page = page_from_image(image)
            return self._answer(page, source, sha256, started, perf_counter(), keep_evidence)
        except Exception as fault:
            return self._failed(source, 1, sha256, fault, started)

    def _answer(
        self,
        page: Page,
        source: str,
        sha256: str,
        started: float,
        decoded: float,
        keep_evidence: bool,
    ) -> Prediction:
        """Answer one decoded page."""
        timing = {"decode": (decoded - started) * 1e3}
        panel, tensor, reasons = self._prepare(page)
        prepared = perf_counter()
        timing["preprocess"] = (prepared - decoded) * 1e3
        answer = Prediction(
            source=source,
            page=page.number,
            sha256=sha256,
            status="rejected",
            model=self.identity,
            reasons=reasons,
            layout=None if panel is None else panel.layout,
            picture=PictureFacts(
                page.format, page.original_size, None if panel is None else panel.px_per_mm
            ),
        )
        kept = Evidence(page, panel, None) if keep_evidence else None
        if panel is not None and tensor is not None:
            outputs = self.engine.run(tensor[None])
            timing["infer"] = (perf_counter() - prepared) * 1e3
            answer = self._judged(answer, outputs, panel)
        timing.setdefault("infer", 0.0)
        timing["total"] = (perf_counter() - started) * 1e3
        if kept is not None and panel is not None and tensor is not None:
            kept = self._evidence(page, panel, tensor, outputs.get("evidence"))
        return answer._replace(timing_ms=timing, evidence=kept)

    def _evidence(
        self,
        page: Page,
        panel: Panel,
        tensor: NDArray[np.float32],
        contributions: NDArray[np.float32] | None,
    ) -> Evidence:
        """Return what `runtime.explain` draws, from the model itself or else by occlusion."""
        if contributions is not None:
            return Evidence(page, panel, contributions, self.preprocess)
        from runtime.occlusion import occlude

        found = occlude(self.engine, tensor, self.preprocess)
        return Evidence(page, panel, found, self.preprocess, "occlusion")

    def _prepare(
        self, page: Page
    ) -> tuple[Panel | None, NDArray[np.float32] | None, tuple[str, ...]]:
        """Return the panel, the model's tensor, and why there is none where there is none."""
        reasons = check_page(page, self.limits)
        if reasons:
            return None, None, reasons
        panel = find_panel(page)
        reasons = check_panel(page, panel, self.limits)
        return panel, None if reasons else self.preprocess.tensor(panel), reasons

    def _judged(
        self, answer: Prediction, outputs: dict[str, NDArray[np.float32]], panel: Panel
    ) -> Prediction:
        """Return the answer that the model's outputs stand for."""
        probabilities = normalised(outputs["probabilities"])
        verdict = self.decision.decide(probabilities)
        doubts = [*verdict.reasons, *panel.reasons]
        if self._features is not None and "features" in outputs:
            score, limit = out_of_distribution(outputs["features"], self._features)
            if score > limit:
                doubts.append("unlike the ECGs this model was trained on: have a person read it")
        return answer._replace(
            status="uncertain" if doubts else "ok",
            label=verdict.label,
            confidence=verdict.confidence,
            probabilities=dict(zip(self.decision.labels, probabilities, strict=True)),
            flags=verdict.flags,
            reasons=tuple(doubts),
            sets=verdict.sets,
        )

    def _failed(
        self, source: str, number: int, sha256: str, fault: Exception, started: float
    ) -> Prediction:
        """Return the record of a page that could not be read."""
        if isinstance(fault, EcgEdgeError):
            reason = str(fault)
        elif isinstance(fault, MemoryError):
            reason = "not enough memory to read this page; save it at a lower resolution"
        else:
            _log.debug("unexpected fault", exc_info=fault)
            reason = (
                f"this page cannot be read (internal fault: {type(fault).__name__}); "
                "print or scan it again, and report it with -v"
            )
        total = (perf_counter() - started) * 1e3
        return Prediction(
            source=source,
            page=number,
            sha256=sha256,
            status="error",
            model=self.identity,
            reasons=(reason,),
            timing_ms={"decode": total, "preprocess": 0.0, "infer": 0.0, "total": total},
        )


def normalised(probabilities: NDArray[np.float32]) -> tuple[float, ...]:
    """Return probabilities that sum to one; quantised ones miss it by a few 1/256."""
    values = [max(0.0, float(value)) for value in probabilities]
    total = sum(values) or 1.0
    return tuple(value / total for value in values)


def _as_input(source: Any, name: str | None) -> tuple[Input | ReadAhead | None, str]:
    """Return the input to read and the name to show; None for a picture already in memory."""
    if isinstance(source, (Input, ReadAhead)):
        return source, name or source.source
    if isinstance(source, (bytes, bytearray, memoryview)):
        return Input(name or "bytes", bytes(source)), name or "bytes"
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        return Input(path), name or path
    return None, name or "image"
