"""An endpoint's port stays its own, until nothing is deployed and another program has it."""

from __future__ import annotations

import socket
from pathlib import Path

from esml_engine.estate import Estate
from esml_engine.processes import ProcessTable
from esml_engine.serving import records


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
