"""Too much of everything: sizes no memory holds, messages and commands without an end.

What a flood may cost is said in megabytes of resident memory and in allocations of the engine.
"""

from __future__ import annotations

import errno
import os
import struct

import pytest
from hostile.helpers import (
    CLIENT_KEYS,
    NO_DETAIL,
    PROTOCOL,
    SERVER_KEYS,
    UNEXPECTED_COMMAND,
    US,
    flood,
    flood_reading,
    reset,
    secured,
    send_anyhow,
)
from support import eventually
from support import security as sec
from support.zmtp import COMMAND, LONG, MORE, command, frame, greeting, message, ping, ready

# --- sizes ---------------------------------------------------------------------------------------


def announce(size: int, flags: int = 0) -> bytes:
    return struct.pack(">BQ", LONG | flags, size)


def announce_v1(size: int) -> bytes:
    return struct.pack(">BQB", 0xFF, size, 0)


INSIDE = greeting() + ready("DEALER", b"")
INSIDE_V1 = b"\x01\x00"
IMPOSSIBLE = [2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 2**62, 2**38 + 1]


@pytest.mark.parametrize("size", IMPOSSIBLE)
def test_a_frame_that_no_memory_holds_is_refused_by_its_header(target, honest, size):
    """In every framing, as a message, as a command, and before the handshake is done."""
    said = [
        INSIDE + announce(size),
        INSIDE + announce(size, MORE) + b"some of it",
        INSIDE + announce(size, COMMAND),
        greeting() + announce(size, COMMAND),
        greeting() + announce(size),
        INSIDE_V1 + announce_v1(size),
        announce_v1(size),
    ]
    target.open()
    honest.open(target.endpoint)
    with honest.at_work(), target.attackers(len(said)) as peers:
        before = target.state()
        for peer, data in zip(peers, said, strict=True):
            send_anyhow(peer, data)
        for peer, data in zip(peers, said, strict=True):
            assert peer.closed_by_peer(), data
        target.told("DISCONNECTED", times=len(said))
        target.left_with(1)
        target.stays_small(before, 4)


def test_one_byte_over_maxmsgsize_is_refused_by_its_header(target, honest):
    target.open(maxmsgsize=1000)
    honest.open(target.endpoint)
    over = [announce(1001), announce(1001, MORE), announce(1001, COMMAND), announce(2**63 - 1)]
    with honest.at_work(), target.attackers(len(over) + 1) as peers:
        for peer, data in zip(peers, over, strict=False):
            peer.send(INSIDE + frame(b"y" * 1000) + data)
            assert peer.closed_by_peer()
        peers[-1].send(INSIDE + frame(b"y" * 1000))
        peers[-1].recv_exactly(64)
        peers[-1].recv_frame()
        peers[-1].round_trip()
    eventually(lambda: target.state()["strange"] == len(over) + 1)
    target.left_with(1)


def test_large_frames_that_never_come_take_no_memory(target, honest):
    """A hundred peers announce 512 MB each, and send a little of it."""
    # A sanitizer's runtime sets memory of its own for all of it, and nobody is served meanwhile.
    size = (32 if "ZM_SANITIZE" in os.environ else 512) << 20
    target.open()
    honest.open(target.endpoint)
    with honest.at_work(), target.attackers(100) as peers:
        for peer in peers:
            peer.send(INSIDE)
        target.told("HANDSHAKE_SUCCEEDED", times=101)
        before = target.state()
        for peer in peers:
            peer.send(announce(size) + bytes(3000))
        for peer in peers:
            peer.recv_exactly(64)
            peer.recv_frame()
        target.stays_small(before, 30, blocks=400)
    target.left_with(1)


# --- messages without an end ---------------------------------------------------------------------


ENDLESS = {
    "many parts": (b"", {"monocoque_max_parts": 64}),
    "many large parts": (b"x" * 20_000, {"monocoque_max_parts": 64}),
    "many bytes": (b"x" * 20_000, {"monocoque_max_message": 1 << 20}),
}


@pytest.mark.parametrize("kind, peer_kind", [("ROUTER", "DEALER"), ("REP", "REQ"), ("XPUB", "SUB")])
@pytest.mark.parametrize("what", ENDLESS)
def test_a_message_without_an_end_is_ended(target, honest, kind, peer_kind, what):
    """MAX_PARTS ends the many, MAX_MESSAGE the large; an honest peer's messages are smaller."""
    part, limit = ENDLESS[what]
    target.open(kind, **limit)
    honest_kind = {"ROUTER": "DEALER", "REP": "REQ", "XPUB": "XSUB"}[kind]
    honest.open(target.endpoint, honest_kind, window=1 if kind == "REP" else 50)
    with honest.at_work():
        before = target.state()
        for _ in range(5):
            with target.attack() as peer:
                peer.handshake(peer_kind, b"" if peer_kind in ("REQ", "DEALER") else None)
                flood(peer, frame(part, MORE), 3)
                assert peer.closed_by_peer()
        target.left_with(1)
        target.stays_small(before, 8)
        target.told("DISCONNECTED", times=5)
    assert target.state()["strange"] <= 1  # what the XPUB was told of the honest subscription


def test_a_message_without_an_end_goes_with_its_peer(target, honest):
    """Where no limit is set, the peer's going ends it: nothing stays, and nobody waited."""
    target.open()
    honest.open(target.endpoint)
    with honest.at_work():
        before = target.state()
        for _ in range(3):
            with target.attack() as peer:
                peer.handshake("DEALER", b"")
                flood_reading(peer, frame(b"x" * 200, MORE), 2)
                peer.round_trip()
                reset(peer)
            target.left_with(1)
        target.stays_small(before, 12)


# --- commands without end ------------------------------------------------------------------------

COMMANDS = {
    "unknown": command(b"WHATEVER", b"x" * 50),
    "empty": frame(b"", COMMAND),
    "malformed": frame(b"\xffPING", COMMAND),
    "PONG": command(b"PONG", b"unasked"),
    "PING cut": command(b"PING", b"\0"),
    "PING with a TTL": ping(0xFFFF),
    "READY again": ready("DEALER", b"another"),
    "ERROR afterwards": command(b"ERROR", b"\x03400"),
    "SUBSCRIBE to no publisher": command(b"SUBSCRIBE", b"topic"),
    "CANCEL": command(b"CANCEL", b"topic"),
    "JOIN": command(b"JOIN", b"group"),
}


@pytest.mark.parametrize("what", COMMANDS)
def test_a_flood_of_commands_is_read_and_forgotten(target, honest, what):
    """The peer stays, as it does with libzmq; others go on, and nothing grows."""
    target.open()
    honest.open(target.endpoint)
    with honest.at_work(), target.attack() as peer:
        peer.handshake("DEALER", b"")
        before = target.state()
        flood_reading(peer, COMMANDS[what], 2)
        target.stays_small(before, 4)
        peer.send(message(b"still here"))
        eventually(lambda: target.state()["got"] == [b"still here"])
    target.left_with(1)


@pytest.mark.parametrize("what", sorted(COMMANDS.keys() - {"READY again", "ERROR afterwards"}))
def test_a_flood_of_commands_before_the_handshake_ends_at_the_first(target, honest, what):
    target.open()
    honest.open(target.endpoint)
    with honest.at_work():
        for _ in range(5):
            with target.attack() as peer:
                peer.send(greeting())
                flood(peer, COMMANDS[what], 0.2)
                assert peer.closed_by_peer()
        target.told(PROTOCOL, UNEXPECTED_COMMAND, times=5)
    target.left_with(1)


@pytest.mark.parametrize("gap", [5_000, 50_000])
def test_commands_between_messages_that_wait_take_no_memory(target, gap):
    """Each message that is not read yet would hold the 64 KiB that it came in."""
    target.open()
    target.remote.call("pause", True)
    said = command(b"WHAT", b"x" * 200) * (gap // 200)
    with target.attack() as peer:
        peer.handshake("DEALER", b"")
        before = target.state()
        for number in range(900):
            peer.send(said + message(b"%d" % number, b"the end"))
        peer.round_trip()
        target.stays_small(before, 16, blocks=200)
        target.remote.call("pause", False)
        eventually(lambda: target.state()["strange"] == 900)
        assert set(target.state()["got"]) == {b"the end"}
    target.left_with(0)


def test_who_asks_with_pings_and_never_reads_is_dropped(target, honest):
    """At 1 MiB of answers that it has not read."""
    target.open()
    honest.open(target.endpoint)
    with honest.at_work(), target.attackers(5) as peers:
        before = target.state()
        for peer in peers:
            peer.send(INSIDE)
        # The kernel's buffers on both sides take some MB of answers first.
        assert not all([flood(peer, ping(0, b"x" * 16), 40) for peer in peers])
        target.told("DISCONNECTED", times=5)
        target.left_with(1)
        target.stays_small(before, 10)


def test_pings_under_curve_are_answered_without_growing(target, honest):
    target.open(**secured("CURVE", as_server=True))
    honest.open(target.endpoint, **secured("CURVE", as_server=False))
    with honest.at_work(), target.attack() as peer:
        peer.send(greeting(mechanism=b"CURVE"))
        peer.recv_exactly(64)
        side = sec.CurveClient(CLIENT_KEYS, SERVER_KEYS[0])
        peer.send(frame(side.hello(), COMMAND))
        side.take_welcome(peer.recv_frame()[1])
        peer.send(frame(side.initiate(US), COMMAND))
        side.take_ready(peer.recv_frame()[1])
        before = target.state()
        for _ in range(20):
            peer.send(b"".join(frame(side.message(b"\x04PING\0\0abc", 2)) for _ in range(100)))
            for _ in range(100):
                assert side.open(peer.recv_frame()[1])[1:] == (2, b"\x04PONGabc")
        target.stays_small(before, 2)
    target.left_with(1)


# --- subscriptions -------------------------------------------------------------------------------


def topics(count: int, size: int = 60) -> bytes:
    return b"".join(command(b"SUBSCRIBE", b"%d" % n + b"t" * size) for n in range(count))


@pytest.mark.parametrize(
    "limit", [{"monocoque_max_subscriptions": 1000}, {"monocoque_max_topic_bytes": 65536}], ids=str
)
@pytest.mark.parametrize("old", [False, True], ids=["commands", "messages"])
def test_who_subscribes_to_too_much_is_dropped(target, honest, limit, old):
    target.open("XPUB", **limit)
    honest.open(target.endpoint, "XSUB")
    said = topics(50_000)
    if old:
        said = b"".join(frame(b"\x01%d" % n + b"t" * 60) for n in range(50_000))
    with honest.at_work():
        before = target.state()
        for _ in range(3):
            with target.attack() as peer:
                peer.handshake("SUB", minor=0 if old else 1)
                send_anyhow(peer, said)
                assert peer.closed_by_peer()
        target.told("DISCONNECTED", times=3)
        target.left_with(1)
        target.stays_small(before, 6, blocks=400)


def test_who_subscribes_to_the_same_again_and_again_grows_nothing(target, honest):
    target.open("XPUB")
    honest.open(target.endpoint, "XSUB")
    with honest.at_work(), target.attack() as peer:
        peer.handshake("SUB")
        peer.send(command(b"SUBSCRIBE", b"topic"))
        peer.round_trip()
        before = target.state()
        flood_reading(peer, command(b"SUBSCRIBE", b"topic"), 2)
        peer.round_trip()
        target.stays_small(before, 2)
    target.left_with(1)


def test_who_subscribes_and_cancels_by_turns_is_told_and_forgotten(target, honest):
    """An application that reads its XPUB is told of each; nothing piles up."""
    target.open("XPUB", monocoque_max_pending_subscriptions=100_000)
    honest.open(target.endpoint, "XSUB")
    both = command(b"SUBSCRIBE", b"topic") + command(b"CANCEL", b"topic")
    with honest.at_work(), target.attack() as peer:
        peer.handshake("SUB")
        for _ in range(20):
            peer.send(both * 500)
            peer.round_trip()
        eventually(lambda: target.state()["strange"] >= 20_000)
    target.left_with(1)


def test_subscription_messages_that_nobody_reads_end_their_peer(target):
    """MAX_NOTES, where the application does not read its XPUB."""
    target.open("XPUB", monocoque_max_pending_subscriptions=500)
    target.remote.call("pause", True)
    both = command(b"SUBSCRIBE", b"topic") + command(b"CANCEL", b"topic")
    before = target.state()
    with target.attack() as peer:
        peer.handshake("SUB")
        flood(peer, both, 1)
        assert peer.closed_by_peer()
    target.left_with(0)
    target.stays_small(before, 4, blocks=1200)
    target.remote.call("pause", False)


# --- handshakes without end ----------------------------------------------------------------------


def test_more_handshakes_than_allowed_cost_the_oldest_their_place(target, honest):
    """MAX_HANDSHAKES: the honest peer stays, and another comes in while the strangers wait."""
    target.open(monocoque_max_handshakes=50, handshake_ivl=60_000)
    honest.open(target.endpoint)
    with honest.at_work(), target.attackers(300) as peers:
        target.told(NO_DETAIL, errno.ENOBUFS, 250)
        state = target.left_with(51)
        assert state["connections"] == 51
        assert all(peer.closed_by_peer() for peer in peers[:250])
        with target.attack() as late:
            late.handshake("DEALER", b"")
            late.round_trip()
    target.left_with(1)


def test_questions_to_a_stuck_handler_have_an_end(target, honest):
    """Who asks to come in and leaves again and again: his questions wait at the ZAP handler.

    Beyond 8192 nobody else is asked about, until the handler goes on.
    """
    target.open(zap=-1, **secured("PLAIN", as_server=True))
    before = target.state()
    asking = greeting(mechanism=b"PLAIN") + command(b"HELLO", b"\x04user\x02pw")
    asked = 0
    while not target.count(NO_DETAIL, errno.ENOBUFS):
        assert asked < 20_000
        with target.attackers(200) as peers:
            for peer in peers:
                peer.send(asking)
            for peer in peers:
                peer.sock.recv(64)
                reset(peer)
        asked += 200
    assert asked >= 8000
    target.left_with(0)
    target.stays_small(before, 100, blocks=5 * 8192)
    target.remote.call("answer")
    honest.open(target.endpoint, **secured("PLAIN", as_server=False))
    with honest.at_work():
        target.stays_small(before, 100)
