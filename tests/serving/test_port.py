"""An endpoint's port stays its own, until nothing is deployed and another program has it."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from esml_engine.errors import PlatformError
from esml_engine.estate import Estate
from esml_engine.processes import ProcessTable
from esml_engine.serving import records
from tests.working import until, worker


def test_a_port_that_another_program_took_is_left_to_it_after_undeploying(empty: Estate) -> None:
    site = empty.site
    with socket.socket() as other, site.store.write() as c:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        ports = site.settings.estate.serving.ports
        row = {"endpoint": "p1-m1-dev", "port": taken, "slots": {}}
        assert records.port_of(c, None, ports, site.state) != taken
        assert records.port_of(c, {**row, "slots": {"blue": {}}}, ports, site.state) == taken, (
            "callers know it"
        )
        assert records.port_of(c, row, ports, site.state) != taken
        import os

        ProcessTable(site.state).add("endpoint", "p1-m1-dev", os.getpid())
        assert records.port_of(c, row, ports, site.state) == taken, "it is only ending"
    with site.store.write() as c:
        assert records.port_of(c, row, ports, Path("/nowhere")) == taken, "free again"


def test_who_scores_hears_that_another_program_has_the_port_and_what_to_do(trained_small: Estate) -> None:
    model, store = trained_small.model("p1/m1"), trained_small.site.store
    model.deploy()
    port = records.require(store, model.ref, "dev")["port"]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(PlatformError, match=f"did not come up: another program has port {port}") as e:
            model.score([{"x": 3}], caller="me")
        assert "esml undeploy" in e.value.hint
        model.undeploy()
        model.deploy()
        assert records.require(store, model.ref, "dev")["port"] != port
        assert model.score([{"x": 3}], caller="me")["model_version"] == 1


def test_a_first_deployment_whose_port_was_taken_meanwhile_takes_another(
    trained_small: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port is taken between its choice and the process that was to listen there; nobody has its address yet."""
    model, store = trained_small.model("p1/m1"), trained_small.site.store
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setattr(records, "port_of", lambda *_: taken)
        said = model.deploy()
        port = records.require(store, model.ref, "dev")["port"]
        assert port != taken and f":{port}/score" in said["url"]
        assert model.score([{"x": 3}], caller="me")["model_version"] == 1


def test_a_first_deployment_whose_port_a_thief_takes_beside_a_worker_moves_once(
    trained_small: Estate,
) -> None:
    """The worker, its endpoint and who asked are processes of their own, and see another port at another moment."""
    model, store = trained_small.model("p1/m1"), trained_small.site.store
    stolen: list[int] = []
    with socket.socket() as other, worker(trained_small.site.root):

        def steal() -> None:
            row = until(lambda: records.get(store, model.ref, "dev"), "the deployment")
            other.bind(("127.0.0.1", row["port"]))
            other.listen()
            stolen.append(row["port"])

        thief = threading.Thread(target=steal)
        thief.start()
        said = model.deploy()
        thief.join()
        row = records.require(store, model.ref, "dev")
        assert [row["port"]] != stolen and f":{row['port']}/score" in said["url"]
        assert row["port"] - stolen[0] == 1, "the next one, and no further"
        assert model.score([{"x": 3}], caller="me")["model_version"] == 1
