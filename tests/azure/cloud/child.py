"""Start a program that ends with its starter, however that ends: `child.py STARTER-PID [--log FILE] -- program arguments`.

Standard library only: it is run by its path, before anything else is imported.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time


def main() -> int:
    """Run the program in a session of its own, watch the starter, return the program's exit code."""
    starter, rest = int(sys.argv[1]), sys.argv[sys.argv.index("--") + 1 :]
    process = subprocess.Popen(rest, start_new_session=True)

    def end(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)

    def watch() -> None:
        while os.getppid() == starter:
            time.sleep(0.3)
        end()

    threading.Thread(target=watch, daemon=True).start()
    code = process.wait()
    end()  # what it left behind in its session
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
