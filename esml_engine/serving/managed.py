"""The endpoint process in a container of a managed endpoint: `python -m esml_engine.serving.managed`.

`ESML_SCORING` is the address of a document in the lake that says which model to serve. Its folder is copied here and its
hash checked; keys and traffic are looked after in front of this process; answered requests go into the lake
(`esml_engine.scored.answered`), since this disk may vanish.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from esml_engine.errors import EsmlError, SettingsError
from esml_engine.platforms.base import open_files
from esml_engine.serving.facts import Config, Control, Slot
from esml_engine.serving.server import main as serve

ADDRESS, PORT, HOST = "ESML_SCORING", "ESML_SCORING_PORT", "ESML_SCORING_HOST"


def configure(address: str, scratch: Path, port: int, host: str) -> Path:
    """Fetch the document and the model; returns the path of the endpoint's configuration.

    Raises:
        SettingsError: there is no document at the address.
    """
    files = open_files(address, scratch)
    text = files.read_file(address)
    if text is None:
        raise SettingsError(f"there is no document at {address}", hint="deploy again: esml deploy")
    said = json.loads(text)
    slot = Slot(files.here(said["folder"]), said["sha256"], int(said["model_version"]), said["deployment"])
    control = Control(1, said["slot"], {said["slot"]: slot}, {said["slot"]: 100}, bool(said["save"]))
    control.write(scratch / "control.json")
    config = Config(
        said["endpoint"], str(scratch / "ledger.db"), str(scratch / "control.json"), port, host, instance=address,
        answered=f"{said['lake']}/endpoints/{said['endpoint']}/answered", smoke_sha256=said["smoke_sha256"],
    )  # fmt: skip
    config.write(scratch / "config.json")
    return scratch / "config.json"


def main() -> int:
    """Serve until told to end."""
    address = os.environ.get(ADDRESS, "")
    with tempfile.TemporaryDirectory(prefix="esml-scoring-") as scratch:
        try:
            if not address:
                raise SettingsError(f"{ADDRESS} is not set", hint="it names the document of a deployment")
            port, host = int(os.environ.get(PORT, "5001")), os.environ.get(HOST, "0.0.0.0")
            path = configure(address, Path(scratch), port, host)
        except EsmlError as e:
            print(f"{e.message}: {e.hint}", file=sys.stderr)  # noqa: T201 - the container's log
            return 1
        serve(str(path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
