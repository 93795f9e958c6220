"""What the runs need: pyzmq's sdist, and for each mode a virtual environment.

They are kept between runs, and made again when what is asked of them changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = Path(__file__).resolve().parent / "plugin"

#: The release that we stand for, and its sdist.
PYZMQ = "27.3.0"
PYZMQ_SHA256 = "bbedb3d1d99babc625f1dd9d7438acefd442b36b75073fd6bc1ef7c0a4b96d56"
#: What of the sdist the suite is. Its ``zmq`` is left out: it would hide what is installed.
SUITE = ("tests", "pytest.ini", "mypy.ini", "mypy_tests", "examples")

#: What pyzmq's tests import. gevent is among pyzmq's own requirements for older Pythons only.
REQUIREMENTS = (
    "pytest",
    "pytest-asyncio>=0.17",
    "pytest-rerunfailures",
    "pytest-timeout",
    "pytest-xdist",
    "tornado",
    "gevent",
    "mypy>=2.1.0,<3",
    "cython",
    "setuptools",
    "pymongo",
    "types-cffi",
    "types-gevent",
    "types-paramiko",
    "types-pexpect",
    "types-tornado",
    "black",
    "flake8",
    "pexpect",
    "paramiko",
    "cffi",
    "msgpack",
    "psutil",
    "liburing; platform_machine == 'x86_64'",
)
#: Installed beside, because with it three of the tests of typing fail on pyzmq itself.
BESIDE = ("numpy",)

MODES = ("alias", "backend")


class Problem(Exception):
    """The environment could not be made; the text says why."""


def run(*command: str | Path) -> None:
    """Runs a command quietly; `Problem` with its output when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Problem(f"{' '.join(map(str, command))}\n{done.stdout}")


def clean_environment() -> dict[str, str]:
    """The process's environment, without what could change how the tests run."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "PYZMQ_", "ZMQ_TEST_"))
        and name not in ("PYTHONPATH", "PYTHONHOME", "MYPYPATH", "VIRTUAL_ENV")
    }


class Environment:
    """The virtual environment of one mode, in ``work``, for the tests of a ``release`` of pyzmq."""

    def __init__(self, work: Path, mode: str, release: str) -> None:
        self.mode = mode
        self.release = release
        self.directory = work / mode
        self.beside = self.directory / "beside"
        self.suite = self.directory / "suite"
        self._venv = self.directory / "venv"
        self.python = self._venv / "bin" / "python"
        self._downloads = work / "downloads"

    def _pip(self, command: str, *arguments: str | Path) -> None:
        run(self.python, "-m", "pip", command, "--quiet", "--disable-pip-version-check", *arguments)

    def prepare(self, in_place: bool) -> None:
        """Makes what is missing, installs this clone, and lays the suite anew.

        ``in_place``: the clone is used where it is, with the extensions that were built in it.
        """
        self._make_venv()
        self._install(in_place)
        self._lay_suite()

    def _make_venv(self) -> None:
        wanted = "\n".join([sys.version, *REQUIREMENTS, *BESIDE])
        stamp = self.directory / "stamp"
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        venv.create(self._venv, with_pip=True)
        self._pip("install", "--only-binary", "gevent", *REQUIREMENTS)
        self._pip("install", "--target", self.beside, *BESIDE)
        stamp.write_text(wanted, encoding="utf-8")

    def _install(self, in_place: bool) -> None:
        link = next(self._venv.glob("lib/python*/site-packages")) / "zmq_monocoque_clone.pth"
        link.unlink(missing_ok=True)
        if in_place:
            link.write_text(f"{ROOT}\n", encoding="utf-8")
            self._pip("uninstall", "--yes", "zmq_monocoque")
        else:
            self._pip("install", "--force-reinstall", "--no-deps", ROOT)
        if self.mode == "alias":
            self._pip("install", "--force-reinstall", "--no-deps", ROOT / "compat")
        else:
            self._pip("install", f"pyzmq=={self.release}")
        if not in_place:
            self._pip("check")

    def _lay_suite(self) -> None:
        archive = self._sdist()
        shutil.rmtree(self.suite, ignore_errors=True)
        with tarfile.open(archive) as sdist:
            members = []
            for member in sdist.getmembers():
                _, _, inside = member.name.partition("/")
                if inside.partition("/")[0] in SUITE and (member.isfile() or member.isdir()):
                    member.name = inside
                    members.append(member)
            sdist.extractall(self.suite, members)

    def _sdist(self) -> Path:
        archive = self._downloads / f"pyzmq-{self.release}.tar.gz"
        if not archive.exists():
            wanted = f"pyzmq=={self.release}"
            self._pip(
                "download", "--no-deps", "--no-binary", "pyzmq", "-d", self._downloads, wanted
            )
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if self.release == PYZMQ and digest != PYZMQ_SHA256:
            raise Problem(f"{archive} is not the sdist that we know: its SHA-256 is {digest}")
        return archive

    def variables(self, with_beside: bool) -> dict[str, str]:
        """The environment for the tests."""
        paths = [str(PLUGIN)] + ([str(self.beside)] if with_beside else [])
        variables = clean_environment() | {
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONFAULTHANDLER": "1",
            "PATH": f"{self._venv / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        if self.mode == "backend":
            variables["PYZMQ_BACKEND"] = "zmq_monocoque.pyzmq_backend"
        return variables
