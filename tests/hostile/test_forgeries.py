"""Bytes that are forged, replayed, out of order, or in the wrong role, against each mechanism.

Each attack is one connection to a listening socket of ours, and says how the monitor is told of
its end. An honest peer of the same mechanism works all the while.
"""

from __future__ import annotations

import errno
import struct

import pytest
from hostile.helpers import (
    AUTH,
    CLIENT_KEYS,
    CRYPTOGRAPHIC,
    INVALID_SEQUENCE,
    KEY_EXCHANGE,
    MALFORMED_COMMAND,
    MALFORMED_ERROR,
    MALFORMED_HELLO,
    MALFORMED_INITIATE,
    MALFORMED_MESSAGE,
    MECHANISM_MISMATCH,
    NO_DETAIL,
    PROTOCOL,
    SERVER_KEYS,
    UNEXPECTED_COMMAND,
    US,
    reset,
    secured,
    send_anyhow,
)
from support import TIMEOUT, RawListener, RawPeer, eventually
from support import security as sec
from support.zmtp import COMMAND, command, frame, greeting, message, ping, ready

TIMES = 10  # each attack, one after the other

#: What libzmq and we tell of only as DISCONNECTED.
UNTOLD = None


# --- CURVE ---------------------------------------------------------------------------------------


def flipped(body: bytes, at: int) -> bytes:
    changed = bytearray(body)
    changed[at] ^= 1
    return bytes(changed)


class Curve:
    """A client by hand that goes as far as it is asked to."""

    def __init__(self, peer: RawPeer):
        self.peer = peer
        self.side = sec.CurveClient(CLIENT_KEYS, SERVER_KEYS[0])
        peer.send(greeting(mechanism=b"CURVE"))
        peer.recv_exactly(64)

    def tell(self, body: bytes) -> None:
        self.peer.send(frame(body, COMMAND))

    def heard(self) -> bytes:
        return self.peer.recv_frame()[1]

    def welcomed(self) -> Curve:
        self.tell(self.side.hello())
        self.side.take_welcome(self.heard())
        return self

    def inside(self) -> Curve:
        self.welcomed().tell(self.side.initiate(US))
        self.side.take_ready(self.heard())
        return self

    def say(self, body: bytes) -> None:
        self.peer.send(frame(body))


def hello_of(peer, change):
    curve = Curve(peer)
    curve.tell(change(curve.side.hello()))


def initiate_of(peer, change):
    curve = Curve(peer).welcomed()
    curve.tell(change(curve.side.initiate(US)))


def message_of(peer, change):
    curve = Curve(peer).inside()
    curve.say(change(curve.side.message(b"text")))


def hello_twice(peer):
    curve = Curve(peer).welcomed()
    curve.tell(curve.side.hello())


def initiate_without_hello(peer):
    """The cookie is one of another connection, and so are the keys."""
    curve = Curve(peer)
    curve.tell(sec.INITIATE + bytes(248) + US)


def initiate_again(peer):
    curve = Curve(peer).inside()
    curve.tell(curve.side.initiate(US))


def initiate_from_elsewhere(peer):
    """A whole, valid INITIATE, recorded on another connection to the same server."""
    with RawPeer.connect(peer.sock.getpeername()[1]) as other:
        curve = Curve(other).welcomed()
        recorded = curve.side.initiate(US)
    Curve(peer).welcomed().tell(recorded)


def conversation_from_elsewhere(peer):
    """All that another client said, byte by byte: its HELLO is valid, and the rest is not."""
    with RawPeer.connect(peer.sock.getpeername()[1]) as other:
        curve = Curve(other)
        hello = curve.side.hello()
        curve.tell(hello)
        curve.side.take_welcome(curve.heard())
        initiate = curve.side.initiate(US)
        curve.tell(initiate)
        curve.side.take_ready(curve.heard())
        said = curve.side.message(b"pay 1")
    again = Curve(peer)
    again.tell(hello)
    again.heard()
    again.tell(initiate)
    send_anyhow(peer, frame(said))


def vouch_for_another(peer):
    curve = Curve(peer).welcomed()
    curve.tell(curve.side.initiate(US, vouch_for=bytes(range(32))))


def vouch_of_another(peer):
    """The long-term key of somebody else: the vouch does not open with it."""
    curve = Curve(peer).welcomed()
    curve.side.public = SERVER_KEYS[0]
    curve.tell(curve.side.initiate(US))


def properties_cut(peer):
    curve = Curve(peer).welcomed()
    curve.tell(curve.side.initiate(b"\x05ab"))


def message_twice(peer):
    curve = Curve(peer).inside()
    body = curve.side.message(b"pay 1")
    curve.say(body)
    curve.say(body)


def messages_swapped(peer):
    curve = Curve(peer).inside()
    first, second = (curve.side.message(text) for text in (b"pay 1", b"pay 2"))
    curve.say(second)
    curve.say(first)


def message_of_the_past(peer):
    curve = Curve(peer).inside()
    curve.say(curve.side.message(b"x", counter=2))


def message_mirrored(peer):
    """Our own READY and PONG, sent back."""
    curve = Curve(peer).inside()
    for _ in range(3):
        curve.say(curve.side.message(b"\x04PING\0\0", sec.INNER_COMMAND))
    pongs = [curve.heard() for _ in range(3)]
    for pong in pongs:
        send_anyhow(peer, frame(pong))


def message_with_another_nonce(peer):
    """The box is right, and is said to be a later one."""
    curve = Curve(peer).inside()
    body = curve.side.message(b"text")
    curve.say(body[:8] + struct.pack(">Q", 99) + body[16:])


def in_the_clear(peer, data):
    curve = Curve(peer).inside()
    curve.peer.send(data)


BYTES_OF_HELLO = (80, 112, 119, 120, 199)
BYTES_OF_INITIATE = (9, 30, 105, 113, 129, 200, -1)
BYTES_OF_MESSAGE = (8, 16, 31, 32, -1)

CURVE_ATTACKS = {
    **{
        f"HELLO with byte {at} changed": (
            lambda peer, at=at: hello_of(peer, lambda body: flipped(body, at)),
            (PROTOCOL, CRYPTOGRAPHIC),
        )
        for at in BYTES_OF_HELLO
    },
    **{
        f"INITIATE with byte {at} changed": (
            lambda peer, at=at: initiate_of(peer, lambda body: flipped(body, at)),
            (PROTOCOL, CRYPTOGRAPHIC),
        )
        for at in BYTES_OF_INITIATE
    },
    **{
        f"MESSAGE with byte {at} changed": (
            lambda peer, at=at: message_of(peer, lambda body: flipped(body, at)),
            (PROTOCOL, CRYPTOGRAPHIC),
        )
        for at in BYTES_OF_MESSAGE
    },
    "HELLO of another version": (
        lambda peer: hello_of(peer, lambda body: flipped(body, 6)),
        (PROTOCOL, MALFORMED_HELLO),
    ),
    "HELLO cut": (
        lambda peer: hello_of(peer, lambda body: body[:-1]),
        (PROTOCOL, MALFORMED_HELLO),
    ),
    "HELLO with a byte more": (
        lambda peer: hello_of(peer, lambda body: body + b"\0"),
        (PROTOCOL, MALFORMED_HELLO),
    ),
    "HELLO with a key of zeros": (
        lambda peer: hello_of(peer, lambda body: body[:80] + bytes(32) + body[112:]),
        (PROTOCOL, CRYPTOGRAPHIC),
    ),
    "INITIATE cut in its keys": (
        lambda peer: initiate_of(peer, lambda body: body[:256]),
        (PROTOCOL, MALFORMED_INITIATE),
    ),
    "INITIATE cut in its properties": (
        lambda peer: initiate_of(peer, lambda body: body[:-1]),
        (PROTOCOL, CRYPTOGRAPHIC),
    ),
    "INITIATE with properties that are cut": (properties_cut, UNTOLD),
    "MESSAGE cut in its tag": (
        lambda peer: message_of(peer, lambda body: body[:32]),
        (PROTOCOL, MALFORMED_MESSAGE),
    ),
    "MESSAGE cut in its text": (
        lambda peer: message_of(peer, lambda body: body[:-1]),
        (PROTOCOL, CRYPTOGRAPHIC),
    ),
    "HELLO twice": (hello_twice, (PROTOCOL, UNEXPECTED_COMMAND)),
    "INITIATE without HELLO": (initiate_without_hello, (PROTOCOL, UNEXPECTED_COMMAND)),
    "INITIATE again": (initiate_again, (PROTOCOL, UNEXPECTED_COMMAND)),
    "INITIATE of another connection": (initiate_from_elsewhere, (PROTOCOL, CRYPTOGRAPHIC)),
    "all of another connection": (conversation_from_elsewhere, (PROTOCOL, CRYPTOGRAPHIC)),
    "a vouch for another key": (vouch_for_another, (PROTOCOL, KEY_EXCHANGE)),
    "a vouch of another client": (vouch_of_another, (PROTOCOL, CRYPTOGRAPHIC)),
    "MESSAGE twice": (message_twice, (PROTOCOL, INVALID_SEQUENCE)),
    "MESSAGEs swapped": (messages_swapped, (PROTOCOL, INVALID_SEQUENCE)),
    "MESSAGE with a counter of the handshake": (message_of_the_past, (PROTOCOL, INVALID_SEQUENCE)),
    "MESSAGE with another nonce": (message_with_another_nonce, (PROTOCOL, CRYPTOGRAPHIC)),
    "our own answers": (message_mirrored, (PROTOCOL, INVALID_SEQUENCE)),
    "a message in the clear": (
        lambda peer: in_the_clear(peer, frame(b"\x05hello")),
        (PROTOCOL, UNEXPECTED_COMMAND),
    ),
    "PING in the clear": (lambda peer: in_the_clear(peer, ping()), (PROTOCOL, UNEXPECTED_COMMAND)),
    "an empty frame": (lambda peer: in_the_clear(peer, frame(b"")), (PROTOCOL, MALFORMED_COMMAND)),
    "READY from a client": (
        lambda peer: Curve(peer).tell(b"\x05READY" + bytes(60)),
        (PROTOCOL, UNEXPECTED_COMMAND),
    ),
    "WELCOME from a client": (
        lambda peer: Curve(peer).tell(b"\x07WELCOME" + bytes(160)),
        (PROTOCOL, UNEXPECTED_COMMAND),
    ),
    "MESSAGE before the handshake": (
        lambda peer: Curve(peer).tell(b"\x07MESSAGE" + bytes(60)),
        (PROTOCOL, UNEXPECTED_COMMAND),
    ),
}


# --- PLAIN ---------------------------------------------------------------------------------------

HELLO = command(b"HELLO", b"\x04user\x02pw")


def plain(peer: RawPeer, *said: bytes) -> None:
    """Says one after the other, each when the one before has been answered."""
    peer.send(greeting(mechanism=b"PLAIN"))
    peer.recv_exactly(64)
    for number, data in enumerate(said):
        if number:
            peer.recv_frame()
        peer.send(data)


def plainly(*said: bytes):
    return lambda peer: plain(peer, *said)


PLAIN_ATTACKS = {
    "HELLO cut in the name": (
        plainly(command(b"HELLO", b"\x09user")),
        (PROTOCOL, MALFORMED_HELLO),
    ),
    "HELLO cut in the password": (
        plainly(command(b"HELLO", b"\x04user\x09pw")),
        (PROTOCOL, MALFORMED_HELLO),
    ),
    "HELLO with a byte more": (
        plainly(command(b"HELLO", b"\x04user\x02pwx")),
        (PROTOCOL, MALFORMED_HELLO),
    ),
    "HELLO twice": (plainly(HELLO, HELLO), (PROTOCOL, UNEXPECTED_COMMAND)),
    "INITIATE at once": (plainly(command(b"INITIATE", US)), (PROTOCOL, UNEXPECTED_COMMAND)),
    "WELCOME from a client": (plainly(command(b"WELCOME")), (PROTOCOL, UNEXPECTED_COMMAND)),
    "READY from a client": (plainly(ready("DEALER", b"")), (PROTOCOL, UNEXPECTED_COMMAND)),
    "ERROR from a client": (
        plainly(command(b"ERROR", b"\x03400")),
        (PROTOCOL, UNEXPECTED_COMMAND),
    ),
    "properties that are cut": (plainly(HELLO, command(b"INITIATE", US[:-1])), UNTOLD),
    "a message at once": (plainly(message(b"let me in")), (PROTOCOL, UNEXPECTED_COMMAND)),
}

# --- NULL where a domain is asked for, and what all have in common --------------------------------


def opened(mechanism: bytes, *said: bytes):
    def attack(peer):
        peer.send(greeting(mechanism=mechanism) + b"".join(said))

    return attack


def old(data: bytes):
    return lambda peer: peer.send(data)


SIGNATURE = b"\xff" + bytes(7) + b"\x01\x7f"


def downgrades() -> dict:
    return {
        "2.0": (old(SIGNATURE + b"\x01\x05" + frame(b"") + frame(b"in")), UNTOLD),
        "1.0": (old(SIGNATURE + b"\x00\x05\x01\x00\x03\x00in"), UNTOLD),
        "1.0 without a version": (old(b"\x01\x00\x03\x00in"), UNTOLD),
        "1.0 without a version, long": (old(b"\xff" + bytes(7) + b"\x02\x00in"), UNTOLD),
        "HTTP": (old(b"GET / HTTP/1.1\r\n\r\n"), UNTOLD),
        "TLS": (old(bytes.fromhex("16030100c8010000c40303")), UNTOLD),
    }


def mismatches(mine: bytes) -> dict:
    others = {b"NULL", b"PLAIN", b"CURVE", b"GSSAPI", b"", mine.lower(), mine + b"X", b"\xff" * 20}
    return {
        f"mechanism {name!r}": (opened(name, ready("DEALER", b"")), (PROTOCOL, MECHANISM_MISMATCH))
        for name in sorted(others - {mine})
    }


NULL_ATTACKS = {
    "an unknown command": (opened(b"NULL", command(b"HELLO")), (PROTOCOL, UNEXPECTED_COMMAND)),
    "a message at once": (opened(b"NULL", message(b"in")), (PROTOCOL, UNEXPECTED_COMMAND)),
    "PING at once": (opened(b"NULL", ping()), (PROTOCOL, UNEXPECTED_COMMAND)),
    "SUBSCRIBE at once": (
        opened(b"NULL", command(b"SUBSCRIBE", b"")),
        (PROTOCOL, UNEXPECTED_COMMAND),
    ),
    "READY that is cut": (opened(b"NULL", command(b"READY", b"\x01a\0\0")), UNTOLD),
    "ERROR": (opened(b"NULL", command(b"ERROR", b"\x03400")), (AUTH, 400)),
    "ERROR with control characters": (
        opened(b"NULL", command(b"ERROR", b"\x0c\x1b[2J\x07\r\n\0\x7f\xff\xfe400")),
        UNTOLD,
    ),
    "ERROR that is too long": (
        opened(b"NULL", command(b"ERROR", b"\xff" + b"A" * 60_000)),
        UNTOLD,
    ),
    "ERROR that is cut": (
        opened(b"NULL", command(b"ERROR", b"\xff400")),
        (PROTOCOL, MALFORMED_ERROR),
    ),
    "ERROR without a text": (opened(b"NULL", command(b"ERROR")), (PROTOCOL, MALFORMED_ERROR)),
}

ATTACKS = {
    ("CURVE", name): attack
    for name, attack in (CURVE_ATTACKS | downgrades() | mismatches(b"CURVE")).items()
}
ATTACKS |= {
    ("PLAIN", name): attack
    for name, attack in (PLAIN_ATTACKS | downgrades() | mismatches(b"PLAIN")).items()
}
ATTACKS |= {
    ("NULL", name): attack
    for name, attack in (NULL_ATTACKS | downgrades() | mismatches(b"NULL")).items()
}


@pytest.fixture
def defended(target, honest, request):
    """A server of the mechanism that asks its handler about everybody, and an honest client."""
    mechanism = request.param
    target.open(zap=200, **secured(mechanism, as_server=True))
    honest.open(target.endpoint, **secured(mechanism, as_server=False))
    return mechanism


@pytest.mark.parametrize("defended", ["NULL", "PLAIN", "CURVE"], indirect=True)
def test_a_forger_is_gone_and_the_monitor_tells_why(defended, target, honest):
    """Each attack of the mechanism, ``TIMES`` times, while an honest peer is at work."""
    strange = {}
    with honest.at_work():
        for (mechanism, name), (attack, told) in ATTACKS.items():
            if mechanism != defended:
                continue
            before = target.count(*told) if told else 0
            gone = target.count("DISCONNECTED")
            for _ in range(TIMES):
                with target.attack() as peer:
                    attack(peer)
                    assert peer.closed_by_peer(), name
            if told:
                target.told(*told, before + TIMES)
            target.told("DISCONNECTED", times=gone + TIMES)
            state = target.left_with(1)
            if state["strange"]:
                strange[name] = state["got"]
    # What a forger said before its forgery was its own to say, and nothing else got in.
    assert set().union(*strange.values()) <= {b"pay 1", b"pay 2"}, strange
    assert target.count("HANDSHAKE_SUCCEEDED") >= 1


# --- roles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "CURVE"])
def test_two_servers_never_get_through_to_each_other(target, honest, mechanism):
    """Neither speaks first: HANDSHAKE_IVL ends it."""
    target.open(zap=200, handshake_ivl=1000, **secured(mechanism, as_server=True))
    honest.open(target.endpoint, **secured(mechanism, as_server=False))
    with honest.at_work(), target.attackers(20) as peers:
        for peer in peers:
            peer.send(greeting(mechanism=mechanism.encode()))
        for peer in peers:
            assert peer.recv_exactly(64)[12:32].rstrip(b"\0") == mechanism.encode()
            assert peer.closed_by_peer()
        target.told(NO_DETAIL, errno.EAGAIN, 20)
    target.left_with(1)


def welcome_of_another_key(hello: bytes) -> bytes:
    """Of a server that has not the key that the client asked for."""
    side = sec.CurveServer(CLIENT_KEYS)
    side.client_short = hello[80:112]
    return frame(side.welcome(), COMMAND)


#: What a server answers to HELLO, and what our client says of it.
SERVER_FORGERIES = {
    ("CURVE", "HELLO"): (lambda hello: frame(hello, COMMAND), UNEXPECTED_COMMAND),
    ("CURVE", "WELCOME of another key"): (welcome_of_another_key, CRYPTOGRAPHIC),
    ("CURVE", "WELCOME of zeros"): (
        lambda _: frame(sec.WELCOME + bytes(160), COMMAND),
        CRYPTOGRAPHIC,
    ),
    ("CURVE", "WELCOME cut"): (lambda _: frame(sec.WELCOME + bytes(159), COMMAND), CRYPTOGRAPHIC),
    ("CURVE", "READY"): (lambda _: ready("ROUTER", b""), UNEXPECTED_COMMAND),
    ("CURVE", "a message"): (lambda _: message(b"in"), UNEXPECTED_COMMAND),
    ("PLAIN", "HELLO"): (lambda hello: frame(hello, COMMAND), UNEXPECTED_COMMAND),
    ("PLAIN", "READY"): (lambda _: ready("ROUTER", b""), UNEXPECTED_COMMAND),
    ("PLAIN", "a message"): (lambda _: message(b"in"), UNEXPECTED_COMMAND),
}


@pytest.mark.parametrize("mechanism, name", SERVER_FORGERIES)
def test_a_client_of_ours_believes_no_false_server(target, mechanism, name):
    """It disconnects, tells why, and does not come back (S-104: as after any protocol error)."""
    answer, value = SERVER_FORGERIES[mechanism, name]
    target.open(reconnect_ivl=10, **secured(mechanism, as_server=False))
    with RawListener() as listener:
        target.remote.call("connect", listener.endpoint)
        peer = listener.accept()
        peer.send(greeting(mechanism=mechanism.encode()))
        peer.recv_exactly(64)
        peer.send(answer(peer.recv_frame()[1]))
        assert peer.closed_by_peer()
        target.told(PROTOCOL, value)
        target.left_with(0)
        assert listener.nobody_comes()


@pytest.mark.parametrize(
    "text",
    [b"\x1b[2J\x07\r\n\0", b"\xff" * 255, b"400\n", b"4" * 200, b"", b"\xc3\x28", b"300\0"],
)
@pytest.mark.parametrize("mechanism", ["NULL", "PLAIN", "CURVE"])
def test_an_error_with_any_text_ends_a_client_of_ours(target, mechanism, text):
    target.open(reconnect_ivl=10, **secured(mechanism, as_server=False))
    with RawListener() as listener:
        target.remote.call("connect", listener.endpoint)
        peer = listener.accept()
        peer.send(greeting(mechanism=mechanism.encode()))
        peer.recv_exactly(64)
        peer.recv_frame()
        peer.send(command(b"ERROR", bytes([len(text)]) + text))
        assert peer.closed_by_peer()
        target.told("DISCONNECTED")
        target.left_with(0)


# --- resets ---------------------------------------------------------------------------------------


def test_resets_in_the_middle_of_large_messages_harm_nobody_else(target, honest):
    """Both ways: while it sends to us, and while we answer it."""
    target.open()
    honest.open(target.endpoint)
    big = message(b"honest " + bytes(3 << 20))
    with honest.at_work():
        for number in range(40):
            peer = target.attack()
            peer.handshake("DEALER", b"")
            if number % 2:
                peer.send(big[: 1 + number * 70_000])
            else:
                peer.send(big)
                peer.recv_exactly(1 + number * 50_000)
            reset(peer)
        state = target.left_with(1)
    assert not state["strange"]
    eventually(lambda: target.state()["connections"] == 1, TIMEOUT)
