"""``log``: prints what a `PUBHandler` publishes."""

from __future__ import annotations

import argparse

from zmq_monocoque.log import __main__ as watcher

HELP = "watch the log that a PUBHandler publishes"
DESCRIPTION = "Prints what a zmq_monocoque.log.handlers.PUBHandler publishes, until Ctrl-C."
EXAMPLES = {
    "zmq-monocoque log tcp://127.0.0.1:5556 --timestamp --color": "all of it, with times",
    "zmq-monocoque log ipc:///tmp/log -t app.ERROR": "the topics that begin so",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    watcher.add_arguments(command)


def run(options: argparse.Namespace) -> int:
    """Runs until it is interrupted; 1 where the endpoint is no good."""
    return watcher.run(options)
