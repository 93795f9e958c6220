"""PLAIN, CURVE and authentication in the session, against peers written by hand from RFC 24 and 26.

CURVE's bytes are random, so there are no transcripts of it: the peer here checks every size, every
counter and every box, and makes its own with PyNaCl.
"""

from __future__ import annotations

import errno
import struct

import pytest
from support import security as sec
from support.zmtp import command, frame, greeting, properties
from zmtp import transcripts as t
from zmtp.transcripts import zmtp

from zmq_monocoque.utils import z85

PROTOCOL, AUTH, SILENT = "protocol", "auth", "silent"
UNSPECIFIED, UNEXPECTED_COMMAND, INVALID_SEQUENCE, KEY_EXCHANGE = range(0x10000000, 0x10000004)
MALFORMED_COMMAND, MALFORMED_MESSAGE, MALFORMED_HELLO, MALFORMED_INITIATE = range(
    0x10000011, 0x10000015
)
MALFORMED_ERROR, MALFORMED_READY, MALFORMED_WELCOME, INVALID_METADATA = range(
    0x10000015, 0x10000019
)
CRYPTOGRAPHIC = 0x11000001

PULL_PROPERTIES = properties({b"Socket-Type": b"PULL"})
PUSH_PROPERTIES = properties({b"Socket-Type": b"PUSH"})


def raw(pair: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    return z85.decode(pair[0]), z85.decode(pair[1])


SERVER, CLIENT = raw(sec.SERVER), raw(sec.CLIENT)


def started(mechanism: str, kind: int = zmtp.PULL, **options) -> zmtp.Session:
    """A session that has exchanged greetings."""
    session = zmtp.Session(kind, mechanism=mechanism, **options)
    session.receive_data(greeting(mechanism=mechanism.encode()))
    assert session.next_event() is None or options.get("authenticate")
    assert session.data_to_send()[:64] == greeting(mechanism=mechanism.encode())
    return session


def events_of(session: zmtp.Session, data: bytes) -> list:
    session.receive_data(data)
    return list(session.events())


def fault_of(session: zmtp.Session, data: bytes) -> tuple[str, int]:
    """How the session breaks when it gets ``data``."""
    session.receive_data(data)
    with pytest.raises(zmtp.RemoteProtocolError) as caught:
        list(session.events())
    assert caught.value.errno == errno.EPROTO
    return caught.value.kind, caught.value.value


def body_of(data: bytes) -> tuple[int, bytes]:
    """(flags, body) of the one frame that ``data`` is."""
    size, at = (data[1], 2) if not data[0] & 2 else (struct.unpack(">Q", data[1:9])[0], 9)
    assert len(data) == at + size
    return data[0], data[at:]


# --- PLAIN ---------------------------------------------------------------------------------------

HELLO = command(b"HELLO", b"\x04user\x02pw")
CAPTURED_HELLO = bytes.fromhex("040e05") + b"HELLO" + b"\x04user\x02pw"


def plain_client(**options) -> tuple[zmtp.Session, bytes]:
    session = zmtp.Session(
        zmtp.PUSH, mechanism="PLAIN", username=b"user", password=b"pw", **options
    )
    session.receive_data(greeting(mechanism=b"PLAIN"))
    assert session.next_event() is None
    sent = session.data_to_send()
    assert sent[:64] == greeting(mechanism=b"PLAIN")
    return session, sent[64:]


def plain_server() -> zmtp.Session:
    return started("PLAIN", as_server=True)


def test_a_plain_client_says_the_captured_hello_and_comes_in():
    session, sent = plain_client()
    assert sent == HELLO == CAPTURED_HELLO
    assert events_of(session, command(b"WELCOME")) == []
    assert session.data_to_send() == command(b"INITIATE", PUSH_PROPERTIES)
    assert events_of(session, command(b"READY", PULL_PROPERTIES)) == [t.is_ready("PULL")]


def test_a_plain_server_asks_before_it_answers():
    session = plain_server()
    assert events_of(session, HELLO) == [zmtp.Authenticate("PLAIN", (b"user", b"pw"))]
    assert session.data_to_send() == b""
    assert session.authenticated(200) is None
    assert session.data_to_send() == command(b"WELCOME")
    assert events_of(session, command(b"INITIATE", PUSH_PROPERTIES)) == [t.is_ready("PUSH")]
    assert session.data_to_send() == command(b"READY", PULL_PROPERTIES)


@pytest.mark.parametrize("user, password", [(b"", b""), (b"u" * 255, b"p" * 255), (b"\0", b"\xff")])
def test_names_and_passwords_of_every_length_arrive(user, password):
    client = zmtp.Session(zmtp.PUSH, mechanism="PLAIN", username=user, password=password)
    client.receive_data(greeting(mechanism=b"PLAIN"))
    assert client.next_event() is None
    told = events_of(plain_server(), client.data_to_send()[64:])
    assert told == [zmtp.Authenticate("PLAIN", (user, password))]


def test_no_password_is_shown_by_the_event():
    assert "pw" not in repr(zmtp.Authenticate("PLAIN", (b"user", b"pw")))


@pytest.mark.parametrize(
    "tail", [b"", b"\x04user", b"\x05user", b"\x04user\x03pw", b"\x04user\x02pwx", b"\xff"]
)
def test_a_hello_that_is_cut_or_too_long_is_malformed(tail):
    fault = fault_of(plain_server(), command(b"HELLO", tail))
    assert fault == (PROTOCOL, MALFORMED_HELLO)


@pytest.mark.parametrize("name", [b"INITIATE", b"WELCOME", b"READY", b"HELLOO"])
def test_a_plain_server_expects_hello_first(name):
    assert fault_of(plain_server(), command(name, b"\0\0")) == (PROTOCOL, UNEXPECTED_COMMAND)


def test_a_plain_client_that_does_not_wait_for_welcome_is_refused():
    session = plain_server()
    events_of(session, HELLO)
    fault = fault_of(session, command(b"INITIATE", PUSH_PROPERTIES))
    assert fault == (PROTOCOL, UNSPECIFIED)


def test_a_plain_client_takes_no_ready_before_welcome():
    session, _ = plain_client()
    assert fault_of(session, command(b"READY", PULL_PROPERTIES)) == (PROTOCOL, UNEXPECTED_COMMAND)


def test_a_welcome_has_nothing_behind_it():
    session, _ = plain_client()
    assert fault_of(session, command(b"WELCOME", b"x")) == (PROTOCOL, MALFORMED_WELCOME)


def test_bad_properties_in_a_plain_ready_are_told():
    session, _ = plain_client()
    events_of(session, command(b"WELCOME"))
    assert fault_of(session, command(b"READY", b"\x05ab")) == (PROTOCOL, INVALID_METADATA)


def test_two_plain_clients_find_each_other_out():
    session, hello = plain_client()
    assert fault_of(session, hello) == (PROTOCOL, UNEXPECTED_COMMAND)


@pytest.mark.parametrize("status", [400, 500])
def test_a_plain_client_that_is_turned_away_gets_libzmqs_error(status):
    """libzmq writes `^RROR` and no length, and its client understands nothing else."""
    session = plain_server()
    events_of(session, HELLO)
    with pytest.raises(zmtp.RemoteProtocolError) as caught:
        session.authenticated(status)
    assert (caught.value.kind, caught.value.value) == (AUTH, status)
    text = str(status).encode()
    assert session.data_to_send() == frame(b"^RROR\x03" + text, 4)


@pytest.mark.parametrize("error", [command(b"ERROR", b"\x03400"), frame(b"^RROR\x03400", 4)])
def test_a_plain_client_understands_error_in_both_spellings(error):
    session, _ = plain_client()
    assert fault_of(session, error) == (AUTH, 400)


# --- who may come in -----------------------------------------------------------------------------


def test_a_null_side_that_asks_keeps_its_ready_until_it_is_answered():
    session = zmtp.Session(zmtp.PULL, authenticate=True)
    assert events_of(session, greeting()) == [zmtp.Authenticate("NULL", ())]
    assert events_of(session, command(b"READY", PUSH_PROPERTIES)) == []
    assert session.data_to_send() == greeting()
    assert session.authenticated() == t.is_ready("PUSH")
    assert session.data_to_send() == command(b"READY", PULL_PROPERTIES)


def test_the_answer_may_come_before_the_peers_ready():
    session = zmtp.Session(zmtp.PULL, authenticate=True)
    events_of(session, greeting())
    assert session.authenticated() is None
    assert events_of(session, command(b"READY", PUSH_PROPERTIES)) == [t.is_ready("PUSH")]


def test_300_tells_the_peer_nothing_and_never_lets_it_in():
    session = zmtp.Session(zmtp.PULL, authenticate=True)
    events_of(session, greeting())
    session.data_to_send()
    assert session.authenticated(300) is None
    assert events_of(session, command(b"READY", PUSH_PROPERTIES)) == []
    assert session.data_to_send() == b""
    assert session.state == "handshake"


def test_a_message_before_the_answer_breaks_a_null_session():
    session = zmtp.Session(zmtp.PULL, authenticate=True)
    events_of(session, greeting() + command(b"READY", PUSH_PROPERTIES))
    assert fault_of(session, frame(b"too early")) == (PROTOCOL, UNEXPECTED_COMMAND)


@pytest.mark.parametrize("status", [0, 201, 600])
def test_a_status_that_zap_does_not_have_is_the_callers_mistake(status):
    session = zmtp.Session(zmtp.PULL, authenticate=True)
    events_of(session, greeting())
    with pytest.raises(zmtp.LocalProtocolError):
        session.authenticated(status)
    assert session.authenticated(200) is None


def test_an_answer_that_nobody_asked_for_is_the_callers_mistake():
    with pytest.raises(zmtp.LocalProtocolError):
        started("NULL", kind=zmtp.PULL).authenticated()


@pytest.mark.parametrize("option", ["username", "password"])
def test_a_text_over_255_bytes_cannot_be_said(option):
    with pytest.raises(ValueError, match="255"):
        zmtp.Session(zmtp.PUSH, mechanism="PLAIN", **{option: b"x" * 256})


# --- CURVE: our server ---------------------------------------------------------------------------


def curve_server(kind: int = zmtp.PULL, **options) -> zmtp.Session:
    return started("CURVE", kind, as_server=True, curve_secretkey=SERVER[1], **options)


def welcomed(session: zmtp.Session, pair=CLIENT) -> sec.CurveClient:
    """A client by hand that got its WELCOME."""
    client = sec.CurveClient(pair, SERVER[0])
    assert events_of(session, frame(client.hello(), 4)) == []
    flags, body = body_of(session.data_to_send())
    assert flags == 4
    client.take_welcome(body)
    return client


def connected_client(session: zmtp.Session) -> sec.CurveClient:
    client = welcomed(session)
    assert events_of(session, frame(client.initiate(PUSH_PROPERTIES), 4)) == [t.is_ready("PUSH")]
    flags, body = body_of(session.data_to_send())
    assert flags == 4
    assert client.take_ready(body) == {b"Socket-Type": b"PULL"}
    return client


def test_our_curve_server_lets_a_client_by_the_rfc_in():
    session = curve_server()
    client = connected_client(session)
    told = events_of(
        session,
        frame(client.message(b"one", sec.INNER_MORE))
        + frame(client.message(b"two" * 100))
        + frame(client.message(b"")),
    )
    assert told == [zmtp.Message((b"one", b"two" * 100)), zmtp.Message((b"",))]


def test_the_client_is_told_by_its_key_and_waits_for_the_answer():
    session = curve_server(authenticate=True)
    client = welcomed(session)
    told = events_of(session, frame(client.initiate(PUSH_PROPERTIES), 4))
    assert told == [zmtp.Authenticate("CURVE", (CLIENT[0],))]
    assert session.data_to_send() == b""
    assert session.authenticated() == t.is_ready("PUSH")
    client.take_ready(body_of(session.data_to_send())[1])


def test_a_curve_client_that_is_turned_away_gets_an_error_in_the_clear():
    session = curve_server(authenticate=True)
    events_of(session, frame(welcomed(session).initiate(PUSH_PROPERTIES), 4))
    with pytest.raises(zmtp.RemoteProtocolError):
        session.authenticated(400)
    assert session.data_to_send() == command(b"ERROR", b"\x03400")


def changed(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


@pytest.mark.parametrize(
    "at, value",
    [
        (6, MALFORMED_HELLO),  # major version
        (7, MALFORMED_HELLO),  # minor version
        (80, CRYPTOGRAPHIC),  # C'
        (119, CRYPTOGRAPHIC),  # nonce
        (120, CRYPTOGRAPHIC),  # tag
        (199, CRYPTOGRAPHIC),  # box
        (1, UNEXPECTED_COMMAND),
    ],
)
def test_a_hello_with_one_bit_changed_is_refused(at, value):
    session = curve_server()
    hello = sec.CurveClient(CLIENT, SERVER[0]).hello()
    assert fault_of(session, frame(changed(hello, at), 4)) == (PROTOCOL, value)
    assert session.data_to_send() == b""


@pytest.mark.parametrize("size", [7, 199, 201])
def test_a_hello_of_another_size_is_malformed(size):
    hello = (sec.CurveClient(CLIENT, SERVER[0]).hello() + b"x")[:size]
    assert fault_of(curve_server(), frame(hello, 4)) == (PROTOCOL, MALFORMED_HELLO)


def test_a_hello_for_another_server_is_refused():
    hello = sec.CurveClient(CLIENT, CLIENT[0]).hello()
    assert fault_of(curve_server(), frame(hello, 4)) == (PROTOCOL, CRYPTOGRAPHIC)


def test_a_hello_with_the_key_that_is_zero_is_refused():
    hello = sec.CurveClient(CLIENT, SERVER[0]).hello()
    zero = hello[:80] + bytes(32) + hello[112:]
    assert fault_of(curve_server(), frame(zero, 4)) == (PROTOCOL, CRYPTOGRAPHIC)


@pytest.mark.parametrize(
    "at, value",
    [
        (9, CRYPTOGRAPHIC),  # the cookie's nonce
        (30, CRYPTOGRAPHIC),  # the cookie
        (112, CRYPTOGRAPHIC),  # nonce
        (113, CRYPTOGRAPHIC),  # tag
        (-1, CRYPTOGRAPHIC),  # box
        (1, UNEXPECTED_COMMAND),
    ],
)
def test_an_initiate_with_one_bit_changed_is_refused(at, value):
    session = curve_server()
    initiate = welcomed(session).initiate(PUSH_PROPERTIES)
    at %= len(initiate)
    assert fault_of(session, frame(changed(initiate, at), 4)) == (PROTOCOL, value)
    assert session.data_to_send() == b""


def test_an_initiate_that_is_too_short_is_malformed():
    session = curve_server()
    initiate = welcomed(session).initiate(b"")
    assert len(initiate) == 257
    assert fault_of(session, frame(initiate[:256], 4)) == (PROTOCOL, MALFORMED_INITIATE)


def test_the_cookie_of_another_connection_is_refused():
    first, second = curve_server(), curve_server()
    client, other = welcomed(first), welcomed(second)
    client.cookie = other.cookie
    fault = fault_of(first, frame(client.initiate(PUSH_PROPERTIES), 4))
    assert fault == (PROTOCOL, CRYPTOGRAPHIC)


def test_a_client_cannot_use_the_long_term_key_of_somebody_else():
    session = curve_server()
    client = welcomed(session)
    client.public = SERVER[0]  # claims it, and seals the vouch with its own
    fault = fault_of(session, frame(client.initiate(PUSH_PROPERTIES), 4))
    assert fault == (PROTOCOL, CRYPTOGRAPHIC)


def test_a_vouch_for_another_connection_is_refused():
    session = curve_server()
    client = welcomed(session)
    initiate = client.initiate(PUSH_PROPERTIES, vouch_for=bytes(range(32)))
    assert fault_of(session, frame(initiate, 4)) == (PROTOCOL, KEY_EXCHANGE)


def test_a_client_of_the_wrong_socket_type_is_refused_in_silence():
    session = curve_server()
    client = welcomed(session)
    initiate = client.initiate(properties({b"Socket-Type": b"SUB"}))
    assert fault_of(session, frame(initiate, 4)) == (SILENT, 0)


def test_a_curve_client_that_does_not_wait_for_the_answer_is_refused():
    session = curve_server(authenticate=True)
    client = welcomed(session)
    events_of(session, frame(client.initiate(PUSH_PROPERTIES), 4))
    assert fault_of(session, frame(client.message(b"x"))) == (PROTOCOL, UNSPECIFIED)


# --- CURVE: our client ---------------------------------------------------------------------------


def curve_client(kind: int = zmtp.PUSH, **options) -> tuple[zmtp.Session, sec.CurveServer]:
    """A client that has said HELLO to a server by hand, which understood it."""
    session = zmtp.Session(
        kind,
        mechanism="CURVE",
        curve_publickey=CLIENT[0],
        curve_secretkey=CLIENT[1],
        curve_serverkey=SERVER[0],
        **options,
    )
    session.receive_data(greeting(mechanism=b"CURVE"))
    assert session.next_event() is None
    sent = session.data_to_send()
    server = sec.CurveServer(SERVER)
    flags, body = body_of(sent[64:])
    assert flags == 4
    server.take_hello(body)
    return session, server


def connected_server(kind: int = zmtp.PUSH, peer: bytes = b"PULL", **options):
    session, server = curve_client(kind, **options)
    assert events_of(session, frame(server.welcome(), 4)) == []
    flags, body = body_of(session.data_to_send())
    assert flags == 6  # a long command
    server.take_initiate(body)
    assert server.client_public == CLIENT[0]
    ready = server.ready(properties({b"Socket-Type": peer}))
    assert events_of(session, frame(ready, 4)) == [t.is_ready(peer.decode())]
    return session, server


def test_our_curve_client_comes_in_to_a_server_by_the_rfc():
    session, server = connected_server()
    session.send_message([b"one", b"x" * 300])
    sent = session.data_to_send()
    flags, body = body_of(sent[:38])
    assert flags == 0 and server.open(body) == (3, sec.INNER_MORE, b"one")
    flags, body = body_of(sent[38:])
    assert flags == 2 and server.open(body) == (4, 0, b"x" * 300)


def test_every_socket_type_tells_its_properties_under_curve():
    session, server = curve_client(zmtp.DEALER, routing_id=b"me", properties={"X-a": b"b"})
    events_of(session, frame(server.welcome(), 4))
    _, body = body_of(session.data_to_send())
    told = server.take_initiate(body)
    assert told == {b"Socket-Type": b"DEALER", b"Identity": b"me", b"X-a": b"b"}


@pytest.mark.parametrize("at", [8, 24, 60, 167])
def test_a_welcome_with_one_bit_changed_is_refused(at):
    session, server = curve_client()
    assert fault_of(session, frame(changed(server.welcome(), at), 4)) == (PROTOCOL, CRYPTOGRAPHIC)
    assert session.data_to_send() == b""


def test_a_welcome_of_another_size_is_refused():
    session, server = curve_client()
    fault = fault_of(session, frame(server.welcome() + b"x", 4))
    assert fault == (PROTOCOL, CRYPTOGRAPHIC)


def test_a_server_that_has_not_the_key_is_refused():
    session, server = curve_client()
    server.secret = CLIENT[1]
    assert fault_of(session, frame(server.welcome(), 4)) == (PROTOCOL, CRYPTOGRAPHIC)


@pytest.mark.parametrize("at", [6, 14, -1])
def test_a_ready_with_one_bit_changed_is_refused(at):
    session, server = curve_client()
    events_of(session, frame(server.welcome(), 4))
    ready = server.ready(PULL_PROPERTIES)
    fault = fault_of(session, frame(changed(ready, at % len(ready)), 4))
    assert fault == (PROTOCOL, CRYPTOGRAPHIC)


def test_a_ready_that_is_too_short_is_malformed():
    session, server = curve_client()
    events_of(session, frame(server.welcome(), 4))
    fault = fault_of(session, frame(server.ready(b"")[:29], 4))
    assert fault == (PROTOCOL, MALFORMED_READY)


def test_bad_properties_in_a_curve_ready_are_told():
    session, server = curve_client()
    events_of(session, frame(server.welcome(), 4))
    fault = fault_of(session, frame(server.ready(b"\x05ab"), 4))
    assert fault == (PROTOCOL, INVALID_METADATA)


@pytest.mark.parametrize("name", [b"READY", b"HELLO", b"INITIATE", b"MESSAGE"])
def test_a_curve_client_expects_welcome_first(name):
    session, _ = curve_client()
    assert fault_of(session, command(name, bytes(100))) == (PROTOCOL, UNEXPECTED_COMMAND)


def test_a_second_welcome_is_refused():
    session, server = curve_client()
    events_of(session, frame(server.welcome(), 4))
    assert fault_of(session, frame(server.welcome(), 4)) == (PROTOCOL, UNEXPECTED_COMMAND)


def test_a_curve_client_understands_error():
    session, _ = curve_client()
    assert fault_of(session, command(b"ERROR", b"\x03500")) == (AUTH, 500)


def test_a_client_without_a_server_key_says_nothing():
    session = zmtp.Session(zmtp.PUSH, mechanism="CURVE", curve_secretkey=CLIENT[1])
    fault = fault_of(session, greeting(mechanism=b"CURVE"))
    assert fault == (PROTOCOL, CRYPTOGRAPHIC)
    assert session.data_to_send() == greeting(mechanism=b"CURVE")


# --- CURVE: messages -----------------------------------------------------------------------------


def test_counters_may_leap_but_never_stand_or_go_back():
    session = curve_server()
    client = connected_client(session)
    told = events_of(session, frame(client.message(b"a", counter=3)))
    told += events_of(session, frame(client.message(b"b", counter=2**63)))
    assert told == [zmtp.Message((b"a",)), zmtp.Message((b"b",))]
    again = frame(client.message(b"b", counter=2**63))
    assert fault_of(session, again) == (PROTOCOL, INVALID_SEQUENCE)


def test_a_replayed_message_is_refused():
    session = curve_server()
    client = connected_client(session)
    message = frame(client.message(b"pay 1"))
    assert events_of(session, message) == [zmtp.Message((b"pay 1",))]
    assert fault_of(session, message) == (PROTOCOL, INVALID_SEQUENCE)


def test_a_reordered_message_is_refused():
    session = curve_server()
    client = connected_client(session)
    first, second = (frame(client.message(x)) for x in (b"1", b"2"))
    events_of(session, second)
    assert fault_of(session, first) == (PROTOCOL, INVALID_SEQUENCE)


def test_a_message_may_not_use_a_counter_of_the_handshake():
    session = curve_server()
    client = connected_client(session)
    early = frame(client.message(b"x", counter=2))
    assert fault_of(session, early) == (PROTOCOL, INVALID_SEQUENCE)


@pytest.mark.parametrize("at", [8, 16, 31, 32, -1])
def test_a_message_with_one_bit_changed_is_refused_and_not_delivered(at):
    session = curve_server()
    message = connected_client(session).message(b"text")
    fault = fault_of(session, frame(changed(message, at % len(message))))
    assert fault == (PROTOCOL, CRYPTOGRAPHIC)


def test_our_own_bytes_sent_back_are_refused():
    session = curve_server(zmtp.PAIR)
    client = welcomed(session)
    events_of(session, frame(client.initiate(properties({b"Socket-Type": b"PAIR"})), 4))
    session.data_to_send()
    for _ in range(3):
        session.send_message([b"x"])
    mirrored = session.data_to_send()
    assert fault_of(session, mirrored[-36:]) == (PROTOCOL, CRYPTOGRAPHIC)


@pytest.mark.parametrize(
    "body, value",
    [
        (b"", MALFORMED_COMMAND),
        (b"\x07", MALFORMED_COMMAND),
        (b"\x07MESSAG", MALFORMED_COMMAND),
        (b"\x07MESSAGE", MALFORMED_MESSAGE),
        (b"\x07MESSAGE" + bytes(24), MALFORMED_MESSAGE),
        (b"\x02in the clear", UNEXPECTED_COMMAND),
        (b"\x04PING\0\0", UNEXPECTED_COMMAND),
    ],
)
def test_what_is_no_message_is_refused(body, value):
    session = curve_server()
    connected_client(session)
    assert fault_of(session, frame(body)) == (PROTOCOL, value)


def test_boxes_of_every_size_are_the_ones_of_nacl():
    """Ours are made in portions of 256 and 512 bytes: every rest, with and without portions."""
    session = curve_server(zmtp.PAIR)
    client = welcomed(session)
    events_of(session, frame(client.initiate(properties({b"Socket-Type": b"PAIR"})), 4))
    client.take_ready(body_of(session.data_to_send())[1])
    for size in (*range(600), *range(980, 1100), *range(1500, 1600), 4095, 4096, 70_000):
        text = bytes(i * 7 % 251 for i in range(size))
        assert events_of(session, frame(client.message(text))) == [zmtp.Message((text,))]
        session.send_message([text])
        counter, flags, got = client.open(body_of(session.data_to_send())[1])
        assert (counter, flags, got) == (client.counter - 1, 0, text)


def test_a_ping_is_answered_under_curve():
    session = curve_server()
    client = connected_client(session)
    ping = frame(client.message(b"\x04PING\x00\x1eLOL", sec.INNER_COMMAND))
    assert events_of(session, ping) == [zmtp.Ping(3000)]
    flags, body = body_of(session.data_to_send())
    assert flags == 0 and client.open(body) == (2, sec.INNER_COMMAND, b"\x04PONGLOL")
    session.send_ping(1000)
    _, body = body_of(session.data_to_send())
    assert client.open(body) == (3, sec.INNER_COMMAND, b"\x04PING\x00\x0a")
    pong = frame(client.message(b"\x04PONG", sec.INNER_COMMAND))
    assert events_of(session, pong) == [zmtp.Pong()]


def test_subscriptions_are_commands_inside_the_box():
    session, server = connected_server(zmtp.SUB, b"PUB")
    session.send_subscribe(b"T")
    sent = session.data_to_send()
    assert sent[:2] == b"\x00\x2c"
    assert server.open(body_of(sent)[1]) == (3, sec.INNER_COMMAND, b"\x09SUBSCRIBET")
    session.send_cancel(b"T")
    _, body = body_of(session.data_to_send())
    assert server.open(body) == (4, sec.INNER_COMMAND, b"\x06CANCELT")


def test_subscriptions_from_the_box_are_told():
    session = curve_server(zmtp.PUB)
    client = welcomed(session)
    events_of(session, frame(client.initiate(properties({b"Socket-Type": b"SUB"})), 4))
    session.data_to_send()
    told = events_of(
        session,
        frame(client.message(b"\x09SUBSCRIBEtopic", sec.INNER_COMMAND))
        + frame(client.message(b"\x06CANCELtopic", sec.INNER_COMMAND)),
    )
    assert told == [zmtp.Subscribe(b"topic"), zmtp.Cancel(b"topic")]


def test_the_limit_counts_the_bytes_of_the_whole_frame():
    session = curve_server(max_message_size=400)
    client = connected_client(session)
    assert len(events_of(session, frame(client.message(b"x" * 367)))) == 1
    session.receive_data(frame(client.message(b"x" * 368)))
    with pytest.raises(zmtp.RemoteProtocolError) as caught:
        session.next_event()
    assert caught.value.errno == errno.EMSGSIZE


def test_a_key_that_has_not_32_bytes_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        zmtp.Session(zmtp.PUSH, mechanism="CURVE", curve_secretkey=b"short")
