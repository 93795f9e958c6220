"""A log sink: records of many programs in one file.

    python log_sink.py sink tcp://127.0.0.1:5557 all.log
    python log_sink.py demo tcp://127.0.0.1:5557

A program adds one handler and logs as ever. The handler never waits: what finds no room is
counted, and the count is logged as soon as there is room again. The sink writes what has arrived
before it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import socket
from pathlib import Path

import zmq_monocoque as zmq


class SinkHandler(logging.Handler):
    """Sends each record, formatted, to a sink."""

    def __init__(self, endpoint: str, context: zmq.Context | None = None):
        super().__init__()
        self.lost = 0
        self.push = (context or zmq.Context.instance()).socket(zmq.PUSH)
        self.push.linger = 1000  # at the program's end: as long for what is still queued
        self.push.connect(endpoint)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self.lost:
                self.push.send_string(f"{self.lost} records were lost", zmq.DONTWAIT)
                self.lost = 0
            self.push.send_string(self.format(record), zmq.DONTWAIT)
        except zmq.Again:
            self.lost += 1
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self.push.close()
        super().close()


def sink(endpoint: str, path: Path) -> None:
    """Writes what comes, until SIGTERM or SIGINT, and then what has come."""
    with zmq.Context() as context, context.socket(zmq.PULL) as pull, path.open("a") as file:
        pull.bind(endpoint)
        print(pull.LAST_ENDPOINT.decode(), flush=True)
        poller = zmq.Poller()
        poller.register(pull, zmq.POLLIN)
        with signals() as told:
            poller.register(told, zmq.POLLIN)
            while told.fileno() not in dict(poller.poll()):
                write_waiting(pull, file)
            write_waiting(pull, file)


@contextlib.contextmanager
def signals():
    """A descriptor that is readable after SIGTERM or SIGINT. Nothing is raised, which could be
    between the recv of a record and its write."""
    told, telling = socket.socketpair()
    with told, telling:
        telling.setblocking(False)
        signal.set_wakeup_fd(telling.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        yield told
        signal.set_wakeup_fd(-1)


def write_waiting(pull: zmq.Socket, file) -> None:
    with contextlib.suppress(zmq.Again):
        while True:
            print(pull.recv_string(zmq.DONTWAIT), file=file)
    file.flush()


def demo(endpoint: str) -> None:
    handler = SinkHandler(endpoint)
    handler.setFormatter(logging.Formatter("%(process)d %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for number in range(3):
        logging.getLogger("demo").info("record %d of process %d", number, os.getpid())
    logging.shutdown()
    zmq.Context.instance().term()


def main() -> None:
    parser = argparse.ArgumentParser(description="one file for the logs of many programs")
    parser.add_argument("role", choices=["sink", "demo"])
    parser.add_argument("endpoint", nargs="?", default="tcp://127.0.0.1:5557")
    parser.add_argument("file", nargs="?", type=Path, default=Path("all.log"))
    arguments = parser.parse_args()
    if arguments.role == "sink":
        sink(arguments.endpoint, arguments.file)
    else:
        demo(arguments.endpoint)


if __name__ == "__main__":
    main()
