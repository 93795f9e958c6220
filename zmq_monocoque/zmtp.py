"""ZMTP without I/O: bytes in, events out; messages in, bytes out.

The same session that the sockets of this package use, for those who carry ZMTP over a transport
of their own, or want to see what is on a wire. It opens nothing, starts nothing and knows no
time. Speaks ZMTP 3.1 and 3.0 with the mechanisms NULL, PLAIN and CURVE, 2.0 and 1.0 (RFC 37, 23,
15, 13, 24, 26)::

    session = zmtp.Session(zmtp.DEALER, routing_id=b"me")
    sock.sendall(session.data_to_send())
    while True:
        session.receive_data(sock.recv(65536))
        for event in session.events():
            if isinstance(event, zmtp.Ready):
                session.send_message([b"", b"hello"])
        sock.sendall(session.data_to_send())

Whatever is in ``data_to_send()`` goes to the peer after every call, also after an error.
A session is for one thread at a time.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from zmq_monocoque._engine_c import ffi, lib

__all__ = [
    "CHANNEL",
    "CLIENT",
    "DEALER",
    "DISH",
    "GATHER",
    "PAIR",
    "PEER",
    "PUB",
    "PULL",
    "PUSH",
    "RADIO",
    "REP",
    "REQ",
    "ROUTER",
    "SCATTER",
    "SERVER",
    "SUB",
    "XPUB",
    "XSUB",
    "Authenticate",
    "Cancel",
    "Closed",
    "Event",
    "LocalProtocolError",
    "Message",
    "Ping",
    "Pong",
    "ProtocolError",
    "Ready",
    "RemoteProtocolError",
    "Session",
    "Subscribe",
]

#: A socket type of `Session`, by ZeroMQ's number; drafts among them.
PAIR, PUB, SUB, REQ, REP, DEALER, ROUTER, PULL, PUSH, XPUB, XSUB = range(11)
SERVER, CLIENT, RADIO, DISH, GATHER, SCATTER = range(12, 18)
PEER, CHANNEL = 19, 20

# The numbers of the enums in zmtp/session.h.
_NONE, _READY, _MESSAGE, _SUBSCRIBE, _CANCEL, _PING, _PONG, _ZAP = range(8)
_GREETING, _HANDSHAKE, _ACTIVE, _BROKEN = range(4)
_FAULTS = (None, "protocol", "auth", "silent")
_VERSIONS = (None, (1, 0), (2, 0), (3, 0), (3, 1))
_MECHANISMS = {"NULL": 0, "PLAIN": 1, "CURVE": 2}

_INT64_MAX = 2**63 - 1
_UINT32_MAX = 2**32 - 1


class ProtocolError(Exception):
    """Either side broke the protocol; never raised itself."""


class LocalProtocolError(ProtocolError):
    """This side asked for what the protocol does not allow now. The session is as before."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol, or refused us: the session is over, close the connection.

    ``kind`` is what a libzmq monitor would tell: ``"protocol"`` (HANDSHAKE_FAILED_PROTOCOL with
    ``value``, a ZMQ_PROTOCOL_ERROR number), ``"auth"`` (HANDSHAKE_FAILED_AUTH with ``value`` 300,
    400 or 500) or ``"silent"`` (only DISCONNECTED). ``errno`` is EPROTO, or EMSGSIZE for a frame
    over ``max_message_size``, and given as ``error``; ``text`` says it in words.
    """

    def __init__(self, text: str, error: int = errno.EPROTO, kind: str = "silent", value: int = 0):
        super().__init__(text)
        self.errno = error
        self.kind = kind
        self.value = value


@dataclass(frozen=True)
class Ready:
    """The handshake is done; messages may be sent.

    ``version`` is (major, minor). ``routing_id`` is the peer's name (b"": none). ``socket_type`` is
    "" and ``properties`` empty where the peer did not tell (1.0 and 2.0 never do). ``properties``
    has names as the peer spelt them.
    """

    version: tuple[int, int]
    socket_type: str
    routing_id: bytes
    properties: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Authenticate:
    """The peer says who it is; the handshake waits for `Session.authenticated`.

    ``mechanism`` is NULL, PLAIN or CURVE. ``credentials``: of NULL none, of PLAIN the user name and
    the password, of CURVE the peer's public key of 32 bytes (that it has the secret one was
    proved).
    """

    mechanism: str
    credentials: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class Message:
    """A whole message: all its ``parts``."""

    parts: tuple[bytes, ...]


@dataclass(frozen=True)
class Subscribe:
    """The peer wants messages that begin with ``topic``.

    From 3.1 peers. Older ones send a message whose first byte is 1 (or 0, to cancel), which stays
    a `Message`; a 1.0 peer without a version counts as subscribed to everything.
    """

    topic: bytes


@dataclass(frozen=True)
class Cancel:
    """The peer no longer wants messages that begin with ``topic``."""

    topic: bytes


@dataclass(frozen=True)
class Ping:
    """The peer asks for a sign of life; the answer is already in ``data_to_send()``.

    ``ttl_ms``: the peer is to be taken for dead when nothing comes for so long; 0: no limit.
    """

    ttl_ms: int


@dataclass(frozen=True)
class Pong:
    """The peer answered a `Session.send_ping`."""


@dataclass(frozen=True)
class Closed:
    """The peer closed the connection between two messages. Nothing comes after it."""


#: What `Session.events` gives.
Event = Ready | Authenticate | Message | Subscribe | Cancel | Ping | Pong | Closed


def _encode_properties(properties: Mapping[str, bytes]) -> bytes:
    out = b""
    for name, value in sorted(properties.items()):
        spelt = name.encode("ascii")
        if not 1 <= len(spelt) <= 255:
            raise ValueError(f"a property's name has 1 to 255 bytes: {name!r}")
        out += struct.pack("!B", len(spelt)) + spelt + struct.pack("!I", len(value)) + value
    return out


def _decode_properties(data: bytes) -> dict[str, bytes]:
    out = {}
    while data:
        name_end = 1 + data[0]
        value_begin = name_end + 4
        value_end = value_begin + int.from_bytes(data[name_end:value_begin], "big")
        out[data[1:name_end].decode("latin-1")] = data[value_begin:value_end]
        data = data[value_end:]
    return out


class Session:
    """One side of one ZMTP connection.

    ``socket_type`` is one of the numbers of this module. ``routing_id`` (at most 255 bytes) is told
    to the peer by REQ, DEALER and ROUTER, and by every type to 1.0 and 2.0 peers. ``properties``
    are sent in READY beside the standard ones. ``max_message_size`` limits the bytes of each frame
    that comes in (ZMQ_MAXMSGSIZE; -1: no limit). ``refuse_old`` refuses 1.0 and 2.0 peers, which
    cannot authenticate (as libzmq does where ZAP is in force).

    ``mechanism`` is "NULL", "PLAIN" or "CURVE". The side ``as_server`` is the one that clients
    prove themselves to. A PLAIN client has a ``username`` and a ``password`` of at most 255 bytes.
    CURVE keys are 32 bytes: a client needs ``curve_publickey`` and ``curve_secretkey`` of its own
    and the server's public ``curve_serverkey``, a server ``curve_secretkey``. With
    ``authenticate`` an `Authenticate` event comes before the peer is let in, from NULL peers too;
    a PLAIN server always tells it.

    Raises ValueError for what cannot be said in ZMTP, NotImplementedError for a mechanism that is
    not there (CURVE without PyNaCl), MemoryError.
    """

    def __init__(
        self,
        socket_type: int,
        *,
        routing_id: bytes = b"",
        mechanism: str = "NULL",
        as_server: bool = False,
        authenticate: bool = False,
        username: bytes = b"",
        password: bytes = b"",
        curve_publickey: bytes = bytes(32),
        curve_secretkey: bytes = bytes(32),
        curve_serverkey: bytes = bytes(32),
        properties: Mapping[str, bytes] | None = None,
        max_message_size: int = -1,
        refuse_old: bool = False,
    ):
        if mechanism not in _MECHANISMS:
            raise ValueError(f"unknown mechanism {mechanism!r}")
        keys = (curve_publickey, curve_secretkey, curve_serverkey)
        if any(len(key) != 32 for key in keys):
            raise ValueError("a CURVE key has 32 bytes")
        metadata = _encode_properties(properties or {})
        error = ffi.new("int *")
        texts = ffi.from_buffer("uint8_t[]", username), ffi.from_buffer("uint8_t[]", password)
        security = ffi.new(
            "zm_session_security *",
            {
                "mechanism": _MECHANISMS[mechanism],
                "as_server": as_server,
                "zap": authenticate,
                "username": texts[0],
                "username_size": len(username),
                "password": texts[1],
                "password_size": len(password),
                "curve_public": curve_publickey,
                "curve_secret": curve_secretkey,
                "curve_server": curve_serverkey,
            },
        )
        handle = lib.zm_session_handle_new(
            socket_type,
            refuse_old,
            max(-1, min(max_message_size, _INT64_MAX)),
            routing_id,
            len(routing_id),
            metadata,
            len(metadata),
            security,
            error,
        )
        if handle == ffi.NULL:
            if error[0] == -errno.ENOTSUP:
                raise NotImplementedError(f"mechanism {mechanism}")
            if error[0] == -errno.ENOMEM:
                raise MemoryError
            raise ValueError(
                "not a ZMTP socket type, or routing id, username or password over 255 bytes"
            )
        self._mechanism = mechanism
        self._handle = ffi.gc(handle, lib.zm_session_handle_free)
        self._event = ffi.new("zm_session_event *")
        self._view = ffi.new("zm_session_view *")
        self._size = ffi.new("size_t *")
        self._in = bytearray()
        self._out = bytearray()
        self._parts: list[bytes] = []
        self._peer_closed = False
        self._error: RemoteProtocolError | None = None
        self._take_out()

    # --- bytes ------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Takes ``data`` from the peer; ``b""`` says that it closed the connection.

        Nothing is looked at before `next_event`. Raises RuntimeError for bytes after the end.
        """
        if self._peer_closed and data:
            raise RuntimeError("data after the end of the connection")
        if data:
            self._in += data
        else:
            self._peer_closed = True

    def data_to_send(self) -> bytes:
        """The bytes for the peer, which are then forgotten; ``b""`` when there are none."""
        out = bytes(self._out)
        self._out.clear()
        return out

    # --- events -----------------------------------------------------------------------------

    def next_event(self) -> Event | None:
        """The next event, or None: more data is needed.

        Raises `RemoteProtocolError` when the peer broke the protocol, now and on every later
        call; MemoryError.
        """
        if self._error:
            raise self._error
        consumed = 0
        event: Event | None = None
        with ffi.from_buffer("uint8_t[]", self._in, require_writable=True) as data:
            while event is None:
                left = len(data) - consumed
                n = lib.zm_session_handle_next(self._handle, data + consumed, left, self._event)
                self._take_out()
                if n <= 0:
                    break
                consumed += n
                event = self._translate()
        del self._in[:consumed]
        if event is None and n < 0:
            raise self._broken(n)
        if event is None and self._peer_closed:
            return self._end()
        return event

    def events(self) -> Iterator[Event]:
        """The events that the bytes received so far make. Raises as `next_event`."""
        while (event := self.next_event()) is not None:
            yield event
            if isinstance(event, Closed):
                return

    def _translate(self) -> Event | None:
        """What the session told, None where that is nothing yet."""
        event = self._event
        kind = event.kind
        if kind == _NONE:
            return None
        if kind == _READY:
            return self._ready()
        if kind == _PING:
            return Ping(event.value)
        if kind == _PONG:
            return Pong()
        if kind == _ZAP:
            return self._authenticate()
        data = bytes(ffi.buffer(event.data, event.size)) if event.size else b""
        if kind == _SUBSCRIBE:
            return Subscribe(data)
        if kind == _CANCEL:
            return Cancel(data)
        self._parts.append(data)
        if event.more:
            return None
        parts = tuple(self._parts)
        self._parts.clear()
        return Message(parts)

    def _ready(self) -> Ready:
        view = self._look()
        version = _VERSIONS[view.version]
        assert version is not None
        return Ready(
            version,
            ffi.string(view.peer_socket_type).decode("ascii"),
            bytes(ffi.buffer(view.peer_routing_id, view.peer_routing_id_size))
            if view.peer_routing_id_size
            else b"",
            _decode_properties(bytes(ffi.buffer(view.peer_metadata, view.peer_metadata_size)))
            if view.peer_metadata_size
            else {},
        )

    def _authenticate(self) -> Authenticate:
        event = self._event
        data = bytes(ffi.buffer(event.data, event.size)) if event.size else b""
        if self._mechanism == "PLAIN":
            end = 1 + data[0]
            return Authenticate("PLAIN", (data[1:end], data[end + 1 :]))
        return Authenticate(self._mechanism, (data,) if data else ())

    def _broken(self, answer: int) -> Exception:
        if answer == -errno.ENOMEM:
            return MemoryError()
        view = self._look()
        kind = _FAULTS[view.fault] or "silent"
        text = os.strerror(-answer)
        if view.fault_value:
            text += (
                f" ({kind} {view.fault_value:#x})"
                if kind == "protocol"
                else (f" ({kind} {view.fault_value})")
            )
        self._error = RemoteProtocolError(text, -answer, kind, view.fault_value)
        return self._error

    def _end(self) -> Closed:
        if self._in or self._parts or self._look().phase != _ACTIVE:
            self._error = RemoteProtocolError(
                "the peer closed the connection in the middle of a message or of the handshake"
            )
            raise self._error
        return Closed()

    # --- who may come in --------------------------------------------------------------------

    def authenticated(self, status: int = 200) -> Ready | None:
        """Answers an `Authenticate`, as ZAP (RFC 27) does, and returns `Ready` if that was all.

        ``status`` 200 lets the peer in; 300 leaves it without an answer for ever; 400 and 500 send
        it an ERROR and end the session, which is told by `RemoteProtocolError`.

        Raises `LocalProtocolError` when nothing was asked, or for another status; MemoryError.
        """
        answer = lib.zm_session_handle_zap_reply(self._handle, status, self._event)
        if answer == -errno.EINVAL:
            raise LocalProtocolError("nothing was asked, or the status is none of ZAP's")
        self._take_out()
        if answer < 0:
            raise self._broken(answer)
        return self._ready() if self._event.kind == _READY else None

    # --- what is sent -----------------------------------------------------------------------

    def send_message(self, parts: Sequence[bytes]) -> None:
        """Queues one message of ``parts``, at least one.

        Raises `LocalProtocolError` before `Ready` and after an error, ValueError for no parts.
        """
        if not parts:
            raise ValueError("a message has at least one part")
        last = len(parts) - 1
        out = [
            self._encode(len(part), lib.zm_session_handle_frame, i < last, part, len(part))
            for i, part in enumerate(parts)
        ]
        self._out += b"".join(out)

    def send_subscribe(self, topic: bytes = b"") -> None:
        """Asks the peer for messages that begin with ``topic``, as its version of ZMTP has it.

        Raises `LocalProtocolError` before `Ready` and after an error.
        """
        self._out += self._encode(
            len(topic), lib.zm_session_handle_subscription, True, topic, len(topic)
        )

    def send_cancel(self, topic: bytes = b"") -> None:
        """Takes back a `send_subscribe`. Raises as that."""
        self._out += self._encode(
            len(topic), lib.zm_session_handle_subscription, False, topic, len(topic)
        )

    def send_ping(self, ttl_ms: int = 0) -> None:
        """Asks for a sign of life; the peer shall give up when nothing comes for ``ttl_ms``.

        It travels in tenths of a second, at most 6553.5 s; libzmq peers misread 65.6 s and more.
        Raises `LocalProtocolError` before `Ready`, after an error and with 1.0 and 2.0 peers;
        ValueError below zero.
        """
        if ttl_ms < 0:
            raise ValueError("a TTL is not negative")
        self._out += self._encode(0, lib.zm_session_handle_ping, min(ttl_ms, _UINT32_MAX))

    def _encode(self, size: int, function, *arguments) -> bytes:
        room = bytearray(size + lib.zm_session_handle_overhead())
        with ffi.from_buffer("uint8_t[]", room, require_writable=True) as out:
            n = function(self._handle, out, *arguments)
        if n < 0:
            raise LocalProtocolError(f"not in state {self.state}, with version {self.version}")
        return bytes(memoryview(room)[:n])

    # --- how it stands ----------------------------------------------------------------------

    @property
    def state(self) -> str:
        """``"greeting"``, ``"handshake"``, ``"active"`` or ``"broken"``."""
        return ("greeting", "handshake", "active", "broken")[self._look().phase]

    @property
    def version(self) -> tuple[int, int] | None:
        """(major, minor) of what is spoken, as far as it is known; final with `Ready`."""
        return _VERSIONS[self._look().version]

    @property
    def heartbeats(self) -> bool:
        """May `send_ping` be used?"""
        return bool(self._look().heartbeats)

    @property
    def bytes_needed(self) -> int:
        """Bytes still missing of the present frame, or of as much of it as can be known.

        Means something after `next_event` answered None. Of use to those who can receive a large
        body into its place.
        """
        return self._look().need - len(self._in)

    def _look(self):
        lib.zm_session_handle_view(self._handle, self._view)
        return self._view

    def _take_out(self) -> None:
        data = lib.zm_session_handle_take_out(self._handle, self._size)
        if self._size[0]:
            self._out += ffi.buffer(data, self._size[0])
