"""A lean HTTP load of many clients, in a process of its own.

`python benchmarks/http_load.py PORT PATH CLIENTS CALLS` (key in the environment) prints the seconds that the calls took.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

COLUMNS = [f"f{n}" for n in range(10)]


async def _client(port: int, path: str, calls: int, first: int, key: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for n in range(calls):
        row = [(first + n) % 97 + c / 10 for c in range(len(COLUMNS))]
        body = json.dumps({"input_data": {"columns": COLUMNS, "data": [row]}}).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\nx-caller-id: bench\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
    writer.close()


async def _load(port: int, path: str, clients: int, calls: int) -> float:
    key = os.environ.get("BENCH_KEY", "")
    started = time.perf_counter()
    each = calls // clients
    await asyncio.gather(*(_client(port, path, each, n * each, key) for n in range(clients)))
    return time.perf_counter() - started


if __name__ == "__main__":
    print(asyncio.run(_load(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
