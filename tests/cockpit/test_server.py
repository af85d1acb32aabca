"""The server's own routes: health, metrics, streaming exports; and what an uncaught error shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from cockpit import places, server
from cockpit.frame import opening
from cockpit.frame.addressing import Several, instead
from esml_engine.estate import Estate
from tests.cockpit.conftest import MODEL


@pytest.fixture
def client(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv(opening.ENVIRONMENT, str(estate.site.root))
    return TestClient(
        Starlette(routes=server.routes(), exception_handlers={Exception: server.told}),
        raise_server_exceptions=False,
    )


def test_health(client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    monkeypatch.setenv(opening.ENVIRONMENT, str(tmp_path / "none"))
    answer = client.get("/healthz")
    assert answer.status_code == 503 and answer.json()["reason"] and str(tmp_path) not in answer.text


def test_health_and_figures_do_not_hang_on_a_settings_file(client: TestClient, estate: Estate) -> None:
    path = next((estate.site.root / "projects").glob("*/*/model.toml"))
    good = path.read_text()
    path.write_text("task = = 1\n")
    try:
        assert client.get("/healthz").status_code == 200
        assert "esml_runs" in client.get("/metrics").text
    finally:
        path.write_text(good)


def test_metrics(client: TestClient, estate: Estate) -> None:
    text = client.get("/metrics").text
    done = sum(r["state"] == "done" for r in estate.runs(limit=1000))
    assert (
        f'esml_runs{{state="done"}} {done}' in text
        and "esml_worker_alive 0" in text
        and "esml_open_runs" in text
    )


def test_export_streams_the_whole_result_or_answers_with_an_error(client: TestClient) -> None:
    answer = client.get(f"/api/v1/scored/{MODEL}.csv?env=dev&caller=web&from=2026-01-01&where=prediction > 1")
    assert answer.status_code in (200, 400), answer.text
    answer = client.get(f"/api/v1/scored/{MODEL}.parquet?env=dev")
    assert answer.status_code == 200 and answer.content[:4] == b"PAR1"
    assert client.get("/api/v1/scored/project001/m09_gone.csv").status_code == 404
    for other in (
        MODEL,
        "project001/m09_gone",
        "nope/m99",
    ):  # to a stranger there is nothing, also not its absence
        said = client.get(f"/api/v1/scored/{other}.csv?as=ghost@small")
        assert said.status_code == 403 and MODEL not in said.text
    lost = client.get("/api/v1/nothing/here")
    assert lost.status_code == 404 and lost.json()["error"]["code"] == "not_found"
    assert client.get(f"/api/v1/scored/{MODEL}.csv?env=nowhere").status_code in (400, 404)
    answer = client.get(f"/api/v1/scored/{MODEL}.csv?version=first")
    assert answer.status_code == 400 and answer.json()["error"]["hint"]


def test_an_uncaught_error_is_a_sentence_with_its_id(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> str:
        raise RuntimeError("secret at /some/path")

    monkeypatch.setattr(server, "_metrics", fail)
    answer = client.get("/metrics")
    assert answer.status_code == 500 and "secret" not in answer.text
    assert answer.json()["error"]["id"] in caplog.text and "secret at" in caplog.text


def test_pages_and_theme_are_found() -> None:
    assert (places.home() / ".streamlit" / "config.toml").is_file()
    assert all(
        places.page(n).is_file() for n in ("work", "promotion", "estate", "lake", "model", "runs", "run")
    )
    assert all(
        len(p.read_text(encoding="utf-8").splitlines()) <= 150 for p in (places.home() / "pages").glob("*.py")
    )


@pytest.mark.parametrize(
    ("asked", "to"),
    [
        ("/a/b", "/unknown?address=a/b"),
        ("/lake/more/", "/unknown?address=lake/more"),
        ("/a/b/c%20d?as=anna%40x&x=1", "/unknown?address=a/b/c%20d&as=anna%40x&x=1"),
        ("/nonsense", ""),
        ("/", ""),
        ("/healthz", ""),
        ("/api/v1/scored/p/m.csv?env=dev", ""),
        ("/_stcore/health", ""),
        ("/unknown/_stcore/host-config", ""),
        ("/static/js/index.js", ""),
    ],
)
def test_a_path_of_several_parts_leads_to_the_page_that_says_so(asked: str, to: str) -> None:
    app = Starlette(routes=[Route("/{rest:path}", lambda _: PlainTextResponse("streamlit"))],
        middleware=[Middleware(Several)])  # fmt: skip
    answer = TestClient(app, follow_redirects=False).get(asked)
    assert (answer.status_code, answer.headers.get("location", "")) == ((302, to) if to else (200, ""))


def test_it_knows_under_which_path_the_cockpit_is_served() -> None:
    assert instead("/cockpit/a/b", "", "cockpit") == "/cockpit/unknown?address=a/b"
    assert instead("/cockpit/work", "", "/cockpit/") == "" and instead("/cockpit/", "", "cockpit") == ""
    assert instead("/elsewhere/a/b", "", "cockpit") == ""
