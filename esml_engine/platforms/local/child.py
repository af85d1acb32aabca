"""A job's process on this machine: ends with its worker, writes its log, then runs the one job entry point."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

from esml_engine.processes import TOKENS


def main(spec_path: str) -> None:
    """A warm child's body: it leads a process group, ends when the worker does, and logs into its own folder."""
    import multiprocessing as mp

    for token in TOKENS:  # of the server of warm children, which may have begun after this process had it
        os.environ.pop(token, None)
    os.setsid()
    parent = mp.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.join,), daemon=True).start()
    log = os.open(Path(spec_path).parent / "log.txt", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    _run(spec_path)


def _end_with(join: object) -> None:
    join()  # type: ignore[operator]
    os._exit(3)


def _run(spec_path: str) -> None:
    # by name: the job entry point is a root above the platforms
    code = importlib.import_module("esml_engine.job").run_spec(Path(spec_path))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the worker reads files only: no need to wait for libraries' threads


def _follow_parent(parent: int) -> None:
    """Linux: the kernel's parent-death signal; everywhere: a watch on who the parent is."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(3)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    _follow_parent(int(sys.argv[2]))
    _run(sys.argv[1])
