"""``python -m zmq_monocoque COMMAND``: the commands, their options, their exit codes.

0: done. 1: it did not work, and why is on stderr. 2: a usage error. 130: interrupted. (`run` ends
as the program that it runs.)
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import PackageNotFoundError, version

from ._cli import bench, capi, demo, doctor, run


def own_version() -> str:
    """The version of this package ("source tree" when it is not installed)."""
    try:
        return version("zmq_monocoque")
    except PackageNotFoundError:
        return "source tree"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m zmq_monocoque",
        description="A drop-in replacement for pyzmq over its own ZMTP engine on Linux io_uring.",
    )
    top.add_argument("--version", action="version", version=f"zmq_monocoque {own_version()}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (bench, capi, demo, doctor, run):
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(name, help=module.HELP, description=module.DESCRIPTION)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; ``arguments`` default to the process's own. Returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        if options.run is run.run:
            raise  # the program's own
        # Whoever read our output has seen enough; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
