"""``python -m zmq_monocoque``: what a person at a terminal, and a log, get to see."""

from __future__ import annotations

import importlib.util
import io
import os
import signal
import subprocess
import sys

import pytest
from leaks import MODULE

pytestmark = pytest.mark.skipif(MODULE != "zmq_monocoque", reason="the commands are our engine's")
TIMEOUT = 50
STEPS = 8


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zmq_monocoque", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, **environment},
    )


def test_help_lists_the_commands():
    done = command("--help")
    assert done.returncode == 0
    assert "demo" in done.stdout and "doctor" in done.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], [], ["demo", "--nonsense"]])
def test_a_usage_error_ends_with_2_and_says_how_it_is_used(arguments):
    done = command(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_doctor_names_kernel_liburing_and_the_driver_that_runs():
    done = command("doctor", ZMQ_MONOCOQUE_DRIVER="epoll")
    assert done.returncode == 0, done.stderr
    facts = {line[:20].strip(): line[20:].strip() for line in done.stdout.splitlines()}
    assert facts["driver that runs"] == "epoll"
    assert os.uname().release in facts["machine"]
    assert {"liburing", "io_uring_disabled", "descriptors", "pyzmq"} <= set(facts)


@pytest.mark.parametrize("peer", ["pyzmq", "zmq_monocoque"])
def test_the_demo_accounts_for_every_message_and_prints_a_table(peer, tmp_path):
    if peer == "pyzmq" and importlib.util.find_spec("zmq") is None:
        pytest.skip("pyzmq is not installed")
    done = command("demo", "--peer", peer, "--seconds", "0.1", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("  ")]
    shown = [(row[0], row[1]) for row in rows if row and row[0].isupper()]
    assert shown == [
        (pattern, transport)
        for pattern in ("REQ/REP", "PUSH/PULL", "PUSH/PULL", "PUB/SUB")
        for transport in ("tcp", "ipc")
    ]
    assert "every one of them accounted for" in done.stdout
    assert f"[{STEPS}/{STEPS}]" in done.stderr  # progress, a line a step where no terminal is
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_leaves_no_process_and_no_file(number, code, tmp_path):
    """The demo's peer inherits its stderr: reading that to its end shows that both are gone."""
    process = subprocess.Popen(
        [sys.executable, "-m", "zmq_monocoque", "demo", "--seconds", "30"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        assert process.stderr
        seen = b""
        while b"REQ/REP over tcp: " not in seen:
            piece = os.read(process.stderr.fileno(), 4096)
            assert piece, seen
            seen += piece
        process.send_signal(number)
        process.stderr.read()
        assert process.wait(TIMEOUT) == code
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert list(tmp_path.iterdir()) == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_rewrites_one_line_on_a_terminal_and_takes_it_away():
    from zmq_monocoque._cli.demo import Progress

    out = Terminal()
    progress = Progress(out, steps=2)
    progress.start("first")
    progress.finish(1000)
    progress.start("second")
    progress.draw(1234, 0.5)
    progress.finish(2000)
    progress.clear()
    assert "\n" not in out.getvalue()
    assert "[###############.....] second: 1,234 messages" in out.getvalue()
    assert out.getvalue().endswith("\r\x1b[K")


def test_a_percentile_is_a_sample_that_so_many_do_not_exceed():
    from zmq_monocoque._cli.demo import percentile

    samples = [float(n) for n in range(1, 101)]
    assert (percentile(samples, 50), percentile(samples, 99)) == (50.0, 99.0)
    assert percentile([7.0], 99) == 7.0
