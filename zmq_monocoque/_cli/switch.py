"""``switch``: an environment in which `import zmq` is this engine, and back.

The environment gets a distribution named pyzmq, as `pip install ./compat` makes it in a clone, in
the directory where zmq_monocoque is installed. What was there under that name is moved to a
directory beside it, whole, and moved back by ``off``: nothing is made anew, so nothing can differ.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import mmap
import os
import re
import shutil
import site
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path

import zmq_monocoque
from zmq_monocoque import _shim
from zmq_monocoque._version import __version__ as own_version

from . import machine, stubs

HELP = "make `import zmq` this engine in the whole environment, or undo it"
DESCRIPTION = (
    "Makes the environment that this Python belongs to answer to `import zmq`, and to whatever"
    " requires pyzmq, with zmq_monocoque. A pyzmq that is installed is put away, and `off` puts it"
    " back as it was."
)
EXAMPLES = {
    "zmq-monocoque switch status": "which is it?",
    "zmq-monocoque switch on": "pyzmq, if there is one, is put away",
    "zmq-monocoque switch off": "and is back, to the last byte",
}
NAME = "pyzmq"
VERSION = f"{zmq_monocoque.pyzmq_version()}+monocoque"
INFO = f"{NAME}-{VERSION}.dist-info"
#: Who has installed it, as pip writes its own name.
INSTALLER = "zmq_monocoque"
#: Beside the packages, with a name that nothing can import: what is put away, and what is not yet
#: or no longer in its place.
STORE = "zmq_monocoque-switch"
#: What an extension module holds that calls pyzmq's C code or its libzmq.
COMPILED_AGAINST = re.compile(rb"zmq\.backend\.cython|libzmq-[0-9a-f]{8}\.so")
WITHOUT_WRITING = (
    "What needs no writing: `python -m zmq_monocoque run PROGRAM` for one program, or"
    f" PYTHONPATH={Path(_shim.__file__).parent} for those that it is set for; but neither answers"
    " to a requirement on pyzmq."
)


class Refused(Exception):
    """Nothing was changed; the text says why, and what can be done."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("state", choices=("on", "off", "status"))


def run(options: argparse.Namespace) -> int:
    """Switches; 1 where it refuses."""
    try:
        {"on": on, "off": off, "status": status}[options.state]()
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    return 0


# Where things are --------------------------------------------------------------------------------


def searched() -> list[Path]:
    """The directories of installed packages, in the order in which Python looks into them."""
    known = {
        Path(path).resolve()
        for path in (
            *(sysconfig.get_path("purelib"), sysconfig.get_path("platlib")),
            *site.getsitepackages(),
            site.getusersitepackages(),
        )
    }
    return list(dict.fromkeys(path for p in sys.path if p and (path := Path(p).resolve()) in known))


def installed(name: str, directory: Path) -> Distribution | None:
    """Looked up each time: importlib.metadata may remember what was there a moment ago."""
    for pattern in (f"{name}-*.dist-info", f"{name}-*.egg-info"):
        for info in directory.glob(pattern):
            return Distribution.at(info)
    return None


def own_directory() -> Path:
    """Where zmq_monocoque is installed, and so what belongs to it."""
    for directory in searched():
        if installed("zmq_monocoque", directory):
            return directory
    raise Refused(
        f"zmq_monocoque is not installed in the environment of {sys.executable}: it was imported"
        f" from {Path(zmq_monocoque.__file__).parent}. Install it there first."
    )


def is_ours(distribution: Distribution | None) -> bool:
    return distribution is not None and distribution.version.endswith("+monocoque")


def is_switched(distribution: Distribution | None) -> bool:
    """Ours, and by this command, not by pip?"""
    return (
        is_ours(distribution)
        and distribution is not None
        and (distribution.read_text("INSTALLER") or "").strip() == INSTALLER
    )


# On ----------------------------------------------------------------------------------------------


def on() -> None:
    here = own_directory()
    for directory in searched()[: searched().index(here)]:
        if first := installed(NAME, directory):
            raise Refused(
                f"{NAME} {first.version} in {directory} comes before {here}, where zmq_monocoque"
                " is installed, and would still be the one that is imported. Uninstall it, or"
                " install zmq_monocoque there."
            )
    if is_ours(installed(NAME, here)) and (here / "zmq" / "__init__.py").exists():
        print(f"on already: {here / 'zmq'} is there")
        return
    refuse_if_compiled_against()
    store = here / STORE
    if store.exists():
        restore(here)  # somebody ended it midway
    present = installed(NAME, here)
    moved = movable(present, here) if present else []
    theirs = present.version if present else ""  # it reads what is moved
    if not present and (here / "zmq").exists():
        raise Refused(f"{here / 'zmq'} is there, and belongs to no {NAME}. Nothing was changed.")
    try:
        write(store / "new")
        (store / "away").mkdir()
        for name in moved:
            (here / name).rename(store / "away" / name)
        for name in (INFO, "zmq"):
            (store / "new" / name).rename(here / name)
        (store / "new").rmdir()
        if not moved:
            shutil.rmtree(store)
    except OSError as error:
        restore(here)
        raise Refused(cannot(error)) from error
    machine.zmq.cache_clear()  # of before
    found = machine.zmq()
    if not found.is_ours:
        restore(here)
        raise Refused(
            f"`import zmq` would still be another: {found.text}. Python finds that before what is"
            f" in {here}. Nothing was changed."
        )
    print(f"on: in {here.parent} `import zmq` is zmq_monocoque, and {NAME} is {VERSION}")
    if present:
        print(f"{NAME} {theirs} is put away in {store}; `switch off` puts it back")
    for directory in searched()[searched().index(here) + 1 :]:
        if behind := installed(NAME, directory):
            print(
                f"{NAME} {behind.version} in {directory} stays as it is, for those who do not look"
                f" into {here} first"
            )


def refuse_if_compiled_against() -> None:
    broken = sorted(compiled_against())
    if broken:
        raise Refused(
            f"compiled against {NAME}, and so broken without its libzmq: {', '.join(broken)}."
            " Nothing was changed. For programs that do not use it:"
            " `python -m zmq_monocoque run PROGRAM`."
        )


def compiled_against() -> Iterator[str]:
    """The extension modules that call into pyzmq's, those of pyzmq and of ours left out."""
    own = {"zmq", f"{NAME}.libs", "zmq_monocoque", STORE}
    for directory in searched():
        for path in directory.rglob("*.so"):
            name = path.relative_to(directory)
            if name.parts[0] not in own and path.is_file() and path.stat().st_size:
                with (
                    path.open("rb") as file,
                    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
                ):
                    if COMPILED_AGAINST.search(content):
                        yield str(name)


def movable(present: Distribution, here: Path) -> list[str]:
    """What of ``here`` belongs to the pyzmq that is installed: files and folders at the top."""
    if present.files is None:
        raise Refused(
            f"{NAME} {present.version} in {here} has no list of its files, so it was not pip that"
            " installed it: what did has to remove it. Nothing was changed."
        )
    names = sorted({file.parts[0] for file in present.files}, key=is_not_info)
    if "zmq" not in names or not (here / "zmq").is_dir() or {"..", "/"} & set(names):
        raise Refused(
            f"{NAME} {present.version} is not wholly in {here}; is it installed editable?"
            f" Uninstall it first: pip uninstall {NAME}. Nothing was changed."
        )
    return [name for name in names if (here / name).exists()]


def is_not_info(name: str) -> bool:
    """What says that pyzmq is here goes first and comes back last, so that one which is here only
    in part is never taken for one that somebody has installed."""
    return not name.endswith(".dist-info")


def cannot(error: OSError) -> str:
    return f"cannot write there: {error}. Nothing was changed. {WITHOUT_WRITING}"


def write(new: Path) -> None:
    """Makes the distribution in ``new``, as pip would install it."""
    info = new / INFO
    info.mkdir(parents=True)
    stubs.write(new / "zmq")
    texts = {
        "METADATA": "Metadata-Version: 2.1\n"
        f"Name: {NAME}\n"
        f"Version: {VERSION}\n"
        "Summary: Not pyzmq: makes zmq_monocoque answer to `import zmq` in this environment\n"
        "Requires-Python: >=3.10\n"
        f"Requires-Dist: zmq_monocoque>={own_version}\n",
        "WHEEL": "Wheel-Version: 1.0\n"
        f"Generator: {INSTALLER}\n"
        "Root-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
        "INSTALLER": f"{INSTALLER}\n",
    }
    for name, text in texts.items():
        (info / name).write_text(text, encoding="utf-8")
    rows = io.StringIO()
    record = csv.writer(rows, lineterminator="\n")
    for path in sorted(path for path in new.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.writerow([path.relative_to(new), f"sha256={digest}", len(content)])
    record.writerow([f"{INFO}/RECORD", "", ""])
    (info / "RECORD").write_text(rows.getvalue(), encoding="utf-8")


# Off, and which it is ----------------------------------------------------------------------------


def off() -> None:
    here = own_directory()
    present = installed(NAME, here)
    if is_ours(present) and not is_switched(present):
        raise Refused(f"it was pip that switched {here}: pip uninstall {NAME}")
    store = here / STORE
    if not is_switched(present) and not store.exists():
        print("off already")
        return
    try:
        restore(here)
    except OSError as error:
        raise Refused(cannot(error)) from error
    now = installed(NAME, here)
    print(
        f"off: {NAME} {now.version} is back" if now else f"off: there is no {NAME} now, as before"
    )


def restore(here: Path) -> None:
    """Takes away what is ours and moves back what was put away, from any state between the two. A
    pyzmq that somebody has installed meanwhile stays, and what was put away goes."""
    store = here / STORE
    present = installed(NAME, here)
    if is_switched(present):
        (store / "old").mkdir(parents=True, exist_ok=True)
        # In this order: without the second, the first is nobody's.
        for name in ("zmq", INFO):
            if (here / name).exists():
                (here / name).rename(store / "old" / name)
        present = None
    away = store / "away"
    if present is None and away.is_dir():
        for name in sorted(os.listdir(away), key=is_not_info, reverse=True):
            (away / name).rename(here / name)
    if store.exists():
        shutil.rmtree(store)


def status() -> None:
    machine.zmq.cache_clear()
    zmq = machine.zmq()
    here = own_directory()
    present = next(filter(None, (installed(NAME, path) for path in searched())), None)
    switched = f"by `switch on`, in {here}" if is_switched(installed(NAME, here)) else "by pip"
    print(f"on, {switched}" if is_ours(present) else "off")
    print(f"{'import zmq':<20}{zmq.text}")
    print(f"{NAME:<20}{present.version if present else 'not installed'}")
    away = installed(NAME, here / STORE / "away")
    if away:
        print(f"{'put away':<20}{NAME} {away.version}, in {here / STORE}")
