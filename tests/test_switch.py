"""``switch``: an environment's pyzmq becomes this engine, and is itself again, to the last byte."""

from __future__ import annotations

import base64
import csv
import ctypes
import hashlib
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from leaks import MODULE
from support.ways import TIMEOUT, environment, wheel_of_pyzmq

pytestmark = [
    pytest.mark.skipif(MODULE != "zmq_monocoque", reason="about our command"),
    pytest.mark.skipif("ZM_SANITIZE" in os.environ, reason="a sanitizer has nothing to see here"),
    pytest.mark.skipif(importlib.util.find_spec("zmq") is None, reason="pyzmq is not installed"),
]
WHOSE = "import zmq; from importlib.metadata import version; print(zmq.__name__, version('pyzmq'))"
OURS = "zmq_monocoque 27.3.0+monocoque"


class Environment:
    """A virtual environment with pyzmq and zmq_monocoque."""

    def __init__(self, directory: Path) -> None:
        self.python = environment(directory / "venv")
        (self.packages,) = (directory / "venv").glob("lib/python*/site-packages")
        self.pyzmq = wheel_of_pyzmq(directory)
        self.install_pyzmq()

    def install_pyzmq(self) -> None:
        """As pip does it, without waiting for pip."""
        for path in (*self.packages.glob("pyzmq*"), *self.packages.glob("zmq")):
            shutil.rmtree(path)
        with zipfile.ZipFile(self.pyzmq) as wheel:
            wheel.extractall(self.packages)

    def run(self, *arguments: str, code: int = 0, **options: object) -> str:
        """What a program in it prints, to stderr when it fails as it should."""
        done = subprocess.run(
            [self.python, *arguments],
            **{
                "capture_output": True,
                "text": True,
                "timeout": TIMEOUT,
                "cwd": "/",
                "env": {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                **options,
            },
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done.stderr if code else done.stdout

    def switch(self, state: str, code: int = 0, **options: object) -> str:
        return self.run("-m", "zmq_monocoque", "switch", state, code=code, **options)

    def files(self) -> dict[str, tuple]:
        """All there is among the packages."""
        found = {}
        for path in self.packages.rglob("*"):
            status = path.lstat()
            kind = (status.st_mode, status.st_mtime_ns if stat.S_ISREG(status.st_mode) else 0)
            content = hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b""
            found[str(path.relative_to(self.packages))] = (kind, content)
        return found


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("switch"))


#: Several commands in one process.
SEVERAL = """
import sys
from zmq_monocoque.__main__ import main
for state in sys.argv[1:]:
    assert main(["switch", state]) == 0
"""


def test_on_gives_the_environment_our_engine_and_off_gives_back_all_there_was(env):
    before = env.files()
    said = env.run("-c", SEVERAL, "status", "on", "on", "status").splitlines()
    assert said[0] == "off" and said[1].startswith("import zmq")
    assert said[3].startswith("on: in ") and said[4].startswith("pyzmq 27.")
    assert said[5].startswith("on already")
    assert said[6].startswith("on, by `switch on`") and "put away" in said[-1]
    assert env.run("-c", WHOSE) == f"{OURS}\n"
    check_record(env.packages)
    said = env.run("-c", SEVERAL, "off", "off").splitlines()
    assert said[0].startswith("off: pyzmq") and said[1] == "off already"
    assert env.files() == before
    assert env.run("-c", WHOSE).startswith("zmq 2")


def check_record(packages: Path) -> None:
    """pip could uninstall it: the list of files is right."""
    with (packages / "pyzmq-27.3.0+monocoque.dist-info" / "RECORD").open() as file:
        record = {name: (digest, size) for name, digest, size in csv.reader(file)}
    for name, (digest, size) in record.items():
        content = (packages / name).read_bytes()
        if size:
            wanted = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
            assert (digest, size) == (f"sha256={wanted.rstrip('=')}", str(len(content))), name
    own = {str(path.relative_to(packages)) for path in packages.glob("zmq/**/*.py*")}
    assert own <= set(record) and "zmq/asyncio.pyi" in own


#: `switch` ends at the n-th move, as when it is killed; then `off`, or `on` and `off`.
KILLED = """
import contextlib, functools, io, pathlib, sys
from zmq_monocoque.__main__ import main
from zmq_monocoque._cli import machine, stubs

def few(package):
    package.mkdir(parents=True)
    (package / "__init__.py").touch()

stubs.write = few
machine.zmq = functools.cache(lambda: machine.Zmq(False, "", is_ours=True))

class Killed(BaseException):
    pass

rename = pathlib.Path.rename
left = 0

def counted(path, target):
    global left
    left -= 1
    if left < 0:
        raise Killed
    return rename(path, target)

def switch(state, moves):
    global left
    left = moves
    with contextlib.suppress(Killed), contextlib.redirect_stdout(io.StringIO()):
        return main(["switch", state])

def killed_after(moves):
    pathlib.Path.rename = counted
    before = switch(sys.argv[1], moves)
    pathlib.Path.rename = rename
    return before is None

zmq = pathlib.Path(sys.argv[2], "zmq")
is_real = lambda: (zmq / "_future.py").exists()
for repeat in ([], ["on"]):
    moves = 0
    while True:
        if sys.argv[1] == "off":
            assert switch("on", 99) == 0 and not is_real()
        if not killed_after(moves):
            break
        for state in [*repeat, "off"]:
            assert switch(state, 99) == 0, (state, moves)
            assert is_real() == (state == "off"), (state, moves)
        moves += 1
    switch("off", 99)
    assert moves > 3, moves
"""


@pytest.mark.parametrize("state", ["on", "off"])
def test_one_that_was_killed_midway_loses_nothing(env, state):
    before = env.files()
    env.run("-c", KILLED.replace("99", "1 << 20"), state, str(env.packages))
    assert env.files() == before


def test_it_refuses_where_something_is_compiled_against_pyzmq(env):
    before = env.files()
    module = env.packages / "fast" / "fast.abi3.so"
    module.parent.mkdir()
    try:
        module.write_bytes(b"\x7fELF" + bytes(5000) + b"\0zmq.backend.cython._zmq\0")
        said = env.switch("on", code=1)
        assert said.startswith("compiled against pyzmq") and "fast/fast.abi3.so" in said
    finally:
        shutil.rmtree(module.parent)
    assert env.files() == before


def without_override() -> None:
    """Root may write anywhere, unless it gives that up before it starts a program."""
    if os.geteuid() == 0:
        drop, override = 24, 1
        assert ctypes.CDLL(None).prctl(drop, override, 0, 0, 0) == 0


def test_in_a_read_only_environment_it_says_what_it_cannot_do(env):
    before = env.files()
    mode = env.packages.stat().st_mode
    env.packages.chmod(0o555)
    try:
        said = env.switch("on", code=1, preexec_fn=without_override)
    finally:
        env.packages.chmod(mode)
    assert said.startswith("cannot write there: ") and "Permission denied" in said
    assert "zmq_monocoque run PROGRAM" in said and "PYTHONPATH=" in said
    assert env.files() == before


def test_a_pyzmq_that_was_installed_meanwhile_stays(env):
    before = {name: content for name, (_, content) in env.files().items()}
    env.switch("on")
    env.install_pyzmq()
    assert env.switch("off").startswith("off: pyzmq 2")
    assert {name: content for name, (_, content) in env.files().items()} == before


def test_in_a_user_environment_what_comes_first_is_what_counts(env, tmp_path):
    """Installed for the user only: behind the environment's own packages, before the system's."""
    user = {**os.environ, "PYTHONUSERBASE": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    configuration = env.packages.parents[2] / "pyvenv.cfg"
    text = configuration.read_text()
    (info,) = env.packages.glob("zmq_monocoque-*.dist-info")
    configuration.write_text(text.replace("packages = false", "packages = true"))
    packages = Path(env.run("-c", "import site; print(site.getusersitepackages())", env=user)[:-1])
    packages.mkdir(parents=True)
    info.rename(packages / info.name)
    outside = env.packages / "outside.pth"
    outside.rename(packages / "ours.pth")
    put_away = tmp_path / "away"
    put_away.mkdir()
    try:
        assert f"in {env.packages} comes before {packages}" in env.switch("on", code=1, env=user)
        for path in (*env.packages.glob("pyzmq*"), env.packages / "zmq"):
            path.rename(put_away / path.name)
        assert env.switch("on", env=user).startswith(f"on: in {packages.parent}")
        assert env.run("-c", WHOSE, env=user) == f"{OURS}\n"
        env.switch("off", env=user)
        assert {path.name for path in packages.iterdir()} == {info.name, "ours.pth"}
    finally:
        (packages / info.name).rename(info)
        (packages / "ours.pth").rename(outside)
        for path in put_away.iterdir():
            path.rename(env.packages / path.name)
        configuration.write_text(text)


def test_where_another_zmq_still_comes_first_it_undoes_what_it_did(env, tmp_path):
    before = env.files()
    (tmp_path / "zmq.py").touch()
    said = env.switch("on", code=1, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert said.startswith("`import zmq` would still be another: ") and str(tmp_path) in said
    assert env.files() == before


def test_where_it_is_not_installed_it_says_so(env):
    (info,) = env.packages.glob("zmq_monocoque-*.dist-info")
    info.rename(env.packages / "elsewhere")
    try:
        said = env.switch("on", code=1)
    finally:
        (env.packages / "elsewhere").rename(info)
    assert said.startswith("zmq_monocoque is not installed in the environment of ")
    assert str(env.python) in said and sys.prefix not in said.partition(":")[0]
