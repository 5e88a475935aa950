"""The page in a real browser: by mouse, by keyboard alone, read by axe, seen at three sizes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT, missing
from sample_files import ecg_page, saved
from serving import InProcess, running

from runtime.cli import INTENDED_USE
from runtime.serve.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

SIZES = {"phone": (390, 844), "tablet": (820, 1180), "desktop": (1440, 900)}
CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
AXE = "axe-core@4.14.1"
TOKEN = "a-token-of-many-letters"
PICTURE = saved(ecg_page(), "PNG")
LETTER = b"Dear colleague, this is a letter and no ECG."


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        missing("playwright is not installed: pip install playwright")
    found = next((path for path in CHROMIUM if Path(path).exists()), None)
    if found is None:
        missing("no Chromium: apt-get install chromium")
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=found, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return axe-core's script, from `.cache` or fetched there by npm."""
    folder = ROOT / ".cache" / "axe-core"
    script = folder / "axe.min.js"
    if not script.exists():
        npm = shutil.which("npm")
        if npm is None:
            missing("no npm to fetch axe-core with: apt-get install npm")
        work = tmp_path_factory.mktemp("axe")
        words = [str(npm), "pack", AXE, "--silent"]
        packed = subprocess.run(words, cwd=work, capture_output=True, text=True, check=False)
        if packed.returncode != 0:
            missing(f"npm cannot fetch {AXE}: {packed.stderr[-200:]}")
        shutil.unpack_archive(next(work.glob("*.tgz")), work)
        folder.mkdir(parents=True, exist_ok=True)
        part = script.with_suffix(f".{os.getpid()}")
        shutil.copy(work / "package" / "axe.min.js", part)
        os.replace(part, script)  # several test processes may fetch it at once
    return script.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running(Settings(), InProcess()) as given:
        yield given


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where screenshots go for a person to look at."""
    named = os.environ.get("ECG_EDGE_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def opened(browser: Browser, address: str, size: str = "desktop", **options: Any) -> Page:
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, locale="en-GB", **options
    )
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.goto(address)
    return page


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    given = opened(browser, address)
    given.wait_for_selector("#state[data-state=ready]")
    yield given
    given.context.close()


def choose(page: Page, name: str = "infarction.png", content: bytes = PICTURE) -> None:
    kind = "image/png" if name.endswith("png") else "application/octet-stream"
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": content})
    page.wait_for_selector("#verdict")


def drop(page: Page, name: str, content: bytes) -> None:
    """Drop a file on the page as the browser's own event."""
    transfer = page.evaluate_handle(
        """([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
            return transfer;
        }""",
        [name, list(content)],
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("#drop", event, {"dataTransfer": transfer})


def test_a_page_is_dropped_and_its_answer_read(page: Page) -> None:
    drop(page, "infarction.png", PICTURE)
    page.wait_for_selector("#verdict")
    assert page.inner_text("#verdict") == "Active myocardial infarction"
    assert page.get_attribute(".verdict", "data-tone") == "flagged"
    text = page.inner_text("#answer")
    for part in ("85\u00a0% confidence", "at or above its operating point", "3x4+1", "V2 55"):
        assert part in text
    values = page.locator(".bar-value").all_inner_texts()
    assert values == [f"{p}\u00a0%" for p in (4, 3, 6, 85, 2)]


def test_an_uncertain_answer_does_not_stand_there_in_large_type(page: Page) -> None:
    choose(page, "unsure.png")
    assert page.inner_text("#verdict") == "Uncertain"
    assert "Best guess: Normal, 38" in page.inner_text(".verdict")
    assert "minimum confidence" in page.inner_text(".reasons")


def test_a_flagged_class_stands_there_in_large_type_whatever_the_label(page: Page) -> None:
    choose(page, "hidden.png")
    assert page.inner_text("#verdict") == "Active myocardial infarction"
    assert "Most probable class: Normal, 71" in page.inner_text(".verdict")
    assert "Active myocardial infarction: carried by" in page.inner_text(".evidence")
    assert page.get_attribute(".verdict", "data-tone") == "flagged"


def test_status_is_shown_by_shape_and_words_too(page: Page) -> None:
    shapes, words = set(), set()
    for name, content in (
        ("infarction.png", PICTURE),
        ("normal.png", PICTURE),
        ("unsure.png", PICTURE),
        ("letter.txt", LETTER),
    ):
        choose(page, name, content)
        page.wait_for_function("name => document.body.innerText.includes(name)", arg=name)
        shapes.add(page.get_attribute(".verdict .shape-body", "d"))
        words.add(page.inner_text(".verdict-kind"))
    assert len(shapes) == 4
    assert len(words) == 4


def test_the_evidence_opens_zooms_and_closes(page: Page) -> None:
    choose(page)
    page.get_by_role("button", name="Enlarge the evidence").click()
    width = "() => document.getElementById('viewed').getBoundingClientRect().width"
    page.wait_for_function(f"() => ({width})() > 100")
    fitted = page.evaluate(width)
    page.get_by_role("button", name="Larger").click()
    assert page.evaluate(width) > 1.2 * fitted
    page.mouse.move(700, 500)
    page.mouse.wheel(0, -400)
    page.wait_for_function(f"() => ({width})() > {2 * fitted}")
    page.get_by_role("button", name="Whole page").click()
    assert page.evaluate(width) == pytest.approx(fitted, abs=2)
    page.get_by_role("button", name="Close").click()
    assert page.locator("#viewer").is_hidden()


def test_the_answer_is_saved_as_json_without_the_picture(page: Page) -> None:
    choose(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as JSON", exact=True).click()
    record = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert record["schema"] == "ecg-edge/result/1"
    assert record["label"] == "myocardial_infarction"
    assert "explanation_png" not in record
    assert re.fullmatch(r"ecg-edge-[0-9a-f]{12}\.json", download.value.suggested_filename)


def test_the_answer_prints_on_one_sheet_with_its_intended_use(page: Page, shots: Path) -> None:
    choose(page)
    content = page.pdf(format="A4")
    (shots / "print.pdf").write_bytes(content)
    from pypdfium2 import PdfDocument

    with PdfDocument(content) as document:
        assert len(document) == 1
        text = document[0].get_textpage().get_text_range()
    assert "Active myocardial infarction" in text
    assert INTENDED_USE.split(";")[0] in text
    assert "Choose a file" not in text
    assert "Read and confirmed by" in text


def test_the_history_is_kept_in_memory_only(page: Page) -> None:
    choose(page, "infarction.png")
    choose(page, "normal.png")
    page.wait_for_function("() => document.querySelectorAll('.entry').length === 2")
    page.locator(".entry", has_text="infarction.png").click()
    assert page.inner_text("#verdict") == "Active myocardial infarction"
    kept = page.evaluate(
        "async () => [localStorage.length, sessionStorage.length, document.cookie,"
        " (await indexedDB.databases()).length, (await caches.keys()).length]"
    )
    assert kept == [0, 0, "", 0, 0]
    page.reload()
    page.wait_for_selector("#state[data-state=ready]")
    assert page.locator(".entry").count() == 0


def test_all_is_forgotten_when_asked(page: Page) -> None:
    choose(page)
    page.get_by_role("button", name="Forget all").click()
    assert page.locator("#history").is_hidden()
    assert page.locator("#choose").is_visible()


def test_several_pages_are_read_one_after_another(page: Page) -> None:
    files = [
        {"name": f"{word}.png", "mimeType": "image/png", "buffer": PICTURE}
        for word in ("normal", "unsure", "infarction")
    ]
    page.set_input_files("#file", files)
    page.wait_for_function("() => document.querySelectorAll('.entry').length === 3")
    names = page.locator(".entry-name").all_inner_texts()
    assert [name.split()[-1] for name in names] == ["infarction.png", "unsure.png", "normal.png"]


def test_every_page_of_a_document_is_shown(page: Page) -> None:
    sheet = ecg_page(1000)
    tiff = saved(sheet, "TIFF", save_all=True, append_images=[sheet])
    choose(page, "normal.tif", tiff)
    assert page.locator(".pages button").count() == 2
    page.get_by_role("button", name="Page 2").click()
    assert "2 of 2" in page.inner_text(".details")


def test_the_camera_is_asked_for_the_back_one(page: Page) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Take a photo").click()
    element = chooser.value.element
    assert element.get_attribute("capture") == "environment"
    assert element.get_attribute("accept") == "image/*"


def tab_to(page: Page, name: str, presses: int = 40) -> None:
    """Press Tab until the element with this name has the focus, and see that it shows."""
    for _ in range(presses):
        page.keyboard.press("Tab")
        label = page.evaluate(
            "() => document.activeElement.ariaLabel || document.activeElement.innerText"
        )
        if name in (label or ""):
            outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none"
            return
    pytest.fail(f"{name} cannot be reached by Tab")


def test_the_whole_way_is_done_by_keyboard_alone(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "infarction.png"
    file.write_bytes(PICTURE)
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    with page.expect_file_chooser() as chooser:
        tab_to(page, "Choose a file")
        page.keyboard.press("Enter")
    chooser.value.set_files(file)
    page.wait_for_selector("#verdict")
    page.wait_for_function("() => document.activeElement.id === 'verdict'")
    tab_to(page, "Enlarge the evidence")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.id === 'pane'")
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.wait_for_function("() => document.getElementById('zoom').textContent.startsWith('156')")
    before = page.evaluate("document.getElementById('pane').scrollTop")
    page.keyboard.press("ArrowDown")
    page.wait_for_function(f"() => document.getElementById('pane').scrollTop > {before}")
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.activeElement.innerText === 'Enlarge the evidence'")
    tab_to(page, "Save as JSON")
    with page.expect_download():
        page.keyboard.press("Enter")
    tab_to(page, "Active myocardial infarction")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.id === 'verdict'")
    tab_to(page, "Read another page")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.id === 'choose'")


def test_the_intended_use_is_always_in_view(browser: Browser, address: str) -> None:
    for size in SIZES:
        page = opened(browser, address, size)
        page.wait_for_selector("#state[data-state=ready]")
        for step in ("start", "answer"):
            if step == "answer":
                choose(page)
            for place in ("0", "document.body.scrollHeight"):
                page.evaluate(f"window.scrollTo({{ top: {place}, behavior: 'instant' }})")
                box = page.locator("#use").bounding_box()
                assert box is not None
                assert 0 <= box["y"] <= SIZES[size][1] - box["height"] + 1
        assert INTENDED_USE in page.inner_text("#use")
        page.context.close()


def test_targets_are_large_and_nothing_overflows_on_a_phone(browser: Browser, address: str) -> None:
    page = opened(browser, address, "phone")
    page.wait_for_selector("#state[data-state=ready]")
    choose(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES["phone"][0]
    for button in page.locator("button:visible").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Browser, address: str, axe: str, scheme: Any) -> None:
    page = opened(browser, address, color_scheme=scheme, bypass_csp=True)
    page.wait_for_selector("#state[data-state=ready]")
    page.evaluate(axe)
    faults = []

    def look(where: str) -> None:
        found = page.evaluate("async () => (await axe.run()).violations")
        faults.extend(
            (where, one["id"], node["target"], node["failureSummary"])
            for one in found
            if one["impact"] in ("serious", "critical", "moderate")
            for node in one["nodes"]
        )

    look("start")
    for name, content in (
        ("infarction.png", PICTURE),
        ("unsure.png", PICTURE),
        ("normal.png", PICTURE),
        ("letter.txt", LETTER),
    ):
        choose(page, name, content)
        page.wait_for_function("name => document.body.innerText.includes(name)", arg=name)
        look(name)
    page.locator(".entry", has_text="infarction.png").click()
    page.get_by_role("button", name="Enlarge the evidence").click()
    look("evidence")
    page.context.close()
    assert not faults


def test_a_busy_device_is_tried_again_and_an_absent_one_named(
    browser: Browser, address: str
) -> None:
    page = opened(browser, address)
    page.wait_for_selector("#state[data-state=ready]")
    tries: list[int] = []

    def busy(route: Any) -> None:
        tries.append(1)
        if len(tries) > 1:
            route.fallback()
            return
        headers = {"Retry-After": "1", "Content-Type": "application/problem+json"}
        route.fulfill(status=429, headers=headers, body='{"detail": "busy"}')

    page.route("**/classify*", busy)
    choose(page)
    assert len(tries) == 2
    page.unroute("**/classify*")
    page.route("**/classify*", lambda route: route.abort())
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": PICTURE})
    page.wait_for_selector("#alert:not([hidden])")
    assert "a.png: The device does not answer" in page.inner_text("#alert")
    # The answer of the page before must not stand there as if it were this one's.
    assert page.locator("#answer").is_hidden()
    assert page.locator("#choose").is_visible()
    page.context.close()


def test_a_file_that_is_too_large_is_not_even_sent(browser: Browser) -> None:
    with running(Settings(max_body_bytes=2**20), InProcess()) as address:
        page = opened(browser, address)
        page.wait_for_selector("#state[data-state=ready]")
        large = {"name": "large.png", "mimeType": "image/png", "buffer": b"x" * (2**20 + 1)}
        page.set_input_files("#file", large)
        page.wait_for_selector("#alert:not([hidden])")
        assert "1\u00a0MB" in page.inner_text("#alert")
        page.context.close()


def test_the_token_is_asked_for_once_and_not_kept(browser: Browser) -> None:
    with running(Settings(token=TOKEN), InProcess()) as address:
        page = opened(browser, address)
        for given in ("a wrong token of some length", TOKEN):
            page.wait_for_selector("#token-dialog[open]")
            page.fill("#token", given)
            page.keyboard.press("Enter")
        page.wait_for_selector("#state[data-state=ready]")
        choose(page)
        assert page.inner_text("#verdict") == "Active myocardial infarction"
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        page.context.close()


def test_text_from_a_file_name_is_never_markup(page: Page) -> None:
    choose(page, "<img src=x onerror=alert(1)>.png")
    assert "<img src=x onerror=alert(1)>.png" in page.inner_text("#answer")
    assert page.locator("#answer img[src=x]").count() == 0


@pytest.mark.parametrize("size", SIZES)
def test_screenshots_are_written_for_a_person_to_look_at(
    browser: Browser, address: str, shots: Path, size: str
) -> None:
    page = opened(browser, address, size)
    errors: list[str] = []
    page.on("pageerror", lambda fault: errors.append(str(fault)))
    page.on("request", lambda request: errors.append(request.url) if outside(request.url) else None)

    def outside(url: str) -> bool:
        return not url.startswith((address, "blob:", "data:"))

    page.wait_for_selector("#state[data-state=ready]")
    page.screenshot(path=shots / f"{size}-start.png")
    for word in ("infarction", "hidden", "unsure", "normal"):
        choose(page, f"{word}.png")
        page.wait_for_function("name => document.body.innerText.includes(name)", arg=f"{word}.png")
        page.screenshot(path=shots / f"{size}-{word}.png")
        page.screenshot(path=shots / f"{size}-{word}-whole.png", full_page=True)
    page.get_by_role("button", name="Enlarge the evidence").click()
    page.wait_for_timeout(200)
    page.screenshot(path=shots / f"{size}-evidence.png")
    page.keyboard.press("Escape")
    choose(page, "letter.txt", LETTER)
    page.wait_for_function("() => document.body.innerText.includes('letter.txt')")
    page.screenshot(path=shots / f"{size}-unreadable.png")
    page.context.close()
    assert not errors
