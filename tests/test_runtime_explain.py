"""The evidence drawing: in its place on the page, legible in black and white, leads named."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_files import ecg_page, saved
from serving import ANSWERS, DoubleEngine, bundle

from runtime.classifier import Classifier
from runtime.errors import OutputError
from runtime.evidence import explanation, read_evidence
from runtime.explain import Explainer, draw, png_bytes
from runtime.occlusion import occlude
from runtime.prediction import Evidence, Prediction
from runtime.preprocess import CANONICAL, Preprocess

PAGE = saved(ecg_page(), "PNG")


def answered(data: bytes = PAGE, name: str = "page.png", word: str = "infarction") -> Prediction:
    engine = DoubleEngine()
    engine.probabilities = ANSWERS[word]
    pages = Classifier(bundle(), engine).classify_pages(data, name=name, keep_evidence=True)
    return next(iter(pages))


@pytest.fixture(scope="module")
def prediction() -> Prediction:
    return answered()


def with_evidence(prediction: Prediction, contributions: np.ndarray) -> Prediction:
    assert prediction.evidence is not None
    return prediction._replace(evidence=prediction.evidence._replace(contributions=contributions))


def one_place(row: int, column: int, width: int = 32) -> np.ndarray:
    contributions = np.zeros((3, width, 5), np.float32)
    contributions[row, column, 3] = 1.0
    return contributions


def page_part(prediction: Prediction) -> Image.Image:
    """Return the drawn page in grey, without the strips above and below it."""
    assert prediction.evidence is not None
    whole = draw(prediction).convert("L")
    height, width = prediction.evidence.page.grey.shape
    bottom = whole.height - round(112 * width / 1000)
    return whole.crop((0, bottom - height, width, bottom))


def pixels(prediction: Prediction) -> np.ndarray:
    return np.asarray(page_part(prediction), int)


@pytest.fixture(scope="module")
def clean(prediction: Prediction) -> Prediction:
    return with_evidence(prediction, np.zeros((3, 32, 5), np.float32))


@pytest.mark.parametrize(("row", "lead"), [(0, "V1"), (1, "V2"), (2, "V3")])
def test_evidence_is_drawn_in_its_leads_place(
    prediction: Prediction, clean: Prediction, row: int, lead: str
) -> None:
    evidence = prediction.evidence
    assert evidence is not None
    marked = with_evidence(prediction, one_place(row, 20))
    y, x = np.nonzero(np.abs(pixels(marked) - pixels(clean)) > 24)
    corners = next(trace.box for trace in evidence.panel.leads if trace.name == lead)
    left, top = corners.min(axis=0) * evidence.page.scale
    right, bottom = corners.max(axis=0) * evidence.page.scale
    assert left - 12 < x.min() < x.max() < right + 12
    assert top - 16 < y.min() < y.max() < bottom + 4


def test_marks_survive_a_black_and_white_printer(prediction: Prediction, clean: Prediction) -> None:
    black, plain = (pixels(p) > 140 for p in (prediction, clean))
    assert (black != plain).sum() > 2000


def test_for_and_against_differ_without_colour(prediction: Prediction, clean: Prediction) -> None:
    place = one_place(0, 27)
    both = place.copy()
    both[2, 27, 3] = -1.0
    marked = np.abs(pixels(with_evidence(prediction, both)) - pixels(clean)) > 60
    rows = np.nonzero(marked.any(axis=1))[0]
    middle = (rows.min() + rows.max()) // 2
    spoke_for, against = marked[:middle].mean(), marked[middle:].mean()
    assert spoke_for > 2 * against > 0


def test_the_trace_stays_on_top_of_the_hatching(prediction: Prediction, clean: Prediction) -> None:
    everywhere = np.zeros((3, 32, 5), np.float32)
    everywhere[:, :, 3] = 1.0
    ink = pixels(clean) < 60
    assert (pixels(with_evidence(prediction, everywhere))[ink] < 130).mean() > 0.9


def test_the_leads_that_carried_the_answer_are_named_in_order(prediction: Prediction) -> None:
    contributions = one_place(1, 20) + 0.5 * one_place(0, 27)
    reading = read_evidence(with_evidence(prediction, contributions))
    assert reading is not None
    assert [lead.name for lead in reading.leads] == ["V2"]
    contributions = one_place(1, 20) + 0.9 * one_place(0, 27)
    told = explanation(with_evidence(prediction, contributions))
    assert told["method"] == "model"
    assert [lead["name"] for lead in told["leads"]] == ["V2", "V4"]
    assert told["leads"][0]["share"] == pytest.approx(1 / 1.9, abs=1e-3)


def test_a_flagged_class_is_explained_rather_than_the_label_beside_it() -> None:
    hidden = answered(word="hidden")
    assert (hidden.label, hidden.flags) == ("normal", ("myocardial_infarction",))
    told = explanation(hidden)
    assert told["label"] == "myocardial_infarction"
    assert told["leads"][0]["name"] == "V2"


def test_what_all_classes_share_is_no_evidence(prediction: Prediction) -> None:
    contributions = np.ones((3, 32, 5), np.float32)
    reading = read_evidence(with_evidence(prediction, contributions))
    assert reading is not None
    assert reading.leads == ()


@pytest.mark.parametrize("shape", [(3, 16), (6, 64), (4, 10), (12, 32), (3, 4)])
def test_any_size_of_map_keeps_its_sum(prediction: Prediction, shape: tuple[int, int]) -> None:
    from runtime.evidence import _regrid

    values = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    scores = _regrid(values)
    assert scores.shape[0] == len(CANONICAL)
    assert scores.shape[1] % 4 == 0
    assert scores.sum() == pytest.approx(values.sum(), abs=1e-4)


def test_a_page_without_leads_says_so_instead_of_marking(prediction: Prediction) -> None:
    evidence = prediction.evidence
    assert evidence is not None
    panel = evidence.panel._replace(leads=(), layout="unknown")
    lost = prediction._replace(evidence=evidence._replace(panel=panel))
    assert read_evidence(lost) is None
    assert draw(lost).width >= 1000


def test_rejected_and_unreadable_pages_are_drawn_with_their_reason() -> None:
    blank = answered(saved(Image.new("L", (1200, 800), 255), "PNG"))
    assert blank.status == "rejected"
    assert draw(blank).height > 800
    broken = answered(b"no picture at all")
    assert broken.status == "error"
    assert draw(broken).height < 400


def test_small_pages_are_enlarged_for_legible_letters() -> None:
    small = answered(saved(ecg_page(700), "PNG"))
    assert draw(small).width >= 1000


def test_occlusion_finds_the_stretch_that_the_answer_hangs_on() -> None:
    class Watches:
        name = version = "0"

        def run(self, tensor: np.ndarray) -> dict[str, np.ndarray]:
            ink = float(tensor[0, 64:128, 256:288, 0].mean())  # V2, its first stretch
            p = min(0.99, 0.2 + 4 * ink)
            return {"probabilities": np.array([p] + [(1 - p) / 4] * 4, np.float32)}

    tensor = np.zeros((192, 512, 1), np.float32)
    tensor[70:120, 256:288] = 0.5
    tensor[10:50, 0:128] = 0.5
    found = occlude(Watches(), tensor, Preprocess())
    assert found.shape == (3, 16, 5)
    assert np.unravel_index(np.argmax(found[:, :, 0]), (3, 16)) == (1, 8)
    assert np.count_nonzero(found[:, :, 0] > 1e-6) == 1


def test_a_model_without_evidence_is_explained_by_occlusion() -> None:
    engine = DoubleEngine()
    engine.gives_evidence = False
    pages = Classifier(bundle(), engine).classify_pages(PAGE, keep_evidence=True)
    evidence = next(iter(pages)).evidence
    assert isinstance(evidence, Evidence)
    assert evidence.method == "occlusion"


def test_files_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    explainer = Explainer(tmp_path / "new" / "folder")
    first = explainer.write(answered(name="a/page.png"))
    second = explainer.write(answered(name="b/page.png"))
    again = explainer.write(answered(name="a/page.png"))
    third = explainer.write(answered(name="a/page.png")._replace(page=2))
    assert first == again
    assert len({first, second, third}) == 3
    with Image.open(first) as image:
        assert image.format == "PNG"


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file"):
        Explainer(tmp_path / "file" / "folder").write(answered())


def test_the_png_shows_the_same_picture(prediction: Prediction) -> None:
    image = draw(prediction)
    with Image.open(io.BytesIO(png_bytes(image))) as read:
        difference = np.abs(
            np.asarray(read.convert("L"), int) - np.asarray(image.convert("L"), int)
        )
    assert difference.mean() < 3
