"""What the shared object exports: all that libzmq does, the drafts of zmq.h, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.c import own_environment
from support.capi import libzmq_of_pyzmq


def exported(library: str) -> set[str]:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no nm")
    done = subprocess.run(
        [nm, "-D", "-P", "--defined-only", library],
        capture_output=True,
        text=True,
        timeout=50,
        env=own_environment(),
    )
    assert done.returncode == 0, done.stderr
    names = {line.split()[0].partition("@")[0] for line in done.stdout.splitlines()}
    return {name for name in names if not name.startswith("_")}  # a sanitizer has its own


def declared(text: str) -> set[str]:
    return set(re.findall(r"^ZMQ_EXPORT [^(]*\b(zmq_\w+)\(", text, re.MULTILINE))


@pytest.fixture
def header(package) -> tuple[set[str], set[str]]:
    """The functions of our zmq.h, and those of them that are drafts."""
    text = (Path(package.get_includes()[-1]) / "zmq.h").read_text()
    stable, drafts = text.split("#ifdef ZMQ_BUILD_DRAFT_API\n")
    return declared(stable), declared(drafts.split("#endif /* ZMQ_BUILD_DRAFT_API */")[0])


def test_it_exports_the_functions_of_its_header_and_nothing_else(face, header):
    stable, drafts = header
    assert len(drafts) > 20
    assert exported(face.path) == stable | drafts


def test_what_is_no_draft_is_what_a_libzmq_without_drafts_exports(header):
    """As Debian's package is built, and the one that pyzmq brings."""
    theirs = libzmq_of_pyzmq()
    if theirs is None:
        pytest.skip("this pyzmq brings no libzmq of its own")
    names = {name for name in exported(theirs) if name.startswith("zmq_")}
    assert len(names) > 60
    assert header[0] == names
