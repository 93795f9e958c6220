"""A metrics publisher: this machine's load and memory, and the latest values at once for newcomers.

    python metrics.py publish tcp://127.0.0.1:5556
    python metrics.py watch tcp://127.0.0.1:5556 load
    python metrics.py watch tcp://127.0.0.1:5556 memory --count 1

A message is a name and a value. An XPUB is told of each subscription, so a new subscriber need not
wait for the next round. XPUB_VERBOSE: for every one of them, not for the first alone.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import time
from pathlib import Path

import zmq_monocoque as zmq


def measure() -> dict[bytes, bytes]:
    """Name to value, from /proc."""
    load = Path("/proc/loadavg").read_text().split()
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return {
        b"load.1min": load[0].encode(),
        b"load.5min": load[1].encode(),
        b"memory.free_kb": memory["MemFree"].split()[0].encode(),
        b"memory.available_kb": memory["MemAvailable"].split()[0].encode(),
    }


def publish(endpoint: str, interval: float) -> None:
    """Publishes every ``interval`` seconds, and what a newcomer asks for at once."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as xpub:
        xpub.xpub_verbose = True
        xpub.bind(endpoint)
        print(xpub.LAST_ENDPOINT.decode(), flush=True)
        latest: dict[bytes, bytes] = {}
        due = time.monotonic()
        while True:
            if time.monotonic() >= due:
                latest = measure()
                due = time.monotonic() + interval
                send(xpub, latest, b"")
            if xpub.poll(max(0, int((due - time.monotonic()) * 1000))):
                note = xpub.recv()
                if note[:1] == b"\1":  # a subscription; \0 is the end of one
                    send(xpub, latest, note[1:])


def send(xpub: zmq.Socket, values: dict[bytes, bytes], prefix: bytes) -> None:
    for name, value in values.items():
        if name.startswith(prefix):
            xpub.send_multipart([name, value])


def watch(endpoint: str, prefix: str, count: int | None) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as sub:
        sub.subscribe(prefix)
        sub.connect(endpoint)
        while count is None or count > 0:
            name, value = sub.recv_multipart()
            print(name.decode(), value.decode(), flush=True)
            count = count and count - 1


def main() -> None:
    parser = argparse.ArgumentParser(description="publishes and shows metrics")
    parser.add_argument("role", choices=["publish", "watch"])
    parser.add_argument("endpoint", nargs="?", default="tcp://127.0.0.1:5556")
    parser.add_argument("prefix", nargs="?", default="", help="of the names to watch")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two rounds")
    parser.add_argument("--count", type=int, help="end after so many values")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        if arguments.role == "publish":
            publish(arguments.endpoint, arguments.interval)
        else:
            watch(arguments.endpoint, arguments.prefix, arguments.count)


if __name__ == "__main__":
    main()
