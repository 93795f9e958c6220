"""The fuzz target of the session, built with gcc's sanitizers and run over a corpus.

The corpus is the files of ``corpus/session`` (what once was found, and what no transcript has)
and every transcript of tests/wire. Set ``ZM_FUZZ_ROUNDS`` to run more damaged copies of each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support_c import own_environment
from wire import transcripts as t
from wire.transcripts import zmtp

HERE = Path(__file__).parent
ENGINE = HERE.parents[1] / "zmq_monocoque" / "_engine"
CORPUS = sorted((HERE / "corpus" / "session").iterdir())
ROUNDS = int(os.environ.get("ZM_FUZZ_ROUNDS", "60"))
SEED = int(os.environ.get("ZM_FUZZ_SEED", "1"))

#: The first byte of an input: index of the socket type, limit of 500, a routing id.
LIMITED, NAMED = 0x10, 0x20


@pytest.fixture(scope="module")
def replay(tmp_path_factory) -> Path:
    """The harness, built."""
    compiler = shutil.which("gcc")
    if not compiler:
        pytest.skip("no gcc")
    program = tmp_path_factory.mktemp("fuzz") / "replay"
    sources = [
        HERE / "replay.c",
        HERE / "fuzz_session.c",
        *sorted((ENGINE / "wire").glob("*.c")),
        ENGINE / "base" / "alloc.c",
        ENGINE / "base" / "check.c",
        ENGINE / "base" / "crypto.c",
    ]
    flags = "-std=gnu11 -g -O1 -pthread -fsanitize=address,undefined".split()
    flags.append("-fno-sanitize-recover=all")
    subprocess.run(
        [compiler, *flags, "-I", ENGINE, *sources, "-o", program], check=True, timeout=120
    )
    return program


def run(program: Path, directory: Path, files, rounds: int) -> int:
    """Runs the harness; returns the inputs it ran."""
    done = subprocess.run(
        [program, str(rounds), str(SEED), *files],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=300,
        env=own_environment(),
    )
    assert done.returncode == 0, f"seed {SEED}, input in {directory}/crash.bin\n{done.stderr}"
    return int(done.stdout)


def test_the_corpus_does_no_harm(replay, tmp_path):
    assert CORPUS
    assert run(replay, tmp_path, CORPUS, ROUNDS) == len(CORPUS) * (ROUNDS + 1)


@pytest.mark.timeout(300)
def test_the_transcripts_and_damaged_copies_of_them_do_no_harm(replay, tmp_path):
    files = []
    for i, transcript in enumerate(t.ALL):
        head = getattr(zmtp, transcript.kind)
        for j, more in enumerate((0, LIMITED | NAMED)):
            path = tmp_path / f"{i}-{j}"
            path.write_bytes(bytes([head | more, 7 * i % 256]) + transcript.received)
            files.append(path)
    assert run(replay, tmp_path, files, ROUNDS) == len(files) * (ROUNDS + 1)


def test_the_harness_can_fail(replay, tmp_path):
    """A file that is not there is an error, so that an empty run is never a good one."""
    with pytest.raises(AssertionError):
        run(replay, tmp_path, [tmp_path / "missing"], 0)
