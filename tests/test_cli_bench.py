"""``python -m zmq_monocoque bench``: what it prints, writes and leaves."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import xml.etree.ElementTree
from pathlib import Path

import pytest
from leaks import MODULE

import zmq_monocoque
from zmq_monocoque._cli.bench import WORKLOADS

pytestmark = pytest.mark.skipif(MODULE != "zmq_monocoque", reason="the commands are our engine's")
TIMEOUT = 55


SHIM = Path(zmq_monocoque.__file__).parent / "_shim"


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zmq_monocoque", "bench", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, **environment},
    )


def test_a_quick_run_shows_every_engine_that_is_there_and_writes_every_figure(tmp_path):
    file = tmp_path / "figures.json"
    done = bench("--quick", "--json", str(file), "stream tcp 64 B", "round trip")
    assert done.returncode == 0, done.stderr
    # Whether others compute here meanwhile, the test cannot know.
    assert all(line.startswith("warning: other programs") for line in done.stderr.splitlines())
    written = json.loads(file.read_text())
    engines = list(written["engines"])
    assert engines[0] == "zmq_monocoque"
    assert ("pyzmq" in engines) == (importlib.util.find_spec("zmq") is not None)
    shown = [(line[2:24].strip(), line.split()) for line in done.stdout.splitlines()]
    for engine in engines[:2]:
        assert [engine in words for _, words in shown].count(True) >= 2
    assert {"stream tcp 64 B", "round trip tcp 64 B"} <= {name for name, _ in shown}
    ours = [f for f in written["results"] if f["engine"] == "zmq_monocoque"]
    assert all(f["rate"] > 0 and f["sender"] > 0 and f["receiver"] > 0 for f in ours)
    assert ours[1]["p99"] >= ours[1]["p50"] > 0


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_every_workload_runs_on_this_engine(workload):
    from zmq_monocoque._cli import bench
    from zmq_monocoque._cli.demo import Stop

    if "ZM_SANITIZE" in os.environ:
        # A queue full of 1 MB takes its runtime longer than the sender lingers.
        workload = dataclasses.replace(workload, size=min(workload.size, 16_000))
    with Stop() as stop:
        figures = bench.measure(workload, "zmq_monocoque", 0.01, stop)
    assert figures.rate and figures.error is None


def test_a_name_that_no_workload_has_is_a_usage_error_and_lists_those_there_are():
    done = bench("nonsense")
    assert done.returncode == 2
    assert "stream tcp 64 B" in done.stderr


def test_a_picture_is_drawn_where_matplotlib_is_and_asked_for_where_not(tmp_path):
    from zmq_monocoque._cli.bench import Figures

    path = tmp_path / "out.svg"
    if importlib.util.find_spec("matplotlib") is None:
        done = bench("--quick", "--plot", str(path))
        assert done.returncode == 1
        assert "zmq_monocoque[bench]" in done.stderr
        return
    from zmq_monocoque._cli import plot

    about = {"engines": {"a": "1", "b": "2"}, "machine": "m", "processors": "2", "Python": "3"}
    plot.draw(
        [
            [Figures("w", "a", rate=2.0), Figures("w", "b", rate=1.0)],
            [Figures("x", "a", rate=2.0), Figures("x", "b", error="no")],
        ],
        about,
        str(path),
    )
    assert xml.etree.ElementTree.parse(path).getroot().tag.endswith("svg")


def test_an_engine_that_fails_is_shown_and_the_others_go_on():
    from zmq_monocoque._cli import bench
    from zmq_monocoque._cli.demo import Stop

    started = []
    with Stop() as stop:
        found = bench.measure_in_turn(
            bench.WORKLOADS[0],
            [("zmq_monocoque", "zmq_monocoque"), ("other", "no_such_module")],
            2,
            0.01,
            stop,
            started.append,
        )
    assert [bool(f.error) for f in found] == [False, True]
    assert "no_such_module" in "\n".join(bench.rows(found))
    assert len(started) == 4


def test_a_ratio_is_of_round_trips_where_there_are_any():
    from zmq_monocoque._cli.bench import Figures, ratio

    ours, theirs = Figures("w", "a", rate=9.0, p50=1.0), Figures("w", "b", rate=1.0, p50=4.0)
    assert ratio(ours, theirs) == 4.0
    ours.p50 = None
    assert ratio(ours, theirs) == 9.0
    assert ratio(ours, Figures("w", "b", error="no")) is None


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_bench_leaves_no_process(number, code):
    """They are a process group of their own, which is gone with the last of them."""
    process = subprocess.Popen(
        [sys.executable, "-m", "zmq_monocoque", "bench", "--seconds", "30", "stream tcp 64 B"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    try:
        assert process.stdout and process.stderr
        while b"workload" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == code
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    finally:
        process.kill()
        process.wait()


def test_an_interrupt_while_the_watch_is_set_does_not_wait_for_it(monkeypatch):
    """Timers are threads, and Python waits for those at its end."""
    from zmq_monocoque._cli import bench

    timers = []

    class Interrupted(threading.Timer):
        def start(self):
            super().start()
            timers.append(self)
            raise bench.Stopped(signal.SIGTERM)

    monkeypatch.setattr(bench.threading, "Timer", Interrupted)
    with bench.side(bench.Stop(), {"seconds": 0}) as process, pytest.raises(bench.Stopped):
        process.line()
    assert [timer.daemon for timer in timers] == [True]
    timers[0].cancel()
    timers[0].join(TIMEOUT)


def test_progress_rewrites_one_line_on_a_terminal_and_says_nothing_elsewhere():
    import io

    from zmq_monocoque._cli.bench import Progress

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, log = Terminal(), io.StringIO()
    for out in (terminal, log):
        progress = Progress(out, steps=2)
        progress.start("first")
        progress.start("second")
        progress.clear()
    assert "[##########..........] second, about" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K") and "\n" not in terminal.getvalue()
    assert log.getvalue() == ""


def test_the_figures_are_medians_of_the_runs():
    from zmq_monocoque._cli.bench import Figures, median_of

    runs = [Figures("w", "a", rate=rate, p50=None) for rate in (1.0, 5.0, 2.0)]
    assert median_of(runs) == Figures("w", "a", rate=2.0, spread=2.0)
    assert median_of(runs[:1]) == Figures("w", "a", rate=1.0)
    trips = [Figures("w", "a", rate=rate, p50=p50) for rate, p50 in ((1.0, 2.0), (5.0, 3.0))]
    assert median_of(trips).spread == pytest.approx(0.4)


def test_others_that_compute_are_seen_and_what_we_compute_is_not():
    """Counted as the kernel does: other processes' time, and not our children's."""
    from zmq_monocoque._cli.machine import Others

    if Others().processors() is None and not os.access("/proc/stat", os.R_OK):
        pytest.skip("no /proc/stat here")
    burn = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass"
    ours = Others()
    subprocess.run([sys.executable, "-c", burn], check=True)
    _, busy, own = (b - a for a, b in zip(ours._before, ours._read(), strict=True))
    assert own >= 0.4  # a child of ours, and reaped
    seen = Others()
    process = subprocess.Popen(
        [sys.executable, "-c", burn + "\nprint(flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout and process.stdin
        process.stdout.readline()
        # Not reaped: somebody else, for all that we know.
        assert seen.processors() > 0.1
        process.stdin.close()


def test_where_others_compute_bench_warns(monkeypatch, capsys):
    from zmq_monocoque._cli import bench
    from zmq_monocoque._cli.machine import Others

    for used, warned in ((0.0, False), (1.5, True), (None, False)):
        monkeypatch.setattr(Others, "processors", lambda self, used=used: used)
        bench.warn_of(Others(), "use")
        assert ("warning: other programs use 1.5 of" in capsys.readouterr().err) is warned


#: In a child: there is no pyzmq, whatever is installed.
NO_ZMQ = """
import sys

class Nothing:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "zmq":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing)
"""


def test_without_pyzmq_bench_says_how_to_get_it(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NO_ZMQ)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = bench("--quick", "stream tcp 64 B", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "pip install pyzmq" in done.stdout
    assert "\n                        pyzmq" not in done.stdout


def test_where_zmq_is_this_engine_bench_does_not_call_it_pyzmq():
    path = os.pathsep.join(filter(None, [str(SHIM), os.environ.get("PYTHONPATH")]))
    done = bench("--quick", "stream tcp 64 B", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "without pyzmq (import zmq: this engine, " in done.stdout
    assert "\n                        pyzmq" not in done.stdout


def test_what_cannot_be_written_is_known_before_anything_is_measured(tmp_path):
    for arguments in (
        ("--json", str(tmp_path)),
        ("--json", str(tmp_path / "missing" / "out.json")),
        ("--plot", str(tmp_path / "picture.txt")),
        ("--plot", str(tmp_path / "missing" / "out.svg")),
    ):
        done = bench(*arguments)
        assert done.returncode == 2 and done.stdout == "", arguments
        assert "Traceback" not in done.stderr


def test_a_file_that_cannot_be_written_in_the_end_is_a_sentence():
    done = bench("--quick", "stream tcp 64 B", "--json", "/dev/full")
    assert done.returncode == 1
    assert "not written:" in done.stderr and "Traceback" not in done.stderr
    assert "stream tcp 64 B" in done.stdout


def test_options_are_explained():
    from zmq_monocoque._cli import bench

    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    assert {"--quick", "--json", "--plot"} <= set(parser.format_help().split())
