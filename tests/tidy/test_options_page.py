"""docs/reference/options.md says of every option what the engine does with it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import zmq_monocoque as zmq
from zmq_monocoque.constants import SocketOption

#: Numbers that count and measure nothing.
WITHOUT = {"EVENTS", "MECHANISM", "RECONNECT_STOP", "TCP_KEEPALIVE", "TOS", "TYPE"}
SITE = Path(__file__).resolve().parents[2] / "docs" / "site"


@pytest.fixture(scope="module")
def options():
    sys.path.insert(0, str(SITE))
    try:
        yield importlib.import_module("options")
    finally:
        sys.path.remove(str(SITE))


def test_the_page_is_up_to_date(options):
    assert options.PAGE.read_text() == options.page(), "python docs/site/options.py"


def test_every_option_is_told_of_or_said_to_be_refused(options):
    told = options.told
    refused = {name for names in told.REFUSED for name in names.split()}
    assert {option.name for option in SocketOption} == set(told.OPTIONS) | refused
    assert not refused & set(told.OPTIONS)
    placed = [name for names in told.GROUPS.values() for name in names.split()]
    assert sorted(placed) == sorted(told.OPTIONS)
    assert set(options.rows()) <= set(told.OPTIONS)


def test_no_row_leaves_a_fact_out(options):
    table = options.rows()
    for name, own in options.told.OPTIONS.items():
        row = options.row_of(name, table)
        assert own.text and own.since, name
        assert set(row) >= {"kind", "range", "sockets", "access"} and all(row.values()), name
        assert own.effect or "set" not in row["access"], f"{name}: when does it take effect?"
        assert own.unit or not row["kind"].startswith("int") or name in WITHOUT, f"{name}: unit?"


def test_what_can_be_read_is_what_the_engine_answers(options):
    readable = set()
    with zmq.Context() as context:
        for socket_type in options.STABLE:
            with context.socket(socket_type) as socket:
                for option in SocketOption:
                    try:
                        socket.get(option)
                    except zmq.ZMQError:
                        continue
                    readable.add(option.name)
    table = options.rows()
    rows = {name: options.row_of(name, table) for name in options.told.OPTIONS}
    assert readable == {name for name, row in rows.items() if "read" in row["access"]}
