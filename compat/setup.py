"""Writes the stubs of ``zmq``, when it is built; everything else is in pyproject.toml.

They are made from zmq_monocoque, which lies beside this folder in a clone; an sdist holds them.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
STUBS = HERE.parent / "zmq_monocoque" / "_cli" / "stubs.py"
#: What an sdist has in its place.
MADE = HERE / "stubs"


def write(package: Path) -> None:
    """Adds the stubs to the package ``zmq``, made or as they were made for the sdist."""
    if MADE.is_dir():
        shutil.copytree(MADE, package, dirs_exist_ok=True)
        return
    spec = importlib.util.spec_from_file_location("stubs", STUBS)
    assert spec and spec.loader
    stubs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stubs)
    stubs.write(package)


class BuildPy(build_py):
    """Adds the stubs to what is built."""

    def run(self) -> None:
        package = Path(self.build_lib) / "zmq"
        shutil.rmtree(package, ignore_errors=True)  # stubs of modules that are no more
        super().run()
        if not self.editable_mode:
            write(package)


class Sdist(sdist):
    """Adds the stubs to what is packed."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        write(Path(base_dir) / MADE.name)


if not MADE.is_dir() and not STUBS.exists():
    raise SystemExit(f"the stubs are made by {STUBS}, which is not here: build in a clone")

setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
