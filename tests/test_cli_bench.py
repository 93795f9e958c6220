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

import pytest
from leaks import MODULE

pytestmark = pytest.mark.skipif(MODULE != "zmq_monocoque", reason="the commands are our engine's")
TIMEOUT = 55


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zmq_monocoque", "bench", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def test_a_quick_run_shows_every_engine_that_is_there_and_writes_every_figure(tmp_path):
    file = tmp_path / "figures.json"
    done = bench("--quick", "--json", str(file), "stream tcp 64 B", "round trip")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
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


def test_every_workload_runs_on_this_engine():
    from zmq_monocoque._cli import bench
    from zmq_monocoque._cli.demo import Stop

    with Stop() as stop:
        for workload in bench.WORKLOADS:
            if "ZM_SANITIZE" in os.environ:
                # A queue full of 1 MB takes its runtime longer than the sender lingers.
                workload = dataclasses.replace(workload, size=min(workload.size, 16_000))
            figures = bench.measure(workload, "zmq_monocoque", 0.01, stop)
            assert figures.rate and figures.error is None, workload.name


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
    assert median_of(runs) == Figures("w", "a", rate=2.0)


def test_options_are_explained():
    from zmq_monocoque._cli import bench

    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    assert {"--quick", "--json", "--plot"} <= set(parser.format_help().split())
