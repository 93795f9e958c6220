"""How the bytes are cut up on their way changes nothing, and no bytes at all do harm."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import EXAMPLES
from support.security import CLIENT, SERVER
from zmtp import replay
from zmtp import transcripts as t
from zmtp.transcripts import zmtp

from zmq_monocoque.utils import z85

TRANSCRIPTS = st.sampled_from(t.ALL)
LIMIT = 1000  # max_message_size, bytes, where a limit is set


def cut(data: bytes, at) -> list[bytes]:
    """``data`` in pieces, cut at these places."""
    places = [0, *sorted(set(at)), len(data)]
    return [data[a:b] for a, b in zip(places, places[1:], strict=False)]


@pytest.mark.parametrize("transcript", t.ALL, ids=[x.name for x in t.ALL])
def test_every_cut_in_two_makes_no_difference(transcript):
    """Method: all of them where there are at most 300, else the first 100 and 100 at random."""
    size = len(transcript.received)
    places = range(1, size)
    if size > 300:
        places = [*range(1, 100), *random.Random(size).sample(range(100, size), 100)]
    for place in places:
        pieces = cut(transcript.received, [place])
        assert replay.feed(transcript.session(), pieces) == replay.of(transcript), place


@given(transcript=TRANSCRIPTS, data=st.data())
@settings(deadline=None, max_examples=100 * EXAMPLES)
def test_any_cuts_make_no_difference(transcript, data):
    places = st.integers(1, max(1, len(transcript.received) - 1))
    pieces = cut(transcript.received, data.draw(st.lists(places, max_size=20)))
    assert replay.feed(transcript.session(), pieces) == replay.of(transcript)


# --- whatever comes ------------------------------------------------------------------------------

BEGINNINGS = {
    "nothing": b"",
    "a signature": t.signature(),
    "a greeting": t.greeting(),
    "a 3.1 handshake": t.greeting() + t.ready("ROUTER"),
    "a 3.0 handshake": t.greeting(minor=0) + t.ready("ROUTER"),
    "a 2.0 handshake": t.signature() + b"\x01\x06" + t.frame(b"id"),
    "a 1.0 handshake": t.signature() + b"\x00\x06" + t.frame_v1(b"id"),
    "an anonymous handshake": t.frame_v1(b"id"),
}
#: Bytes that mean something in some place are likelier than others.
GARBAGE = st.lists(
    st.binary(max_size=20)
    | st.sampled_from([b"\xff", b"\0", b"\x04", b"\x06", b"\x02", b"\x7f", bytes(8), b"\xff" * 8])
    | st.sampled_from([t.command(b"READY"), t.command(b"PING", b"\0\1x"), t.frame(b"a", True)])
    | st.sampled_from([b"\x05READY", b"\x05ERROR", b"\x04PING", b"\x09SUBSCRIBE"]),
    max_size=20,
).map(b"".join)


def feed_and_watch(data: bytes, pieces: list[bytes]) -> replay.Result:
    """Feeds a limited DEALER and checks after every piece what it holds and what it asks for."""
    session = zmtp.Session(zmtp.DEALER, max_message_size=LIMIT)
    result = replay.Result(sent=session.data_to_send())
    given_bytes = 0
    for piece in filter(None, pieces):
        given_bytes += len(piece)
        session.receive_data(piece)
        try:
            result.events += session.events()
        except zmtp.RemoteProtocolError as error:
            result.error = (error.errno, error.kind, error.value)
        result.sent += session.data_to_send()
        if result.error:
            assert session.state == "broken"
            break
        assert 1 <= session.bytes_needed <= LIMIT + 10
        # Besides greeting and READY we send only PONGs, each shorter than its PING.
        assert len(result.sent) <= 64 + len(t.ready("DEALER")) + given_bytes
    told = sum(len(p) for e in result.events if isinstance(e, zmtp.Message) for p in e.parts)
    assert told <= len(data)
    return result


@given(beginning=st.sampled_from(sorted(BEGINNINGS)), garbage=GARBAGE, data=st.data())
@settings(deadline=None, max_examples=150 * EXAMPLES)
def test_garbage_is_refused_or_waited_for_alike_in_any_pieces(beginning, garbage, data):
    received = BEGINNINGS[beginning] + garbage
    whole = feed_and_watch(received, [received])
    places = st.integers(1, max(1, len(received) - 1))
    assert feed_and_watch(received, cut(received, data.draw(st.lists(places, max_size=8)))) == whole
    assert feed_and_watch(received, [bytes([b]) for b in received]) == whole


@given(transcript=TRANSCRIPTS, data=st.data())
@settings(deadline=None, max_examples=150 * EXAMPLES)
def test_a_damaged_transcript_is_refused_or_waited_for_alike_in_any_pieces(transcript, data):
    received = bytearray(transcript.received[:400])
    for _ in range(data.draw(st.integers(1, 3))):
        received[data.draw(st.integers(0, len(received) - 1))] = data.draw(st.integers(0, 255))
    whole = feed_and_watch(bytes(received), [bytes(received)])
    assert feed_and_watch(bytes(received), [bytes([b]) for b in received]) == whole


# --- two sessions --------------------------------------------------------------------------------

MECHANISMS = ["NULL", "PLAIN", "CURVE", "NULL with ZAP", "CURVE with ZAP"]
PAIRS = [("REQ", "REP"), ("DEALER", "ROUTER"), ("PUB", "SUB"), ("PUSH", "PULL"), ("PAIR", "PAIR")]
PARTS = st.lists(
    st.binary(max_size=12) | st.sampled_from([b"x" * n for n in (253, 254, 255, 256, 70000)]),
    min_size=1,
    max_size=4,
)
ACTIONS = st.lists(
    st.tuples(st.just("message"), PARTS)
    | st.tuples(st.just("subscribe"), st.binary(max_size=300))
    | st.tuples(st.just("cancel"), st.binary(max_size=300))
    | st.tuples(st.just("ping"), st.integers(0, 7000000)),
    max_size=6,
)


def secured(mechanism: str, as_server: bool) -> dict:
    """Options of one side of a mechanism."""
    name, _, asks = mechanism.partition(" with ")
    options = {"mechanism": name, "as_server": as_server, "authenticate": bool(asks) and as_server}
    if name == "CURVE":
        public, secret = map(z85.decode, SERVER if as_server else CLIENT)
        options |= {"curve_publickey": public, "curve_secretkey": secret}
        options["curve_serverkey"] = z85.decode(SERVER[0])
    return options


class Side:
    """A session, the bytes on the wire towards it, and what it has still to say."""

    def __init__(self, session: zmtp.Session, actions):
        self.session = session
        self.actions = list(actions)
        self.wire = b""
        self.events: list[t.Event] = []

    def act(self) -> None:
        name, argument = self.actions.pop(0)
        getattr(self.session, f"send_{name}")(argument)

    def take_events(self) -> None:
        for event in self.session.events():
            if isinstance(event, zmtp.Authenticate):
                event = self.session.authenticated()
            if event is not None:
                self.events.append(event)

    @property
    def ready(self) -> bool:
        return self.session.state == "active"


def told_by(actions) -> list[t.Event]:
    """What the other side has to hear, PONGs aside."""
    make = {
        "message": lambda parts: zmtp.Message(tuple(parts)),
        "subscribe": zmtp.Subscribe,
        "cancel": zmtp.Cancel,
        "ping": lambda ttl_ms: zmtp.Ping(min(ttl_ms // 100, 65535) * 100),
    }
    return [make[name](argument) for name, argument in actions]


@given(
    kinds=st.sampled_from(PAIRS),
    mechanism=st.sampled_from(MECHANISMS),
    ids=st.tuples(st.binary(max_size=255), st.binary(max_size=255)),
    actions=st.tuples(ACTIONS, ACTIONS),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=80 * EXAMPLES)
def test_two_sessions_understand_each_other_over_a_wire_that_cuts_and_delays(
    kinds, mechanism, ids, actions, seed
):
    """Method: one random source picks at every step which side acts and how much is delivered."""
    dice = random.Random(seed)
    sides = [
        Side(
            zmtp.Session(getattr(zmtp, kind), routing_id=routing_id, **secured(mechanism, server)),
            todo,
        )
        for kind, routing_id, todo, server in zip(kinds, ids, actions, (True, False), strict=True)
    ]
    while True:
        for side, other in (sides, sides[::-1]):
            other.wire += side.session.data_to_send()
        if not any(side.wire or (side.ready and side.actions) for side in sides):
            break
        side = dice.choice(sides)
        if side.ready and side.actions and dice.random() < 0.3:
            side.act()
        n = dice.choice([1, 2, 9, 10, 64, 300, 10**6])
        piece, side.wire = side.wire[:n], side.wire[n:]
        if piece:
            side.session.receive_data(piece)
            side.take_events()

    for i, (side, other) in enumerate((sides, sides[::-1])):
        assert not side.actions
        identity = ids[1 - i] if kinds[1 - i] in ("REQ", "DEALER", "ROUTER") else b""
        assert side.events[0] == t.is_ready(kinds[1 - i], identity)
        pongs = [e for e in side.events if isinstance(e, zmtp.Pong)]
        rest = [e for e in side.events[1:] if not isinstance(e, zmtp.Pong)]
        assert rest == told_by(actions[1 - i])
        assert len(pongs) == sum(name == "ping" for name, _ in actions[i])
        assert other.ready
