"""``run``: a program that was written for pyzmq, on this engine, with nothing installed for it."""

from __future__ import annotations

import argparse
import os
import runpy
import site
import sys
import traceback
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from zmq_monocoque import _shim, compat

from .arguments import nearest

HELP = "run a program that imports zmq on this engine"
DESCRIPTION = (
    "Runs a Python program in which `import zmq` imports zmq_monocoque, whether or not pyzmq is"
    " installed; the Python programs that it starts get the same. The exit code is the program's."
)
EXAMPLES = {
    "zmq-monocoque run app.py --its-own-option": "a file",
    "zmq-monocoque run -m package.module": "a module",
    "zmq-monocoque run jupyter lab": "a program that a package installs",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-m", dest="is_module", action="store_true", help="TARGET is a module, as in python -m"
    )
    command.add_argument(
        "target",
        metavar="TARGET",
        help="a file, a directory with __main__.py, or the name of an installed program",
    )
    own = command.add_argument(
        "arguments", metavar="ARGUMENT", nargs=argparse.REMAINDER, help="the program's own"
    )
    own.required = False  # argparse says in an error that they were


def run(options: argparse.Namespace) -> int:
    """Runs the program in this process; returns 0, or lets its SystemExit through."""
    script = None
    if not options.is_module and not Path(options.target).exists():
        script = console_script(options.target)
        if script is None:
            names = {program.name for program in entry_points(group="console_scripts")}
            print(
                f"no such file: {options.target}{nearest(options.target, names)}", file=sys.stderr
            )
            return 1
    compat.install()
    own_directory_comes_first = not getattr(sys.flags, "safe_path", False)
    prepare_children(1 if own_directory_comes_first else 0)
    sys.argv[:] = [options.target, *options.arguments]
    if script is not None:
        sys.exit(script.load()())  # as the file does that was installed for it
    try:
        if options.is_module:
            runpy.run_module(options.target, run_name="__main__", alter_sys=True)
        else:
            target = Path(options.target).resolve()
            if own_directory_comes_first:
                # As the interpreter does it: the program's directory comes first, not the current.
                sys.path[0] = str(target if target.is_dir() else target.parent)
            runpy.run_path(options.target, run_name="__main__")
    except (ImportError, OSError) as error:
        if not never_began(error):
            raise
        print(error, file=sys.stderr)
        return 1
    return 0


def console_script(name: str) -> EntryPoint | None:
    """A program that an installed package has, by its name."""
    found = entry_points(group="console_scripts", name=name)
    return next(iter(found), None)


def never_began(error: BaseException) -> bool:
    """Was it runpy that found no program, and not the program that met an error?"""
    frames = [
        frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return frames[0] == __name__ and set(frames[1:]) == {"runpy"}


def prepare_children(place: int) -> None:
    """Puts ``zmq`` in front of what child processes find: those of multiprocessing take our
    sys.path, where it goes to ``place``, all others PYTHONPATH."""
    wanted = [str(Path(_shim.__file__).parent)]
    own = str(Path(_shim.__file__).parents[2])
    if own not in (*site.getsitepackages(), site.getusersitepackages()):
        wanted.append(own)  # a source tree: a child would not find it by itself
    sys.path[place:place] = [path for path in wanted if path not in sys.path]
    before = os.environ.get("PYTHONPATH")
    if before:
        wanted += [path for path in before.split(os.pathsep) if path not in wanted]
    os.environ["PYTHONPATH"] = os.pathsep.join(wanted)
