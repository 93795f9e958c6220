"""What a message costs against the number of peers, its size and its parts, drawn as a picture.

    python tests/bench/curves.py [--quick] [--json FILE] [--svg FILE] [--redraw FILE] [CURVE ...]

The peers of the ROUTER and of the PUB are plain TCP connections in another process (``raw_peers``
here), the same for both engines, so that the cost of the side with many peers is told apart: time
and processor time of its process, for a message that arrived there or left. Sizes and parts are
PUSH to PULL between two processes, as in ``python -m zmq_monocoque bench``. Engines take turns;
each point is the median of the runs.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from zmq_monocoque._cli import bench, machine
from zmq_monocoque._cli.demo import Stop

ENGINES = (("zmq_monocoque", "zmq_monocoque"), ("pyzmq", "zmq"))
ROUTER_PEERS = (10, 50, 200, 1000, 2500, 5000)
PUB_PEERS = (1, 10, 100, 300, 1000)
SIZES = (16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)
PARTS = (1, 2, 5, 10, 20)
BODY = 64
TIMEOUT = 120

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + bytes(32)
FRAME = bytes([0, BODY]) + bytes(BODY)
END = bytes([0, 0])


def ready(kind: bytes) -> bytes:
    """READY with a Socket-Type (RFC 23)."""
    body = b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    return bytes([4, len(body)]) + body


def receive(sock: socket.socket, size: int) -> None:
    while size:
        size -= len(sock.recv(min(size, 1 << 20)) or exit("the engine closed a connection"))


def connect(port: int, kind: bytes, count: int) -> list[socket.socket]:
    """Connections whose handshake is over. The engine's READY is read by its size."""
    peers = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(GREETING + ready(kind))
        peers.append(sock)
    for sock in peers:
        receive(sock, 64)
        head = sock.recv(2, socket.MSG_WAITALL)
        receive(sock, head[1])
    return peers


# --- the two processes ------------------------------------------------------------------------


def raw_dealers(port: int, count: int, seconds: float) -> None:
    """Every one has one message on its way; the next go out when all are back."""
    peers = connect(port, b"DEALER", count)

    def round_trip() -> None:
        for sock in peers:
            sock.sendall(FRAME)
        for sock in peers:
            receive(sock, len(FRAME))

    round_trip()
    end = time.perf_counter() + seconds
    round_trip()
    while time.perf_counter() < end:
        round_trip()
    peers[0].sendall(END)


def raw_subscribers(port: int, count: int, seconds: float) -> None:
    """They read until the publisher closes."""
    peers = connect(port, b"SUB", count)
    with selectors.DefaultSelector() as selector:
        for sock in peers:
            sock.sendall(bytes([0, 1, 1]))
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ)
        buffer = bytearray(1 << 18)
        while selector.get_map():
            for key, _ in selector.select(TIMEOUT):
                try:
                    got = key.fileobj.recv_into(buffer)
                except ConnectionError:
                    got = 0
                if not got:
                    selector.unregister(key.fileobj)


def router(zmq: Any, peers: int, seconds: float) -> dict[str, float]:
    context = zmq.Context()
    context.max_sockets = 8192
    sock = context.socket(zmq.ROUTER)
    sock.sndhwm = sock.rcvhwm = 10_000
    sock.backlog = 8192
    sock.bind("tcp://127.0.0.1:*")
    yield_port(sock)
    receive, send = sock.recv_multipart, sock.send_multipart
    for _ in range(peers):  # the first round is not counted
        send(receive())
    cpu, began, count = time.process_time(), time.perf_counter(), 0
    while True:
        message = receive()
        if not message[1]:
            break
        send(message)
        count += 1
    found = {"time": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    context.destroy(linger=0)
    return {name: value / count for name, value in found.items()}


def publisher(zmq: Any, peers: int, seconds: float) -> dict[str, float]:
    """A message to all is `peers` messages."""
    context = zmq.Context()
    sock = context.socket(zmq.XPUB)
    sock.sndhwm = 1000
    sock.backlog = 8192
    sock.setsockopt(zmq.XPUB_NODROP, 1)
    sock.setsockopt(zmq.XPUB_VERBOSE, 1)
    sock.bind("tcp://127.0.0.1:*")
    yield_port(sock)
    for _ in range(peers):
        sock.recv()
    send, body = sock.send, bytes(BODY)
    cpu, began, count = time.process_time(), time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for _ in range(16):
            send(body)
        count += 16
    sock.close(TIMEOUT * 1000)
    context.term()
    found = {"time": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    return {name: value / count / peers for name, value in found.items()}


def yield_port(sock: Any) -> None:
    print(sock.LAST_ENDPOINT.decode().rstrip("\0").rpartition(":")[2], flush=True)


SIDES = {"ROUTER": (router, raw_dealers), "PUB": (publisher, raw_subscribers)}


def many_peers(kind: str, module: str, peers: int, seconds: float) -> dict[str, float]:
    """Seconds a message, of time and of processor time, on the engine's side."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: object) -> subprocess.Popen:
            process = subprocess.Popen(
                [sys.executable, __file__, "--side", kind, *map(str, arguments)],
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        engine = start(module, peers, seconds)
        assert engine.stdout
        port = engine.stdout.readline().strip()
        other = start("raw", peers, seconds, port)
        other.wait(TIMEOUT + seconds)
        return json.loads(engine.stdout.readline())


def one_side(kind: str, module: str, peers: str, seconds: str, port: str = "") -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    engine, raw = SIDES[kind]
    if module == "raw":
        raw(int(port), int(peers), float(seconds))
    else:
        print(json.dumps(engine(importlib.import_module(module), int(peers), float(seconds))))


def stream(module: str, size: int, parts: int, seconds: float, stop: Stop) -> dict[str, float]:
    found = bench.measure(bench.stream("", size=size, parts=parts), module, seconds, stop)
    assert found.rate and found.sender and found.receiver
    return {"time": 1 / found.rate, "cpu": found.sender + found.receiver}


# --- the curves -------------------------------------------------------------------------------


def measure(
    wanted: list[str], runs: int, seconds: float, limit: int
) -> dict[str, dict[str, list[list[float]]]]:
    """curve -> engine -> [x, time, cpu], seconds a message."""
    with Stop() as stop:
        curves = {
            "ROUTER": (ROUTER_PEERS, lambda m, x: many_peers("ROUTER", m, x, seconds)),
            "PUB": (PUB_PEERS, lambda m, x: many_peers("PUB", m, x, seconds)),
            "size": (SIZES, lambda m, x: stream(m, x, 1, seconds, stop)),
            "parts": (PARTS, lambda m, x: stream(m, BODY, x, seconds, stop)),
        }
        found: dict[str, dict[str, list[list[float]]]] = {}
        for curve, (points, one) in curves.items():
            if curve not in wanted:
                continue
            found[curve] = {name: [] for name, _ in ENGINES}
            for x in points[:limit]:
                got: dict[str, list[dict[str, float]]] = {name: [] for name, _ in ENGINES}
                for _ in range(runs):
                    for name, module in ENGINES:
                        got[name].append(one(module, x))
                for name, each in got.items():
                    time_, cpu = (statistics.median(g[k] for g in each) for k in ("time", "cpu"))
                    found[curve][name].append([x, time_, cpu])
                    print(
                        f"{curve:<8}{x:>9,} {name:<15}{time_ * 1e6:>9.3f} us"
                        f"{cpu * 1e6:>9.3f} us CPU",
                        flush=True,
                    )
    return found


TITLES = {
    "ROUTER": ("a ROUTER's echo, 64 B", "connections"),
    "PUB": ("a PUB's message to each, 64 B", "subscribers"),
    "size": ("PUSH to PULL, both sides' CPU", "bytes"),
    "parts": ("PUSH to PULL, parts of 64 B, both sides' CPU", "parts"),
}


def draw(written: dict[str, Any], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from zmq_monocoque._cli.plot import COLOURS

    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7.5))
    for axis, (curve, engines) in zip(axes.flat, written["curves"].items(), strict=True):
        for name, points in engines.items():
            xs = [x for x, _, _ in points]
            for column, style, what in ((1, "-o", "time"), (2, "--s", "CPU")):
                ys = [point[column] * 1e6 for point in points]
                axis.plot(xs, ys, style, ms=4, lw=1.4, color=COLOURS[name], label=f"{name}, {what}")
        title, x_label = TITLES[curve]
        axis.set(title=title, xlabel=x_label, xscale="log", yscale="log")
        axis.set_ylabel("microseconds a message")
        axis.grid(True, which="major", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].legend(fontsize=8)
    figure.suptitle(f"{written['machine']}\n{written['versions']}; tcp loopback", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short run of two points each")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--json", metavar="FILE", help="write the figures, beside those there are")
    parser.add_argument("--svg", metavar="FILE", help="draw (needs matplotlib)")
    parser.add_argument("--redraw", metavar="FILE", help="draw what --json wrote; measure nothing")
    parser.add_argument("curves", nargs="*", metavar="CURVE", help=f"of {', '.join(TITLES)}; all")
    options = parser.parse_args()
    machine.need_pyzmq()
    if options.redraw:
        written = json.loads(Path(options.redraw).read_text())
    else:
        quick = options.quick
        curves = measure(
            options.curves or list(TITLES),
            *((1, 0.1, 2) if quick else (options.runs, options.seconds, 99)),
        )
        if options.json and Path(options.json).exists():
            before = json.loads(Path(options.json).read_text())["curves"] | curves
            curves = {curve: before[curve] for curve in TITLES if curve in before}
        versions = ", ".join(
            f"{name} {machine.version_of(name) or 'source tree'}" for name, _ in ENGINES
        )
        written = {
            "machine": f"{machine.kernel()}; processors: {machine.processors()}",
            "versions": f"{versions}, {machine.python()}",
            "curves": curves,
        }
    if options.json:
        Path(options.json).write_text(json.dumps(written, indent=1) + "\n")
    if options.svg:
        draw(written, options.svg)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        one_side(*sys.argv[2:])
    else:
        main()
