"""The long-lived worker's process: `python -m esml_engine.work ESTATE`. Ends with the process that started it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from esml_engine.door.site import Site
from esml_engine.platforms.base import keep_quiet
from esml_engine.worker import Worker


def main() -> int:
    """Hold the lease until told to end; 1 when another worker holds it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    keep_quiet()
    parent = int(os.environ.get("ESML_PARENT", "0"))
    worker = Worker(Site(Path(sys.argv[1]), lenient=True), "up", warm=True)
    told = threading.Event()
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, lambda *_: told.set())
    while not worker.start():
        if told.wait(0.5):
            return 0
    if os.environ.get("ESML_DEMO"):
        from esml_engine.demo import drive

        threading.Thread(target=drive, args=(worker.site.root,), name="demo", daemon=True).start()
    while not told.wait(0.5) and not worker.stopping.is_set():
        if parent and os.getppid() != parent:
            break
    worker.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
