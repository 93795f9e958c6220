"""A pytest plugin, loaded into the runs of pyzmq's tests: writes down what happens, as it happens.

PYZMQ_SUITE_RECORD   the file: a JSON object a line
PYZMQ_SUITE_PART     "mypy": only the tests of typing; "rest": all others
PYZMQ_SUITE_DONE     a file of tests, one a line, that have been run already
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

MYPY = "tests/test_mypy.py"


def pytest_configure(config: Any) -> None:
    if not hasattr(config, "workerinput"):  # with xdist, only the process in charge writes
        config.pluginmanager.register(Recorder(Path(os.environ["PYZMQ_SUITE_RECORD"])))


def pytest_collection_modifyitems(items: list[Any]) -> None:
    done = set(Path(os.environ["PYZMQ_SUITE_DONE"]).read_text(encoding="utf-8").splitlines())
    is_mypy_part = os.environ["PYZMQ_SUITE_PART"] == "mypy"
    items[:] = [
        item
        for item in items
        if item.nodeid not in done and item.nodeid.startswith(MYPY) == is_mypy_part
    ]


class Recorder:
    """Writes the file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def _write(self, **record: Any) -> None:
        self._file.write(json.dumps(record) + "\n")

    def pytest_collection_finish(self, session: Any) -> None:
        if session.items:
            self._write(collected=[item.nodeid for item in session.items])

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._write(test=report.nodeid, when="collect", outcome="failed", text=_text(report))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write(started=nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._write(
            test=report.nodeid, when=report.when, outcome=report.outcome, text=_text(report)
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self._write(collected=ids)


def _text(report: Any) -> str:
    """Why it was skipped, or how it failed."""
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return "" if report.outcome == "passed" else report.longreprtext
