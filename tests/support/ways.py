"""An environment in which `import zmq` is our engine, made as users make it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tidy.texts import is_environment

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
    by_name = shutil.ignore_patterns(*left, ".tox", ".hypothesis")

    def ignored(folder: str, names: list[str]) -> set[str]:
        return by_name(folder, names) | {n for n in names if is_environment(Path(folder, n))}

    shutil.copytree(CLONE, directory, ignore=ignored)
    return directory


def environment(directory: Path) -> Path:
    """The python of a virtual environment in which zmq_monocoque is installed, as it is here, and
    a package that requires pyzmq. It sees this environment's packages, too, a real pyzmq among
    them."""
    python("-m", "venv", "--without-pip", directory)
    packages = next(directory.glob("lib/python*/site-packages"))
    # Python 3.15 says on stderr which ones are not there.
    seen = [path for path in (str(PARENT), *site.getsitepackages()) if Path(path).exists()]
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
    return directory / "bin" / "python"


def environment_with_compat(directory: Path) -> Path:
    """The same with compat/ in it, which is built for it."""
    for needed in ("pip", "setuptools"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    if int(importlib.metadata.version("setuptools").partition(".")[0]) < 77:
        pytest.skip("setuptools is older than 77, which compat/pyproject.toml asks for")
    # Builds leave files, and the clone may be mounted read-only.
    clone = directory / "clone"
    shutil.copytree(COMPAT, clone / "compat", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    (clone / "zmq_monocoque").symlink_to(PARENT / "zmq_monocoque")
    inside = environment(directory / "venv")
    offline = ("--no-index", "--no-build-isolation", "--no-deps")
    wheels = directory / "wheels"
    python("-m", "pip", "wheel", "-q", *offline, "-w", wheels, clone / "compat")
    python("-m", "pip", "--python", inside, "install", "-q", *offline, *wheels.iterdir())
    return inside


def wheel_of_pyzmq(directory: Path) -> Path:
    """The pyzmq that is installed here, as a wheel again: there may be no package index."""
    installed = importlib.metadata.distribution("pyzmq")
    (tag,) = re.findall(r"^Tag: (.*)$", str(installed.read_text("WHEEL")), re.MULTILINE)[:1]
    wheel = directory / f"pyzmq-{installed.version}-{tag}.whl"
    record = []
    with zipfile.ZipFile(wheel, "w") as packed:
        for file in installed.files or ():
            if not {"..", "__pycache__", "RECORD", "INSTALLER"} & set(file.parts):
                packed.write(str(file.locate()), str(file))
                record.append(f"{file},,\n")
            elif file.name == "RECORD":
                place = str(file)
        packed.writestr(place, "".join([*record, f"{place},,\n"]))
    return wheel
