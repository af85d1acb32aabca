"""The contract of a platform: secrets and endpoints. Real processes; nothing is simulated."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import stat
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

from esml_engine.errors import PlatformError, UsageError
from esml_engine.platforms.base import Platform
from esml_engine.processes import port_free
from tests.platforms.kit import free_port, until
from tests.working import living

# secrets


def test_secrets(platform: Platform) -> None:
    assert platform.get_secret("none") is None
    for value in ("s3cret-ü", "another", ""):
        platform.put_secret("endpoint-p-m-dev", value)
        assert platform.get_secret("endpoint-p-m-dev") == value
    for name in ("../up", "a/b", "", ".key", "a\n"):
        with pytest.raises(UsageError):
            platform.put_secret(name, "x")
        with pytest.raises(UsageError):
            platform.get_secret(name)


def test_secrets_are_listed_by_name_alone(platform: Platform) -> None:
    before = set(platform.secret_names())  # a vault may hold others' as well
    mine = {f"endpoint-p_m-{uuid.uuid4().hex[:8]}", f"another-{uuid.uuid4().hex[:8]}"}
    for name in mine:
        platform.put_secret(name, "the value itself")
    found = platform.secret_names()
    assert set(found) - before == mine and found == sorted(found)


def test_secrets_on_disk(platform: Platform) -> None:
    if platform.kind != "local":
        pytest.skip("only the local platform keeps secrets in files")
    platform.put_secret("k", "in-clear-text")
    folder = Path(platform.lake_root()).parents[1] / ".esml/secrets/dev"
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert {p.name for p in files} == {"k", ".key"}
    for p in files:
        assert stat.S_IMODE(p.stat().st_mode) == 0o600 and b"in-clear-text" not in p.read_bytes()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    content = (folder / "k").read_bytes()
    for bad in (content[:-4] + b"AAAA", b"", b"\xff\xfe"):
        (folder / "k").write_bytes(bad)
        with pytest.raises(PlatformError):
            platform.get_secret("k")
    (folder / "k").write_bytes(content)
    (folder / ".key").write_bytes(b"no key")
    with pytest.raises(PlatformError):
        platform.get_secret("k")
    with pytest.raises(PlatformError):
        platform.put_secret("k2", "x")


# endpoints


def test_an_endpoint_becomes_what_is_wanted_and_ends(platform: Platform, tmp_path: Path) -> None:
    platform.put_secret("endpoint-e3", "key-of-e3")
    control: dict[str, Any] = {"revision": 1, "live": "", "slots": {}, "traffic": {}, "save": True,
        "key_sha256": [hashlib.sha256(b"key-of-e3").hexdigest()]}  # fmt: skip
    config = {
        "server": {"endpoint": "e3", "port": free_port(), "ledger": str(tmp_path / "ledger.db")},
        "control": control,
        "secret": "endpoint-e3",
    }
    assert not platform.endpoint_state("e3").running
    for revision in (1, 2):
        wanted = {**config, "control": {**control, "revision": revision}}

        def there(wanted: dict[str, Any] = wanted, revision: int = revision) -> bool:
            platform.apply_endpoint("e3", wanted)
            state = platform.endpoint_state("e3")
            assert not state.stuck, state.stuck
            return state.running and state.revision == revision

        until(there, f"revision {revision}")
    assert platform.endpoint_url("e3", config["server"]["port"]).endswith("/score")

    def gone() -> bool:
        platform.stop_endpoint("e3")  # said again and again, as its keeper does
        return not platform.endpoint_state("e3").running

    until(gone, "its end")


def test_an_endpoint_comes_back_after_a_crash(platform: Platform, tmp_path: Path) -> None:
    if platform.kind != "local":
        pytest.skip("Azure restarts containers by itself")
    port = free_port()
    control = {"revision": 3, "live": "", "slots": {}, "traffic": {}, "save": True, "key_sha256": []}
    config = {
        "server": {"endpoint": "e1", "port": port, "ledger": str(tmp_path / "ledger.db")},
        "control": control,
    }
    assert not platform.endpoint_state("e1").running
    platform.stop_endpoint("e1")  # never started: harmless

    def up() -> bool:
        platform.apply_endpoint("e1", config)
        return platform.endpoint_state("e1").running

    until(up, "the endpoint")
    assert platform.endpoint_state("e1").revision == 3
    platform.apply_endpoint("e1", {**config, "control": {**control, "revision": 4}})
    until(lambda: platform.endpoint_state("e1").revision == 4, "the new revision")
    url = platform.endpoint_url("e1", port)
    assert url.endswith("/score")
    config = {**config, "control": {**control, "revision": 4}}
    [pid] = [
        c.laddr and c.pid
        for c in psutil.net_connections("tcp")
        if c.status == "LISTEN" and c.laddr.port == port
    ]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not living(pid), "its end")
    until(lambda: not platform.endpoint_state("e1").running, "the platform knows it")
    until(up, "the endpoint again")
    with urllib.request.urlopen(url.replace("/score", "/metrics")) as r:
        assert r.status == 200
    platform.stop_endpoint("e1")
    assert not platform.endpoint_state("e1").running
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))  # nobody listens there any more


@pytest.mark.parametrize("port_taken,starts", [(True, range(1)), (False, range(1, 7))])
def test_an_endpoint_that_cannot_start_is_tried_with_back_off(
    platform: Platform, tmp_path: Path, port_taken: bool, starts: range
) -> None:
    """A wrong configuration ends the process each time; a port that another program has needs no process to know."""
    if platform.kind != "local":
        pytest.skip("Azure starts containers by itself; how often the engine asks is tested in tests/azure")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        if port_taken:
            taken.listen()
        else:
            taken.close()
        config = {
            "server": {
                "endpoint": "e2",
                "port": port,
                "ledger": str(tmp_path / "ledger.db"),
                "no such key": 1,
            },
            "control": {
                "revision": 1,
                "live": "",
                "slots": {},
                "traffic": {},
                "save": True,
                "key_sha256": [],
            },
        }
        pids: set[int] = set()
        end = time.monotonic() + 12
        while time.monotonic() < end:
            platform.apply_endpoint("e2", config)
            table = Path(platform.lake_root()).parents[1] / ".esml/processes.json"
            rows = json.loads(table.read_text()) if table.exists() else []
            pids |= {r["pid"] for r in rows if r["name"] == "e2"}
            time.sleep(0.02)
        assert len(pids) in starts, f"{len(pids)} starts in 12 s"
        said = platform.endpoint_state("e2")
        assert (
            said.error.startswith(f"another program has port {port}: end it, or esml undeploy") is port_taken
        )
        assert (said.stuck, said.stuck_at) == (
            (f"another program has port {port}", 1) if port_taken else ("", -1)
        )
        platform.stop_endpoint("e2")
        assert not platform.endpoint_state("e2").stuck, "nobody wants it any more"


def test_another_program_on_the_port_is_said_whatever_it_answers(platform: Platform, tmp_path: Path) -> None:
    """A web server that knows no such page, one that answers something else, one that talks nonsense."""
    if platform.kind != "local":
        pytest.skip("Azure's endpoints have no ports")
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    answers = [(404, b"<html>not here</html>"), (200, b"[1]"), (200, b"hello"), (500, b"")]

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers[0]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        folder = Path(platform.lake_root()).parents[1] / ".esml/endpoints/e3"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"port": server.server_port}))
        while answers:
            state = platform.endpoint_state("e3")
            assert not state.running and "another program answers on port" in state.error, answers[0]
            answers.pop(0)
        server.shutdown()


def test_an_endpoint_that_is_moved_listens_on_its_new_port_alone(platform: Platform, tmp_path: Path) -> None:
    if platform.kind != "local":
        pytest.skip("Azure's endpoints have no ports")

    def config(port: int, revision: int) -> dict[str, Any]:
        server = {"endpoint": "e4", "port": port, "ledger": str(tmp_path / "ledger.db")}
        rest = {"live": "", "slots": {}, "traffic": {}, "save": True, "key_sha256": []}
        return {"server": server, "control": {"revision": revision, **rest}}

    ports = []
    for _ in range(2):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            ports.append(s.getsockname()[1])

    def up(revision: int) -> bool:
        state = platform.endpoint_state("e4")
        return state.running and state.revision == revision

    for revision, port in enumerate(ports, 1):
        platform.apply_endpoint("e4", config(port, revision))
        until(lambda r=revision: up(r), "the endpoint")  # type: ignore[misc]
        assert [port_free(p) for p in ports] == [p != port for p in ports]
    platform.stop_endpoint("e4")
