"""When the last message of a burst leaves, and what spinning does to a round trip.

    python tests/bench/flush.py

One process: a PUSH, and a plain TCP peer whose thread notes when bytes come. Each burst is `size`
messages sent one after the other, and then nothing: the application's thread waits for the peer's,
and touches the socket no more. Printed: microseconds from the end of the last send to the arrival
of its bytes, over 500 bursts. Then a REQ/REP round trip between two processes with the spin and
without (ZMQ_MONOCOQUE_SPIN=0), and the processor time of both sides for one.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time

import zmq_monocoque as zmq
from zmq_monocoque._cli import bench
from zmq_monocoque._cli.demo import Stop
from zmq_monocoque._cli.workloads import percentile

BURSTS = 500
BODY = bytes(64)
FRAME = 66
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)


def raw_pull(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    body = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 4) + b"PULL"
    sock.sendall(GREETING + bytes([4, len(body)]) + body)
    sock.recv(64, socket.MSG_WAITALL)
    head = sock.recv(2, socket.MSG_WAITALL)
    sock.recv(head[1], socket.MSG_WAITALL)
    return sock


def lateness(size: int) -> list[float]:
    """Seconds, sorted."""
    found: list[float] = []
    arrived = threading.Semaphore(0)
    context = zmq.Context()
    push = context.socket(zmq.PUSH)
    push.linger = 0
    peer = raw_pull(push.bind_to_random_port("tcp://127.0.0.1"))
    came = 0.0

    def read() -> None:
        nonlocal came
        left = BURSTS * size * FRAME
        until = size * FRAME
        while left:
            got = len(peer.recv(min(until, 1 << 16)))
            left -= got
            until -= got
            if not until:
                came = time.perf_counter()
                until = size * FRAME
                arrived.release()

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(BURSTS):
        for _ in range(size):
            push.send(BODY)
        sent = time.perf_counter()
        arrived.acquire()
        found.append(came - sent)
        time.sleep(0.002)
    reader.join()
    peer.close()
    context.destroy(linger=0)
    return sorted(found)


def main() -> None:
    print(f"{'burst of':>10}{'p50':>10}{'p99':>10}{'most':>10}  us late")
    for size in (1, 2, 10, 100, 1000):
        late = lateness(size)
        shown = (percentile(late, 50), percentile(late, 99), late[-1])
        print(f"{size:>10}" + "".join(f"{t * 1e6:>10.0f}" for t in shown), flush=True)
    trip = next(w for w in bench.WORKLOADS if w.name == "round trip tcp 64 B")
    print(f"\n{'spin':>10}{'p50':>10}{'p99':>10}{'CPU':>10}  us a round trip")
    for spin in ("1", "0"):
        os.environ["ZMQ_MONOCOQUE_SPIN"] = spin
        with Stop() as stop:
            f = bench.measure(trip, "zmq_monocoque", 1.0, stop)
        assert f.p50 and f.p99 and f.sender and f.receiver
        figures = (f.p50, f.p99, f.sender + f.receiver)
        said = "".join(f"{t * 1e6:>10.1f}" for t in figures)
        print(f"{'yes' if spin == '1' else 'no':>10}{said}")


if __name__ == "__main__":
    main()
