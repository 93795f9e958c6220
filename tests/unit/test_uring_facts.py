"""The facts about the kernel that docs/internals/io_uring.md lists, asked of the kernel itself.

Each is a function of ``c/uring_facts.c``, a process each: plain io_uring_setup, io_uring_enter and
io_uring_register, nothing of the engine. When one fails on a new kernel, the driver is wrong there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.c import own_environment

HERE = Path(__file__).parent
SOURCE = HERE / "c" / "uring_facts.c"
PAGE = HERE.parents[1] / "docs" / "internals" / "io_uring.md"
FACTS = re.findall(r"^    FACT\((\w+)\),$", SOURCE.read_text(), re.MULTILINE)
SKIPPED = 77

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("facts") / "uring_facts"
    flags = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-pthread"]
    done = subprocess.run(
        ["gcc", *flags, "-o", path, SOURCE], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize("fact", FACTS)
def test_the_kernel_does_what_the_driver_relies_on(program, fact):
    done = subprocess.run(
        [program, fact], capture_output=True, text=True, timeout=30, env=own_environment()
    )
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stderr


def test_the_page_names_every_fact_and_no_other():
    assert set(re.findall(r"`fact (\w+)`", PAGE.read_text())) == set(FACTS)
