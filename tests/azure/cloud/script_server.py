"""A small inference server for scoring scripts: `init()` once, `run(text)` for each POST. Standard library only."""

import importlib.util
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def main(script: str) -> None:
    """Load the script, call its init, serve on SCRIPT_SERVER_PORT."""
    spec = importlib.util.spec_from_file_location("scoring_script", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.init()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._say(200, b"Healthy", "text/plain")

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            try:
                said = module.run(text)
                body = said if isinstance(said, str) else json.dumps(said)
                self._say(200, body.encode(), "application/json")
            except Exception as e:
                print(f"run failed: {type(e).__name__}: {e}", file=sys.stderr, flush=True)  # noqa: T201 - the container's log
                self._say(500, str(e).encode(), "text/plain")

        def _say(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SCRIPT_SERVER_PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
