"""The script that gets interpreters: knows those that are here, and says which it cannot get."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "interpreters.py"
FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()
NAME = "{}.{}".format(*sys.version_info) + ("t" if FREE_THREADED else "")


def run(*arguments: str, path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    # A home of its own, where there is no pyenv.
    return subprocess.run(
        [sys.executable, "-I", SCRIPT, "--folder", folder, *arguments],
        env={"PATH": str(path), "HOME": str(path)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def path(tmp_path):
    """A folder with nothing but the interpreter that runs this test."""
    path = tmp_path / "path"
    path.mkdir()
    (path / f"python{NAME}").symlink_to(sys.executable)
    return path


def test_what_is_on_the_machine_is_taken(path, tmp_path):
    done = run(NAME, path=path, folder=tmp_path / "kept")
    assert done.returncode == 0, done.stderr
    assert "the machine" in done.stdout
    kept = tmp_path / "kept" / "bin" / f"python{NAME}"
    assert kept.exists()
    assert str(kept) in done.stdout


@pytest.mark.parametrize("name", [n for n in ("3.14", "3.13t") if n != NAME])
def test_one_that_cannot_be_had_is_said_to_be_untested(path, tmp_path, name):
    """There is no apt-get on this path."""
    done = run(name, "--run", path=path, folder=tmp_path / "kept")
    assert done.returncode == 77, done.stderr
    assert "NOTHING WAS TESTED" in done.stderr and "apt-get is not installed" in done.stderr
    assert "NOT TESTED" in done.stdout


def test_a_build_without_the_gil_is_another_interpreter(path, tmp_path):
    """By its name alone it would be taken for the one that has it, or the other way round."""
    other = NAME.removesuffix("t") if NAME.endswith("t") else NAME + "t"
    if other not in ("3.13", "3.13t"):
        pytest.skip("of 3.13 alone")
    (path / f"python{other}").symlink_to(sys.executable)
    done = run(other, path=path, folder=tmp_path / "kept")
    assert done.returncode == 77


def test_an_unknown_name_is_a_usage_error(path, tmp_path):
    done = run("2.7", path=path, folder=tmp_path / "kept")
    assert done.returncode == 2
    assert "3.13t" in done.stderr
