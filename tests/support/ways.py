"""An environment in which `import zmq` is our engine, made as users make it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

import zmq_monocoque
import zmq_monocoque.sugar.version

TIMEOUT = 50
PARENT = Path(zmq_monocoque.__file__).parent.parent
CLONE = Path(__file__).resolve().parents[2]
COMPAT = CLONE / "compat"


def python(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """Runs a child process; answers its output when it ended well."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def copy_of_clone(directory: Path) -> Path:
    """The sources, without what builds left in them: builds leave more, and a clone may be mounted
    read-only."""
    left = ("build", "dist", "*.egg-info", "*.so", "*.so.*", "__pycache__", ".git", ".*_cache")
    others = (".tox", ".hypothesis", "venv", ".venv")
    shutil.copytree(CLONE, directory, ignore=shutil.ignore_patterns(*left, *others))
    return directory


def environment_with_compat(directory: Path) -> Path:
    """The python of a virtual environment that has compat/, a package that requires pyzmq, and
    ours as it is here. It sees this environment's packages, too, a real pyzmq among them."""
    for needed in ("pip", "setuptools"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    if int(importlib.metadata.version("setuptools").partition(".")[0]) < 77:
        pytest.skip("setuptools is older than 77, which compat/pyproject.toml asks for")
    # Builds leave files, and the clone may be mounted read-only.
    clone = directory / "clone"
    shutil.copytree(COMPAT, clone / "compat", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    (clone / "zmq_monocoque").symlink_to(PARENT / "zmq_monocoque")
    python("-m", "venv", "--without-pip", directory / "venv")
    inside = directory / "venv" / "bin" / "python"
    packages = next((directory / "venv").glob("lib/python*/site-packages"))
    seen = [str(PARENT), *site.getsitepackages()]
    (packages / "outside.pth").write_text("\n".join(seen) + "\n")
    required = "Requires-Dist: pyzmq>=26,==27.*\n"
    for name, version, extra in (
        ("zmq_monocoque", zmq_monocoque.sugar.version.monocoque_version(), ""),
        ("client", "1.0", required),
    ):
        info = packages / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extra}"
        )
    offline = ("--no-index", "--no-build-isolation", "--no-deps")
    wheels = directory / "wheels"
    python("-m", "pip", "wheel", "-q", *offline, "-w", wheels, clone / "compat")
    python("-m", "pip", "--python", inside, "install", "-q", *offline, *wheels.iterdir())
    return inside
