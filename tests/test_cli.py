"""``python -m zmq_monocoque``: what a person at a terminal, and a log, get to see."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from leaks import MODULE

import zmq_monocoque
from zmq_monocoque.__main__ import main

pytestmark = pytest.mark.skipif(MODULE != "zmq_monocoque", reason="the commands are our engine's")
TIMEOUT = 50
STEPS = 8


SHIM = Path(zmq_monocoque.__file__).parent / "_shim"


def command(
    *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zmq_monocoque", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=cwd,
        env={**os.environ, **environment},
    )


def test_help_lists_the_commands():
    done = command("--help")
    assert done.returncode == 0
    assert "demo" in done.stdout and "doctor" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["nonsense"], ["doctor", "nonsense"], ["run"], ["run", "-m"]),
        *(["demo", "--nonsense"], ["demo", "--peer", "nonsense"], ["demo", "--seconds"]),
        *(["demo", "--seconds", text] for text in ("0", "-1", "nan", "inf", "1e300", "x", "")),
        *(["bench", "--seconds", text] for text in ("0", "-1", "nan", "inf", "x")),
        *(["bench", "--runs", text] for text in ("0", "-1", "1.5", "x")),
    ],
)
def test_a_usage_error_ends_with_2_and_says_how_it_is_used(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_usage_error_is_all_that_the_program_says():
    done = command("demo", "--nonsense")
    assert done.returncode == 2
    assert "usage:" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["demoo"], "'demoo' is none of bench, capi, curve, demo, doctor"),
        (["demoo"], "did you mean 'demo'?"),
        (
            ["demo", "--secods", "3"],
            "unrecognized arguments: --secods; did you mean '--seconds'?",
        ),
        (["demo", "--secods=3"], "did you mean '--seconds'?"),
        (["demo", "--peer", "pyzm"], "did you mean 'pyzmq'?"),
        (["curve", "keygn"], "did you mean 'keygen'?"),
        (["curve", "keygen", "--jsn"], "did you mean '--json'?"),
        (["log"], "required: ENDPOINT"),
        (["run"], "required: TARGET\n"),
        (["--versoin"], "--versoin; did you mean '--version'?"),
        (["log", "--colour"], "--colour; did you mean '--color'?"),
        (["demo", "--second", "3"], "--second; did you mean '--seconds'?"),
        (["demo", "-s", "3"], "-s; did you mean '--seconds'?"),
        (["run", "--module", "app"], "--module; did you mean '-m'?"),
        (["switch", "--on"], "--on; did you mean 'on'?"),
        (["doctor", "--verbose"], "unrecognized arguments: --verbose\n"),
    ],
)
def test_a_wrong_word_is_told_the_nearest_right_one(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["bench", "capi", "demo", "doctor", "log", "run"])
def test_the_help_of_a_command_has_examples(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    examples = capsys.readouterr().out.partition("examples:\n")[2]
    assert f"zmq-monocoque {name}" in examples


def test_keys_and_logs_are_commands_too(capsys):
    assert main(["curve", "keygen", "--json"]) == 0
    secret = json.loads(capsys.readouterr().out)["secret"]
    assert main(["curve", "keygen", "--json", "--secret", secret]) == 0
    assert json.loads(capsys.readouterr().out)["secret"] == secret
    assert main(["curve", "keygen", "--secret", "~" * 40]) == 1
    assert "~" * 40 not in capsys.readouterr().err
    assert main(["log", "tcp://nosuch"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "line, expected",
    [
        ("zmq-monocoque do", {"doctor "}),
        ("zmq-monocoque demo --se", {"--seconds "}),
        ("zmq-monocoque demo --peer ", {"auto", "pyzmq", "zmq_monocoque"}),
    ],
)
def test_a_shell_completes_the_words(line, expected, tmp_path):
    """As argcomplete's shell function asks: in the environment, and the answer in a file."""
    answer = tmp_path / "answer"
    done = command(
        _ARGCOMPLETE="1",
        _ARGCOMPLETE_IFS="\n",
        _ARGCOMPLETE_SHELL="bash",
        _ARGCOMPLETE_STDOUT_FILENAME=str(answer),
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
    )
    assert done.returncode == 0, done.stderr
    assert set(answer.read_text().split("\n")) >= expected


def test_the_console_script_is_these_commands(monkeypatch, capsys):
    ours = metadata.distribution("zmq_monocoque")
    scripts = [entry for entry in ours.entry_points if entry.name == "zmq-monocoque"]
    if not scripts and "editable" in (ours.read_text("direct_url.json") or ""):
        pytest.skip("an editable installation from before the script: pip install -e .")
    monkeypatch.setattr(sys, "argv", ["/some/bin/zmq-monocoque", "--version"])
    with pytest.raises(SystemExit) as ended:
        scripts[0].load()()
    assert not ended.value.code
    assert capsys.readouterr().out.startswith("zmq_monocoque ")
    monkeypatch.setattr(sys, "argv", ["/some/bin/zmq-monocoque"])
    with pytest.raises(SystemExit):
        scripts[0].load()()
    assert "usage: zmq-monocoque " in capsys.readouterr().err


def test_run_takes_the_name_of_an_installed_program(tmp_path):
    done = command("run", "pytest", "--version", cwd=tmp_path)
    assert (done.returncode, "pytest" in done.stdout) == (0, True), done.stderr
    # With its exit code, and zmq in what it imports.
    (tmp_path / "test_it.py").write_text(
        "import zmq\ndef test_it(): assert zmq.__name__ == 'zmq_monocoque'\n"
        "def test_other(): assert False\n"
    )
    done = command("run", "pytest", "-p", "no:cacheprovider", "test_it.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["-m", "nosuch"], "No module named nosuch"),
        (["-m", "nosuch.part"], "nosuch"),
        (["-m", "zipfile.nosuch"], "zipfile.nosuch"),
        (["-m", "email"], "email"),  # a package that is no program
        (["-m", "sys"], "sys"),
        (["-m", ".relative"], "Relative"),
        (["nosuch.py"], "no such file: nosuch.py"),
        (["pytst"], "no such file: pytst; did you mean 'pytest'?"),
        (["."], "__main__"),
        (["-m", ""], ""),
        ([""], ""),
    ],
)
def test_run_says_in_a_sentence_that_there_is_no_program(arguments, said, tmp_path):
    done = command("run", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("how", [["app.py"], ["-m", "app"]])
@pytest.mark.parametrize(
    "line",
    [
        "import nosuch",
        "open('nosuch')",
        "import runpy; runpy.run_module('nosuch')",
        "raise BrokenPipeError",
    ],
)
def test_an_error_of_the_program_itself_keeps_its_traceback(line, how, tmp_path):
    (tmp_path / "app.py").write_text(line)
    done = command("run", *how, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "app.py" in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "zmq_monocoque", "doctor"],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def facts_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    return {line[:20].strip(): line[20:].strip() for line in done.stdout.splitlines()}


def search_path(*first: Path) -> str:
    return os.pathsep.join(filter(None, [*map(str, first), os.environ.get("PYTHONPATH", "")]))


def test_doctor_says_what_import_zmq_is(tmp_path):
    """Real pyzmq, this engine under its name, pyzmq on this engine, something else, nothing."""
    if importlib.util.find_spec("zmq") is not None:
        facts = facts_of(command("doctor"))
        assert facts["import zmq"].startswith("pyzmq ") and "libzmq" in facts["import zmq"]
        backend = "zmq_monocoque.pyzmq_backend"
        facts = facts_of(command("doctor", PYZMQ_BACKEND=backend))
        assert "on this engine" in facts["import zmq"] and backend in facts["import zmq"]
    facts = facts_of(command("doctor", PYTHONPATH=search_path(SHIM)))
    assert facts["import zmq"].startswith("this engine, ")
    for source, said in (
        ("", "not pyzmq"),
        ("1 / 0", "fails: ZeroDivisionError"),
        ("import nosuch", "fails: ModuleNotFoundError: No module named 'nosuch'"),
        ("import os; os._exit(3)", "ends the process with 3"),
        ("raise ModuleNotFoundError(name='zmq')", "not installed"),
    ):
        (tmp_path / "zmq.py").write_text(source)
        facts = facts_of(command("doctor", PYTHONPATH=search_path(tmp_path)))
        assert said in facts["import zmq"], source


def test_doctor_says_whether_there_is_curve():
    """With PyNaCl, or a wheel that has libsodium in it, and where neither can be found."""
    has_curve = zmq_monocoque.has("curve")
    found = facts_of(command("doctor"))["libsodium (CURVE)"]
    assert found.startswith(("PyNaCl ", "of this wheel") if has_curve else "not installed")
    hidden = (
        "import sys, zmq_monocoque.backend._engine as engine;"
        "engine.library_path = lambda *_: None;"
        "from zmq_monocoque.__main__ import main; sys.exit(main(['doctor']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", hidden], capture_output=True, text=True, timeout=TIMEOUT
    )
    assert "so there is no CURVE" in facts_of(done)["libsodium (CURVE)"]


def test_where_zmq_is_this_engine_the_demo_does_not_call_it_pyzmq():
    path = search_path(SHIM)
    done = command("demo", "--seconds", "0.001", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "the peer on zmq_monocoque as well (import zmq: this engine, " in done.stdout
    assert "libzmq" not in done.stdout
    done = command("demo", "--peer", "pyzmq", PYTHONPATH=path)
    assert done.returncode == 1 and done.stdout == ""
    assert "(import zmq: this engine, " in done.stderr


def test_the_demo_says_how_to_get_the_pyzmq_that_it_was_asked_for(tmp_path):
    (tmp_path / "zmq.py").write_text("raise ModuleNotFoundError(name='zmq')")
    done = command("demo", "--peer", "pyzmq", PYTHONPATH=search_path(tmp_path))
    assert done.returncode == 1 and "pip install pyzmq" in done.stderr


def test_doctor_names_kernel_liburing_and_the_driver_that_runs():
    done = command("doctor", ZMQ_MONOCOQUE_DRIVER="epoll")
    assert done.returncode == 0, done.stderr
    facts = facts_of(done)
    assert facts["driver that runs"] == "epoll"
    assert os.uname().release in facts["machine"]
    assert {"liburing", "io_uring_disabled", "descriptors", "import zmq", "pyzmq"} <= set(facts)


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


def test_with_nothing_on_the_path_the_demo_runs_and_doctor_tells(tmp_path):
    """Whoever has Python and a wheel has no compiler."""
    done = command("demo", "--seconds", "0.01", PATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "every one of them accounted for" in done.stdout
    done = command("doctor", PATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert facts_of(done)["driver that runs"] == zmq_monocoque.backend.driver_name()


def test_the_demo_waits_for_its_peer_as_long_as_that_takes_to_start(monkeypatch, capsys):
    from zmq_monocoque._cli.demo import Demo, Peer

    monkeypatch.setattr(Peer.answer, "__defaults__", (0.0,))
    monkeypatch.setattr(Demo, "run", lambda self, directory: [])
    assert main(["demo"]) == 0
    assert "0 messages, every one" in capsys.readouterr().out


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
