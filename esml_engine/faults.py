"""Kill points for the tests of the protocols: a process told to dies there by SIGKILL, once. Without the variable: nothing.

`ESML_KILL_AT=<point>` names the point, `ESML_KILL_ONCE=<file>` remembers that it was done.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path


def point(name: str) -> None:
    """A place between two steps of a protocol."""
    if os.environ.get("ESML_KILL_AT") != name:
        return
    once = Path(os.environ["ESML_KILL_ONCE"])
    try:
        once.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
