"""The service's answers and refusals, without a socket."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image
from sample_files import ecg_page, saved
from serving import InProcess, bundle
from starlette.testclient import TestClient

from runtime.errors import UsageError
from runtime.serve.answers import Answers
from runtime.serve.app import Service
from runtime.serve.pages import load_files, strings_for
from runtime.serve.pool import NotAnswered, NoWorker
from runtime.serve.settings import Settings, settings_from
from runtime.serve.shield import SECURITY_HEADERS

PAGE = saved(ecg_page(), "JPEG", quality=85)
TOKEN = "a-token-of-many-letters"


@pytest.fixture(scope="module")
def answerer() -> InProcess:
    return InProcess()


def client(answerer: Any, settings: Settings | None = None, **options: Any) -> TestClient:
    service = Service(bundle(), settings or Settings(), answerer, **options)
    base = "http://127.0.0.1:8080"
    return TestClient(service, base_url=base, raise_server_exceptions=False)


@pytest.fixture
def http(answerer: InProcess) -> Iterator[TestClient]:
    with client(answerer) as opened:
        yield opened


def form(content: bytes = PAGE, name: str = "infarction.jpg") -> dict[str, Any]:
    return {"files": {"file": (name, content, "image/jpeg")}}


def test_a_form_and_a_raw_body_get_the_record_of_the_command_line(
    http: TestClient, answerer: InProcess
) -> None:
    pages = list(answerer.classifier.classify_pages(PAGE, name="normal.jpg"))
    expected = pages[0].to_record()
    sent = http.post("/classify", **form(name="normal.jpg"))
    raw = http.post("/classify", content=PAGE, headers={"Content-Type": "image/jpeg"})
    assert (sent.status_code, raw.status_code) == (200, 200)
    for answer, name in ((sent.json(), "normal.jpg"), (raw.json(), "upload")):
        assert answer.keys() == expected.keys()
        for key in expected.keys() - {"timing_ms", "source"}:
            assert answer[key] == expected[key]
        assert answer["source"] == name


def test_explain_adds_the_picture_and_the_leads(http: TestClient) -> None:
    answer = http.post("/classify?explain=1", **form()).json()
    with Image.open(io.BytesIO(base64.b64decode(answer["explanation_png"]))) as picture:
        assert picture.format == "PNG"
        assert picture.width >= 1000
    assert answer["explanation"]["leads"][0]["name"] == "V2"
    assert "explanation_png" not in http.post("/classify?explain=0", **form()).json()


def test_further_pages_follow_in_the_first_pages_record(http: TestClient) -> None:
    sheet = ecg_page(1000)
    tiff = saved(sheet, "TIFF", save_all=True, append_images=[sheet, Image.new("L", (900, 700))])
    answer = http.post("/classify?explain=1", **form(tiff, "normal.tif")).json()
    assert answer["page"] == 1
    assert [page["page"] for page in answer["further_pages"]] == [2, 3]
    assert answer["further_pages"][1]["status"] == "rejected"
    assert all("explanation_png" in page for page in answer["further_pages"])


def test_too_many_pages_are_refused(answerer: InProcess) -> None:
    record = next(iter(answerer.classifier.classify_pages(PAGE))).to_record()

    class Many(InProcess):
        async def answer(self, body: bytes | bytearray, name: str, explain: bool) -> Answers:
            return Answers([record] * 21)

    with client(Many()) as http:
        assert http.post("/classify", **form()).status_code == 413


def test_bytes_that_are_no_page_get_a_record_under_422(http: TestClient) -> None:
    for content in (b"", b"hello", PAGE[:2000], b"%PDF-1.4 broken"):
        response = http.post("/classify", **form(content, "page.jpg"))
        assert response.status_code == 422
        assert response.json()["status"] == "error"
        assert response.json()["reasons"]


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"Content-Type": "text/html"}, b"<p>", 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=b", 415),
        ({"Content-Type": "image/"}, b"x", 415),
        ({"Content-Type": "image/jpeg", "Content-Encoding": "gzip"}, b"x", 415),
        ({"Content-Type": "multipart/form-data"}, b"x", 400),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"no parts", 400),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"--b\r\n\r\nx", 400),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"--b--\r\n", 400),
    ],
)
def test_bodies_of_the_wrong_type_are_refused(
    http: TestClient, headers: dict[str, str], content: bytes, status: int
) -> None:
    response = http.post("/classify", content=content, headers=headers)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"]


def test_a_form_without_the_part_file_is_refused(http: TestClient) -> None:
    response = http.post("/classify", files={"picture": ("a.jpg", PAGE, "image/jpeg")})
    assert response.status_code == 400
    assert "file" in response.json()["detail"]


def test_a_form_of_a_thousand_parts_is_refused(http: TestClient) -> None:
    files = [(f"part{n}", ("x", b"x", "text/plain")) for n in range(1000)]
    assert http.post("/classify", files=files).status_code == 400


def test_an_upload_above_the_limit_is_refused(answerer: InProcess) -> None:
    settings = Settings(max_body_bytes=10_000)
    with client(answerer, settings) as http:
        assert http.post("/classify", content=b"x" * 10_001).status_code == 413
        assert http.post("/classify", content=b"x" * 10_000).status_code == 422


def test_wrong_parameters_paths_and_methods_are_problems(http: TestClient) -> None:
    assert http.post("/classify?explain=maybe", **form()).status_code == 400
    assert http.get("/nothing").status_code == 404
    assert http.get("/static/../app.py").status_code == 404
    assert http.get("/static/%2e%2e%2fapp.py").status_code == 404
    refused = http.get("/classify")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "POST"
    assert refused.json()["status"] == 405


def test_file_names_are_shown_without_folders_and_control_characters(http: TestClient) -> None:
    answer = http.post("/classify", **form(name="C:\\ward\\..\\a\x07b.jpg")).json()
    assert "\x07" not in answer["source"]
    assert "ward" not in answer["source"]


def test_the_token_is_asked_for_and_compared(answerer: InProcess) -> None:
    with client(answerer, Settings(token=TOKEN, remote=True)) as http:
        for path in ("/info", "/metrics", "/nothing"):
            refused = http.get(path)
            assert refused.status_code == 401
            assert "Bearer" in refused.headers["www-authenticate"]
        assert http.post("/classify", **form()).status_code == 401
        for wrong in (f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer"):
            assert http.get("/info", headers={"Authorization": wrong}).status_code == 401
        http.headers["Authorization"] = f"Bearer {TOKEN}"
        assert http.get("/info").status_code == 200
        assert http.post("/classify", **form()).status_code == 200


def test_what_needs_no_token_shows_nothing_of_a_page(answerer: InProcess) -> None:
    with client(answerer, Settings(token=TOKEN, remote=True)) as http:
        for path in ("/", "/healthz", "/readyz", "/openapi.json", "/static/app.js"):
            assert http.get(path).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example"])
def test_a_foreign_host_on_loopback_is_refused(http: TestClient, host: str) -> None:
    assert http.get("/info", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost", "[::1]:8080", "LOCALHOST:8080"])
def test_the_machines_own_names_are_served(http: TestClient, host: str) -> None:
    assert http.get("/info", headers={"Host": host}).status_code == 200


def test_a_page_of_another_site_cannot_make_a_browser_send(http: TestClient) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert http.post("/classify", headers=headers, **form()).status_code == 403
    own = {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}
    assert http.post("/classify", headers=own, **form()).status_code == 200


def test_every_answer_carries_the_security_headers(http: TestClient) -> None:
    responses = [http.get("/"), http.get("/nothing"), http.post("/classify", **form())]
    responses.append(http.get("/static/app.js"))
    for response in responses:
        for name, value in SECURITY_HEADERS.items():
            assert response.headers[name] == value
    assert responses[2].headers["cache-control"] == "no-store"


def test_the_page_loads_nothing_from_outside(http: TestClient) -> None:
    for name, file in load_files().items():
        text = file.content.decode()
        for address in ("http://", "https://", "//cdn", "@import"):
            harmless = text.replace("http://www.w3.org/2000/svg", "")
            assert address not in harmless, name


def test_files_of_the_page_are_cached_by_their_content(http: TestClient) -> None:
    first = http.get("/static/style.css")
    again = http.get("/static/style.css", headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code) == (200, 304)


def test_the_words_follow_the_browsers_language() -> None:
    files = load_files()
    files["strings.de.json"] = replace(files["strings.en.json"], content=b"{}")
    for header, name in (("de-AT,de;q=0.9,en;q=0.8", "de"), ("fr, en;q=0.2, de;q=0.1", "en")):
        assert strings_for(files, header) is files[f"strings.{name}.json"]
    for odd in ("", "*", ";q=", "x" * 5000, "de;q=no"):
        assert strings_for(files, odd) in files.values()


def test_readiness_follows_the_workers(answerer: InProcess) -> None:
    service = Service(bundle(), Settings(), answerer)
    with TestClient(service, base_url="http://localhost") as http:
        assert http.get("/readyz").status_code == 200
        service.stopping = True
        assert http.get("/readyz").status_code == 503
        assert http.get("/healthz").status_code == 200
        assert http.post("/classify", **form()).status_code == 503


def test_a_worker_that_hung_or_died_leaves_a_record(answerer: InProcess) -> None:
    class Hangs(InProcess):
        async def answer(self, body: bytes | bytearray, name: str, explain: bool) -> Answers:
            raise NotAnswered("reading this took longer than 30 s")

    with client(Hangs()) as http:
        response = http.post("/classify", **form())
        assert response.status_code == 422
        assert response.json()["reasons"] == ["reading this took longer than 30 s"]
        assert response.json()["model"] == answerer.model


def test_workers_that_are_all_taken_too_long_are_503() -> None:
    class Taken(InProcess):
        async def answer(self, body: bytes | bytearray, name: str, explain: bool) -> Answers:
            raise NoWorker

    with client(Taken()) as http:
        response = http.post("/classify", **form())
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"


def test_a_proxy_on_the_same_machine_may_pass_its_host_on(answerer: InProcess) -> None:
    proxied = {"Host": "ward.example", "Origin": "https://ward.example"}
    with client(answerer, Settings(token=TOKEN, remote=True)) as http:
        headers = {"Authorization": f"Bearer {TOKEN}", **proxied}
        assert http.post("/classify", headers=headers, **form()).status_code == 200


def test_metrics_count_pages_requests_and_stages(answerer: InProcess) -> None:
    with client(answerer) as http:
        http.post("/classify", **form())
        http.get("/nothing/of/this/sort")
        text = http.get("/metrics").text
    assert 'ecg_edge_pages_total{label="myocardial_infarction",status="ok"} 1.0' in text
    assert 'ecg_edge_flags_total{label="myocardial_infarction"} 1.0' in text
    assert 'code="200",method="POST",route="/classify"} 1.0' in text
    assert 'code="404",method="GET",route="other"} 1.0' in text
    assert 'ecg_edge_stage_seconds_count{stage="total"} 1.0' in text
    assert "infarction.jpg" not in text


def test_no_name_and_no_token_is_logged(
    answerer: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    class Breaks(InProcess):
        async def answer(self, body: bytes | bytearray, name: str, explain: bool) -> Answers:
            raise RuntimeError(f"secret {name}")

    with caplog.at_level(logging.DEBUG), client(Breaks(), Settings(token=TOKEN)) as http:
        http.headers["Authorization"] = f"Bearer {TOKEN}"
        response = http.post("/classify", **form(name="Jane Doe.jpg"))
    assert response.status_code == 500
    assert "Jane" not in response.text
    ours = [record for record in caplog.records if record.name.startswith("ecg_edge")]
    assert ours
    for record in ours:
        assert "Jane" not in record.getMessage()
        assert TOKEN not in record.getMessage()


def test_the_audit_gets_every_record_that_is_given_out(answerer: InProcess) -> None:
    given: list[dict[str, Any]] = []
    with client(answerer, record=given.append) as http:
        answer = http.post("/classify", **form()).json()
        http.post("/classify", content=b"x", headers={"Content-Type": "text/html"})
    assert [record["sha256"] for record in given] == [answer["sha256"]]


def arguments(**changes: Any) -> Any:
    from types import SimpleNamespace

    defaults: dict[str, Any] = dict.fromkeys(
        ("host", "token_file", "certfile", "keyfile", "audit_log", "workers")
    )
    defaults |= {"port": 8080, "engine": "auto", "threads": 1, "waiting": 1, "max_body_mb": 32}
    return SimpleNamespace(**defaults | {"timeout": 30, "allow_remote": False} | changes)


def test_only_loopback_is_served_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECG_EDGE_TOKEN", raising=False)
    assert settings_from(arguments()).host == "127.0.0.1"
    assert settings_from(arguments(host="::1")).host == "::1"
    for host in ("0.0.0.0", "192.168.1.5", "::", "ward.example"):
        with pytest.raises(UsageError, match="allow-remote"):
            settings_from(arguments(host=host))


def test_remote_needs_a_token_of_some_length(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.delenv("ECG_EDGE_TOKEN", raising=False)
    with pytest.raises(UsageError, match="needs a token"):
        settings_from(arguments(allow_remote=True))
    monkeypatch.setenv("ECG_EDGE_TOKEN", "short")
    with pytest.raises(UsageError, match="16"):
        settings_from(arguments(allow_remote=True))
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    settings = settings_from(arguments(allow_remote=True, token_file=str(file)))
    assert (settings.token, settings.host) == (TOKEN, "0.0.0.0")
    with pytest.raises(UsageError, match="cannot be read"):
        settings_from(arguments(token_file=str(tmp_path / "none")))
    with pytest.raises(UsageError, match="certfile"):
        settings_from(arguments(keyfile=str(file), token_file=str(file)))
