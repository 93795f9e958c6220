"""Every beginning of every conversation, and then silence, garbage, or a close or reset by turns.

First the transcripts (tests/zmtp/transcripts.py), against a socket that listens; then
conversations of each mechanism, against either side of it, listening or connecting, next to an
honest peer. What a whole beginning leads to is asked of a session without a socket.
"""

from __future__ import annotations

import errno
import itertools
import random
import socket
from collections import Counter

import pytest
from hostile.helpers import (
    AUTH,
    CLIENT_KEYS,
    NO_DETAIL,
    PROTOCOL,
    SERVER_KEYS,
    US,
    Target,
    all_closed,
    reset,
    secured,
    send_anyhow,
)
from support import RawListener, RawPeer
from support.security import CurveClient, CurveServer
from support.zmtp import COMMAND, command, frame, greeting, message, ping, ready
from zmtp import replay
from zmtp import transcripts as t

IVL = 500  # ms
BATCH = 400  # no more than a monitor holds events of
ENDINGS = ("silence", "garbage", "leaving")


def beginnings(data: bytes) -> list[int]:
    """Where to cut: everywhere but in the middle of a long run of one byte."""
    cuts, run = [0], 0
    for n in range(1, len(data) + 1):
        run = run + 1 if n > 1 and data[n - 1] == data[n - 2] else 0
        if run < 12 or data[n : n + 1] != data[n - 1 : n]:
            cuts.append(n)
    return cuts


def groups() -> dict[tuple, dict[bytes, replay.Result]]:
    """(type, options) -> beginnings, and what a session makes of each."""
    out: dict[tuple, dict[bytes, replay.Result]] = {}
    for transcript in t.ALL:
        key = (transcript.kind, tuple(sorted(transcript.options.items())))
        found = out.setdefault(key, {})
        for n in beginnings(transcript.received):
            data = transcript.received[:n]
            if data not in found:
                found[data] = replay.feed(transcript.session(), [data])
    return out


GROUPS = groups()


def options_of(key: tuple) -> dict:
    options = dict(key[1])
    out = {"handshake_ivl": IVL}
    if "max_message_size" in options:
        out["maxmsgsize"] = options["max_message_size"]
    if "refuse_old" in options:
        out["zap_domain"] = b"a domain"
    if key[0] == "SUB":
        out["subscribe"] = b""
    return out


def end(peer: RawPeer, how: str, number: int) -> None:
    if how == "garbage":
        send_anyhow(peer, random.Random(number).randbytes(80))
        try:
            peer.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    elif how == "leaving" and number % 2:
        peer.close()
    elif how == "leaving":
        reset(peer)


def batches(items):
    items = iter(items)
    while batch := list(itertools.islice(items, BATCH)):
        yield batch


def outcome(result: replay.Result) -> tuple[str, int] | None:
    """How a handshake ends, and None where a monitor hears of its end as DISCONNECTED alone."""
    if any(isinstance(event, t.Ready) for event in result.events):
        return "HANDSHAKE_SUCCEEDED", 0
    if result.error is None:
        return NO_DETAIL, errno.EAGAIN
    _, kind, value = result.error
    return {"protocol": (PROTOCOL, value), "auth": (AUTH, value), "silent": None}[kind]


def stays(result: replay.Result) -> bool:
    return result.error is None and outcome(result) == ("HANDSHAKE_SUCCEEDED", 0)


@pytest.mark.parametrize("key", GROUPS, ids=lambda key: "-".join([key[0], *dict(key[1])]))
def test_a_transcript_that_stops_is_cut_in_time(target, key):
    """HANDSHAKE_IVL ends what is not complete; a fault ends at once, and the monitor says which."""
    target.open(key[0], zap=200 if "refuse_old" in dict(key[1]) else 0, **options_of(key))
    wanted: Counter = Counter()
    for batch in batches(GROUPS[key].items()):
        with target.attackers(0) as peers:
            for data, result in batch:
                peers.append(target.attack())
                send_anyhow(peers[-1], data)
                how = outcome(result)
                if how:
                    wanted[how] += 1
            for peer, (_, result) in zip(peers, batch, strict=True):
                if not stays(result):
                    assert peer.closed_by_peer()
            target.left_with(sum(stays(result) for _, result in batch))
            for (event, value), times in wanted.items():
                target.told(event, value, times)
        target.left_with(0)
    target.told("DISCONNECTED", times=len(GROUPS[key]))
    told = target.state()["events"]
    assert {e: n for e, n in told.items() if e[0].startswith("HANDSHAKE")} == wanted


@pytest.mark.parametrize("how", ["garbage", "leaving"])
@pytest.mark.parametrize("key", GROUPS, ids=lambda key: "-".join([key[0], *dict(key[1])]))
def test_a_transcript_that_breaks_off_leaves_nothing(target, key, how):
    target.open(key[0], zap=200 if "refuse_old" in dict(key[1]) else 0, **options_of(key))
    came = 0
    for batch in batches(GROUPS[key]):
        with target.attackers(0) as peers:
            for number, data in enumerate(batch):
                peers.append(target.attack())
                send_anyhow(peers[-1], data)
                end(peers[-1], how, number)
            came += len(batch)
            # Of those that left, none may have been accepted yet: the next ones wait for that, or
            # they would be more than a monitor holds events of.
            target.told("DISCONNECTED", times=came)
            target.left_with(0)
            assert how != "garbage" or all_closed(peers)


# --- conversations of every mechanism, on both sides ----------------------------------------------


class Enough(Exception):
    """All that the peer was to send has been sent."""


class Stingy:
    """Sends the first ``budget`` bytes of a conversation, and then no more."""

    def __init__(self, peer: RawPeer, budget: int | None):
        self.peer = peer
        self.budget = budget
        self.sent = 0

    def send(self, data: bytes) -> None:
        room = len(data) if self.budget is None else self.budget - self.sent
        if room < len(data):
            self.peer.send(data[:room])
            self.sent += room
            raise Enough
        self.peer.send(data)
        self.sent += len(data)

    def command(self) -> bytes:
        """The body of the next command from the other side."""
        flags, body = self.peer.recv_frame()
        assert flags & COMMAND, body
        return body


def converse(end_: Stingy, mechanism: str, as_server: bool) -> None:
    """A handshake, as server or as client of the mechanism, and some traffic."""
    end_.send(greeting(mechanism=mechanism.encode()))
    end_.peer.recv_exactly(64)
    traffic = [message(b"a", b"b"), ping(0, b"c"), message(b"d" * 300)]
    if mechanism == "NULL":
        end_.send(ready("DEALER", b""))
        end_.command()
    elif mechanism == "PLAIN" and as_server:
        end_.command()
        end_.send(command(b"WELCOME"))
        end_.command()
        end_.send(command(b"READY", US))
    elif mechanism == "PLAIN":
        end_.send(command(b"HELLO", b"\x04user\x08password"))
        end_.command()
        end_.send(command(b"INITIATE", US))
        end_.command()
    else:
        if as_server:
            side: CurveServer | CurveClient = CurveServer(SERVER_KEYS)
            side.take_hello(end_.command())
            end_.send(frame(side.welcome(), COMMAND))
            side.take_initiate(end_.command())
            end_.send(frame(side.ready(US), COMMAND))
        else:
            side = CurveClient(CLIENT_KEYS, SERVER_KEYS[0])
            end_.send(frame(side.hello(), COMMAND))
            side.take_welcome(end_.command())
            end_.send(frame(side.initiate(US), COMMAND))
            side.take_ready(end_.command())
        traffic = [
            frame(side.message(b"a", 1)),
            frame(side.message(b"b")),
            frame(side.message(b"\x04PING\0\0c", 2)),
            frame(side.message(b"d" * 300)),
        ]
    for data in traffic:
        end_.send(data)


def handshake_bytes(mechanism: str, as_server: bool) -> int:
    """How many bytes such a peer sends until it is in."""
    metadata = len(US)
    return (
        64
        + {
            ("NULL", False): 2 + 6 + metadata,
            ("NULL", True): 2 + 6 + metadata,
            ("PLAIN", False): 2 + 6 + 5 + 9 + 2 + 9 + metadata,
            ("PLAIN", True): 2 + 8 + 2 + 6 + metadata,
            ("CURVE", False): 2 + 200 + 9 + 257 + metadata,
            ("CURVE", True): 2 + 168 + 2 + 30 + metadata,
        }[mechanism, as_server]
    )


TRAFFIC_BYTES = {"NULL": 6 + 10 + 309, "PLAIN": 6 + 10 + 309, "CURVE": 2 * 36 + 42 + 342}


class Door:
    """Where raw peers meet the target: it listens, or it connects to a listener of ours."""

    def __init__(self, target: Target, connecting: bool):
        self.target = target
        self.listener = RawListener() if connecting else None

    def peer(self) -> RawPeer:
        if not self.listener:
            return self.target.attack()
        self.target.remote.call("connect", self.listener.endpoint)
        return self.listener.accept()

    def close(self) -> None:
        if self.listener:
            self.listener.sock.close()


SIDES = {  # of the target
    "NULL": ("NULL", False),
    "PLAIN server": ("PLAIN", True),
    "PLAIN client": ("PLAIN", False),
    "CURVE server": ("CURVE", True),
    "CURVE client": ("CURVE", False),
}


@pytest.mark.parametrize("connecting", [False, True], ids=["listening", "connecting"])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("how", ENDINGS)
def test_a_conversation_may_end_after_every_byte(target, honest, side, connecting, how):
    """The honest peer is there where the target is what clients connect to."""
    mechanism, target_serves = SIDES[side]
    as_server = not target_serves
    target.open(
        zap=200,
        handshake_ivl=IVL if how == "silence" else 30_000,
        reconnect_ivl=-1,
        immediate=True,
        **secured(mechanism, as_server=target_serves),
    )
    with_honest = mechanism == "NULL" or target_serves
    if with_honest:
        honest.open(target.endpoint, **secured(mechanism, as_server=False))
    door = Door(target, connecting)
    whole = handshake_bytes(mechanism, as_server)
    # Each byte of the handshake; of the traffic, every third is enough.
    budgets = [*range(whole), *range(whole, whole + TRAFFIC_BYTES[mechanism], 3), None]
    try:
        for batch in batches(budgets):
            if with_honest:
                with honest.at_work():
                    play(target, door, batch, mechanism, as_server, how)
            else:
                play(target, door, batch, mechanism, as_server, how)
    finally:
        door.close()
    target.told("DISCONNECTED", times=len(budgets))


def play(target, door, batch, mechanism, as_server, how) -> None:
    here = target.state()["connections"]
    whole = handshake_bytes(mechanism, as_server)
    before = target.count(NO_DETAIL, errno.EAGAIN)
    peers: list[RawPeer] = []
    try:
        sent = []
        for number, budget in enumerate(batch):
            peer = door.peer()
            peers.append(peer)
            stingy = Stingy(peer, budget)
            try:
                converse(stingy, mechanism, as_server)
            except Enough:
                pass
            sent.append(stingy.sent)
            end(peer, how, number + (door.listener is None))
        if how == "silence":
            inside = [n >= whole for n in sent]
            assert all_closed([p for p, i in zip(peers, inside, strict=True) if not i])
            target.left_with(here + sum(inside))
            target.told(NO_DETAIL, errno.EAGAIN, before + len(inside) - sum(inside))
        elif how == "garbage":
            assert all_closed(peers)
            target.left_with(here)
        else:
            target.left_with(here)
    finally:
        for peer in peers:
            peer.close()
    target.left_with(here)
