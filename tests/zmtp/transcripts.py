"""What a peer sends and what our side must answer, as bytes: the facts of protocol.md.

The bytes are built by the small functions here, never by the code under test. Entries whose
``captured`` is true stand in protocol.md as captured from libzmq 4.3.5. All of them but those with
``differs`` are also replayed to a real libzmq, in test_against_libzmq.py.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass, field

from zmq_monocoque import zmtp
from zmq_monocoque.zmtp import Cancel, Event, Message, Ping, Pong, Ready, Subscribe

NAMES = {
    getattr(zmtp, name): name
    for name in "PAIR PUB SUB REQ REP DEALER ROUTER PULL PUSH XPUB XSUB".split()
}
PEER_OF = {"REQ": "REP", "DEALER": "ROUTER", "PUB": "SUB", "PUSH": "PULL"}
PEER_OF |= {peer: kind for kind, peer in PEER_OF.items()}
PEER_OF |= {"XPUB": "SUB", "XSUB": "PUB", "PAIR": "PAIR"}

UNEXPECTED_COMMAND = 0x10000001
MALFORMED_ERROR = 0x10000015
MECHANISM_MISMATCH = 0x11000002


def signature(routing_id: bytes = b"") -> bytes:
    return b"\xff" + struct.pack("!Q", len(routing_id) + 1) + b"\x7f"


def greeting_rest(minor: int = 1, mechanism: bytes = b"NULL", as_server: int = 0) -> bytes:
    """What follows the major version."""
    return bytes([minor]) + mechanism.ljust(20, b"\0") + bytes([as_server]) + bytes(31)


def greeting(routing_id=b"", major=3, minor=1, mechanism=b"NULL", as_server=0) -> bytes:
    return signature(routing_id) + bytes([major]) + greeting_rest(minor, mechanism, as_server)


def frame(body: bytes, more: bool = False, command: bool = False) -> bytes:
    """A frame of ZMTP 2.0 and later."""
    flags = more | command << 2
    if len(body) <= 255:
        return bytes([flags, len(body)]) + body
    return bytes([flags | 2]) + struct.pack("!Q", len(body)) + body


def frame_v1(body: bytes, more: bool = False) -> bytes:
    length = len(body) + 1
    head = bytes([length]) if length < 255 else b"\xff" + struct.pack("!Q", length)
    return head + bytes([more]) + body


def command(name: bytes, data: bytes = b"") -> bytes:
    return frame(bytes([len(name)]) + name + data, command=True)


def prop(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + struct.pack("!I", len(value)) + value


def ready_properties(kind: str, routing_id: bytes = b"") -> dict[str, bytes]:
    properties = {"Socket-Type": kind.encode()}
    if kind in ("REQ", "DEALER", "ROUTER"):
        properties["Identity"] = routing_id
    return properties


def ready(kind: str, routing_id: bytes = b"") -> bytes:
    properties = ready_properties(kind, routing_id)
    return command(b"READY", b"".join(prop(n.encode(), v) for n, v in properties.items()))


def is_ready(kind: str, routing_id: bytes = b"", version: tuple[int, int] = (3, 1)) -> Ready:
    return Ready(version, kind, routing_id, ready_properties(kind, routing_id))


@dataclass(frozen=True)
class Transcript:
    """``received`` is all that the peer sends, ``sent`` all that our side answers to it."""

    name: str
    kind: str
    received: bytes
    sent: bytes
    events: list[Event]
    routing_id: bytes = b""
    options: dict = field(default_factory=dict)
    error: tuple[int, str, int] | None = None  # errno, kind, value
    captured: bool = False
    differs: str = ""  # where libzmq does something else, and why that is so

    def session(self) -> zmtp.Session:
        return zmtp.Session(getattr(zmtp, self.kind), routing_id=self.routing_id, **self.options)


def handshake(kind: str, peer: str, minor: int = 1) -> tuple[bytes, bytes, list[Event]]:
    """received, sent, events of a NULL handshake between ``kind`` (us) and ``peer``."""
    return (
        greeting(minor=minor) + ready(peer),
        greeting() + ready(kind),
        [is_ready(peer, version=(3, minor))],
    )


def after(name, received, sent, events, kind="DEALER", peer="ROUTER", minor=1, **more):
    """A transcript that begins with a 3.x handshake."""
    first_received, first_sent, first_events = handshake(kind, peer, minor)
    return Transcript(
        name, kind, first_received + received, first_sent + sent, first_events + events, **more
    )


def during(name, received, error, sent=None, **more):
    """A transcript that breaks in the handshake, after the greetings."""
    return Transcript(
        name,
        "DEALER",
        greeting() + received,
        greeting() + ready("DEALER") if sent is None else sent,
        [],
        error=error,
        **more,
    )


SILENT = (errno.EPROTO, "silent", 0)
TOO_LARGE = (errno.EMSGSIZE, "silent", 0)

GREETINGS = [
    Transcript(
        "READY of a DEALER with a routing id",
        "DEALER",
        greeting() + ready("ROUTER"),
        bytes.fromhex("ff00000000000000047f")
        + b"\x03\x01NULL"
        + bytes(48)
        + bytes.fromhex("042c05")
        + b"READY"
        + b"\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x03abc",
        [is_ready("ROUTER")],
        routing_id=b"abc",
        captured=True,
    ),
    Transcript(
        "any number in the signature is padding",
        "DEALER",
        b"\xff" + b"\xaa" * 8 + b"\x7f" + greeting()[10:] + ready("ROUTER"),
        greeting() + ready("DEALER"),
        [is_ready("ROUTER")],
    ),
    Transcript(
        "only bit 0 of the tenth byte is looked at",
        "DEALER",
        b"\xff" + bytes(8) + b"\x01" + greeting()[10:] + ready("ROUTER"),
        greeting() + ready("DEALER"),
        [is_ready("ROUTER")],
    ),
    Transcript(
        "major 4 is spoken to as 3.1, whatever its minor",
        "PUB",
        greeting(major=4, minor=0) + ready("SUB") + command(b"SUBSCRIBE", b"A"),
        greeting() + ready("PUB"),
        [is_ready("SUB"), Subscribe(b"A")],
        captured=True,
    ),
    Transcript(
        "minor 9 is spoken to as 3.1",
        "DEALER",
        greeting(minor=9) + ready("ROUTER"),
        greeting() + ready("DEALER"),
        [is_ready("ROUTER")],
        captured=True,
    ),
    Transcript(
        "as-server is ignored",
        "DEALER",
        greeting(as_server=1) + ready("ROUTER"),
        greeting() + ready("DEALER"),
        [is_ready("ROUTER")],
        captured=True,
    ),
    Transcript(
        "another mechanism is a mismatch",
        "DEALER",
        greeting(mechanism=b"PLAIN"),
        greeting(),
        [],
        error=(errno.EPROTO, "protocol", MECHANISM_MISMATCH),
        captured=True,
    ),
    Transcript(
        "all 20 bytes of the mechanism are compared",
        "DEALER",
        greeting(mechanism=b"NULL".ljust(19, b"\0") + b"x"),
        greeting(),
        [],
        error=(errno.EPROTO, "protocol", MECHANISM_MISMATCH),
    ),
    Transcript(
        "2.0 peer, our routing id as a frame",
        "DEALER",
        signature() + b"\x01\x06" + frame(b"") + frame(b"hi"),
        signature(b"abc") + bytes.fromhex("0305 0003616263"),
        [Ready((2, 0), "", b""), Message((b"hi",))],
        routing_id=b"abc",
        captured=True,
    ),
    Transcript(
        "versioned 1.0 peer, our routing id as a frame of 1.0",
        "DEALER",
        signature() + b"\x00\x06" + frame_v1(b"me") + frame_v1(b"hi"),
        signature(b"abc") + bytes.fromhex("0305 0400616263"),
        [Ready((1, 0), "", b"me"), Message((b"hi",))],
        routing_id=b"abc",
        captured=True,
    ),
    Transcript(
        "anonymous 1.0 peer, only the body of our routing id",
        "DEALER",
        frame_v1(b"") + frame_v1(b"hi"),
        signature(b"abc") + b"abc",
        [Ready((1, 0), "", b""), Message((b"hi",))],
        routing_id=b"abc",
        captured=True,
    ),
    Transcript(
        "anonymous 1.0 peer whose routing id has a long length",
        "ROUTER",
        b"\xff" + struct.pack("!Q", 256) + b"\x00" + b"i" * 255 + frame_v1(b"hi"),
        signature(),
        [Ready((1, 0), "", b"i" * 255), Message((b"hi",))],
    ),
    Transcript(
        "an HTTP request is an unfinished 1.0 routing id",
        "DEALER",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        signature(),
        [],
        captured=True,
    ),
    Transcript(
        "a publisher takes an anonymous 1.0 peer to want everything",
        "PUB",
        frame_v1(b""),
        signature(),
        [Ready((1, 0), "", b""), Subscribe(b"")],
    ),
    Transcript(
        "a publisher hears the subscriptions of a versioned 1.0 peer",
        "XPUB",
        signature() + b"\x00\x02" + frame_v1(b"") + frame_v1(b"\x01A"),
        signature() + b"\x03\x09" + frame_v1(b""),
        [Ready((1, 0), "", b""), Message((b"\x01A",))],
    ),
    Transcript("1.0 frame of length zero", "DEALER", b"\x00", signature(), [], error=SILENT),
    Transcript(
        "1.0 long frame of length zero",
        "DEALER",
        frame_v1(b"") + b"\xff" + bytes(8),
        signature(),
        [Ready((1, 0), "", b"")],
        error=SILENT,
    ),
    *(
        Transcript(
            f"a {name} peer is refused where old ones are",
            "DEALER",
            received,
            sent,
            [],
            options={"refuse_old": True},
            error=SILENT,
            differs="needs ZAP there",
        )
        for name, received, sent in [
            ("2.0", signature() + b"\x01\x05", signature() + b"\x03"),
            ("versioned 1.0", signature() + b"\x00\x05", signature() + b"\x03"),
            ("anonymous 1.0", b"\x01\x00", signature()),
            ("anonymous 1.0 (long)", b"\xff" + bytes(7) + b"\xff\x00", signature()),
        ]
    ),
]

HANDSHAKES = [
    Transcript(
        "READY may come as a frame that is not a command",
        "DEALER",
        greeting() + b"\x00" + ready("ROUTER")[1:],
        greeting() + ready("DEALER"),
        [is_ready("ROUTER")],
        captured=True,
    ),
    Transcript(
        "READY may leave out the socket type",
        "DEALER",
        greeting() + command(b"READY"),
        greeting() + ready("DEALER"),
        [Ready((3, 1), "", b"", {})],
        captured=True,
    ),
    Transcript(
        "READY may come in a long frame though it is short",
        "DEALER",
        greeting() + b"\x06" + struct.pack("!Q", len(ready("ROUTER")) - 2) + ready("ROUTER")[2:],
        greeting() + ready("DEALER"),
        [is_ready("ROUTER")],
    ),
    Transcript(
        "properties we do not know are kept",
        "DEALER",
        greeting()
        + command(
            b"READY", prop(b"Socket-Type", b"REP") + prop(b"X-foo", b"bar") + prop(b"X-e", b"")
        ),
        greeting() + ready("DEALER"),
        [Ready((3, 1), "REP", b"", {"Socket-Type": b"REP", "X-foo": b"bar", "X-e": b""})],
    ),
    Transcript(
        "names of properties are read in any case",
        "ROUTER",
        greeting() + command(b"READY", prop(b"socket-TYPE", b"REQ") + prop(b"IDENTITY", b"x")),
        greeting() + ready("ROUTER"),
        [Ready((3, 1), "REQ", b"x", {"socket-TYPE": b"REQ", "IDENTITY": b"x"})],
    ),
    during("an incompatible socket type", ready("PUB"), SILENT, captured=True),
    during("a socket type that does not exist", ready("NOBODY"), SILENT),
    during("an empty socket type", command(b"READY", prop(b"Socket-Type", b"")), SILENT),
    during("a socket type with a NUL", command(b"READY", prop(b"Socket-Type", b"REP\0")), SILENT),
    during("one byte left over in READY", command(b"READY", b"\0"), SILENT),
    during(
        "a property without a value",
        command(b"READY", b"\x01a"),
        SILENT,
        differs="takes it: nothing is left over",
    ),
    during("a value that is cut", command(b"READY", prop(b"a", b"bc")[:-1]), SILENT),
    during(
        "a value of 4 GB",
        command(b"READY", b"\x01a\xff\xff\xff\xff"),
        SILENT,
        differs="takes it: nothing is left over",
    ),
    during(
        "an unknown command",
        command(b"HELLO"),
        (errno.EPROTO, "protocol", UNEXPECTED_COMMAND),
        captured=True,
    ),
    during("an empty command", frame(b""), (errno.EPROTO, "protocol", UNEXPECTED_COMMAND)),
    during("READY cut", frame(b"\x05READ"), (errno.EPROTO, "protocol", UNEXPECTED_COMMAND)),
    *(
        during(
            f"ERROR {status}",
            command(b"ERROR", b"\x03%d" % status),
            (errno.EPROTO, "auth", status),
            captured=True,
        )
        for status in (300, 400, 500)
    ),
    during("ERROR with another text", command(b"ERROR", b"\x04nope"), SILENT, captured=True),
    during("ERROR 200", command(b"ERROR", b"\x03200"), SILENT),
    during("ERROR 401", command(b"ERROR", b"\x03401"), SILENT),
    during("ERROR 410", command(b"ERROR", b"\x03410"), SILENT),
    during("ERROR 600", command(b"ERROR", b"\x03600"), SILENT),
    during("ERROR with an empty text", command(b"ERROR", b"\0"), SILENT),
    during(
        "ERROR with bytes behind its text",
        command(b"ERROR", b"\x03400!"),
        (errno.EPROTO, "auth", 400),
    ),
    during("ERROR without a text", command(b"ERROR"), (errno.EPROTO, "protocol", MALFORMED_ERROR)),
    during(
        "ERROR with a text that is cut",
        command(b"ERROR", b"\x0440"),
        (errno.EPROTO, "protocol", MALFORMED_ERROR),
    ),
    during(
        "READY over the limit",
        ready("ROUTER"),
        TOO_LARGE,
        options={"max_message_size": len(ready("ROUTER")) - 3},
    ),
    during(
        "a handshake frame of 2^63", b"\x06\x80" + bytes(7), SILENT, differs="tries to allocate it"
    ),
]

PONG_LOL = bytes.fromhex("040804") + b"PONGLOL"
LONG_CONTEXT = bytes(range(20))

TRAFFIC = [
    after(
        "frames",
        frame(b"a", more=True) + frame(b"") + frame(b"hi"),
        b"",
        [Message((b"a", b"")), Message((b"hi",))],
    ),
    after(
        "REQ with a correlation id",
        bytes.fromhex("0104 55082012 0100 000171"),
        b"",
        [Message((b"\x55\x08\x20\x12", b"", b"q"))],
        captured=True,
    ),
    after(
        "a body of 255 is short, 256 is long",
        b"\0\xff" + b"x" * 255 + b"\2\0\0\0\0\0\0\1\0" + b"y" * 256,
        b"",
        [Message((b"x" * 255,)), Message((b"y" * 256,))],
        captured=True,
    ),
    after(
        "a short body in a long frame",
        b"\3" + struct.pack("!Q", 2) + b"ab" + frame(b""),
        b"",
        [Message((b"ab", b""))],
    ),
    after(
        "reserved flag bits are ignored",
        b"\xf8\x02hi" + b"\xf9\x01a" + b"\xfa" + bytes(8),
        b"",
        [Message((b"hi",)), Message((b"a", b""))],
        captured=True,
    ),
    after(
        "a PING with a context is answered with it",
        command(b"PING", b"\0\x1eLOL"),
        PONG_LOL,
        [Ping(3000)],
        captured=True,
    ),
    after(
        "a PING of a 3.0 peer is answered",
        command(b"PING", b"\0\0"),
        command(b"PONG"),
        [Ping(0)],
        minor=0,
        captured=True,
    ),
    after(
        "a PING's context is cut at 16 bytes",
        command(b"PING", b"\0\0" + LONG_CONTEXT),
        command(b"PONG", LONG_CONTEXT[:16]),
        [Ping(0)],
        captured=True,
    ),
    after(
        "a TTL is counted in 32 bits",
        command(b"PING", b"\xff\xff"),
        command(b"PONG"),
        [Ping(6553500)],
    ),
    after(
        "a PING too short for its TTL is ignored",
        command(b"PING") + command(b"PING", b"\0"),
        b"",
        [],
        differs="reads beyond the frame",
    ),
    after("a PONG is told", command(b"PONG", b"LOL"), b"", [Pong()]),
    after(
        "unknown commands are ignored",
        command(b"WHAT", b"ever")
        + command(b"READY")
        + command(b"ERROR", b"\x03400")
        + command(b"SUBSCRIBER")
        + frame(b"hi"),
        b"",
        [Message((b"hi",))],
        captured=True,
    ),
    after(
        "a malformed command is ignored",
        frame(b"\xffPING", command=True) + frame(b"hi"),
        b"",
        [Message((b"hi",))],
    ),
    after(
        "an empty command is ignored",
        frame(b"", command=True) + frame(b"hi"),
        b"",
        [Message((b"hi",))],
        differs="reads beyond the frame",
    ),
    after(
        "commands subscribe and cancel",
        bytes.fromhex("040b09")
        + b"SUBSCRIBEA"
        + bytes.fromhex("040806")
        + b"CANCELA"
        + command(b"SUBSCRIBE"),
        b"",
        [Subscribe(b"A"), Cancel(b"A"), Subscribe(b"")],
        kind="XPUB",
        peer="SUB",
        captured=True,
    ),
    after(
        "old subscriptions of a 3.1 peer stay messages",
        frame(b"\1A") + frame(b"\0A"),
        b"",
        [Message((b"\1A",)), Message((b"\0A",))],
        kind="XPUB",
        peer="SUB",
    ),
    after(
        "a long subscription",
        command(b"SUBSCRIBE", b"t" * 300),
        b"",
        [Subscribe(b"t" * 300)],
        kind="PUB",
        peer="SUB",
    ),
    after(
        "a frame over the limit",
        frame(b"x" * 50) + frame(b"x" * 51),
        b"",
        [Message((b"x" * 50,))],
        options={"max_message_size": 50},
        error=TOO_LARGE,
    ),
    after(
        "the limit is told from the header alone",
        b"\2" + struct.pack("!Q", 51),
        b"",
        [],
        options={"max_message_size": 50},
        error=TOO_LARGE,
    ),
    after(
        "the limit is for commands too",
        command(b"SUBSCRIBE", b"t" * 50),
        b"",
        [],
        options={"max_message_size": 50},
        error=TOO_LARGE,
    ),
    after(
        "a frame of 2^63",
        b"\2\x80" + bytes(7),
        b"",
        [],
        error=SILENT,
        differs="tries to allocate it",
    ),
    after(
        "a frame of 2^63 - 1 is only waited for",
        b"\2\x7f" + b"\xff" * 7 + b"abc",
        b"",
        [],
        differs="tries to allocate it",
    ),
    Transcript(
        "2.0 has no commands",
        "DEALER",
        signature() + b"\1\5" + frame(b"") + command(b"PING", b"\0\0") + frame(b"hi"),
        signature() + b"\3\5" + frame(b""),
        [Ready((2, 0), "", b""), Message((b"hi",))],
    ),
    Transcript(
        "1.0 frames of 253 and 254",
        "DEALER",
        frame_v1(b"")
        + b"\xfe\0"
        + b"x" * 253
        + bytes.fromhex("ff00000000000000ff01")
        + b"y" * 254
        + frame_v1(b"z"),
        signature(),
        [Ready((1, 0), "", b""), Message((b"x" * 253,)), Message((b"y" * 254, b"z"))],
        captured=True,
    ),
    Transcript(
        "a 1.0 frame over the limit",
        "DEALER",
        frame_v1(b"") + frame_v1(b"x" * 5) + b"\x07",
        signature(),
        [Ready((1, 0), "", b""), Message((b"x" * 5,))],
        options={"max_message_size": 5},
        error=TOO_LARGE,
    ),
    Transcript(
        "a long 1.0 frame over the limit",
        "DEALER",
        frame_v1(b"") + b"\xff" + struct.pack("!Q", 7),
        signature(),
        [Ready((1, 0), "", b"")],
        options={"max_message_size": 5},
        error=TOO_LARGE,
    ),
    Transcript(
        "a 1.0 frame of 2^63",
        "DEALER",
        frame_v1(b"") + b"\xff\x80" + bytes(7),
        signature(),
        [Ready((1, 0), "", b"")],
        error=SILENT,
        differs="tries to allocate it",
    ),
]


def _matrix() -> list[Transcript]:
    """protocol.md#splits: every version of the peer, for four pairs of types, both ways round."""
    out = []
    for kind in ("REQ", "REP", "DEALER", "ROUTER", "PUB", "SUB", "PUSH", "PULL"):
        peer = PEER_OF[kind]
        number = bytes([getattr(zmtp, kind)])
        routing_id = b"peer" if peer in ("REQ", "DEALER", "ROUTER") else b""
        parts = (b"", b"body") if kind in ("REQ", "REP") else (b"one", b"two" * 100)
        if kind in ("PUB", "PUSH"):
            parts = ()  # nothing comes back to those
        body = b"".join(frame(p, i + 1 < len(parts)) for i, p in enumerate(parts))
        body_v1 = b"".join(frame_v1(p, i + 1 < len(parts)) for i, p in enumerate(parts))
        messages: list[Event] = [Message(parts)] if parts else []
        for minor in (1, 0):
            out.append(
                Transcript(
                    f"{kind} with a 3.{minor} {peer}",
                    kind,
                    greeting(minor=minor) + ready(peer, routing_id) + body,
                    greeting(b"me") + ready(kind, b"me"),
                    [is_ready(peer, routing_id, (3, minor)), *messages],
                    routing_id=b"me",
                )
            )
        peer_number = bytes([getattr(zmtp, peer)])
        out.append(
            Transcript(
                f"{kind} with a 2.0 {peer}",
                kind,
                signature() + b"\x01" + peer_number + frame(routing_id) + body,
                signature(b"me") + b"\x03" + number + frame(b"me"),
                [Ready((2, 0), "", routing_id), *messages],
                routing_id=b"me",
            )
        )
        out.append(
            Transcript(
                f"{kind} with a versioned 1.0 {peer}",
                kind,
                signature() + b"\x00" + peer_number + frame_v1(routing_id) + body_v1,
                signature(b"me") + b"\x03" + number + frame_v1(b"me"),
                [Ready((1, 0), "", routing_id), *messages],
                routing_id=b"me",
            )
        )
        phantom: list[Event] = [Subscribe(b"")] if kind == "PUB" else []
        out.append(
            Transcript(
                f"{kind} with an anonymous 1.0 {peer}",
                kind,
                frame_v1(routing_id) + body_v1,
                signature(b"me") + b"me",
                [Ready((1, 0), "", routing_id), *phantom, *messages],
                routing_id=b"me",
            )
        )
    return out


MATRIX = _matrix()
ALL = GREETINGS + HANDSHAKES + TRAFFIC + MATRIX
assert len({t.name for t in ALL}) == len(ALL)
