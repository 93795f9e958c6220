"""What a monitor tells, event for event (semantics.md#monitoring)."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from support import (
    TIMEOUT,
    RawListener,
    errno_of,
    eventually,
    free_port,
    fresh_inproc,
    monitor_events,
    monitored,
    wait_for_event,
    zmtp_connect,
)
from support.zmtp import command, frame, greeting, properties, ready

UNEXPECTED_COMMAND = 0x10000001
MECHANISM_MISMATCH = 0x11000002


def names(zmq, events) -> list[str]:
    """Event numbers as names; a CONNECT_DELAYED is left out, since a connect may be immediate."""
    return [zmq.Event(e).name for e, *_ in events if e != zmq.EVENT_CONNECT_DELAYED]


def test_bind_connect_and_handshake_are_told(zmq, make):
    """The listening side and the connecting side, with values and endpoints."""
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    am, bm = monitored(a), monitored(b)
    a.bind("tcp://127.0.0.1:*")
    address = a.LAST_ENDPOINT
    b.connect(address)
    listening, accepted, done = wait_for_event(am, zmq.EVENT_HANDSHAKE_SUCCEEDED)
    assert listening[0] == zmq.EVENT_LISTENING and listening[2] == address
    assert accepted[0] == zmq.EVENT_ACCEPTED and accepted[2] == address
    assert done == (zmq.EVENT_HANDSHAKE_SUCCEEDED, 0, address)
    assert os.fstat(listening[1]) and os.fstat(accepted[1]), "both values are descriptors"
    events = wait_for_event(bm, zmq.EVENT_HANDSHAKE_SUCCEEDED)
    assert events[0] == (zmq.EVENT_CONNECT_DELAYED, errno.EINPROGRESS, address)
    assert names(zmq, events) == ["CONNECTED", "HANDSHAKE_SUCCEEDED"]
    assert os.fstat(events[1][1])
    assert events[2] == (zmq.EVENT_HANDSHAKE_SUCCEEDED, 0, address)


def test_ipc_connects_without_delay(zmq, make, ipc_address):
    """No CONNECT_DELAYED."""
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    m = monitored(b)
    a.bind(ipc_address)
    b.connect(ipc_address)
    events = wait_for_event(m, zmq.EVENT_HANDSHAKE_SUCCEEDED)
    assert [e for e, *_ in events] == [zmq.EVENT_CONNECTED, zmq.EVENT_HANDSHAKE_SUCCEEDED]
    assert events[0][2] == ipc_address.encode()


def test_inproc_tells_nothing(zmq, make):
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    am, bm = monitored(a), monitored(b)
    address = fresh_inproc()
    a.bind(address)
    b.connect(address)
    b.send(b"x")
    assert a.recv() == b"x"
    b.close()
    eventually(lambda: (a.events, bm.poll(0))[1])  # libzmq ends b's pipe in a's calls (S-54)
    assert wait_for_event(bm, zmq.EVENT_MONITOR_STOPPED) == [(zmq.EVENT_MONITOR_STOPPED, 0, b"")]
    a.disable_monitor()
    assert wait_for_event(am, zmq.EVENT_MONITOR_STOPPED) == [(zmq.EVENT_MONITOR_STOPPED, 0, b"")]


def test_a_refused_connect_is_tried_again(zmq, make):
    """CLOSED, CONNECT_RETRIED with the interval, over and over."""
    s = make(zmq.PUSH, reconnect_ivl=20)
    m = monitored(s)
    s.connect(f"tcp://127.0.0.1:{free_port()}")
    events = wait_for_event(m, zmq.EVENT_CONNECT_RETRIED, times=3)
    assert names(zmq, events) == ["CLOSED", "CONNECT_RETRIED"] * 3
    waits = [v for e, v, _ in events if e == zmq.EVENT_CONNECT_RETRIED]
    assert all(20 <= w < 40 for w in waits), waits


def test_a_missing_ipc_path_is_tried_again(zmq, make, ipc_address):
    s = make(zmq.PUSH, reconnect_ivl=20)
    m = monitored(s)
    s.connect(ipc_address)
    events = wait_for_event(m, zmq.EVENT_CONNECT_RETRIED, times=2)
    assert names(zmq, events) == ["CLOSED", "CONNECT_RETRIED"] * 2


def test_intervals_double_up_to_their_limit(zmq, make):
    """S-22: with IVL_MAX no jitter."""
    s = make(zmq.PUSH, reconnect_ivl=10, reconnect_ivl_max=50)
    m = monitored(s)
    s.connect(f"tcp://127.0.0.1:{free_port()}")
    events = wait_for_event(m, zmq.EVENT_CONNECT_RETRIED, times=5)
    waits = [v for e, v, _ in events if e == zmq.EVENT_CONNECT_RETRIED]
    assert waits == [10, 20, 40, 50, 50]


def test_without_reconnect_a_refused_connect_is_the_end(zmq, make):
    """reconnect_ivl: CONNECT_DELAYED, CLOSED, end."""
    s = make(zmq.PUSH, reconnect_ivl=-1)
    m = monitored(s)
    s.connect(f"tcp://127.0.0.1:{free_port()}")
    events = wait_for_event(m, zmq.EVENT_CLOSED)
    assert names(zmq, events) == ["CLOSED"]
    assert not m.poll(200)


def test_a_peer_that_leaves_is_told_and_looked_for(zmq, make):
    """DISCONNECTED, then the attempts to come back."""
    with RawListener() as mock:
        s = make(zmq.DEALER, reconnect_ivl=20)
        m = monitored(s)
        s.connect(mock.endpoint)
        peer = mock.accept()
        peer.handshake("DEALER", b"")
        wait_for_event(m, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        peer.close()
        mock.accept().handshake("DEALER", b"")
        events = wait_for_event(m, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        assert names(zmq, events) == [
            "DISCONNECTED",
            "CONNECT_RETRIED",
            "CONNECTED",
            "HANDSHAKE_SUCCEEDED",
        ]
        assert all(endpoint == mock.endpoint.encode() for *_, endpoint in events)


def test_the_bound_side_is_told_that_a_peer_left(zmq, make):
    s = make(zmq.DEALER)
    s.bind("tcp://127.0.0.1:*")
    m = monitored(s)
    with zmtp_connect(s) as peer:
        peer.handshake("DEALER", b"")
        wait_for_event(m, zmq.EVENT_HANDSHAKE_SUCCEEDED)
    event, _, endpoint = wait_for_event(m, zmq.EVENT_DISCONNECTED)[-1]
    assert endpoint == s.LAST_ENDPOINT


def test_a_disconnect_of_ones_own_is_not_told(zmq, make):
    """Neither DISCONNECTED nor anything else on the caller's monitor."""
    a, b = make(zmq.DEALER), make(zmq.DEALER)
    am, bm = monitored(a), monitored(b)
    a.bind("tcp://127.0.0.1:*")
    b.connect(a.LAST_ENDPOINT)
    wait_for_event(am, zmq.EVENT_HANDSHAKE_SUCCEEDED)
    wait_for_event(bm, zmq.EVENT_HANDSHAKE_SUCCEEDED)
    b.disconnect(a.LAST_ENDPOINT)

    def the_other_side_knows():
        _ = b.events
        return [e for e, *_ in monitor_events(am)] == [zmq.EVENT_DISCONNECTED]

    eventually(the_other_side_knows)
    assert monitor_events(bm) == []


def test_an_unbind_closes_the_listener(zmq, make):
    """CLOSED with its descriptor."""
    s = make(zmq.DEALER)
    m = monitored(s)
    s.bind("tcp://127.0.0.1:*")
    ((_, fd, address),) = wait_for_event(m, zmq.EVENT_LISTENING)
    s.unbind(s.LAST_ENDPOINT)
    assert wait_for_event(m, zmq.EVENT_CLOSED) == [(zmq.EVENT_CLOSED, fd, address)]


def test_a_bind_that_fails_is_told(zmq, make):
    """BIND_FAILED with its errno."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        s = make(zmq.DEALER)
        m = monitored(s)
        assert errno_of(zmq.ZMQError, s.bind, address) == errno.EADDRINUSE
        event, value, _ = wait_for_event(m, zmq.EVENT_BIND_FAILED)[-1]
        assert (event, value) == (zmq.EVENT_BIND_FAILED, errno.EADDRINUSE)


def test_a_silent_peer_fails_the_handshake(zmq, make):
    """NO_DETAIL(EAGAIN) after HANDSHAKE_IVL, then the retry."""
    with RawListener() as mock:
        s = make(zmq.DEALER, handshake_ivl=50, reconnect_ivl=20)
        m = monitored(s)
        s.connect(mock.endpoint)
        events = wait_for_event(m, zmq.EVENT_CONNECT_RETRIED)
        assert names(zmq, events) == [
            "CONNECTED",
            "HANDSHAKE_FAILED_NO_DETAIL",
            "DISCONNECTED",
            "CONNECT_RETRIED",
        ]
        assert events[-3][1] == errno.EAGAIN


def test_a_peer_that_leaves_early_fails_the_handshake(zmq, make):
    """NO_DETAIL(EPIPE), then the retry."""
    with RawListener() as mock:
        s = make(zmq.DEALER, reconnect_ivl=20)
        m = monitored(s)
        s.connect(mock.endpoint)
        peer = mock.accept()
        peer.recv_exactly(10)
        peer.close()
        events = wait_for_event(m, zmq.EVENT_CONNECT_RETRIED)
        assert names(zmq, events) == [
            "CONNECTED",
            "HANDSHAKE_FAILED_NO_DETAIL",
            "DISCONNECTED",
            "CONNECT_RETRIED",
        ]
        assert events[-3][1] == errno.EPIPE


ERROR_400 = command(b"ERROR", b"\x03400")
BAD_HANDSHAKES = {
    "another mechanism": (
        greeting(mechanism=b"PLAIN"),
        b"",
        ["HANDSHAKE_FAILED_PROTOCOL", "DISCONNECTED"],
        MECHANISM_MISMATCH,
    ),
    "another socket type": (greeting(), ready("PUB"), ["DISCONNECTED"], None),
    "an unknown command": (
        greeting(),
        command(b"HELLO", b"?"),
        ["HANDSHAKE_FAILED_PROTOCOL", "DISCONNECTED"],
        UNEXPECTED_COMMAND,
    ),
    "an ERROR with a status": (
        greeting(),
        ERROR_400,
        ["HANDSHAKE_FAILED_AUTH", "DISCONNECTED"],
        400,
    ),
    "an ERROR with a text": (
        greeting(),
        command(b"ERROR", b"\x04nope"),
        ["DISCONNECTED"],
        None,
    ),
    "a READY with rest": (
        greeting(),
        command(b"READY", properties({b"Socket-Type": b"DEALER"}) + b"\0"),
        ["DISCONNECTED"],
        None,
    ),
}


def fail(peer, hello: bytes, rest: bytes) -> None:
    """Says something bad; after the other side's READY, since libzmq looks no earlier."""
    peer.send(hello)
    if rest:
        peer.recv_exactly(64)
        assert peer.recv_command()[0] == b"READY"
        peer.send(rest)


@pytest.mark.parametrize("case", BAD_HANDSHAKES)
def test_a_connecter_gives_up_after_a_bad_handshake(zmq, make, case):
    """S-25: the events, and no further attempt."""
    hello, rest, wanted, value = BAD_HANDSHAKES[case]
    with RawListener() as mock:
        s = make(zmq.DEALER, reconnect_ivl=1)
        m = monitored(s)
        s.connect(mock.endpoint)
        peer = mock.accept()
        fail(peer, hello, rest)
        events = wait_for_event(m, zmq.EVENT_DISCONNECTED)
        assert names(zmq, events) == ["CONNECTED", *wanted]
        if value is not None:
            assert events[-2][1] == value
        assert peer.closed_by_peer()
        assert mock.nobody_comes()
        assert monitor_events(m) == []


@pytest.mark.parametrize("case", BAD_HANDSHAKES)
def test_a_listener_tells_of_a_bad_handshake(zmq, make, case):
    """The same events on the bound side."""
    hello, rest, wanted, value = BAD_HANDSHAKES[case]
    s = make(zmq.DEALER)
    s.bind("tcp://127.0.0.1:*")
    m = monitored(s)
    with zmtp_connect(s) as peer:
        fail(peer, hello, rest)
        events = wait_for_event(m, zmq.EVENT_DISCONNECTED)
        assert names(zmq, events) == ["ACCEPTED", *wanted]
        if value is not None:
            assert events[-2][1] == value


def test_a_broken_frame_after_the_handshake_disconnects(zmq, make):
    """Too large for MAXMSGSIZE: DISCONNECTED only."""
    s = make(zmq.DEALER, maxmsgsize=100)
    s.bind("tcp://127.0.0.1:*")
    m = monitored(s)
    with zmtp_connect(s) as peer:
        peer.handshake("DEALER", b"")
        wait_for_event(m, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        peer.send(frame(b"x" * 101))
        events = wait_for_event(m, zmq.EVENT_DISCONNECTED)
        assert names(zmq, events) == ["DISCONNECTED"]


# --- the monitor itself --------------------------------------------------------------------------


def test_a_monitor_gets_only_the_events_asked_for(zmq, make, ctx):
    """The mask."""
    s, m = make(zmq.PAIR), make(zmq.PAIR)
    address = fresh_inproc()
    s.monitor(address, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
    m.connect(address)
    s.bind("tcp://127.0.0.1:*")
    with zmtp_connect(s) as peer:
        peer.handshake("PAIR")
    events = wait_for_event(m, zmq.EVENT_DISCONNECTED)
    assert names(zmq, events) == ["ACCEPTED", "DISCONNECTED"]


def test_a_monitor_message_has_two_parts(zmq, make):
    """`=HI` and the endpoint."""
    s = make(zmq.PAIR)
    m = monitored(s)
    s.bind("tcp://127.0.0.1:*")
    head, endpoint = m.recv_multipart()
    assert len(head) == 6
    assert int.from_bytes(head[:2], "little") == zmq.EVENT_LISTENING
    assert endpoint == s.LAST_ENDPOINT


def test_monitor_messages_can_be_parsed(zmq, make):
    """zmq.utils.monitor."""
    import importlib

    parse = importlib.import_module(f"{zmq.__name__}.utils.monitor")
    s = make(zmq.PAIR)
    m = s.get_monitor_socket()
    s.bind("tcp://127.0.0.1:*")
    told = parse.recv_monitor_message(m)
    assert told["event"] is zmq.Event.LISTENING or told["event"] == zmq.EVENT_LISTENING
    assert told["endpoint"] == s.LAST_ENDPOINT
    assert int(told["value"]) > 0


def test_the_monitor_socket_is_made_once(zmq, make):
    """A PAIR; a new one after disable_monitor."""
    s = make(zmq.PAIR)
    m = s.get_monitor_socket()
    assert m.type == zmq.PAIR
    assert s.get_monitor_socket() is m
    s.disable_monitor()
    assert wait_for_event(m, zmq.EVENT_MONITOR_STOPPED)[-1] == (zmq.EVENT_MONITOR_STOPPED, 0, b"")


def test_a_stopped_monitor_tells_nothing_more(zmq, make):
    """MONITOR_STOPPED is the last event."""
    s = make(zmq.PAIR)
    m = monitored(s)
    s.bind("tcp://127.0.0.1:*")
    s.monitor(None, 0)
    events = wait_for_event(m, zmq.EVENT_MONITOR_STOPPED)
    assert names(zmq, events) == ["LISTENING", "MONITOR_STOPPED"]
    s.bind("tcp://127.0.0.1:*")
    s.close()
    assert monitor_events(m) == []


def test_starting_anew_stops_the_one_before(zmq, make):
    s, one, two = make(zmq.PAIR), make(zmq.PAIR), make(zmq.PAIR)
    first, second = fresh_inproc(), fresh_inproc()
    s.monitor(first, zmq.EVENT_ALL)
    one.connect(first)
    s.monitor(second, zmq.EVENT_ALL)
    two.connect(second)
    assert names(zmq, wait_for_event(one, zmq.EVENT_MONITOR_STOPPED)) == ["MONITOR_STOPPED"]
    s.bind("tcp://127.0.0.1:*")
    assert names(zmq, wait_for_event(two, zmq.EVENT_LISTENING)) == ["LISTENING"]
    s.close()
    assert names(zmq, wait_for_event(two, zmq.EVENT_MONITOR_STOPPED))[-1] == "MONITOR_STOPPED"


@pytest.mark.parametrize(
    ("address", "number"),
    [
        ("tcp://127.0.0.1:5555", errno.EPROTONOSUPPORT),
        ("ipc:///tmp/x", errno.EPROTONOSUPPORT),
        ("foo", errno.EINVAL),
        ("inproc://", errno.EINVAL),
    ],
)
def test_a_monitor_lives_on_inproc_only(zmq, make, address, number):
    """semantics.md#errors."""
    assert errno_of(zmq.ZMQError, make(zmq.PAIR).monitor, address, zmq.EVENT_ALL) == number


def test_a_monitor_cannot_share_its_address(zmq, make):
    """EADDRINUSE."""
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    address = fresh_inproc()
    a.monitor(address, zmq.EVENT_ALL)
    assert errno_of(zmq.ZMQError, b.monitor, address, zmq.EVENT_ALL) == errno.EADDRINUSE


@pytest.mark.parametrize("mask", [0x10000, 0x1FFFF, -1])
def test_events_beyond_16_bits_are_refused(zmq, make, mask):
    """v1 knows no others."""
    assert errno_of(zmq.ZMQError, make(zmq.PAIR).monitor, fresh_inproc(), mask) == errno.EINVAL


def test_a_monitor_that_was_closed_disturbs_nobody(zmq, make, on_libzmq):
    """Events go nowhere then."""
    if on_libzmq:
        pytest.skip("libzmq waits for a reader, sometimes for ever")
    s = make(zmq.DEALER)
    monitored(s).close()
    s.bind("tcp://127.0.0.1:*")
    with zmtp_connect(s) as peer:
        peer.handshake("DEALER", b"")
        peer.send_message(b"x")
        assert s.recv() == b"x"


def test_an_unread_monitor_never_blocks_its_socket(zmq, make, on_libzmq):
    """libzmq's I/O thread stops for ever at 2000 events."""
    if on_libzmq:
        pytest.skip("libzmq blocks")
    with RawListener() as mock:
        s = make(zmq.DEALER, reconnect_ivl=1, reconnect_ivl_max=1)
        m = monitored(s)
        s.connect(mock.endpoint)
        for _ in range(900):  # four or five events each
            peer = mock.accept()
            peer.close()
            mock.accepted.clear()
        peer = mock.accept()
        peer.handshake("DEALER", b"")
        peer.send_message(b"alive")
        assert s.recv() == b"alive"
        s.send(b"still")
        assert peer.recv_message() == [b"still"]
        assert m.poll(int(TIMEOUT * 1000)), "the first ones were kept"


def test_a_socket_closes_with_its_monitor_unread(zmq):
    """And so does the context."""
    context = zmq.Context()
    s = context.socket(zmq.PAIR)
    m = s.get_monitor_socket()
    s.bind("tcp://127.0.0.1:*")
    s.close(linger=0)
    m.close(linger=0)
    context.term()
