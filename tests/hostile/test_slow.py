"""Peers that take their time: they connect and say nothing, or a byte now and then, or half-close.

HANDSHAKE_IVL (ms) is how long a connection may take to shake hands; bytes do not start it anew.
"""

from __future__ import annotations

import errno
import socket

import pytest
from hostile.helpers import NO_DETAIL, all_closed, reset, secured, send_anyhow
from support import eventually
from support.security import MECHANISMS
from support.zmtp import frame, greeting, ready

IVL = 400
MANY = 200


def opening(mechanism: str) -> bytes:
    """What does not complete the handshake of the mechanism; never looked at as a whole."""
    return greeting(mechanism=mechanism.encode()) + b"\x06" + bytes(6) + b"\x01\x00" + bytes(255)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_hundreds_that_say_nothing_are_cut_in_time(target, honest, mechanism):
    target.open(handshake_ivl=IVL, zap=200, **secured(mechanism, as_server=True))
    honest.open(target.endpoint, **secured(mechanism, as_server=False))
    with honest.at_work(), target.attackers(MANY) as peers:
        assert all_closed(peers)
        target.told(NO_DETAIL, errno.EAGAIN, MANY)
    target.left_with(1)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_hundreds_that_send_a_byte_at_a_time_are_cut_in_time(target, honest, mechanism):
    """Each goes on until it is refused; none gets in, and none gets more time."""
    target.open(handshake_ivl=IVL, zap=200, **secured(mechanism, as_server=True))
    honest.open(target.endpoint, **secured(mechanism, as_server=False))
    with honest.at_work(), target.attackers(MANY) as peers:
        left = list(peers)
        for byte in opening(mechanism):
            left = [peer for peer in left if send_anyhow(peer, bytes([byte]))]
            if not left:
                break
        assert all_closed(peers)
        target.told(NO_DETAIL, errno.EAGAIN, MANY)
    target.left_with(1)


@pytest.mark.parametrize("sent", [0, 1, 10, 11, 12, 64, 70, "all"])
def test_a_peer_that_half_closes_is_gone_at_once(target, honest, sent):
    """Whoever says nothing more has nothing to be told: also after the handshake."""
    target.open()
    honest.open(target.endpoint)
    said = (greeting() + ready("DEALER", b""))[: None if sent == "all" else sent]
    with honest.at_work(), target.attackers(20) as peers:
        for peer in peers:
            peer.send(said)
            peer.sock.shutdown(socket.SHUT_WR)
        assert all_closed(peers)
    target.told("DISCONNECTED", times=20)
    events = target.left_with(1)["events"]
    failed = sum(times for (name, _), times in events.items() if name == NO_DETAIL)
    assert failed == (0 if sent == "all" else 20)


def test_peers_that_fall_silent_after_the_handshake_are_found_by_heartbeats(target, honest):
    """Half open: the peer's machine is gone, and no FIN ever comes."""
    # Long enough for a slow machine to answer for the honest one.
    target.open(heartbeat_ivl=50, heartbeat_timeout=2000)
    honest.open(target.endpoint)
    with honest.at_work(), target.attackers(100) as peers:
        for peer in peers:
            peer.send(greeting() + ready("DEALER", b""))
        assert all_closed(peers)
    target.left_with(1)
    target.told("DISCONNECTED", times=100)


def test_peers_that_ask_and_never_read_take_a_bounded_share_of_memory(target, honest):
    """A ROUTER's answers to them stop at SNDHWM; those of others do not."""
    target.open(sndhwm=10, rcvhwm=20)
    honest.open(target.endpoint, window=5)
    question = frame(b"honest " + bytes(8000))
    with honest.at_work(), target.attackers(10) as peers:
        for peer in peers:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.send(greeting() + ready("DEALER", b""))
        target.told("HANDSHAKE_SUCCEEDED", times=11)
        before = target.state()
        for _ in range(300):
            for peer in peers:
                peer.send(question)
        eventually(lambda: target.state()["echoed"] >= before["echoed"] + 3000)
        # 24 MB were asked for; what the kernel does not hold is dropped beyond SNDHWM.
        target.stays_small(before, 10, blocks=400)
        for peer in peers:
            reset(peer)
    target.left_with(1)
