"""PING and PONG, seen by raw peers (RFC 37, "Connection Heartbeating")."""

from __future__ import annotations

import socket
import time

import pytest
from support import (
    RawListener,
    RawPeer,
    monitored,
    port_of,
    wait_for_event,
    watched,
    zmtp_connect,
)
from support.zmtp import command, frame, ping


def in_time(test) -> None:
    """test(times): with all times so many times as long, if the machine is slow."""
    for times in (1, 10):
        try:
            return test(times)
        except (AssertionError, EOFError, ConnectionError):
            pass
    return test(40)


@pytest.fixture
def served(zmq, make):
    """A bound DEALER; options as given."""

    def make_served(**options):
        s = make(zmq.DEALER, **options)
        s.bind("tcp://127.0.0.1:*")
        return s

    return make_served


@pytest.mark.parametrize(("ttl", "on_wire"), [(0, "0000"), (3000, "001e"), (199, "0001")])
def test_a_ping_carries_the_ttl_in_tenths_of_a_second(served, ttl, on_wire):
    """S-96: byte for byte, and again every IVL."""
    s = served(heartbeat_ivl=50, heartbeat_ttl=ttl, heartbeat_timeout=10_000)
    with zmtp_connect(s) as peer:
        peer.handshake("DEALER", b"")
        for _ in range(3):
            assert peer.recv_exactly(9) == bytes.fromhex("04070450494e47" + on_wire)


def test_pings_come_also_through_traffic(served):
    """S-96: every IVL, whatever is sent in between."""
    s = served(heartbeat_ivl=50, heartbeat_timeout=10_000)
    with zmtp_connect(s) as peer:
        peer.handshake("DEALER", b"")
        pings = 0
        while pings < 3:
            peer.send_message(b"data")
            assert s.recv() == b"data"
            s.send(b"data")
            while True:
                flags, body = peer.recv_frame()
                if body == b"data":
                    break
                assert (flags, body) == (4, b"\x04PING\x00\x00")
                pings += 1


def test_a_silent_peer_is_cut(zmq, served):
    """S-96: TIMEOUT after a PING without any frame."""
    s = served(heartbeat_ivl=50, heartbeat_timeout=50)
    m = monitored(s)
    with zmtp_connect(s) as peer:
        peer.handshake("DEALER", b"")
        assert peer.closed_by_peer()
        events = [e for e, *_ in wait_for_event(m, zmq.EVENT_DISCONNECTED)]
        assert events[-2:] == [zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_DISCONNECTED]


@pytest.mark.parametrize("sign_of_life", ["PONG", "data", "PING", "unknown command"])
def test_any_frame_is_a_sign_of_life(served, sign_of_life):
    """S-96: not only a PONG stops the clock."""
    answer = {
        "PONG": command(b"PONG"),
        "data": b"\x00\x04data",
        "PING": ping(),
        "unknown command": command(b"WHATEVER"),
    }[sign_of_life]

    def test(times):
        s = served(heartbeat_ivl=60 * times, heartbeat_timeout=250 * times)
        with zmtp_connect(s) as peer:
            peer.handshake("DEALER", b"")
            pings = 0
            while pings < 8:  # 480 ms: more than the timeout
                _, body = peer.recv_frame()
                if body.startswith(b"\x04PING"):
                    pings += 1
                    peer.send(answer)

    in_time(test)


def test_pings_are_answered_even_without_heartbeats_of_our_own(served):
    """S-96, S-98: IVL=0 only stops our PINGs."""
    s = served()
    with zmtp_connect(s) as peer:
        peer.handshake("DEALER", b"")
        peer.send(ping(0, b"LOL"))
        assert peer.recv_exactly(10) == bytes.fromhex("040804504f4e474c4f4c")
        assert peer.nothing_comes()


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 200])
def test_the_context_of_a_ping_comes_back_up_to_16_bytes(served, size):
    """S-98."""
    context = bytes(range(size))
    with zmtp_connect(served()) as peer:
        peer.handshake("DEALER", b"")
        peer.send(ping(0, context))
        assert peer.recv_command() == (b"PONG", context[:16])


def test_a_ping_is_answered_in_the_middle_of_a_message(served):
    """RFC 37: commands may come between the parts."""
    s = served()
    with zmtp_connect(s) as peer:
        peer.handshake("DEALER", b"")
        peer.send(b"\x01\x01a" + ping(0, b"mid") + b"\x00\x01b")
        assert peer.recv_command() == (b"PONG", b"mid")
        assert s.recv_multipart() == [b"a", b"b"]


def test_the_ttl_of_a_silent_peer_runs_out(zmq, served):
    """S-97: the receiver of a PING with a TTL cuts the peer that then says nothing."""
    s = served()
    with zmtp_connect(s) as peer:
        peer.handshake("DEALER", b"")
        peer.send(ping(1))
        assert peer.recv_command()[0] == b"PONG"
        assert peer.closed_by_peer()


@pytest.mark.parametrize("after", [b"\x00\x01x", command(b"PONG"), ping(0)])
def test_any_frame_stops_the_ttl(served, after):
    """S-97."""

    def test(times):
        with zmtp_connect(served()) as peer:
            peer.handshake("DEALER", b"")
            peer.send(ping(times))
            assert peer.recv_command()[0] == b"PONG"
            peer.send(after)
            if after == ping(0):
                assert peer.recv_command()[0] == b"PONG"
            assert peer.nothing_comes(0.25 * times)
            peer.round_trip()

    in_time(test)


def test_a_long_ttl_is_not_cut_short(served, on_libzmq):
    """S-97, differences.md: 66 s are 660 tenths, more than 16 bits of milliseconds."""
    if on_libzmq:
        pytest.skip("libzmq takes the product modulo 65536")
    with zmtp_connect(served()) as peer:
        peer.handshake("DEALER", b"")
        peer.send(ping(660))
        assert peer.recv_command()[0] == b"PONG"
        assert peer.nothing_comes(0.7)
        peer.round_trip()


def test_a_connecter_comes_back_after_a_heartbeat_timeout(zmq, make):
    """S-98: DISCONNECTED, then a new connection."""
    with RawListener() as mock:
        s = make(zmq.DEALER, heartbeat_ivl=50, heartbeat_timeout=50, reconnect_ivl=10)
        m = monitored(s)
        s.connect(mock.endpoint)
        mock.accept().handshake("DEALER", b"")
        wait_for_event(m, zmq.EVENT_DISCONNECTED)
        mock.accept().handshake("DEALER", b"")
        wait_for_event(m, zmq.EVENT_HANDSHAKE_SUCCEEDED)


@pytest.mark.parametrize("pair", ["DEALER DEALER", "REQ REP", "PUSH PULL", "PUB SUB", "PAIR PAIR"])
@pytest.mark.parametrize("both", [True, False])
def test_real_sockets_keep_each_other_alive(zmq, make, pair, both):
    """heartbeats: a short timeout, many times over, and no DISCONNECTED; then traffic."""
    one, two = (getattr(zmq, k) for k in pair.split())

    def test(times):
        silence = 200 * times
        beating = {"heartbeat_ivl": 20, "heartbeat_timeout": silence, "heartbeat_ttl": silence}
        a = make(one, **beating)
        b = make(two, **(beating if both else {}))
        a.bind("tcp://127.0.0.1:*")
        with watched(a) as m:
            if two == zmq.SUB:
                b.subscribe(b"")
            b.connect(a.LAST_ENDPOINT)
            wait_for_event(m, zmq.EVENT_HANDSHAKE_SUCCEEDED)
            assert not m.poll(int(2.5 * silence)), "nobody was cut"
        if one == zmq.REQ:
            a.send(b"q")
            assert b.recv() == b"q"
            b.send(b"a")
            assert a.recv() == b"a"
        else:
            _ = a.events
            a.send(b"x")
            assert b.recv() == b"x"

    in_time(test)


@pytest.mark.parametrize("name", ["HEARTBEAT_IVL", "HEARTBEAT_TIMEOUT"])
def test_heartbeat_times_are_not_negative(zmq, make, name):
    """semantics.md#socket-options."""
    s = make(zmq.DEALER)
    with pytest.raises(zmq.ZMQError):
        s.setsockopt(getattr(zmq, name), -1)
    s.setsockopt(getattr(zmq, name), 0)
    s.setsockopt(getattr(zmq, name), 2**31 - 1)


@pytest.mark.parametrize(
    ("value", "kept"),
    [(0, 0), (99, 0), (100, 100), (199, 100), (6_553_599, 6_553_500), (-1, 0), (-99, 0)],
)
def test_ttl_is_kept_in_tenths_of_a_second(zmq, make, value, kept):
    """semantics.md#socket-options, HEARTBEAT_TTL."""
    s = make(zmq.DEALER, heartbeat_ttl=value)
    assert s.heartbeat_ttl == kept


@pytest.mark.parametrize("value", [6_553_600, 2**31 - 1, -100])
def test_a_ttl_beyond_16_bits_is_refused(zmq, make, value):
    """semantics.md#socket-options, HEARTBEAT_TTL."""
    s = make(zmq.DEALER, heartbeat_ttl=1000)
    with pytest.raises(zmq.ZMQError):
        s.heartbeat_ttl = value
    assert s.heartbeat_ttl == 1000


def peer_of_little_room(s) -> RawPeer:
    """One that ``s`` connects to, whose kernel takes a few KB."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        s.connect(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        return RawPeer(listener.accept()[0])


def test_a_large_message_on_a_slow_link_is_not_cut(zmq, make):
    """A PING behind it is no PING yet; the time for an answer begins when it has left."""
    push = make(zmq.PUSH, heartbeat_ivl=50, heartbeat_timeout=100, sndbuf=8192)
    with peer_of_little_room(push) as peer:
        peer.handshake("PULL")
        push.send(b"L" * 400_000)
        size = 0
        while size < 400_000:
            piece = peer.sock.recv(8192)
            assert piece, "cut"
            size += len(piece)
            time.sleep(0.015)  # so that all of it takes longer than any timeout


def test_a_peer_that_takes_a_ping_and_no_more_is_cut(zmq, make):
    """Though a message behind the PING, more than the kernel holds, has not left."""
    push = make(zmq.PUSH, heartbeat_ivl=20, heartbeat_timeout=200, sndbuf=8192, sndhwm=0)
    m = monitored(push)
    with peer_of_little_room(push) as peer:
        peer.handshake("PULL")
        body = b"L" * 100_000
        for _ in range(400):
            push.send(body, copy=False)
        while peer.recv_frame()[1] == body:
            pass
        wait_for_event(m, zmq.EVENT_DISCONNECTED)


@pytest.mark.parametrize("ttl", [0, 1])
def test_nobody_is_cut_for_silence_while_the_receive_is_stopped(zmq, served, on_libzmq, ttl):
    """RCVHWM: what the peer says meanwhile, PONGs included, waits unread in the kernel."""
    if on_libzmq and not ttl:
        pytest.skip("libzmq cuts it, and loses what had come")

    def test(times):
        silence = 50 * times
        s = served(rcvhwm=1, heartbeat_ivl=0 if ttl else silence, heartbeat_timeout=silence)
        with RawPeer.connect(port_of(s)) as peer:
            peer.handshake("DEALER")
            beat = b"\4\7\4PING" + (ttl * times).to_bytes(2, "big") if ttl else b""
            peer.send(beat + b"".join(frame(b"%d" % n) for n in range(5)))
            assert not peer.closed_by_peer(10 * silence / 1000)
            assert [s.recv() for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]

    in_time(test)
