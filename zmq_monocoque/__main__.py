"""``zmq-monocoque COMMAND``, or ``python -m zmq_monocoque COMMAND``: options and exit codes.

0: done. 1: it did not work, and why is on stderr. 2: a usage error. 130: interrupted. (`run` ends
as the program that it runs.)
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ._cli import arguments, bench, capi, curve, demo, doctor, log, run, switch
from .curve_keygen import with_key_attached

#: As the console script is called (pyproject.toml).
SCRIPT = "zmq-monocoque"

EXAMPLES = {
    f"{SCRIPT} demo": "is it fast here, and does it talk to pyzmq?",
    f"{SCRIPT} run app.py": "a program for pyzmq, on this engine",
    f"{SCRIPT} COMMAND --help": "the options of a command, and examples",
}


def own_version() -> str:
    """The version of this package ("source tree" when it is not installed)."""
    try:
        return version("zmq_monocoque")
    except PackageNotFoundError:
        return "source tree"


def parser() -> argparse.ArgumentParser:
    called = Path(sys.argv[0]).name
    top = arguments.Parser(
        prog=called if called == SCRIPT else "python -m zmq_monocoque",
        description="A drop-in replacement for pyzmq over its own ZMTP engine on Linux io_uring.",
    )
    top.add_argument("--version", action="version", version=f"zmq_monocoque {own_version()}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    arguments.add_examples(top, EXAMPLES)
    for module in (bench, capi, curve, demo, doctor, log, run, switch):
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(name, help=module.HELP, description=module.DESCRIPTION)
        module.add_arguments(command)
        arguments.add_examples(command, module.EXAMPLES)
        command.set_defaults(run=module.run)
    return top


def main(words: list[str] | None = None) -> int:
    """Runs one command; ``words`` default to the process's arguments. Returns the exit code."""
    top = parser()
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what could come next, and runs nothing
        import argcomplete

        argcomplete.autocomplete(top)
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["curve"]:
        words = with_key_attached(words)
    options = top.parse_args(words)
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
