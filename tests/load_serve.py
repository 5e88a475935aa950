"""Loads a running service from many connections and reports errors, times and memory.

Run by hand: ``python tests/load_serve.py http://127.0.0.1:8080 PAGE --seconds 60``. First one
connection a place of the service, which is never refused, gives the unloaded times; then many
more connections than places give the loaded ones. A client that is refused waits as
``Retry-After`` says, or not at all with ``--impolite``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter


@dataclass
class Counts:
    """What came back."""

    milliseconds: list[float] = field(default_factory=list)
    codes: dict[int, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)

    def percentile(self, share: float) -> float:
        ordered = sorted(self.milliseconds) or [float("nan")]
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def report(self) -> dict[str, object]:
        return {
            "answers": len(self.milliseconds),
            "codes": dict(sorted(self.codes.items())),
            "faults": self.faults,
            "p50_ms": round(self.percentile(0.5), 1),
            "p99_ms": round(self.percentile(0.99), 1),
            "max_ms": round(self.percentile(1.0), 1),
        }


class Client:
    """One connection that is kept, in plain asyncio so that the load itself stays light."""

    def __init__(self, host: str, port: int, request: bytes, impolite: bool) -> None:
        self._where = (host, port)
        self._request = request
        self._impolite = impolite
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, until: float, counts: Counts) -> None:
        while perf_counter() < until:
            begun = perf_counter()
            try:
                code, wait, close = await asyncio.wait_for(self._exchange(), 60)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as fault:
                name = type(fault).__name__
                counts.faults[name] = counts.faults.get(name, 0) + 1
                self._hang_up()
                continue
            counts.codes[code] = counts.codes.get(code, 0) + 1
            if close:
                self._hang_up()
            if code == 200:
                counts.milliseconds.append((perf_counter() - begun) * 1e3)
            elif code == 429 and not self._impolite:
                await asyncio.sleep(wait)
        self._hang_up()

    async def _exchange(self) -> tuple[int, float, bool]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._where)
        reader, writer = self._streams
        writer.write(self._request)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:])
        }
        await reader.readexactly(int(fields.get("content-length", "0")))
        wait = float(fields.get("retry-after", "0"))
        return int(head[0].split()[1]), wait, fields.get("connection") == "close"

    def _hang_up(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def memory_kb(pid: int) -> int:
    """Return the resident memory of a process and its children."""
    total = 0
    family = [pid]
    for one in family:
        children = Path(f"/proc/{one}/task/{one}/children")
        family += [int(word) for word in children.read_text().split()] if children.exists() else []
        for line in Path(f"/proc/{one}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total


async def load(args: argparse.Namespace, connections: int, seconds: float) -> Counts:
    page = Path(args.page).read_bytes()
    host, port = args.address.split("//")[1].rstrip("/").split(":")
    head = (
        f"POST {args.path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(page)}\r\n\r\n"
    )
    counts = Counts()
    until = perf_counter() + seconds
    clients = [
        Client(host, int(port), head.encode() + page, args.impolite) for _ in range(connections)
    ]
    await asyncio.gather(*(client.run(until, counts) for client in clients))
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("page")
    parser.add_argument("--path", default="/classify")
    parser.add_argument("--places", type=int, default=2, help="workers and waiting together")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--impolite", action="store_true", help="come again at once after 429")
    parser.add_argument("--pid", type=int, help="of the service, to report its memory")
    args = parser.parse_args()
    memory = {"start_kb": memory_kb(args.pid)} if args.pid else {}
    asyncio.run(load(args, args.places, 3))
    calm = asyncio.run(load(args, args.places, min(20.0, args.seconds)))
    if args.pid:
        memory["unloaded_kb"] = memory_kb(args.pid)
    loaded = asyncio.run(load(args, args.connections, args.seconds / 2))
    if args.pid:
        memory["half_way_kb"] = memory_kb(args.pid)
    again = asyncio.run(load(args, args.connections, args.seconds / 2))
    if args.pid:
        memory["end_kb"] = memory_kb(args.pid)
    for code, number in again.codes.items():
        loaded.codes[code] = loaded.codes.get(code, 0) + number
    for name, number in again.faults.items():
        loaded.faults[name] = loaded.faults.get(name, 0) + number
    loaded.milliseconds += again.milliseconds
    ratio = loaded.percentile(0.99) / calm.percentile(0.99)
    result = {"unloaded": calm.report(), "loaded": loaded.report(), "p99_ratio": round(ratio, 2)}
    print(json.dumps(result | {"memory": memory}, indent=2))
    failed = bool(loaded.faults) or set(loaded.codes) - {200, 429} or ratio > 3
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
