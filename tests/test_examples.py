"""Each program of examples/ does what its first lines say, and ends when it is told to."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from leaks import MODULE
from support import TIMEOUT, eventually

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
pytestmark = pytest.mark.skipif(MODULE != "zmq_monocoque", reason="about our examples")


def start(example: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, EXAMPLES / f"{example}.py", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )


def run(example: str, *arguments: object) -> list[str]:
    """Runs it to its end; the lines that it printed."""
    process = start(example, *arguments)
    with process:
        printed, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    return printed.splitlines()


@contextlib.contextmanager
def serving(example: str, *arguments: object) -> Iterator[str]:
    """A server: its endpoint, which it prints first. Ends it, and it has to end well."""
    with start(example, *arguments) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
            process.terminate()
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()


def test_jobs_are_done_by_workers_and_by_members_only(tmp_path):
    run("job_queue", "keys", tmp_path / "keys")
    run("job_queue", "keys", tmp_path / "others")
    own = (tmp_path / "keys" / "queue.key").read_bytes()
    (tmp_path / "others" / "queue.key").write_bytes(own)  # public: a stranger may have it
    with serving("job_queue", "queue", tmp_path / "keys", "tcp://127.0.0.1:*") as endpoint:
        workers = [start("job_queue", "work", tmp_path / "keys", endpoint) for _ in range(2)]
        stranger = start("job_queue", "submit", tmp_path / "others", endpoint, 5)
        try:
            results = run("job_queue", "submit", tmp_path / "keys", endpoint, 7, 12, 30)
            assert sorted(results) == ["12 144", "30 900", "7 49"]
            assert stranger.poll() is None
        finally:
            for process in (*workers, stranger):
                process.kill()
                process.wait()
                assert process.stdout and process.stdout.read() == ""
                process.stdout.close()


def test_a_new_subscriber_gets_the_latest_values_at_once():
    """The next round is an hour away."""
    publisher = serving("metrics", "publish", "tcp://127.0.0.1:*", "--interval", "3600")
    with publisher as endpoint:
        for _ in range(2):
            lines = run("metrics", "watch", endpoint, "memory", "--count", 2)
            names = [line.split()[0] for line in lines]
            assert names == ["memory.free_kb", "memory.available_kb"]


def test_records_of_several_programs_are_in_one_file(tmp_path):
    log = tmp_path / "all.log"
    with serving("log_sink", "sink", "tcp://127.0.0.1:*", log) as endpoint:
        for _ in range(2):
            run("log_sink", "demo", endpoint)
        eventually(lambda: len(log.read_text().splitlines()) == 6)
    lines = log.read_text().splitlines()
    assert len({line.split()[0] for line in lines}) == 2
    assert all("INFO demo: record" in line for line in lines)


def test_every_example_is_listed_and_run():
    listed = (EXAMPLES / "README.md").read_text()
    source = Path(__file__).read_text()
    for example in EXAMPLES.glob("*.py"):
        assert f"`{example.name}`" in listed
        assert f'"{example.stem}"' in source
