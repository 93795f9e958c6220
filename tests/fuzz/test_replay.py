"""The fuzz targets, built with gcc's sanitizers and run over their corpora.

A corpus is what the fuzzer found worth keeping, and what once failed; the target ``greeting`` gets
every transcript of tests/zmtp besides. Set ``ZM_FUZZ_ROUNDS`` to run more damaged copies of each.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from zmtp import transcripts as t
from zmtp.transcripts import zmtp

HERE = Path(__file__).parent
ROUNDS = int(os.environ.get("ZM_FUZZ_ROUNDS", "4"))
TRANSCRIPT_ROUNDS = int(os.environ.get("ZM_FUZZ_ROUNDS", "60"))
CANARY_ROUNDS = 5000
SEED = int(os.environ.get("ZM_FUZZ_SEED", "1"))

#: Near the defect that the target is to find.
SEEDS = {
    "commands": bytes([5, 0, 1, 5, 7]) + b"Subject",  # a command of 7 bytes
    "framing": bytes([5, 0, 4, 4, 6]) + b"\4PONGa",  # a command of 6 bytes
    "curve_stream": bytes([5, 0, 0, 5, 0, 0]),  # a sealed message without flags or text
}

#: The first byte of an input: index of the socket type, limit of 500, a routing id.
LIMITED, NAMED = 0x10, 0x20


def _load(name: str):
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


targets = _load("targets")


def build(directory: Path, with_canary: bool) -> Path:
    program = directory / "replay"
    try:
        targets.build_replay(program, with_canary)
    except targets.NoCompiler as missing:
        pytest.skip(str(missing))
    return program


@pytest.fixture(scope="module")
def replay(tmp_path_factory) -> Path:
    """The harness, built."""
    return build(tmp_path_factory.mktemp("fuzz"), with_canary=False)


@pytest.fixture(scope="module")
def spoilt_replay(tmp_path_factory) -> Path:
    """The harness with the planted defects, built."""
    return build(tmp_path_factory.mktemp("fuzz"), with_canary=True)


def run(program: Path, directory: Path, target: str, files, rounds: int, canary: int = 0):
    return subprocess.run(
        [program, str(rounds), str(SEED), *files],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=280,
        env=targets.environment(target, canary),
    )


def runs_well(program: Path, directory: Path, target: str, files, rounds: int) -> int:
    """Runs the harness; returns the inputs it ran."""
    done = run(program, directory, target, files, rounds)
    assert done.returncode == 0, f"seed {SEED}, input in {directory}/crash.bin\n{done.stderr}"
    return int(done.stdout)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("target", targets.TARGETS)
def test_a_corpus_and_damaged_copies_of_it_do_no_harm(replay, target, tmp_path):
    corpus = sorted((targets.CORPORA / target).iterdir())
    assert corpus
    assert runs_well(replay, tmp_path, target, corpus, ROUNDS) == len(corpus) * (ROUNDS + 1)


@pytest.mark.timeout(300)
def test_the_transcripts_and_damaged_copies_of_them_do_no_harm(replay, tmp_path):
    files = []
    for i, transcript in enumerate(t.ALL):
        head = getattr(zmtp, transcript.kind)
        for j, more in enumerate((0, LIMITED | NAMED)):
            path = tmp_path / f"{i}-{j}"
            path.write_bytes(bytes([head | more, 7 * i % 256]) + transcript.received)
            files.append(path)
    expected = len(files) * (TRANSCRIPT_ROUNDS + 1)
    assert runs_well(replay, tmp_path, "greeting", files, TRANSCRIPT_ROUNDS) == expected


@pytest.mark.timeout(300)
@pytest.mark.parametrize("canary, target", targets.CANARIES.items())
def test_a_planted_defect_is_found(spoilt_replay, canary, target, tmp_path):
    """From a seed that does not show it; and the input that does is kept."""
    seed = tmp_path / "seed"
    seed.write_bytes(SEEDS[target])
    assert run(spoilt_replay, tmp_path, target, [seed], 0, canary).returncode == 0
    assert run(spoilt_replay, tmp_path, target, [seed], CANARY_ROUNDS).returncode == 0
    done = run(spoilt_replay, tmp_path, target, [seed], CANARY_ROUNDS, canary)
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr or "not so" in done.stderr
    found = tmp_path / "crash.bin"
    assert run(spoilt_replay, tmp_path, target, [found], 0, canary).returncode != 0
    assert run(spoilt_replay, tmp_path, target, [found], 0).returncode == 0


def test_the_harness_can_fail(replay, tmp_path):
    """A file that is not there is an error, so that an empty run is never a good one."""
    assert run(replay, tmp_path, "null", [tmp_path / "missing"], 0).returncode != 0


@pytest.mark.parametrize("missing", ["the compiler", "libFuzzer"])
def test_the_fuzz_run_says_what_to_install_and_fails(missing, tmp_path):
    """libFuzzer is missing from a compiler that says so, as clang does."""
    compiler = tmp_path / "clang-here"
    if missing == "libFuzzer":
        compiler.write_text(
            "#!/bin/sh\necho 'cannot find libclang_rt.fuzzer-x86_64.a' >&2\nexit 1\n"
        )
        compiler.chmod(0o755)
    done = subprocess.run(
        [sys.executable, HERE / "run.py", "null"],
        env=targets.environment("null") | {"CC": str(compiler)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "apt-get install clang libclang-rt-14-dev" in done.stderr
