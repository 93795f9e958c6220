"""``python -m zmq_monocoque.log URL``: prints what a `PUBHandler` publishes."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from typing import Any

import zmq_monocoque as zmq
from zmq_monocoque._cli.arguments import Parser

#: ANSI colours, by a level's name in the topic.
_COLORS = {
    "CRITICAL": "\x1b[1;31m",
    "ERROR": "\x1b[31m",
    "WARNING": "\x1b[33m",
    "INFO": "\x1b[32m",
    "DEBUG": "\x1b[36m",
}
_NO_COLOR = "\x1b[0m"


class _Columns:
    """Topics in columns, each as wide as the widest that was seen."""

    def __init__(self) -> None:
        self._widths: list[int] = []

    def __call__(self, topic: str) -> str:
        parts = topic.split(".")
        missing = len(self._widths) - len(parts)
        parts += [""] * missing
        self._widths += [0] * -missing
        self._widths = [
            max(width, len(part)) for width, part in zip(self._widths, parts, strict=True)
        ]
        padded = [part.ljust(width) for part, width in zip(parts, self._widths, strict=True)]
        return ".".join(padded)


def _line(topic: str, text: str, options: argparse.Namespace, columns: _Columns) -> str:
    shown = columns(topic) if options.align else topic
    line = f"{shown}{options.separator}{text.rstrip()}"
    if options.timestamp:
        line = f"{datetime.now().strftime(options.dateformat)} {line}"
    if options.color:
        color = next((_COLORS[part] for part in topic.split(".") if part in _COLORS), None)
        if color:
            line = f"{color}{line}{_NO_COLOR}"
    return line


def _watch(options: argparse.Namespace) -> None:
    context: zmq.Context[Any] = zmq.Context()
    with context, context.socket(zmq.SUB) as sub:
        sub.linger = 0
        sub.subscribe(options.topic)
        sub.connect(options.zmq_pub_url)
        columns = _Columns()
        while True:
            topic, *parts = (part.decode(errors="replace") for part in sub.recv_multipart())
            print(_line(topic, "".join(parts), options, columns), flush=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to watch, and how it is printed."""
    parser.add_argument("zmq_pub_url", metavar="ENDPOINT", help="of the publisher")
    parser.add_argument("-t", "--topic", default="", help="only messages whose topic starts so")
    parser.add_argument("--timestamp", action="store_true", help="the local time before each line")
    parser.add_argument("--separator", default=" | ", help="between topic and text")
    parser.add_argument(
        "--dateformat", default="%Y-%d-%m %H:%M", help="of --timestamp, as strftime takes it"
    )
    parser.add_argument("--align", action="store_true", help="the parts of topics in columns")
    parser.add_argument("--color", action="store_true", help="colour lines by their level")


def run(options: argparse.Namespace) -> int:
    """Runs the watcher until it is interrupted; 1 where it cannot begin."""
    try:
        _watch(options)
    except KeyboardInterrupt:
        pass
    except zmq.ZMQError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def main() -> None:
    """Runs the watcher until it is interrupted."""
    parser = Parser(prog="ZMQ Log Watcher")
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))


if __name__ == "__main__":
    main()
