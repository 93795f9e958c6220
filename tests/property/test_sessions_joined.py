"""Two sessions over a wire that cuts, holds back and breaks off, in any order of events.

Bytes are counted: a side must have told exactly what ended within the bytes that it was given. So
nothing is lost, told twice, early or late, however the wire behaves; and what the wire did not
deliver is never told.
"""

from __future__ import annotations

import errno
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support import EXAMPLES
from support.security import CLIENT, SERVER
from zmtp.transcripts import zmtp

from zmq_monocoque.backend._engine import ffi, lib
from zmq_monocoque.utils import z85

MECHANISMS = ("NULL", "PLAIN", "CURVE")
NAMES = (
    "PAIR PUB SUB REQ REP DEALER ROUTER PULL PUSH XPUB XSUB"
    " SERVER CLIENT RADIO DISH GATHER SCATTER PEER CHANNEL"
).split()
WITH_IDENTITY = {"REQ", "DEALER", "ROUTER"}
#: Who may talk to whom (RFC 28, 31, 30, 41, 48 and the like), each pair once.
PAIRS = [
    *[("REQ", "REP"), ("REQ", "ROUTER"), ("DEALER", "REP"), ("DEALER", "ROUTER")],
    *[("DEALER", "DEALER"), ("ROUTER", "ROUTER"), ("PUSH", "PULL"), ("PAIR", "PAIR")],
    *[("PUB", "SUB"), ("PUB", "XSUB"), ("XPUB", "SUB"), ("XPUB", "XSUB")],
    *[("SERVER", "CLIENT"), ("RADIO", "DISH"), ("SCATTER", "GATHER")],
    *[("PEER", "PEER"), ("CHANNEL", "CHANNEL")],
]
MATCHING = {*PAIRS, *(pair[::-1] for pair in PAIRS)}
#: No handshake can succeed.
STRANGERS = [(a, b) for a in NAMES for b in NAMES if (a, b) not in MATCHING]

LIMIT = 1000  # max_message_size of a side that has one, bytes
SEALED = 33  # bytes that CURVE adds to a frame's body
#: A part of a message, or the size of one that is too long to print.
PART = st.binary(max_size=12) | st.sampled_from(
    [222, 223, 254, 255, 256, LIMIT - SEALED, LIMIT, LIMIT + 1, 70000]
)
PIECE = st.sampled_from([1, 2, 3, 9, 10, 33, 64, 300, 10**6])


def raw(pair: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    return z85.decode(pair[0]), z85.decode(pair[1])


@pytest.fixture(autouse=True)
def no_garbage():
    """Of earlier tests, which would be freed between two looks at live_blocks()."""
    gc.collect()


def live_blocks() -> int:
    """Blocks that the engine has now."""
    found = ffi.new("zm_counts *")
    lib.zm_counts_get(found)
    return found.blocks


@dataclass
class Wire:
    """Bytes on their way to one side. When `broken`, nothing more gets in."""

    data: bytearray = field(default_factory=bytearray)
    put: int = 0  # bytes that got in, in all
    broken: bool = False


class Side:
    def __init__(self, name: str, kind: str, session: zmtp.Session, routing_id: bytes):
        self.name = name
        self.kind = kind
        self.session = session
        self.routing_id = routing_id
        self.wire = Wire()  # towards this side
        self.given = 0  # bytes that the session received
        self.at_end = False  # and that there will be no more
        self.ready: zmtp.Ready | None = None
        self.asked = False
        self.closed = False
        self.error: zmtp.RemoteProtocolError | None = None
        self.told: list[zmtp.Event] = []
        self.pongs = 0
        #: What the other side is to hear, and how many bytes of ours it takes until it is whole.
        self.said: list[tuple[int, zmtp.Event]] = []
        self.too_large: int | None = None  # the first of these that the other will not take

    @property
    def over(self) -> bool:
        return self.closed or self.error is not None

    def take_ready(self, event: zmtp.Ready | None) -> None:
        if event:
            assert self.ready is None
            self.ready = event


class JoinedSessions(RuleBasedStateMachine):
    """The subclasses name the mechanism, and who talks to whom."""

    mechanism = "NULL"
    kinds = PAIRS

    def __init__(self):
        super().__init__()
        self.blocks = live_blocks()
        self.sides: list[Side] = []
        self.steps = 0

    @initialize(
        data=st.data(),
        ids=st.tuples(st.binary(max_size=255), st.binary(max_size=255)),
        asks=st.booleans(),
        status=st.sampled_from([200] * 9 + [300, 400, 500]),
        wrong_key=st.sampled_from([False] * 9 + [True]),
        limited=st.booleans(),
        breaks_at=st.none() | st.integers(0, 30),
        sizes=st.none() | st.lists(PIECE, min_size=1, max_size=20),
    )
    def join(self, data, ids, asks, status, wrong_key, limited, breaks_at, sizes):
        """Often the handshake has been made, in pieces of ``sizes``, when the rest begins."""
        kinds = data.draw(st.sampled_from(self.kinds))
        self.kinds_match = kinds in MATCHING
        self.asks = asks or self.mechanism == "PLAIN"
        self.status = status if self.asks else 200
        self.wrong_key = wrong_key and self.mechanism == "CURVE"
        self.limited = limited
        for name, kind, routing_id in zip(("server", "client"), kinds, ids, strict=True):
            options = self.options(name == "server")
            session = zmtp.Session(getattr(zmtp, kind), routing_id=routing_id, **options)
            self.sides.append(Side(name, kind, session, routing_id))
        self.server, self.client = self.sides
        self.breaks_at = breaks_at
        for side in self.sides:
            self.send(side)
        if sizes:
            self.shake_hands(cycle(sizes))

    def shake_hands(self, sizes: Iterator[int]) -> None:
        while any(side.wire.data for side in self.sides) or self.server.asked:
            for i in range(2):
                self.deliver(i, next(sizes), True)
            if self.server.asked:
                self.decide()

    def options(self, as_server: bool) -> dict:
        options: dict = {"mechanism": self.mechanism, "as_server": as_server}
        if as_server:
            options["authenticate"] = self.asks
            options["max_message_size"] = LIMIT if self.limited else -1
        if self.mechanism == "PLAIN":
            options |= {"username": b"user", "password": b"pass word"}
        if self.mechanism == "CURVE":
            public, secret = raw(SERVER if as_server else CLIENT)
            options |= {"curve_publickey": public, "curve_secretkey": secret}
            options["curve_serverkey"] = raw(CLIENT if self.wrong_key else SERVER)[0]
        return options

    def other(self, side: Side) -> Side:
        return self.sides[1 - self.sides.index(side)]

    # --- what can happen --------------------------------------------------------------------

    def send(self, side: Side) -> None:
        """Puts on the wire what a session has to send; one that is over closes behind it."""
        wire = self.other(side).wire
        sent = side.session.data_to_send()
        if not wire.broken:
            wire.data += sent
            wire.put += len(sent)
        if side.over:
            wire.broken = True

    def say(self, side: Side, event: zmtp.Event, act: Callable[[], None]) -> None:
        """What is said while the wire is broken is never heard."""
        if side.session.state != "active":
            with pytest.raises(zmtp.LocalProtocolError):
                act()
            assert side.session.data_to_send() == b""
            return
        wire = self.other(side).wire
        broken = wire.broken
        act()
        self.send(side)
        if not broken:
            side.said.append((wire.put, event))
            if side.too_large is None and self.is_too_large(side, event):
                side.too_large = len(side.said) - 1

    def is_too_large(self, side: Side, event: zmtp.Event) -> bool:
        if side is self.server or not self.limited or not isinstance(event, zmtp.Message):
            return False
        sealed = SEALED if self.mechanism == "CURVE" else 0
        return any(len(part) + sealed > LIMIT for part in event.parts)

    @rule(i=st.integers(0, 1), parts=st.lists(PART, min_size=1, max_size=4))
    def say_message(self, i, parts):
        session = self.sides[i].session
        parts = [part if isinstance(part, bytes) else b"x" * part for part in parts]
        self.say(self.sides[i], zmtp.Message(tuple(parts)), lambda: session.send_message(parts))

    @rule(i=st.integers(0, 1), topic=st.binary(max_size=300), subscribe=st.booleans())
    def say_subscription(self, i, topic, subscribe):
        session = self.sides[i].session
        event = zmtp.Subscribe(topic) if subscribe else zmtp.Cancel(topic)
        act = session.send_subscribe if subscribe else session.send_cancel
        self.say(self.sides[i], event, lambda: act(topic))

    @rule(i=st.integers(0, 1), tenths=st.integers(0, 65535))
    def say_ping(self, i, tenths):
        session = self.sides[i].session
        ttl_ms = tenths * 100
        self.say(self.sides[i], zmtp.Ping(ttl_ms), lambda: session.send_ping(ttl_ms))

    @rule(i=st.integers(0, 1), size=PIECE, look=st.sampled_from([True, True, False]))
    def deliver(self, i, size, look):
        self.give(self.sides[i], size)
        if look:
            self.look(self.sides[i])

    @rule(i=st.integers(0, 1), sizes=st.lists(PIECE, min_size=1, max_size=8))
    def deliver_pieces(self, i, sizes):
        for size in sizes:
            self.deliver(i, size, True)

    @precondition(lambda self: any(side.asked for side in self.sides))
    @rule()
    def decide(self):
        side = self.server
        side.asked = False
        if side.over:
            return
        try:
            side.take_ready(side.session.authenticated(self.status))
        except zmtp.RemoteProtocolError as error:
            assert (error.kind, error.value) == ("auth", self.status)
            side.error = error
        self.send(side)
        self.look(side)

    @precondition(lambda self: self.breaks_at is not None and self.steps >= self.breaks_at)
    @rule(i=st.integers(0, 1), keep=st.integers(0, 400), both=st.booleans())
    def break_off(self, i, keep, both):
        """Of what is on its way, the beginning still arrives; then the end. At times on one side
        only, as with a half-closed connection."""
        self.breaks_at = None
        for side in self.sides if both else [self.sides[i]]:
            wire = side.wire
            if not wire.broken:
                wire.put -= len(wire.data[keep:])
                del wire.data[keep:]
                wire.broken = True

    # --- what comes of it -------------------------------------------------------------------

    def give(self, side: Side, size: int) -> None:
        wire = side.wire
        piece = bytes(wire.data[:size])
        del wire.data[:size]
        side.given += len(piece)
        if piece:
            side.session.receive_data(piece)
        elif wire.broken and not side.at_end:
            side.session.receive_data(b"")
            side.at_end = True

    def look(self, side: Side) -> None:
        session = side.session
        if side.over:
            self.stays_over(side)
            return
        try:
            for event in session.events():
                assert not side.over
                self.hear(side, event)
        except zmtp.RemoteProtocolError as error:
            side.error = error
        self.send(side)

    def hear(self, side: Side, event: zmtp.Event) -> None:
        if isinstance(event, zmtp.Ready):
            side.take_ready(event)
        elif isinstance(event, zmtp.Authenticate):
            assert side is self.server and self.asks and not side.asked
            side.asked = True
        elif isinstance(event, zmtp.Closed):
            assert side.at_end and not side.wire.data
            side.closed = True
        else:
            assert side.ready
            if isinstance(event, zmtp.Pong):
                side.pongs += 1
            else:
                side.told.append(event)

    def stays_over(self, side: Side) -> None:
        """No event after the last one."""
        if side.error is None:
            assert side.session.next_event() == zmtp.Closed()
            return
        for _ in range(2):
            with pytest.raises(zmtp.RemoteProtocolError) as caught:
                side.session.next_event()
            assert caught.value is side.error
        assert side.session.data_to_send() == b""

    @invariant()
    def what_was_told_is_what_arrived_whole(self):
        for side in self.sides:
            said = self.other(side).said
            n = len(side.told)
            assert side.told == [event for _, event in said[:n]]
            assert all(end <= side.given for end, _ in said[:n])

    @invariant()
    def time_passes(self):
        self.steps += 1

    @invariant()
    def a_state_is_what_was_told(self):
        for side in self.sides:
            state = side.session.state
            assert (state == "active") <= (side.ready is not None)
            if side.error and side.error.errno == errno.EMSGSIZE:
                assert self.other(side).too_large is not None or side.ready is None

    # --- the end ----------------------------------------------------------------------------

    def teardown(self):
        if not self.sides:
            return
        try:
            self.come_to_rest()
            self.check_the_end()
        finally:
            for side in self.sides:
                ffi.release(side.session._handle)
        assert live_blocks() == self.blocks

    def come_to_rest(self) -> None:
        """Everything that is on its way arrives."""
        before: list[tuple] = []
        while before != [self.standing(side) for side in self.sides]:
            before = [self.standing(side) for side in self.sides]
            for side in self.sides:
                self.give(side, 10**9)
                self.look(side)
                self.give(side, 0)
                self.look(side)
            if self.server.asked:
                self.decide()

    @staticmethod
    def standing(side: Side) -> tuple:
        return side.given, side.at_end, side.over, side.wire.put, side.wire.broken

    def check_the_end(self) -> None:
        self.what_was_told_is_what_arrived_whole()
        for side in self.sides:
            other = self.other(side)
            arrived = [event for end, event in other.said if end <= side.given]
            if other.too_large is not None and len(arrived) > other.too_large:
                assert side.error and side.error.errno == errno.EMSGSIZE
                arrived = arrived[: other.too_large]
            assert side.told == arrived
            if side.ready:
                identity = other.routing_id if other.kind in WITH_IDENTITY else b""
                assert side.ready.socket_type == other.kind
                assert side.ready.routing_id == identity
            assert side.at_end == side.wire.broken or side.over
        self.check_the_handshake()

    def check_the_handshake(self) -> None:
        """Without the wire's doing both are in, or both are out."""
        good = self.kinds_match and self.status == 200 and not self.wrong_key
        if not good:
            assert not self.server.ready and not self.client.ready
        if any(side.wire.broken for side in self.sides):
            self.check_who_broke_off(good)
            return
        assert not any(side.over for side in self.sides)
        assert bool(self.server.ready) == bool(self.client.ready) == good
        for side in self.sides:
            pings = sum(isinstance(event, zmtp.Ping) for _, event in side.said)
            assert side.pongs == pings

    def check_who_broke_off(self, good: bool) -> None:
        """An error that is not the wire's is one that was to be expected."""
        for side in self.sides:
            if side.error and side.error.kind == "auth":
                assert self.status in (400, 500) and side.error.value == self.status
            elif side.error and side.error.kind == "protocol":
                assert self.wrong_key or not self.kinds_match


#: How many runs, and how many steps each.
SETTINGS = settings(max_examples=30 * EXAMPLES, stateful_step_count=40, deadline=None)


class Careless(JoinedSessions):
    """On a wire that loses a byte of whatever comes in pieces of ten."""

    def give(self, side: Side, size: int) -> None:
        if size == 10 and len(side.wire.data) > size:
            del side.wire.data[9]
        super().give(side, size)


def machine(mechanism_name: str, pairs) -> type[JoinedSessions]:
    class Joined(JoinedSessions):
        mechanism = mechanism_name
        kinds = pairs

    return Joined


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_two_sessions_agree_whatever_the_wire_does(mechanism):
    run_state_machine_as_test(machine(mechanism, PAIRS), settings=SETTINGS)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("pair", "mechanism"), list(zip(PAIRS, cycle(MECHANISMS))), ids=lambda x: "-".join(x)
)
def test_every_pair_of_socket_types_agrees_whatever_the_wire_does(mechanism, pair):
    """With one mechanism each: what a type may say and hear knows nothing of it."""
    few = settings(SETTINGS, max_examples=8 * EXAMPLES)
    run_state_machine_as_test(machine(mechanism, [pair, pair[::-1]]), settings=few)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_no_handshake_succeeds_between_types_that_do_not_match(mechanism):
    few = settings(SETTINGS, max_examples=15 * EXAMPLES)
    run_state_machine_as_test(machine(mechanism, STRANGERS), settings=few)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mechanism_name", MECHANISMS)
def test_a_wire_that_loses_bytes_is_noticed(mechanism_name):
    class Joined(Careless):
        mechanism = mechanism_name

    unshrunk = settings(
        max_examples=100, report_multiple_bugs=False, deadline=None, phases=[Phase.generate]
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Joined, settings=unshrunk)
