"""``capi``: where a C compiler and its linker find libzmq's interface over this engine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import zmq_monocoque

HELP = "flags for C programs: zmq.h and -lzmq over this engine"
DESCRIPTION = (
    "Prints what a C or C++ compiler needs to use libzmq's interface over this engine. Several"
    " options may be given; their answers come on one line, in the order of pkg-config."
)
EXAMPLES = {
    "cc client.c $(zmq-monocoque capi --cflags --libs)": "compiles a C program",
    "LD_PRELOAD=$(zmq-monocoque capi --path) ./program": "runs one that is linked with libzmq",
}
NAME = "libzmq_monocoque.so"


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--cflags", action="store_true", help="flags for the compiler")
    command.add_argument("--libs", action="store_true", help="flags for the linker")
    command.add_argument("--path", action="store_true", help="the shared object itself")


def run(options: argparse.Namespace) -> int:
    """Prints them; 1 where the library was not built."""
    include = zmq_monocoque.get_includes()[-1]
    directory = zmq_monocoque.get_library_dirs()[0]
    library = Path(directory) / NAME
    if not library.exists():
        print(f"this installation has no {NAME}", file=sys.stderr)
        return 1
    everything = not (options.cflags or options.libs or options.path)
    answers = []
    if options.cflags or everything:
        answers.append(f"-I{include}")
    if options.libs or everything:
        answers.append(f"-L{directory} -Wl,-rpath,{directory} -lzmq")
    if options.path:
        answers.append(str(library))
    print(" ".join(answers))
    return 0
